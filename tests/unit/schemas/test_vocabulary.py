"""The published schemas are current, valid, and compatible with earlier ones. Envelopes are CloudEvents."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st

from firsthour.operations import schema_export
from schemas import envelope, topics
from schemas.events.catalogue import BY_TYPE, OURS
from schemas.events.outside import ExternalEvent
from tests.hand_clock import HandClock
from tests.unit.schemas.compatibility import breaks

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
NOW = HandClock().now
EVENTS = schema_export.events_schema()
EXTERNAL_EVENT = jsonschema.Draft202012Validator({"$ref": "#/$defs/ExternalEvent", "$defs": EVENTS["$defs"]})


def test_checked_in_schemas_equal_the_models() -> None:
    documents = schema_export.documents()
    assert documents
    differing = [name for name, text in documents.items() if (ROOT / "schemas" / name).read_text() != text]
    assert differing == [], "run `make schemas`"


@pytest.mark.parametrize("name", ["events", *schema_export.FILES])
def test_schema_is_a_valid_json_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads((ROOT / "schemas/json" / f"{name}.json").read_text()))


def git(*words: str) -> str:
    return subprocess.run(
        ["git", *words], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout  # our own repository


def _commits_since_the_decision() -> list[str]:
    """Return the range of commits that is compared: from the commit that added the decision."""
    added = git("log", "--diff-filter=A", "--format=%H", "--", "docs/decisions/0023-names-before-a-release.md").split()
    return ["HEAD", "--not", *(f"{commit}^@" for commit in added[-1:])] if added else ["HEAD", "--not", "HEAD"]


RENAMED = {"Notice": "ManagerPage"}
"""Shapes of the configuration files that got another name before any release had them. The files themselves are unchanged."""


def _with_names_of_now(schema: str) -> str:
    for before, now in RENAMED.items():
        schema = schema.replace(f'"{before}"', f'"{now}"').replace(f'#/$defs/{before}"', f'#/$defs/{now}"')
    return schema


@pytest.mark.skipif(not shutil.which("git") or not (ROOT / ".git").exists(), reason="needs the repository's history")
@pytest.mark.parametrize("name", ["events", *schema_export.FILES])
def test_schema_is_compatible_with_earlier_commits(name: str) -> None:
    path = f"schemas/json/{name}.json"
    now = json.loads((ROOT / path).read_text())
    for commit in git("log", "--format=%H", "-n", "50", *_commits_since_the_decision(), "--", path).split():
        earlier = json.loads(_with_names_of_now(git("show", f"{commit}:{path}")))
        assert list(breaks(earlier, now)) == [], f"since {commit}"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda s: s["properties"].pop("a"), "#/a is gone"),
        (lambda s: s["required"].append("b"), "#/b is required now"),
        (lambda s: s["properties"]["a"].update(type="integer"), "#/a no longer takes string"),
        (lambda s: s["properties"]["c"]["enum"].remove("x"), "#/c no longer allows 'x'"),
    ],
)
def test_incompatible_change_is_found(change: Any, line: str) -> None:
    old = {"properties": {"a": {"type": "string"}, "b": {}, "c": {"enum": ["x", "y"]}}, "required": ["a"]}
    new = json.loads(json.dumps(old))
    change(new)
    assert line in list(breaks(old, new))


def test_optional_addition_is_compatible() -> None:
    assert list(breaks({"properties": {}}, {"properties": {"a": {"type": "string"}}})) == []


def test_every_event_has_a_topic_an_emitter_and_a_unique_type() -> None:
    assert len(BY_TYPE) == len(OURS)
    for event in OURS:
        assert event.TOPIC in topics.ALL
        assert topics.EMITTED_BY[event.TOPIC]
        assert event.__doc__


facts = st.dictionaries(
    st.text(max_size=8), st.one_of(st.text(max_size=8), st.integers(-9, 9), st.booleans()), max_size=4
)
external_events = st.builds(
    ExternalEvent,
    source=st.text(max_size=9),
    source_id=st.text(max_size=9),
    received_at=st.just(NOW),
    email=st.one_of(st.none(), st.emails()),
    person=facts,
    fields=facts,
)


RECORD = ExternalEvent(source="s", source_id="1", received_at=NOW)


@given(event_sent=external_events)
def test_event_is_equal_after_encoding_and_decoding(event_sent: ExternalEvent) -> None:
    body = envelope.encode(event_sent, id="1", source="urn:x", time=NOW, key=event_sent.key, type="form.submitted")
    decoded = envelope.decode(body)
    assert (decoded.id, decoded.type, decoded.time, decoded.partitionkey) == (
        "1",
        "form.submitted",
        NOW,
        event_sent.key,
    )
    assert envelope.event_of(decoded) == event_sent
    EXTERNAL_EVENT.validate(json.loads(body)["data"])


@given(event_sent=external_events)
def test_envelope_is_read_by_the_cloudevents_package(event_sent: ExternalEvent) -> None:
    body = envelope.encode(event_sent, id="1", source="urn:x", time=NOW, key="k", type="form.submitted")
    event = JSONFormat().read(CloudEvent, body)
    assert (event.get_id(), event.get_source(), event.get_type()) == ("1", "urn:x", "form.submitted")
    assert event.get_time() == NOW
    assert event.get_extension("partitionkey") == "k"
    assert event.get_data() == json.loads(body)["data"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b"\xff", b'{"specversion":"1.0"}', b"[" * 100_000, b'"x"'],
)
def test_record_of_another_program_is_unknown(body: bytes) -> None:
    with pytest.raises(envelope.UnknownEventError):
        envelope.decode(body)


def test_event_of_another_major_version_is_unknown() -> None:
    event_sent = ExternalEvent(source="s", source_id="1", received_at=NOW)
    body = envelope.encode(event_sent, id="1", source="urn:x", time=NOW, key="k", type="form.submitted")
    with pytest.raises(envelope.UnknownEventError, match="this code knows"):
        envelope.decode(body.replace(b"form.submitted:1", b"form.submitted:2"))


@pytest.mark.parametrize("data", [b'{"rep":"ana"}', b'{"source":"crm","rep":"ana"}', b"7"])
def test_inner_record_of_an_unknown_type_is_named_by_its_type(data: bytes) -> None:
    body = envelope.encode(RECORD, id="1", source="urn:x", time=NOW, key="k", type="form.submitted")
    body = body.replace(b"form.submitted", b"rep.changed")
    record = msgspec.structs.replace(envelope.decode(body), data=msgspec.Raw(data))
    with pytest.raises(envelope.UnknownEventError) as caught:
        envelope.event_of(record)
    assert str(caught.value) == "type `rep.changed` is not known to this version"


@pytest.mark.parametrize("type", ["form.submitted", "custom.visit", "call.recorded"])
def test_outside_event_of_any_type_is_decoded(type: str) -> None:
    body = envelope.encode(RECORD, id="1", source="urn:x", time=NOW, key="k", type=type)
    assert envelope.event_of(envelope.decode(body)) == RECORD


def test_field_of_a_later_version_is_ignored() -> None:
    event_sent = ExternalEvent(source="s", source_id="1", received_at=NOW)
    body = envelope.encode(event_sent, id="1", source="urn:x", time=NOW, key="k", type="form.submitted")
    assert envelope.event_of(envelope.decode(body.replace(b'"source_id"', b'"later":1,"source_id"'))) == event_sent

"""The vocabulary as others read it: current, valid, and never broken for those who read an older one."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
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

ROOT = Path(__file__).resolve().parents[3]
NOW = HandClock().now
EVENTS = schema_export.events_schema()


@pytest.mark.parametrize("name", sorted(schema_export.documents()))
def test_what_is_checked_in_is_what_the_code_says(name: str) -> None:
    assert (ROOT / "schemas" / name).read_text() == schema_export.documents()[name], "run `make schemas`"


@pytest.mark.parametrize("name", ["events", *schema_export.FILES])
def test_each_schema_is_a_valid_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads((ROOT / "schemas/json" / f"{name}.json").read_text()))


def git(*words: str) -> str:
    return subprocess.run(
        ["git", *words], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout  # our own repository


def _since_the_first_names() -> list[str]:
    """The range of commits that is compared: from the one that added the decision."""
    added = git("log", "--diff-filter=A", "--format=%H", "--", "docs/decisions/0023-names-before-a-release.md").split()
    return ["HEAD", "--not", *(f"{commit}^@" for commit in added[-1:])] if added else ["HEAD", "--not", "HEAD"]


@pytest.mark.skipif(not shutil.which("git") or not (ROOT / ".git").exists(), reason="needs the repository's history")
@pytest.mark.parametrize("name", ["events", *schema_export.FILES])
def test_nothing_that_ever_landed_is_broken(name: str) -> None:
    path = f"schemas/json/{name}.json"
    now = json.loads((ROOT / path).read_text())
    for commit in git("log", "--format=%H", "-n", "50", *_since_the_first_names(), "--", path).split():
        landed = json.loads(git("show", f"{commit}:{path}"))
        assert list(breaks(landed, now)) == [], f"since {commit}"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s["properties"].pop("a"), "#/a is gone"),
        (lambda s: s["required"].append("b"), "#/b is required now"),
        (lambda s: s["properties"]["a"].update(type="integer"), "#/a no longer takes string"),
        (lambda s: s["properties"]["c"]["enum"].remove("x"), "#/c no longer allows 'x'"),
    ],
)
def test_a_change_that_breaks_a_reader_is_found(change: Any, said: str) -> None:
    old = {"properties": {"a": {"type": "string"}, "b": {}, "c": {"enum": ["x", "y"]}}, "required": ["a"]}
    new = json.loads(json.dumps(old))
    change(new)
    assert said in list(breaks(old, new))


def test_an_addition_breaks_nobody() -> None:
    assert list(breaks({"properties": {}}, {"properties": {"a": {"type": "string"}}})) == []


def test_every_event_has_a_topic_a_speaker_and_a_name_of_its_own() -> None:
    assert len(BY_TYPE) == len(OURS)
    for event in OURS:
        assert event.TOPIC in topics.ALL
        assert topics.EMITTED_BY[event.TOPIC]
        assert event.__doc__


facts = st.dictionaries(
    st.text(max_size=8), st.one_of(st.text(max_size=8), st.integers(-9, 9), st.booleans()), max_size=4
)
happenings = st.builds(
    ExternalEvent,
    source=st.text(max_size=9),
    source_id=st.text(max_size=9),
    received_at=st.just(NOW),
    email=st.one_of(st.none(), st.emails()),
    person=facts,
    fields=facts,
)


@given(happened=happenings)
def test_an_event_comes_back_as_it_was_said(happened: ExternalEvent) -> None:
    body = envelope.encode(happened, id="1", source="urn:x", time=NOW, key=happened.key, type="form.submitted")
    found = envelope.decode(body)
    assert (found.id, found.type, found.time, found.partitionkey) == ("1", "form.submitted", NOW, happened.key)
    assert envelope.event_of(found) == happened
    shape = {"$ref": "#/$defs/ExternalEvent", "$defs": EVENTS["$defs"]}
    jsonschema.validate(json.loads(body)["data"], shape)


@given(happened=happenings)
def test_the_reference_package_reads_our_envelope(happened: ExternalEvent) -> None:
    body = envelope.encode(happened, id="1", source="urn:x", time=NOW, key="k", type="form.submitted")
    event = JSONFormat().read(CloudEvent, body)
    assert (event.get_id(), event.get_source(), event.get_type()) == ("1", "urn:x", "form.submitted")
    assert event.get_time() == NOW
    assert event.get_extension("partitionkey") == "k"
    assert event.get_data() == json.loads(body)["data"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b"\xff", b'{"specversion":"1.0"}', b"[" * 100_000, b'"x"'],
)
def test_what_is_not_ours_is_said_to_be_unknown(body: bytes) -> None:
    with pytest.raises(envelope.UnknownEventError):
        envelope.decode(body)


def test_another_major_version_is_unknown() -> None:
    happened = ExternalEvent(source="s", source_id="1", received_at=NOW)
    body = envelope.encode(happened, id="1", source="urn:x", time=NOW, key="k", type="form.submitted")
    with pytest.raises(envelope.UnknownEventError, match="this code knows"):
        envelope.decode(body.replace(b"form.submitted:1", b"form.submitted:2"))


def test_a_field_from_a_later_version_is_read_over() -> None:
    happened = ExternalEvent(source="s", source_id="1", received_at=NOW)
    body = envelope.encode(happened, id="1", source="urn:x", time=NOW, key="k", type="form.submitted")
    assert envelope.event_of(envelope.decode(body.replace(b'"source_id"', b'"later":1,"source_id"'))) == happened

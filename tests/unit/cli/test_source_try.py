"""`firsthour source try`: thin deliveries and the answers that complete them, records of Kafka, and wrong files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from firsthour.cli.app import main
from firsthour.runtime.http.errors import BAD_INPUT, NO
from schemas.sources import THIN_PRESETS

pytestmark = pytest.mark.usefixtures("restored_logging")

BODIES = Path(__file__).parents[1] / "gateway" / "vendor_bodies"
SOURCES = "sources:\n" + "".join(
    f"  - {{id: {name}, preset: {name}, secrets: [{{file: a.secret}}], fetch: {{token: {{file: a.token}}}}}}\n"
    for name in THIN_PRESETS
)
ORDERS = "  - {id: orders, kind: kafka, producers: [/orders], events: [{type: custom.order, email: data.mail}]}\n"
ADDRESS = {
    "meta": "https://graph.facebook.com/v25.0/901?",
    "linkedin": "https://api.linkedin.com/rest/leadFormResponses/1b1e7ca3-4?",
    "hubspot": "https://api.hubapi.com/crm/objects/2026-09/contacts/1246978?",
}
Try = Callable[..., tuple[int, str, str]]


@pytest.fixture
def attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Try:
    """Return a function that tries a body at a source: it returns exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def command(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(words)
        output = capfd.readouterr()
        return int(ended.value.code or 0), output.out, output.err

    command("init", "config")
    Path("config/sources.yaml").write_text(SOURCES + ORDERS)
    for name in ("a.secret", "a.token"):
        Path("config", name).write_text("a secret of the vendor")
    command("keys", "create", "--role", "ingest", "--name", "first", "--config", "config")  # makes the database

    def attempt(source: str, body: Path, *words: str) -> tuple[int, str, str]:
        return command("source", "try", source, "--body", str(body), "--config", "config", *words)

    return attempt


def sample(preset: str, part: str) -> Path:
    return BODIES / f"{preset}_thin_{part}.json"


@pytest.mark.parametrize("preset", THIN_PRESETS)
def test_thin_delivery_shows_the_address_and_with_an_answer_the_event(attempt: Try, preset: str) -> None:
    code, shown, wrong = attempt(preset, sample(preset, "delivery"))
    assert (code, wrong) == (0, "")
    assert f"Would be fetched: {ADDRESS[preset]}" in shown
    assert "The events follow from the answer: `--answer FILE` shows them." in shown
    assert "ann@acme.example" not in shown

    answer = ("--answer", str(sample(preset, "answer")))
    code, shown, wrong = attempt(preset, sample(preset, "delivery"), *answer, "--json")
    assert (code, wrong) == (0, "")
    report: dict[str, Any] = json.loads(shown)
    [event] = report["events"]
    assert (event["email"], event["person"]["company.name"]) == ("ann@acme.example", "Acme")
    assert all("_answer" in text or "_event" in text for text in event["expressions"].values())
    assert (report["verified"], report["faults"], report["unmatched"]) == (None, [], 0)
    code, shown, _ = attempt(preset, sample(preset, "delivery"), *answer)
    assert (code, "ann@acme.example" in shown, "--answer FILE" in shown) == (0, True, False)


def test_answer_without_the_lead_is_told_as_unmatched(attempt: Try) -> None:
    Path("answer.json").write_text('{"error": {"code": 190}}')
    code, shown, _ = attempt("meta", sample("meta", "delivery"), "--answer", "answer.json")
    assert (code, "No event: no entry of `events:` applies" in shown, "--answer FILE" in shown) == (0, True, False)


def test_answer_to_a_delivery_that_is_not_thin_is_told(attempt: Try) -> None:
    Path("body.json").write_text('{"object": "page", "entry": []}')
    code, shown, _ = attempt("meta", Path("body.json"), "--answer", str(sample("meta", "answer")))
    assert (code, "names no event that an answer completes" in shown) == (NO, True)


def test_record_of_kafka_is_tried(attempt: Try) -> None:
    event = {
        "specversion": "1.0",
        "id": "1",
        "source": "/orders",
        "type": "order",
        "data": {"mail": "ann@acme.example"},
    }
    Path("record.json").write_text(json.dumps(event))
    code, shown, _ = attempt("orders", Path("record.json"))
    assert (code, "custom.order" in shown, "data.mail" in shown) == (0, True, True)
    Path("binary.json").write_text(json.dumps(event["data"]))
    Path("headers").write_text("ce_specversion: 1.0\nce_id: 1\nce_source: /orders\nce_type: order\n")
    code, shown, _ = attempt("orders", Path("binary.json"), "--headers", "headers")
    assert (code, "custom.order" in shown) == (0, True)


@pytest.mark.parametrize("option", ["--body", "--answer", "--headers"])
@pytest.mark.parametrize("path", [".", "missing.json"])
def test_file_that_cannot_be_read_is_named(attempt: Try, option: str, path: str) -> None:
    code, _, wrong = attempt("meta", sample("meta", "delivery"), option, path)
    assert (code, option in wrong, "Traceback" in wrong) == (BAD_INPUT, True, False)


def test_fields_of_a_call_or_of_an_event_of_ours_say_how_they_were_made(attempt: Try, tmp_path: Path) -> None:
    verify = "verify: {scheme: header, header: X-Key, secrets: [{file: a.secret}]}"
    standard = "verify: {scheme: standard-webhooks, secrets: [{file: b.secret}]}"
    Path("config/b.secret").write_text("whsec_c2l4dGVlbiBieXRlcyBvciBtb3Jl")
    Path("config/sources.yaml").write_text(
        f"sources:\n  - {{id: site, kind: webhook, calls: segment, {verify}}}\n"
        f"  - {{id: ours, kind: webhook, {standard}}}\n"
    )
    body = tmp_path / "body.json"
    body.write_text(json.dumps({"type": "identify", "userId": "ann@b.example", "traits": {"name": "Ann"}}))
    code, shown, wrong = attempt("site", body)
    assert (code, wrong) == (0, "")
    [row] = [line for line in shown.splitlines() if line.startswith("name ")]
    assert "by calls: segment" in row
    body.write_text(json.dumps({"type": "lead.updated", "data": {"email": "ann@b.example", "name": "Ann"}}))
    [row] = [line for line in attempt("ours", body)[1].splitlines() if line.startswith("name ")]
    assert "as sent" in row

"""Each fault of an installation has its own finding, with a remedy."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from firsthour.cli.init import write_examples
from firsthour.operations.doctor import checks, database_checks, distributed_checks
from firsthour.operations.doctor.finding import Finding
from firsthour.runtime import settings
from firsthour.runtime.clock import HostClock
from firsthour.runtime.storage.migrate import migrate
from firsthour.runtime.storage.reader import SqliteReader
from firsthour.runtime.storage.records import log
from firsthour.runtime.storage.sqlite_engines import reader_engine, writer_engine
from tests.fakes.slack import FakeSlack
from tests.fakes.smtp import FakeSmtp
from tests.hand_clock import HandClock

TOKEN = "xoxb-" + "1" * 20


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write_examples(tmp_path / "config")
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    engine = writer_engine(data / "firsthour.db")
    with engine.begin() as connection:
        migrate(connection)
    return tmp_path


async def look(place: Path, **more: Any) -> Mapping[str, Finding]:
    """Return the findings by subject, the worst of each."""
    own_settings = settings.load(config_dir=place / "config", data_dir=place / "data", **more)
    reads = SqliteReader(reader_engine(place / "data" / "firsthour.db"))
    try:
        findings = await checks.examine(own_settings, HostClock(), reads)
    finally:
        reads.close()
    return {one.what: one for one in sorted(findings, key=lambda one: ["ok", "warning", "wrong"].index(one.verdict))}


def change(place: Path, *statements: str) -> None:
    engine = writer_engine(place / "data" / "firsthour.db")
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


async def test_sound_installation_is_ok(place: Path) -> None:
    findings = await look(place)
    assert {one.verdict for one in findings.values() if one.what != "python"} == {"ok"}


async def test_exposed_directory_and_misspelt_variable_are_warnings(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "data").chmod(0o755)
    monkeypatch.setenv("FIRSTHOUR_SMTP_ULR", "smtp://mail:25")
    findings = await look(place)
    assert (findings["data directory"].verdict, "chmod 700" in findings["data directory"].said) == ("warning", True)
    assert "did you mean FIRSTHOUR_SMTP_URL?" in findings["settings"].said


async def test_unset_variable_of_a_secret_is_a_warning(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PARTNER_SECRET", raising=False)
    (place / "config" / "sources.yaml").write_text(
        "sources:\n  - id: partner\n    kind: webhook\n"
        "    verify: {scheme: standard-webhooks, secrets: [{env: PARTNER_SECRET}]}\n"
        "    events: [{type: custom.ping, email: email}]\n"
    )
    finding = (await look(place))["secrets"]
    assert (finding.verdict, "PARTNER_SECRET is not set" in finding.said) == ("warning", True)


async def test_ladder_channel_that_is_not_set_up_is_a_warning(place: Path) -> None:
    agreement = place / "config" / "agreement.yaml"
    agreement.write_text(agreement.read_text().replace("by: [inbox]", "by: [email]"))
    finding = (await look(place))["channels"]
    assert (finding.verdict, "email, which is not set up here" in finding.said) == ("warning", True)


async def test_python_release_with_unsafe_mail_headers_is_a_warning(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = b"Subject: a\r\nBcc: b@example.com\r\n\r\n"
    monkeypatch.setattr(EmailMessage, "as_bytes", lambda *_, **__: written)
    finding = (await look(place))["python"]
    assert (finding.verdict, "update to the newest release" in finding.said) == ("warning", True)


async def test_mistake_in_the_configuration_has_its_line(place: Path) -> None:
    (place / "config" / "team.yaml").write_text("reps: 7\n")
    findings = await look(place)
    assert findings["configuration"].verdict == "wrong"
    assert "team.yaml:1:7:" in findings["configuration"].said


async def test_tables_of_another_version_are_wrong(place: Path) -> None:
    change(place, "UPDATE alembic_version SET version_num = 'older'")
    assert (await look(place))["tables"].remedy == "use another database, or restore the latest backup"


async def test_damaged_database_is_wrong(place: Path) -> None:
    file = place / "data" / "firsthour.db"
    whole = bytearray(file.read_bytes())
    whole[4096:] = bytes(len(whole) - 4096)
    file.write_bytes(whole)
    findings = await look(place)
    assert findings["database"].verdict == "wrong"
    assert "backup" in findings["database"].remedy


async def test_clock_before_the_newest_event_is_wrong(place: Path) -> None:
    change(place, "INSERT INTO log (topic, partition, key, event_id, at, body) VALUES ('events', 0, '', 'e', 4e15, '')")
    assert (await look(place))["clock"].verdict == "wrong"


async def test_leads_paged_later_than_now_are_named(place: Path) -> None:
    change(
        place,
        "INSERT INTO notifier_pages (id, lead_id, epoch, rung, kind, person, channels, channel_index, state, due_at, tries, deliveries, "
        "created_at) VALUES ('p', 'lead-9', 1, 0, 'owner', 'ana', '[]', 0, 'sent', 0, 0, 0, 4e15)",
    )
    finding = (await look(place))["times ahead"]
    assert finding.verdict == "warning"
    assert "1 leads were paged later than now, until 2096-10-02 07:06 UTC: lead-9" in finding.said


async def test_waiting_dead_letters_are_a_warning(place: Path) -> None:
    change(
        place,
        "INSERT INTO dead_letters (id, at, consumer, origin, source, content_type, body, error, code, state, changed_at, tries) VALUES ('l', 1, 'router', 'leads/0/1', 'e', 'x', x'', 'e', 'c', 'waiting', 1, 3)",
    )
    finding = (await look(place))["dead letters"]
    assert (finding.verdict, finding.said) == ("warning", "waiting: 1 of router")


@asynccontextmanager
async def fake_slack(body: str, status: str = "200 OK") -> AsyncIterator[tuple[str, list[bytes]]]:
    """Start a Slack API with one answer to all; yield its address and the requests."""
    requests: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write((head + body).encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/", requests


@pytest.mark.parametrize(
    ("body", "verdict", "text"),
    [
        ('{"ok": true}', "ok", "the token is valid"),
        ('{"ok": false, "error": "invalid_auth"}', "wrong", "Slack refuses the token (invalid_auth)"),
        ("<html>", "wrong", "answered 200, but not as Slack does"),
    ],
)
async def test_slack_token_is_verified(place: Path, body: str, verdict: str, text: str) -> None:
    async with fake_slack(body) as (url, requests):
        finding = (await look(place, slack_bot_token=TOKEN, slack_signing_secret=TOKEN, slack_api_url=url))["slack"]
    assert (finding.verdict, finding.said) == (verdict, text)
    assert requests[0].startswith(b"POST /api/auth.test")
    assert f"Bearer {TOKEN}".encode() in requests[0]


async def test_channel_that_the_app_is_not_in_is_wrong(place: Path) -> None:
    agreement = place / "config" / "agreement.yaml"
    rung = '    - {at: 26m, page: channel, to: "#inbound"}\n    - {at: 27m, page: channel, to: C0SALES}\n'
    lines = agreement.read_text().splitlines(keepends=True)
    at = next(n for n, line in enumerate(lines) if "at: 35m" in line)
    agreement.write_text("".join([*lines[:at], rung, *lines[at:]]))
    settings_of_slack = {"slack_bot_token": TOKEN, "slack_signing_secret": TOKEN}
    async with FakeSlack() as slack:
        slack.joined = {f"a{n}" for n in range(90)} | {"sales"}
        finding = (await look(place, slack_api_url=slack.url, **settings_of_slack))["slack"]
        assert finding.said == "the ladder pages #inbound, but the app is not in it, or Slack has no such channel"
        slack.joined.add("inbound")
        assert (await look(place, slack_api_url=slack.url, **settings_of_slack))["slack"].verdict == "ok"
        slack.respond(200, body='{"ok": true}')
        slack.error("missing_scope")
        finding = (await look(place, slack_api_url=slack.url, **settings_of_slack))["slack"]
        assert (finding.verdict, "missing_scope" in finding.said) == ("warning", True)


async def test_app_token_of_socket_mode_is_verified(place: Path) -> None:
    tokens = {"slack_bot_token": TOKEN, "slack_app_token": "xapp-" + "1" * 20}
    for body, verdict in (
        ('{"ok": true, "url": "wss://x"}', "ok"),
        ('{"ok": false, "error": "invalid_auth"}', "wrong"),
    ):
        async with fake_slack(body) as (url, requests):
            assert (await look(place, slack_api_url=url, **tokens))["slack socket"].verdict == verdict
        assert b"POST /api/apps.connections.open" in requests[-1]


async def test_unreachable_slack_is_wrong(place: Path) -> None:
    async with fake_slack("") as (url, _):
        pass
    finding = (await look(place, slack_bot_token=TOKEN, slack_signing_secret=TOKEN, slack_api_url=url))["slack"]
    assert (finding.verdict, "no answer" in finding.said) == ("wrong", True)


async def test_mail_server_is_contacted_without_a_mail(place: Path) -> None:
    async with FakeSmtp() as smtp:
        answer = await look(place, smtp_url=smtp.url, mail_from="a@a.example")
        assert answer["mail"].verdict == "ok"
        assert smtp.mails == []
    answer = await look(place, smtp_url=smtp.url, mail_from="a@a.example")
    assert (answer["mail"].verdict, "ConnectError" in answer["mail"].said) == ("wrong", True)


def test_unusable_directory_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks.directory(tmp_path / "gone")[0].verdict == "warning"
    assert checks.directory(tmp_path)[0].verdict == "ok"
    monkeypatch.setattr(checks, "FREE_BYTES_MIN", 1 << 62)
    (full,) = checks.directory(tmp_path)
    assert (full.verdict, "make room" in full.remedy) == ("wrong", True)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "cannot be written" in checks.directory(tmp_path)[0].said


async def test_impossible_year_is_wrong(place: Path) -> None:
    clock = HandClock()
    clock.advance(days=-3650)
    reads = SqliteReader(reader_engine(place / "data" / "firsthour.db"))
    findings = await reads(lambda connection: database_checks.database(connection, clock))
    reads.close()
    assert [one.verdict for one in findings if one.what == "clock"] == ["wrong"]


def test_events_in_the_spool_are_a_warning(tmp_path: Path) -> None:
    own_settings = settings.load(
        data_dir=tmp_path, database_url="postgresql://u@db/x", kafka_bootstrap="k:9092", spool_bytes_max=1 << 20
    )
    file = tmp_path / "spool.db"
    assert [(one.verdict, one.said) for one in distributed_checks.spool(own_settings)] == [("ok", "empty")]
    engine = writer_engine(file)
    with engine.begin() as connection:
        log.create(connection)
        connection.exec_driver_sql(
            "INSERT INTO log (topic, partition, key, event_id, at, body) VALUES ('events', 0, '', 'e', 1, '')"
        )
    engine.dispose()
    (waiting,) = distributed_checks.spool(own_settings)
    assert (waiting.verdict, waiting.said) == ("warning", "events waiting for Kafka: 1")
    file.write_bytes(b"no database" * 1000)
    (broken,) = distributed_checks.spool(own_settings)
    assert (broken.verdict, "keep it" in broken.remedy) == ("wrong", True)
    assert broken.said == f"{file} is damaged (file is not a database)"
    large = own_settings.model_copy(update={"spool_bytes_max": 1 << 60})
    assert "SPOOL_BYTES_MAX lower" in distributed_checks.spool(large)[0].remedy


async def test_file_that_is_no_database_is_wrong_with_the_cause(place: Path) -> None:
    (place / "data" / "firsthour.db").write_text("not a database " * 100)
    finding = (await look(place))["database"]
    assert finding.verdict == "wrong"
    assert "file is not a database" in finding.said
    assert "doctor" not in finding.said


def spool_finding(directory: Path) -> Finding:
    (finding,) = distributed_checks.spool(settings.load(data_dir=directory, spool_bytes_max=1 << 20))
    return finding


def test_spool_of_a_gateway_that_is_starting_is_ok(tmp_path: Path) -> None:
    file = tmp_path / "spool.db"
    file.touch()
    assert (spool_finding(tmp_path).verdict, spool_finding(tmp_path).said) == ("ok", "empty")
    engine = writer_engine(file)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE other (id INTEGER)")
    engine.dispose()
    assert (spool_finding(tmp_path).verdict, spool_finding(tmp_path).said) == ("ok", "empty")


def test_spool_that_cannot_be_opened_is_not_to_be_moved(tmp_path: Path) -> None:
    (tmp_path / "spool.db").mkdir()
    finding = spool_finding(tmp_path)
    assert (finding.verdict, "cannot be read" in finding.said, "this user" in finding.remedy) == ("wrong", True, True)
    assert "Error" not in finding.said

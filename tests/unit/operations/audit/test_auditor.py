"""The audit: it finds each thing that it looks for, tells it once, ends it when it is cured, and costs the same for any history."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from firsthour.operations.audit import checks
from firsthour.operations.audit.auditor import AUDITOR, Auditor
from firsthour.operations.audit.checks import AuditTime
from firsthour.operations.audit.heartbeat import Heartbeat
from firsthour.runtime.observability.metrics import Telemetry
from tests.unit.operations.harness import OperationsHarness
from tests.unit.operations.worlds import varied

PAST = "(SELECT min(created_at) FROM notifier_pages)"
LATER = "(SELECT max(created_at) + 3600000000 FROM notifier_pages)"
PAGE = "UPDATE notifier_pages SET provider_id = NULL, sent_at = NULL"
RECORD = (
    "INSERT INTO log (topic, partition, key, event_id, at, body) SELECT 'routes', 0, 'x', 'x', min(at), '' FROM log"
)
BREAKS = (
    ("lead_forgotten", "UPDATE router_leads SET owner = NULL", "neither an owner nor a place in a queue: lead "),
    ("clock_missing", "DELETE FROM notifier_clocks", "an untouched lead has no running clock: lead "),
    ("clock_missing", "UPDATE notifier_clocks SET state = 'over'", "no running clock"),
    ("clock_missing", "UPDATE notifier_clocks SET epoch = 7", "no running clock"),
    ("clock_missing", "UPDATE notifier_clocks SET rep = 'x'", "no running clock"),
    ("clock_missing", "UPDATE notifier_clocks SET submit_at = 0", "no running clock"),
    ("rung_overdue", f"UPDATE notifier_clocks SET due_at = {PAST} - 1", "a rung is overdue by more than 60 s"),
    (
        "time_ahead",
        "UPDATE notifier_pages SET created_at = created_at + 3600000000",
        "a page is of later than now: lead ",
    ),
    ("page_stuck", f"{PAGE}, state = 'sending', next_at = {PAST}", "sending since 2026-12-01 09:00:00 UTC"),
    ("page_stuck", f"{PAGE}, state = 'pending', next_at = {PAST}", "pending since"),
    ("page_late", f"{PAGE}, state = 'pending', next_at = {LATER}, error = 'a rate limit'", "a page is late: page "),
    (
        "page_late",
        f"{PAGE}, state = 'pending', next_at = {PAST}, delay = 'busy', error = 'slack is busy'",
        "slack is busy",
    ),
    ("record_waits", RECORD, "records of 3 topics have waited for more than 30 s: for example "),
)
"""The check, the statement that breaks what it looks for, and a part of its sentence."""


def auditor(harness: OperationsHarness) -> Auditor:
    runner = harness.system.runners[AUDITOR]
    assert isinstance(runner, Auditor)
    return runner


async def found(harness: OperationsHarness) -> dict[str, str]:
    """Audit, and return the open findings with their sentences."""
    await auditor(harness).audit()
    return {str(name): str(text) for name, text in await harness.rows("SELECT check_name, text FROM notifier_findings")}


def gauge(harness: OperationsHarness, check: str) -> float | None:
    registry = harness.system.resources.telemetry.registry
    return registry.get_sample_value("audit_findings", {"check": check})


async def test_installation_in_every_state_has_no_finding(harness: OperationsHarness) -> None:
    await varied(harness)
    assert await found(harness) == {}
    harness.clock.advance(minutes=2)
    await harness.system.settle()
    assert await found(harness) == {}


@pytest.mark.parametrize(("check", "statement", "text"), BREAKS)
async def test_audit_finds_what_is_broken(harness: OperationsHarness, check: str, statement: str, text: str) -> None:
    await harness.ask("ann")
    harness.clock.advance(minutes=4)
    await harness.break_by(statement)
    with capture_logs() as lines:
        await auditor(harness).audit()
        assert text in (await found(harness))[check]
    assert gauge(harness, check) == (3 if check == "record_waits" else 1)
    assert [line["check"] for line in lines if line["event"] == "audit finding"].count(check) == 1, "told once"
    warnings = (await harness.client.get("/readyz")).json()["warnings"]
    assert any(line.startswith("audit: ") and text in line for line in warnings)


async def test_finding_begins_once_and_ends_when_it_is_cured(harness: OperationsHarness) -> None:
    await harness.ask("ann")
    harness.clock.advance(minutes=17)
    await auditor(harness).audit()
    [[since]] = await harness.rows("SELECT since FROM notifier_findings")
    harness.clock.advance(minutes=1)
    await auditor(harness).audit()
    assert await harness.rows("SELECT since FROM notifier_findings") == [(since,)]

    with capture_logs() as lines:
        await harness.system.settle()
        assert await found(harness) == {}
    assert [line["event"] for line in lines if "audit" in line["event"]] == ["audit finding ended"]
    assert gauge(harness, "rung_overdue") == 0
    assert (await harness.client.get("/readyz")).json()["warnings"] == []


async def test_work_that_is_a_moment_old_is_no_finding(harness: OperationsHarness) -> None:
    await harness.ask("ann")
    await harness.break_by("DELETE FROM notifier_clocks", f"{PAGE}, state = 'pending', next_at = {PAST}", RECORD)
    harness.clock.advance(seconds=29)
    assert await found(harness) == {}


async def test_page_that_is_late_for_a_moment_is_no_finding(harness: OperationsHarness) -> None:
    await harness.ask("ann")
    harness.clock.advance(minutes=4)
    await harness.break_by(f"{PAGE}, state = 'pending', delay = 'rate_limit', next_at = {LATER}")
    assert await found(harness) == {}, "its hours may have begun a moment ago"
    await harness.break_by("UPDATE notifier_pages SET state = 'sent', delay = '', next_at = NULL")
    assert await found(harness) == {}
    await harness.break_by(f"{PAGE}, state = 'pending', delay = 'quiet_hours', next_at = {LATER}")
    for _ in range(2):
        assert await found(harness) == {}


async def test_number_of_a_finding_is_bounded(harness: OperationsHarness) -> None:
    await harness.ask("ann")
    columns = ", ".join(row[1] for row in await harness.rows("PRAGMA table_info(router_leads)") if row[1] != "lead_id")
    copy = f"INSERT INTO router_leads (lead_id, {columns}) SELECT 'copy' || ?, {columns} FROM router_leads LIMIT 1"
    for n in range(120):
        await harness.break_by(copy, n=n)
    harness.clock.advance(minutes=2)
    text = (await found(harness))["clock_missing"]
    assert text.startswith("100 or more untouched leads have no running clock: for example lead copy")


async def test_leads_beyond_one_slice_have_their_turn(
    harness: OperationsHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "SLICE", 2)
    await harness.ask("ann", "ben", "cat", "dan", "eve")
    last = (await harness.rows("SELECT max(lead_id) FROM router_leads"))[0][0]
    await harness.break_by("DELETE FROM notifier_clocks WHERE lead_id = ?", lead=last)
    harness.clock.advance(minutes=2)
    seen = ["clock_missing" in await found(harness) for _ in range(7)]
    assert seen == [False, False, True, True, True, True, True], "it does not end between two turns"


async def test_audit_runs_each_minute_beside_the_timers(harness: OperationsHarness) -> None:
    def audits() -> float | None:
        return harness.system.resources.telemetry.registry.get_sample_value("audits_total", {"outcome": "done"})

    await harness.wait(seconds=59)
    assert audits() is None
    await harness.wait(seconds=1)
    assert audits() == 1
    await harness.wait(seconds=60)
    assert audits() == 2


# --- the heartbeat ----------------------------------------------------------------------------------------------------


class Sink:
    """A service that waits for heartbeats, over a real socket."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.status = "200 OK"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.requests.append(head.partition(" HTTP")[0])
        writer.write(f"HTTP/1.1 {self.status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()


@pytest.fixture
async def sink() -> AsyncIterator[tuple[Sink, str]]:
    one = Sink()
    server = await asyncio.start_server(one.serve, "127.0.0.1", 0)
    yield one, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/ping/secret-uuid?rid=1"
    server.close()
    await server.wait_closed()


async def test_heartbeat_is_sent_while_the_audit_works(harness: OperationsHarness, sink: tuple[Sink, str]) -> None:
    service, url = sink
    runner = auditor(harness)
    runner._heartbeat = Heartbeat(SecretStr(url), harness.system.resources.telemetry)
    await harness.ask("ann")
    harness.clock.advance(minutes=16)
    await runner.audit()
    assert service.requests == ["GET /ping/secret-uuid?rid=1"], "a finding does not stop it"

    await harness.break_by("DROP TABLE notifier_findings")
    with capture_logs() as lines:
        await runner.audit()
    assert len(service.requests) == 1
    assert [line["event"] for line in lines] == ["audit failed"]
    harness.clock.advance(minutes=4)
    assert "the audit has not worked since 2026-12-01 09:16 UTC; see the log" in runner.warnings()


@pytest.mark.parametrize(
    ("status", "why"), [("500 Internal Server Error", "answered 500"), ("302 Found", "answered 302")]
)
async def test_refused_heartbeat_is_a_warning_without_the_address(
    harness: OperationsHarness, sink: tuple[Sink, str], status: str, why: str
) -> None:
    service, url = sink
    service.status = status
    heartbeat = Heartbeat(SecretStr(url), Telemetry())
    with capture_logs() as lines:
        await heartbeat.send(harness.clock.now)
        await heartbeat.send(harness.clock.now)
    assert [line["why"] for line in lines] == [why]
    assert "secret-uuid" not in str(lines)
    assert heartbeat.warnings() == [
        f"no heartbeat is accepted since 2026-12-01 09:00 UTC ({why}); check FIRSTHOUR_HEARTBEAT_URL"
    ]
    service.status = "204 No Content"
    await heartbeat.send(harness.clock.now)
    assert heartbeat.warnings() == []


async def test_unreachable_heartbeat_does_not_fail_the_audit(harness: OperationsHarness) -> None:
    runner = auditor(harness)
    runner._heartbeat = Heartbeat(SecretStr("http://127.0.0.1:1/x"), harness.system.resources.telemetry)
    await runner.audit()
    assert runner.warnings() == [
        "no heartbeat is accepted since 2026-12-01 09:00 UTC (no answer (ConnectionRefusedError)); check FIRSTHOUR_HEARTBEAT_URL"
    ]


# --- cost -------------------------------------------------------------------------------------------------------------


def first_slice(connection: Any, time: AuditTime) -> object:
    return checks.find_clockless(connection, time, "")


async def steps(harness: OperationsHarness) -> dict[str, int]:
    """Return the steps of the database's machine for each check."""
    time = AuditTime.of(harness.clock)

    def count(connection: Any) -> dict[str, int]:
        driver: Any = connection.connection.driver_connection
        counted: dict[str, int] = {}
        look: tuple[Callable[[Any, AuditTime], object], ...] = (
            *checks.LEAD_CHECKS,
            checks.records_are_read,
            first_slice,
        )
        for check in look:
            ticks: list[int] = []
            driver.set_progress_handler(lambda ticks=ticks: ticks.append(1), 10)
            check(connection, time)
            driver.set_progress_handler(None, 0)
            counted[check.__name__] = len(ticks)
        return counted

    return await harness.system.reads(count)


@pytest.mark.slow
async def test_cost_of_the_audit_does_not_grow_with_the_history(harness: OperationsHarness) -> None:
    await varied(harness)
    before = await steps(harness)
    for table in ("router_leads", "notifier_clocks", "notifier_pages", "log"):
        key = {"notifier_pages": "id", "log": "event_id"}.get(table, "lead_id")
        names = [row[1] for row in await harness.rows(f"PRAGMA table_info({table})")]
        rest = [name for name in names if name not in (key, "id", "rung", "touched_at", "next_at", "due_at", "state")]
        due_at = "NULL" if table == "notifier_clocks" else "due_at"
        fixed = {"rung": "rung + n * 10", "touched_at": "1", "next_at": "NULL", "due_at": due_at, "state": "state"}
        fixed |= {key: f"{key} || n", **({"id": "id + n * 1000"} if table == "log" else {})}
        own = [name for name in fixed if name in names]
        await harness.break_by(
            f"WITH RECURSIVE many(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM many WHERE n < 2000) "
            f"INSERT INTO {table} ({', '.join([*own, *rest])}) "
            f"SELECT {', '.join([*(fixed[name] for name in own), *rest])} FROM (SELECT * FROM {table} LIMIT 3), many"
        )
    [[leads, pages]] = await harness.rows(
        "SELECT (SELECT count(*) FROM router_leads), (SELECT count(*) FROM notifier_pages)"
    )
    assert min(leads, pages) > 1_900
    after = await steps(harness)
    assert {name: count for name, count in after.items() if count > before[name] + 20} == {}

"""The stored requests of leads: merges, repeated records, and the rebuilding from the history."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from firsthour.kernel.time_units import micros
from firsthour.runtime.storage.sqlite_engines import writer_engine
from firsthour.runtime.storage.unit import Unit
from schemas.envelope import encode
from schemas.events.base import Event
from schemas.events.leads import LeadsMerged
from schemas.events.routes import LeadEvent
from services.reporting import store
from services.reporting.lead_models import follow
from services.reporting.response_model import LEADS_AT_ONCE, rebuild
from tests.empty_tables import create_tables
from tests.hand_clock import HandClock
from tests.unit.notifier.harness import CONFIG
from tests.unit.reporting.test_response import NINE, assigned, at, qualified, touched


class ReportingHarness:
    """The tables of reporting on one database file. Each call is one unit."""

    def __init__(self, file: Path) -> None:
        create_tables(file)
        self.engine = writer_engine(file)
        self.count = 0

    def unit(self, work: Any) -> Any:
        with self.engine.connect() as connection, connection.begin():
            unit = Unit(connection, HandClock(NINE + timedelta(days=1)), CONFIG)
            result = work(unit)
            unit.finish()
            return result

    def hear(self, *events: Event) -> None:
        """Apply these records as one batch, and store them in the history, as the handler does."""

        def work(unit: Unit) -> None:
            follow(unit, events)
            store.insert_history(unit, [self._row(event) for event in events])
            leads = {event.lead_id for event in events if isinstance(event, LeadEvent)}
            store.set_statuses(unit, [{"lead_id": lead, "status": "assigned", "version": 1} for lead in leads])

        self.unit(work)

    def _row(self, event: Any) -> dict[str, object]:
        self.count += 1
        body = encode(event, id=f"e{self.count}", source="urn:test", time=event.at, key=event.lead_id)
        row = {"id": f"e{self.count}", "topic": "routes", "type": event.TYPE, "lead_id": event.lead_id, "cause": None}
        return {**row, "at": micros(event.at), "heard_at": micros(event.at), "position": self.count, "body": body}

    def rows(self) -> list[tuple[Any, ...]]:
        sql = (
            "SELECT lead_id, submit_at, rep, touched_at, attempts, conversations FROM reporting_responses ORDER BY 1, 2"
        )
        return [tuple(row) for row in self.unit(lambda unit: unit.connection.exec_driver_sql(sql).all())]


@pytest.fixture
def reporting(tmp_path: Path) -> Iterator[ReportingHarness]:
    harness = ReportingHarness(tmp_path / "reporting.db")
    yield harness
    harness.engine.dispose()


def of(event: LeadEvent, lead: str, version: int) -> LeadEvent:
    return replace(event, lead_id=lead, version=version)


MERGE = LeadsMerged(lead_id="l1", merged_id="l2", at=at(15))


def test_merged_leads_have_the_requests_of_one_person(reporting: ReportingHarness) -> None:
    reporting.hear(qualified(0), of(assigned(0), "l1", 2))
    reporting.hear(of(qualified(10), "l2", 1), of(assigned(10, "bo", 10), "l2", 2))
    reporting.hear(MERGE)
    reporting.hear(MERGE)  # under the other id
    once = [("l1", micros(NINE), "ana", None, 0, 0)]
    assert reporting.rows() == once

    reporting.hear(of(touched(20, answered=True), "l2", 3))  # a late record of the lead that was merged
    assert reporting.rows() == [("l1", micros(NINE), "ana", micros(at(20)), 0, 1)]

    reporting.hear(LeadsMerged(lead_id="l0", merged_id="l1", at=at(30)))
    reporting.hear(of(touched(40), "l2", 4))
    assert reporting.rows() == [("l0", micros(NINE), "ana", micros(at(20)), 1, 1)]


def test_merge_in_the_batch_of_the_records_before_and_after_it(reporting: ReportingHarness) -> None:
    second = of(qualified(10), "l2", 1)
    reporting.hear(qualified(0), second, MERGE, of(touched(20), "l2", 2), of(touched(25), "l1", 3))
    assert reporting.rows() == [("l1", micros(NINE), None, micros(at(20)), 2, 0)]


def test_rebuilt_requests_equal_the_requests_as_they_were(reporting: ReportingHarness) -> None:
    for n in range(2 * LEADS_AT_ONCE + 3):
        lead = f"lead{n:03}"
        reporting.hear(of(qualified(n), lead, 1), of(assigned(n, submit=n), lead, 2))
        if n % 2:
            reporting.hear(of(touched(n + 5, answered=n % 3 == 0), lead, 3))
    reporting.hear(LeadsMerged(lead_id="lead001", merged_id="lead002", at=at(15)))
    before = reporting.rows()
    assert len(before) == 2 * LEADS_AT_ONCE + 3

    reporting.unit(lambda unit: unit.connection.exec_driver_sql("DELETE FROM reporting_responses"))
    assert sum(reporting.unit(rebuild) is not None for _ in range(5)) == 2
    assert reporting.rows() == before
    assert reporting.unit(rebuild) is None


def test_request_of_a_person_who_asks_a_thousand_times_is_one_row(reporting: ReportingHarness) -> None:
    reporting.hear(*(of(qualified(n), "l1", n + 1) for n in range(1_000)))
    assert reporting.rows() == [("l1", micros(NINE), None, None, 0, 0)]

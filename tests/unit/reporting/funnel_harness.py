"""The tables of reporting in memory, with the model of the funnel. Each call is one unit."""

import dataclasses
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, urlsplit

from firsthour.kernel.time_units import micros
from firsthour.runtime.storage.unit import Unit
from schemas.envelope import encode
from schemas.events.base import Event
from schemas.events.leads import LeadScored
from schemas.events.routes import LeadEvent
from services.reporting import funnel_tallies, store
from services.reporting.domain.funnel_steps import steps_of
from services.reporting.funnel_model import rebuild_funnel
from services.reporting.funnel_passes import DAY_US
from services.reporting.lead_models import follow
from services.reporting.reports.funnel_counting import FunnelQuery, count, packed_day
from services.reporting.reports.funnel_leads import leads_view
from services.reporting.reports.funnel_query import FunnelLeadsParameters, FunnelReportParameters, query_of
from services.reporting.reports.funnel_view import report_view
from tests.empty_tables import memory_engine
from tests.hand_clock import HandClock
from tests.unit.notifier.harness import CONFIG
from tests.unit.reporting.funnel_histories import STAGES, START

T = TypeVar("T")
_LIFECYCLE: Final = CONFIG.agreement.lifecycle.model_copy(update={"stages": STAGES})
WITH_STAGES: Final = dataclasses.replace(
    CONFIG, agreement=CONFIG.agreement.model_copy(update={"lifecycle": _LIFECYCLE}), version="stages"
)
NOW: Final = START + timedelta(days=60)


class FunnelHarness:
    """A database with the funnel. Records are heard as the handler hears them."""

    def __init__(self) -> None:
        self.engine = memory_engine()
        self.config = WITH_STAGES
        self.position = 0

    def unit(self, work: Callable[[Unit], T]) -> T:
        """Run one unit, and commit it."""
        with self.engine.connect() as connection, connection.begin():
            unit = Unit(connection, HandClock(NOW), self.config)
            result = work(unit)
            unit.finish()
            return result

    def hear(self, *events: Event) -> None:
        """Apply these records as one batch, and store them in the history."""

        def work(unit: Unit) -> None:
            follow(unit, events)
            store.insert_history(unit, [self._row(event) for event in events])
            leads = {event.lead_id for event in events if isinstance(event, LeadEvent | LeadScored)}
            store.set_statuses(unit, [{"lead_id": lead, "status": "new", "version": 0} for lead in leads])

        self.unit(work)

    def _row(self, event: Any) -> dict[str, object]:
        self.position += 1
        id = f"e{self.position}"
        body = encode(event, id=id, source="urn:test", time=event.at, key=event.lead_id)
        row = {"id": id, "topic": event.TOPIC, "type": event.TYPE, "lead_id": event.lead_id, "cause": None}
        return {**row, "at": micros(event.at), "heard_at": micros(event.at), "position": self.position, "body": body}

    def passes(self) -> list[tuple[Any, ...]]:
        """Return all passes as they are stored."""
        sql = "SELECT * FROM reporting_funnel ORDER BY lead_id, cycle"
        return [tuple(row) for row in self.unit(lambda unit: unit.connection.exec_driver_sql(sql).all())]

    def query(self, **parameters: Any) -> FunnelQuery:
        """Return what these parameters ask for."""
        asked = FunnelReportParameters.model_validate({"from": "90d", **parameters})
        return query_of(asked, self.config, NOW, asked.by or "")

    def report(self, **parameters: Any) -> dict[str, Any]:
        """Return the report."""
        query, teams = self.query(**parameters), self.config.agreement.lifecycle.statuses
        counts = self.unit(lambda unit: count(unit.connection, query))
        return report_view(query, counts, micros(NOW), teams)

    def leads(self, link: str, **more: Any) -> list[dict[str, Any]]:
        """Return all leads behind a figure, page by page."""
        asked, cursor, items = dict(parse_qsl(urlsplit(link).query, keep_blank_values=True)), None, []
        while True:
            parameters = FunnelLeadsParameters.model_validate({**asked, "limit": 2, "cursor": cursor, **more})
            query = query_of(parameters, self.config, NOW)
            answer = self.unit(lambda unit, q=query, p=parameters: leads_view(unit.connection, q, p))  # type: ignore[misc]
            items += answer["items"]
            cursor = answer["next"]
            if cursor is None:
                return items

    def count_days(self) -> int:
        """Store the tally of each day that has changed. Return their number."""
        steps, layout = steps_of(self.config), self.query().layout
        days = self.unit(lambda unit: funnel_tallies.marked_days(unit.connection, 0, micros(NOW) // DAY_US + 1))
        for day in days:
            state = self.unit(lambda unit, d=day: funnel_tallies.state_of(unit.connection, d))  # type: ignore[misc]
            body = self.unit(lambda unit, d=day: packed_day(unit.connection, steps, d))  # type: ignore[misc]
            assert self.unit(lambda unit, d=day, s=state, b=body: funnel_tallies.replace_day(unit, d, s, layout, b))  # type: ignore[misc]
        return len(days)

    def rebuild(self) -> None:
        """Forget all passes, and rebuild them from the history."""
        self.unit(lambda unit: unit.connection.exec_driver_sql("DELETE FROM reporting_funnel"))
        self.unit(lambda unit: unit.connection.exec_driver_sql("DELETE FROM reporting_models"))
        while self.unit(rebuild_funnel) is not None:
            pass

    def close(self) -> None:
        """Close the database."""
        self.engine.dispose()


def heard(records: Sequence[Event], sizes: Sequence[int] = ()) -> FunnelHarness:
    """Return a harness that has heard these records, in batches of these sizes and then of the rest."""
    harness, rest = FunnelHarness(), list(records)
    for size in sizes:
        batch, rest = rest[:size], rest[size:]
        if batch:
            harness.hear(*batch)
    if rest:
        harness.hear(*rest)
    return harness


def at_minute(minutes: float) -> datetime:
    """Return a time after the start of the histories."""
    return START + timedelta(minutes=minutes)

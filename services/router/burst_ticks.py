"""The tick that routes the leads of released bursts, and returns those of dropped ones to Marketing."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from firsthour.kernel.time_units import micros, moment
from firsthour.runtime.storage.unit import Unit
from schemas.events.routes import HELD_BACK
from services.router.domain.burst import burst_of
from services.router.domain.rules import rules_of
from services.router.queue import peek_queue
from services.router.session import RoutingSession
from services.router.store.bursts import BurstChange, change_bursts, ended_and_unserved
from services.router.store.waiting import FIRST, Place, waiting

ROUTED_MAX: Final = 100
"""The most leads that a unit handles."""
SETTLED: Final = timedelta(seconds=60)
"""A unit that ran while a burst ended may hold a lead back a moment later: the round is repeated for so long."""


@dataclass
class EndBursts:
    """Handles the leads of released and dropped bursts, at most `ROUTED_MAX` per unit. The position is in memory only."""

    position: Place = FIRST

    def __call__(self, unit: Unit) -> datetime | None:
        """Run once. Return the time of the next run. None: no such burst is left."""
        rows = ended_and_unserved(unit.connection)
        if not rows:
            return None
        places = waiting(unit.connection, [HELD_BACK], self.position, ROUTED_MAX)
        session = RoutingSession(unit, [place[2] for place in places], peek_queue(unit, rules_of(unit.config)))
        ids = {row.id for row in rows}
        for place in places:
            lead = session.leads.get(place[2])
            burst = burst_of(lead) if lead is not None and lead.queue_pool == HELD_BACK else None
            if lead is not None and burst is not None and burst.id in ids:
                session.route(lead)
        session.save()
        has_more = len(places) == ROUTED_MAX
        self.position = places[-1] if has_more else FIRST
        if has_more:
            return unit.now
        settled = micros(unit.now - SETTLED)
        done = [row for row in rows if _ended_at(row) <= settled]
        unit.store(change_bursts(_served(row) for row in done))
        last = max((at for row in rows if (at := _ended_at(row)) > settled), default=None)
        return None if last is None else moment(last) + SETTLED


def _ended_at(row: Any) -> int:
    at: int = row.released_at if row.dropped_at is None else row.dropped_at
    return at


def _served(row: object) -> BurstChange:
    fields = {name: getattr(row, name) for name in BurstChange.__struct_fields__}
    return BurstChange(**{**fields, "leads": 0, "served": 1})

"""The waiting leads that a unit has in memory, read before any lock."""

from collections.abc import Collection, Iterable

from sqlalchemy.engine import Connection

from firsthour.kernel.time_units import micros
from firsthour.runtime.storage.unit import Unit
from services.router.domain.eligibility import with_room
from services.router.domain.rules import RoutingRules
from services.router.store.team import presences
from services.router.store.waiting import FIRST, Place, pools_waited_for, waiting

SERVED_MAX = 200
"""How many waiting leads a unit reads."""

QUEUE_TICK = "router.queue"


class WaitingLeads:
    """The part of the queue that a unit knows.

    `waited_for`: the pools with waiting leads. `whole`: those of them all of whose waiting leads are in memory. `ids`: the
    waiting leads in memory, in the order of the queue.
    """

    def __init__(
        self, waited_for: Collection[str] = (), whole: Collection[str] = (), places: Iterable[Place] = ()
    ) -> None:
        self.waited_for = set(waited_for)
        self.whole = set(whole)
        self.ids = [place[2] for place in places]
        self.stale = True  # capacity may have been freed since the queue was last served

    def refresh(self, waited_for: Collection[str], connection: Connection) -> None:
        """Take in what changed before the pools were locked: a lead that began to wait meanwhile is not in memory, and
        still comes first."""
        self.waited_for |= set(waited_for)
        if self.whole:
            now = waiting(connection, self.whole, FIRST, SERVED_MAX)
            if not {place[2] for place in now} <= set(self.ids):
                self.whole = set()

    def add(self, pool: str, lead: str) -> None:
        """Add a lead of this unit, which begins to wait."""
        if pool not in self.waited_for:
            self.waited_for.add(pool)
            self.whole.add(pool)
        self.ids.append(lead)


def peek_queue(unit: Unit, rules: RoutingRules) -> WaitingLeads:
    """Return the leads that wait for pools in which a rep has capacity.

    Nothing is locked: leads are locked before pools, and only the pools' locks keep the queue as it is.
    """
    waited_for = pools_waited_for(unit.connection, rules.team.pool_by_id)
    now = micros(unit.clock.business())  # not `unit.now`: nothing is locked yet
    room = with_room(rules, presences(unit.connection), now) if waited_for else ()
    roomy = rules.reaching(room, waited_for)
    if not roomy:
        return WaitingLeads(waited_for)
    places = waiting(unit.connection, roomy, FIRST, SERVED_MAX)
    return WaitingLeads(waited_for, roomy if len(places) < SERVED_MAX else (), places)

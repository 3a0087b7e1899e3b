"""The waiting leads in the memory of a unit, read before any lock."""

from collections.abc import Collection, Iterable

from sqlalchemy.engine import Connection

from firsthour.kernel.time_units import micros
from firsthour.runtime.storage.unit import Unit
from services.router.domain.eligibility import reps_with_capacity
from services.router.domain.lead import BEHIND
from services.router.domain.rules import RoutingRules
from services.router.store.team import presences
from services.router.store.waiting import FIRST, Place, pools_waited_for, waiting

SERVED_MAX = 200
"""The most waiting leads that a unit reads."""

QUEUE_TICK = "router.queue"


class WaitingLeads:
    """The part of the queue in the memory of a unit.

    Attributes:
        pools: the pools with waiting leads.
        complete_pools: the pools whose waiting leads are all in memory.
        ids: the waiting leads in memory, in the order of the queue.
        stale: whether capacity may have been freed since the queue was last served.
    """

    def __init__(
        self, pools: Collection[str] = (), complete_pools: Collection[str] = (), places: Iterable[Place] = ()
    ) -> None:
        self.pools = set(pools)
        self.complete_pools = set(complete_pools)
        self.ids = [place[2] for place in places]
        self.stale = True

    def refresh(self, pools: Collection[str], connection: Connection) -> None:
        """Add the changes from before the pools were locked.

        A lead that began to wait meanwhile is not in memory, and still comes first: its pool is no longer complete.
        """
        self.pools |= set(pools)
        if self.complete_pools:
            places = waiting(connection, self.complete_pools, FIRST, SERVED_MAX, below=BEHIND)
            if not {place[2] for place in places} <= set(self.ids):
                self.complete_pools = set()

    def add(self, pool: str, lead: str) -> None:
        """Add a lead that begins to wait in this unit."""
        if pool not in self.pools:
            self.pools.add(pool)
            self.complete_pools.add(pool)
        self.ids.append(lead)


def peek_queue(unit: Unit, rules: RoutingRules) -> WaitingLeads:
    """Return the leads that wait for pools in which a rep has capacity. Nothing is locked.

    Leads that wait behind all others are left out: a tick serves them. Leads are locked before pools. Only the locks of pools prevent changes of the queue.
    """
    pools = pools_waited_for(unit.connection, rules.team.pool_by_id)
    now = micros(unit.clock.business())  # not `unit.now`: nothing is locked yet
    reps = reps_with_capacity(rules, presences(unit.connection), now) if pools else ()
    roomy_pools = rules.pools_served_by(reps, pools)
    if not roomy_pools:
        return WaitingLeads(pools)
    places = waiting(unit.connection, roomy_pools, FIRST, SERVED_MAX, below=BEHIND)
    return WaitingLeads(pools, roomy_pools if len(places) < SERVED_MAX else (), places)

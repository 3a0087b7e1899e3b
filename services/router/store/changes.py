"""The changes of a unit, stored together at its end."""

from collections.abc import Collection, Mapping

import msgspec

from firsthour.runtime.storage.unit import Unit
from services.router.domain.lead import Lead
from services.router.domain.team_state import Presence
from services.router.store.decisions import (
    Assignment,
    StoredDecision,
    close_assignments,
    insert_assignments,
    insert_decisions,
)
from services.router.store.leads import update_learned, upsert_leads
from services.router.store.team import ChangedLags, update_lags, upsert_presences


class RoutingChanges(msgspec.Struct, frozen=True):
    """The changes of a unit."""

    leads: Collection[Lead] = ()
    learned: Collection[Lead] = ()  # none of `leads`: only the score changed
    assignments: Collection[Assignment] = ()
    decided: Collection[StoredDecision] = ()
    turned: ChangedLags = {}
    reps: Mapping[str, Presence] = {}


def store_changes(unit: Unit, changes: RoutingChanges) -> None:
    """Store these changes at the unit's end, in a constant number of statements. Ends of assignments are stored now: a lead never
    has two open ones."""
    close_assignments(unit.connection, [one for one in changes.assignments if one.stored])
    unit.store(
        upsert_leads(changes.leads),
        update_learned(changes.learned),
        insert_assignments([one for one in changes.assignments if not one.stored]),
        insert_decisions(changes.decided),
        update_lags(changes.turned),
        upsert_presences(changes.reps),
    )

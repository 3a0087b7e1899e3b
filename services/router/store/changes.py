"""The changes of a unit, stored together at its end."""

from collections.abc import Collection, Mapping

import msgspec

from firsthour.runtime.storage.unit import Unit
from services.router.domain.lead import Lead
from services.router.domain.team_state import Presence
from services.router.store.bursts import BurstChange, change_bursts
from services.router.store.decisions import (
    Assignment,
    StoredDecision,
    close_assignments,
    insert_assignments,
    insert_decisions,
)
from services.router.store.leads import update_scores, upsert_leads
from services.router.store.team import ChangedRotations, update_rotations, upsert_presences


class RoutingChanges(msgspec.Struct, frozen=True):
    """The changes of a unit."""

    leads: Collection[Lead] = ()
    scored_leads: Collection[Lead] = ()  # only the score changed; none of `leads`
    assignments: Collection[Assignment] = ()
    decisions: Collection[StoredDecision] = ()
    rotations: ChangedRotations = {}
    presences: Mapping[str, Presence] = {}
    bursts: Collection[BurstChange] = ()


def store_changes(unit: Unit, changes: RoutingChanges) -> None:
    """Store these changes at the end of the unit, in a constant number of statements.

    Ends of assignments are stored at once, because a lead never has two open assignments.
    """
    close_assignments(unit.connection, [row for row in changes.assignments if row.stored])
    unit.store(
        upsert_leads(changes.leads),
        update_scores(changes.scored_leads),
        insert_assignments([row for row in changes.assignments if not row.stored]),
        insert_decisions(changes.decisions),
        update_rotations(changes.rotations),
        upsert_presences(changes.presences),
        change_bursts(changes.bursts),
    )

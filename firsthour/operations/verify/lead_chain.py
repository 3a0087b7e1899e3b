"""The chain of one lead, from the records of scoring to its assignments: each link must follow from the one before.

scored records -> profile -> lead -> status history without gaps -> assignment -> decision. `verify_clock` goes on with
the clock and its pages. All functions are pure questions to the rows of one lead; each gives one line per fault.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from firsthour.kernel.time_units import micros
from firsthour.operations.verify.lead_history import LeadRows, NewestScore
from firsthour.operations.verify.record_checks import Allowed
from firsthour.operations.verify.snapshot import IN_CRM, Snapshot
from schemas.events.routes import (
    LeadAssigned,
    LeadEvent,
    LeadOptedOut,
    LeadQualified,
    LeadQueued,
    LeadRecycled,
    LeadReleased,
    TouchApplied,
)
from services.router.domain.decision import Inputs, replay

ENDS_OWNERSHIP: Final = (LeadQualified, LeadQueued, LeadReleased, LeadRecycled, LeadOptedOut)
ANY_TEAM_BUT_SALES: Final = frozenset({"marketing", "nobody"})


class _Profile(msgspec.Struct):
    """The part of a profile's state that repeats its columns."""

    version: int
    email: str | None = None
    phone: str | None = None
    active_at: int = 0


class _State(msgspec.Struct):
    """The part of the router's state that repeats the newest record of scoring."""

    facts: dict[str, str | int | float | bool] = {}
    phone: str | None = None
    suppressed: str | None = None


class _RecordBody(msgspec.Struct):
    """The part of a stored decision that is compared."""

    inputs: Inputs
    rule: str | None = None
    pool: str | None = None


_profile = msgspec.json.Decoder(_Profile).decode
_state = msgspec.json.Decoder(_State).decode
_body = msgspec.json.Decoder(_RecordBody).decode


# --- I1: scored, known to the router, somewhere ------------------------------------------------------------------------


def is_known(case: Snapshot, rows: LeadRows) -> Iterator[str]:
    """I1. Scoring, the router and reporting know the lead, at the same version."""
    yield from (f"lead {rows.id}: {what}" for what in rows.told.odd)
    if rows.profile is None:
        yield f"lead {rows.id}: in other tables, and has no profile"
    else:
        yield from _profiled(case, rows)
    if rows.lead is None:
        yield f"lead {rows.id}: scored, and unknown to the router"
        return
    if rows.status is None and (case.whole or rows.told.moves):
        yield f"lead {rows.id}: known to the router, and not counted by reporting"
    elif case.whole and (rows.status.status, rows.status.version) != (rows.lead.status, rows.lead.version):
        yield (
            f"lead {rows.id}: {rows.lead.status} at version {rows.lead.version}, counted by reporting as "
            f"{rows.status.status} at {rows.status.version}"
        )


def _profiled(case: Snapshot, rows: LeadRows) -> Iterator[str]:
    profile, told, newest = rows.profile, rows.told, rows.told.newest
    kept = _profile(profile.state)
    columns = (profile.version, profile.email, profile.phone, profile.active_at)
    if columns != (kept.version, kept.email, kept.phone, kept.active_at):
        yield f"lead {rows.id}: the columns of its profile are not what its state says"
    if not rows.identities:
        yield f"lead {rows.id}: no identity leads to it"
    if profile.email is not None and f"email:{profile.email}" not in {row.identity for row in rows.identities}:
        yield f"lead {rows.id}: its email address does not lead to it"
    if not case.whole:
        return
    if told.scored != profile.version and not (rows.partial and told.scored < profile.version):
        yield f"lead {rows.id}: its profile is at version {profile.version}, the history has {told.scored} scores"
    if newest is not None:
        yield from _learned(rows, newest)


def _learned(rows: LeadRows, newest: NewestScore) -> Iterator[str]:
    if newest.version != rows.profile.version:
        yield f"lead {rows.id}: its profile is at version {rows.profile.version}, its last score at {newest.version}"
    if rows.lead is None:
        return
    if rows.lead.scoring_version != newest.version:
        yield (
            f"lead {rows.id}: scored up to version {newest.version}, the router knows version "
            f"{rows.lead.scoring_version}"
        )
        return
    state = _state(rows.lead.state)
    if (rows.lead.email, state.phone, state.suppressed) != (newest.email, newest.phone, newest.suppressed):
        yield f"lead {rows.id}: the router's address, phone or suppression is not that of the last score"
    if not newest.facts.items() <= state.facts.items():
        yield f"lead {rows.id}: the router's facts are not those of the last score"


def is_somewhere(case: Snapshot, rows: LeadRows) -> Iterator[str]:
    """I1. The lead is owned, waits with a reason, or belongs to Marketing, the CRM or no team."""
    lead = rows.lead
    if lead is None or lead.owner is not None or (lead.queue_pool is not None and lead.queue_reason):
        return
    if case.statuses.get(lead.status) not in ANY_TEAM_BUT_SALES and lead.status not in IN_CRM:
        yield f"lead {rows.id}: {lead.status}, and neither owned nor queued with a reason"


# --- I9: the history of the status --------------------------------------------------------------------------------------


def moves_join(case: Snapshot, rows: LeadRows, *, allowed: Allowed) -> Iterator[str]:
    """I9. Versions have no gap, each move begins where the one before ended, and the row stands where the last did."""
    before: LeadEvent | None = None
    for id, _, event in rows.told.moves:
        follows = before.version + 1 if before is not None else 1
        if event.version != follows and not (before is None and rows.partial):
            yield f"record {id}: lead {rows.id} has version {event.version} where {follows} is due"
        elif before is not None and event.was != before.status:
            yield f"record {id}: lead {event.lead_id} was {event.was}, after it had become {before.status}"
        if event.status != event.was and not allowed(event):
            yield f"record {id}: lead {event.lead_id} went from {event.was} to {event.status} by {event.by}"
        before = event
    lead = rows.lead
    if lead is None:
        return
    if before is None:
        if case.whole and not rows.partial and (lead.version, lead.status in case.initial) != (0, True):
            yield f"lead {rows.id}: stands as {lead.status} at version {lead.version}, and has no record"
    elif before.version != lead.version:
        if case.whole:
            yield f"lead {rows.id}: stands at version {lead.version}, its last record at {before.version}"
    elif before.status != lead.status:
        yield f"lead {rows.id}: stands as {lead.status}, its last record says {before.status}"


# --- I3: the columns of the lead, and its assignments ------------------------------------------------------------------


@dataclass
class Stands:
    """Where a lead stands after the records told so far. Times are microseconds."""

    epoch: int = 0
    owner: str | None = None
    pool: str | None = None
    urgency: str = ""
    submit_at: int | None = None
    touched_at: int | None = None
    queue_pool: str | None = None
    queue_since: int | None = None

    def take(self, event: LeadEvent) -> None:
        """Apply the next record."""
        self.epoch = event.epoch
        moves = event.status != event.was or isinstance(event, (*ENDS_OWNERSHIP, LeadAssigned))
        if moves and not isinstance(event, LeadQueued):
            self.queue_pool = self.queue_since = None
        if isinstance(event, LeadQualified | LeadQueued | LeadAssigned):
            self.urgency, self.submit_at = event.urgency, micros(event.submit_at)
        if isinstance(event, ENDS_OWNERSHIP):
            self.owner = self.pool = None
        match event:
            case LeadQualified():
                self.touched_at = None
            case LeadQueued():
                self.queue_pool, self.queue_since = event.pool, self.queue_since or micros(event.at)
            case LeadAssigned():
                self.owner, self.pool = event.rep, event.pool
            case TouchApplied() if event.ignored is None:
                self._touch(micros(event.touched_at))

    def _touch(self, at: int) -> None:
        if self.submit_at is None or at >= self.submit_at:
            self.touched_at = at if self.touched_at is None else min(self.touched_at, at)


_STANDS: Final = tuple(Stands.__dataclass_fields__)


def stands_as_told(case: Snapshot, rows: LeadRows) -> Iterator[str]:
    """I3. Owner, epoch, queue, urgency and times of the row follow from the records."""
    lead, moves = rows.lead, rows.told.moves
    if lead is None or not moves or moves[-1][2].version != lead.version or rows.partial:
        return
    told = Stands()
    for _, _, event in moves:
        told.take(event)
    for name in _STANDS:
        stored, said = getattr(lead, name), getattr(told, name)
        if stored != said:
            yield f"lead {rows.id}: {name} is {_shown(stored)}, its records say {_shown(said)}"
    if lead.urgency and lead.urgency_rank not in case.ranks(lead.urgency):
        yield f"lead {rows.id}: urgency_rank {lead.urgency_rank} is not that of {lead.urgency} in any agreement"


def _shown(value: object) -> str:
    return "none" if value is None else str(value)


def assignments_are_told(case: Snapshot, rows: LeadRows) -> Iterator[str]:
    """I3. Each assignment is one that a record tells, opened and closed at the moments of the records that did so."""
    given: dict[int, LeadAssigned] = {}
    ended: dict[int, tuple[int, str]] = {}
    for _, _, event in rows.told.moves:
        if isinstance(event, LeadAssigned):
            given[event.epoch] = event
        elif isinstance(event, ENDS_OWNERSHIP):
            ended.setdefault(event.epoch, (micros(event.at), event.by))
    for row in rows.assignments:
        said = given.pop(row.epoch, None)
        if said is None:
            if case.whole and not rows.partial:
                yield f"lead {rows.id}: assignment {row.epoch} is not in the history"
            continue
        if (row.rep, row.pool, row.rule, row.decision_id, row.opened_at) != (
            said.rep,
            said.pool,
            said.rule,
            said.decision_id,
            micros(said.assigned_at),
        ):
            yield f"lead {rows.id}: assignment {row.epoch} is not the one that the history tells"
        if row.closed_at is not None and case.whole and (row.closed_at, row.closed_by) != ended.get(row.epoch):
            yield f"lead {rows.id}: assignment {row.epoch} ended at a moment of which no record tells"
    for epoch in given:
        yield f"lead {rows.id}: assignment {epoch} is missing, the history tells of it"


# --- I10: decisions ---------------------------------------------------------------------------------------------------


def decisions_hold(case: Snapshot, rows: LeadRows) -> Iterator[str]:
    """I10. Each assignment has the decision that made it, and each decision replays to the rep it chose."""
    known = {row.id: row for row in rows.decisions}
    made = {row.decision_id: row for row in rows.assignments}
    for id, assignment in made.items():
        if id not in known:
            yield f"lead {rows.id}: assignment {assignment.epoch} has no decision {id}"
    for row in rows.decisions:
        yield from _decision_holds(case, row, made.get(row.id))


def _decision_holds(case: Snapshot, row: Any, assignment: Any) -> Iterator[str]:
    body = _body(row.body)
    again = replay(body.inputs)
    if again != row.chosen:
        yield f"decision {row.id}: chose {row.chosen or 'nobody'}, replayed it gives {again or 'nobody'}"
    elif (assignment.rep if assignment is not None else None) != row.chosen:
        yield (
            f"decision {row.id}: chose {row.chosen or 'nobody'}, the assignment is of "
            f"{assignment.rep if assignment is not None else 'nobody'}"
        )
    elif assignment is not None and (row.epoch, row.at, body.rule, body.pool) != (
        assignment.epoch,
        assignment.opened_at,
        assignment.rule,
        assignment.pool,
    ):
        yield f"decision {row.id}: its epoch, moment, rule or pool is not that of the assignment it made"
    if micros(body.inputs.now) != row.at:
        yield f"decision {row.id}: made at another moment than its inputs say"
    if row.agreement not in case.versions:
        yield f"decision {row.id}: made under agreement {row.agreement}, of which nothing is kept"

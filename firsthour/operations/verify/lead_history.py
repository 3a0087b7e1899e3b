"""Everything the tables hold about one lead, read some leads at a time: what `verify` judges lead by lead.

Memory is bounded by `LEADS_AT_ONCE`, whatever the number of leads: ids are read in their order from all tables, then
the rows of those leads from each table. The records of scoring, the most numerous, are counted while they are read.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from firsthour.kernel.time_units import micros
from firsthour.operations.verify.snapshot import Snapshot
from schemas.envelope import Envelope, UnknownEventError, decode, event_of
from schemas.events.actions import ActionRequested
from schemas.events.base import Facts
from schemas.events.catalogue import BY_TYPE
from schemas.events.leads import LeadScored
from schemas.events.pages import PageFailed, PageSent, PromiseKept, PromiseMissed
from schemas.events.routes import LeadEvent
from services.notifier.domain.clock import ResponseClock
from services.notifier.store import tables as notifier
from services.notifier.store.clocks import find_clocks
from services.reporting import domain as reporting_domain
from services.reporting import store as reporting
from services.router.store import tables as router
from services.scoring import store as scoring

LEADS_AT_ONCE: Final = 200

_KEYED: Final = (
    scoring.identities,
    scoring.profiles,
    router.leads,
    router.assignments,
    router.decisions,
    notifier.clocks,
    notifier.pages,
    reporting.statuses,
    reporting.history,
)
"""Every table with a column `lead_id`."""


class Cause(msgspec.Struct):
    """The event behind a record."""

    event_id: str


class NewestScore(msgspec.Struct):
    """The part of a record of scoring that is compared with other rows."""

    lead_id: str
    version: int
    trigger: Cause
    email: str | None = None
    phone: str | None = None
    suppressed: str | None = None
    facts: Facts = {}


_scored = msgspec.json.Decoder(NewestScore).decode


@dataclass
class LeadRecords:
    """The records of the history about one lead. `moves`: the router's records by version, each with id and position."""

    moves: list[tuple[str, int, LeadEvent]] = field(default_factory=list)
    scored: int = 0  # records of scoring with a version
    newest: NewestScore | None = None  # of those the one with the highest version
    sent: dict[str, PageSent] = field(default_factory=dict)
    failed: dict[str, PageFailed] = field(default_factory=dict)
    kept: list[PromiseKept] = field(default_factory=list)
    missed: list[PromiseMissed] = field(default_factory=list)
    asked: list[ActionRequested] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)  # rows that are not what their body says


@dataclass
class LeadRows:
    """The rows of one lead in every table; None or empty where a table has none."""

    id: str
    profile: Any = None
    lead: Any = None
    clock: ResponseClock | None = None
    status: Any = None
    identities: list[Any] = field(default_factory=list)
    assignments: list[Any] = field(default_factory=list)
    decisions: list[Any] = field(default_factory=list)
    pages: list[Any] = field(default_factory=list)
    attempts: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    told: LeadRecords = field(default_factory=LeadRecords)
    partial: bool = False  # the history has forgotten what was said at first


def leads(case: Snapshot, at_once: int = LEADS_AT_ONCE) -> Iterator[LeadRows]:
    """Every lead that any table knows; `at_once` in memory."""
    after = ""
    while ids := _next_ids(case, after, at_once):
        yield from _load(case, ids).values()
        after = ids[-1]


def _next_ids(case: Snapshot, after: str, at_once: int) -> list[str]:
    each = [
        sa.select(
            sa.select(table.c.lead_id)
            .where(table.c.lead_id > sa.bindparam("after"))
            .distinct()
            .order_by(table.c.lead_id)
            .limit(at_once)
            .subquery()
        )
        for table in _KEYED
    ]
    every = sa.union(*each).subquery()
    wanted = sa.select(every.c.lead_id).order_by(every.c.lead_id).limit(at_once)
    return [row.lead_id for row in case.connection.execute(wanted, {"after": after})]


def _load(case: Snapshot, ids: Sequence[str]) -> dict[str, LeadRows]:
    found = {id: LeadRows(id) for id in ids}
    for row in _of(case, scoring.profiles, ids):
        found[row.lead_id].profile = row
    for row in _of(case, router.leads, ids):
        found[row.lead_id].lead = row
    _find_clocks(case, found)
    for row in _of(case, reporting.statuses, ids):
        found[row.lead_id].status = row
    for table in (scoring.identities, scoring.shared):
        for row in _of(case, table, ids):
            found[row.lead_id].identities.append(row)
    for row in _of(case, router.assignments, ids):
        found[row.lead_id].assignments.append(row)
    for row in _of(case, router.decisions, ids):
        found[row.lead_id].decisions.append(row)
    for row in _of(case, notifier.pages, ids):
        found[row.lead_id].pages.append(row)
    tried = sa.select(notifier.attempts, notifier.pages.c.lead_id).join_from(
        notifier.attempts, notifier.pages, notifier.attempts.c.page_id == notifier.pages.c.id
    )
    for row in case.rows(tried.where(notifier.pages.c.lead_id.in_(ids))):
        found[row.lead_id].attempts[row.page_id].append(row)
    for row in _of(case, reporting.history, ids):
        _tell(found[row.lead_id].told, row)
    for one in found.values():
        one.assignments.sort(key=lambda row: row.epoch)
        one.told.moves.sort(key=lambda move: (move[2].version, move[1]))
        begins = one.told.moves[0][2].version if one.told.moves else 0
        one.partial = one.lead is not None and begins != 1 and one.lead.created_at < case.kept_since
    return found


def _find_clocks(case: Snapshot, found: dict[str, LeadRows]) -> None:
    try:
        clocks = find_clocks(case.connection, [*found])
    except (msgspec.MsgspecError, ValueError):
        if len(found) == 1:
            next(iter(found.values())).told.odd.append("its clock cannot be read")
            return
        for id, rows in found.items():
            _find_clocks(case, {id: rows})
        return
    for id, clock in clocks.items():
        found[id].clock = clock


def _of(case: Snapshot, table: sa.Table, ids: Sequence[str]) -> Iterator[Any]:
    return case.rows(sa.select(table).where(table.c.lead_id.in_(ids)))


def _tell(told: LeadRecords, row: Any) -> None:
    try:
        envelope = decode(bytes(row.body))
        if row.type == envelope.type == LeadScored.TYPE:
            _count(told, row, envelope)
            return
        event = event_of(envelope)
    except (UnknownEventError, msgspec.DecodeError):
        if row.type in BY_TYPE:  # others may be of a later version
            told.odd.append(f"record {row.id}: its body cannot be read")
        return
    if _is_odd(row, envelope, event.TOPIC, reporting_domain.lead_of(event), reporting_domain.cause_of(event)):
        told.odd.append(f"record {row.id}: its row is not what its body says")
    match event:
        case LeadEvent():
            told.moves.append((row.id, row.position, event))
        case PageSent():
            told.sent[event.page_id] = event
        case PageFailed():
            told.failed[event.page_id] = event
        case PromiseKept():
            told.kept.append(event)
        case PromiseMissed():
            told.missed.append(event)
        case ActionRequested():
            told.asked.append(event)


def _count(told: LeadRecords, row: Any, envelope: Envelope) -> None:
    told.scored += 1
    scored = _scored(envelope.data)
    if told.newest is None or scored.version > told.newest.version:
        told.newest = scored
    if _is_odd(row, envelope, LeadScored.TOPIC, scored.lead_id, scored.trigger.event_id):
        told.odd.append(f"record {row.id}: its row is not what its body says")


def _is_odd(row: Any, envelope: Envelope, topic: str, lead: str | None, cause: str | None) -> bool:
    said = (envelope.id, topic, envelope.type, micros(envelope.time), lead, cause)
    return (row.id, row.topic, row.type, row.at, row.lead_id, row.cause) != said

"""All rows of one lead, loaded for some leads at a time.

Memory is bounded by `LEADS_AT_ONCE`, not by the number of leads: ids are read in order from all tables, then the rows of
these leads from each table. Records of scoring are the most numerous. They are counted, and only the newest is kept.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from firsthour.kernel.time_units import micros
from firsthour.operations.verify.snapshot import Snapshot
from firsthour.runtime.storage.packing import unpacked
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
from services.reporting import store as reporting
from services.reporting.domain import timeline
from services.reporting.domain.response import ProspectRequest
from services.reporting.rebuilding import is_complete
from services.reporting.response_model import MODEL, MODEL_VERSION
from services.reporting.responses import find_requests, responses
from services.router.store import tables as router
from services.scoring import store as scoring

LEADS_AT_ONCE: Final = 200

_TABLES: Final = (
    scoring.identities,
    scoring.profiles,
    router.leads,
    router.assignments,
    router.decisions,
    notifier.clocks,
    notifier.pages,
    reporting.statuses,
    reporting.history,
    responses,
)
"""The tables with a column `lead_id`."""


class Cause(msgspec.Struct):
    """The event that caused a record."""

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


_decode_score = msgspec.json.Decoder(NewestScore).decode


@dataclass
class LeadRecords:
    """The records of the history about one lead. `moves`: id, position and event of the router's records, by version."""

    moves: list[tuple[str, int, LeadEvent]] = field(default_factory=list)
    scores: int = 0  # number of records of scoring
    newest_score: NewestScore | None = None  # the one with the highest version
    sent: dict[str, PageSent] = field(default_factory=dict)  # by page
    failed: dict[str, PageFailed] = field(default_factory=dict)  # by page
    promises_missed: list[PromiseMissed] = field(default_factory=list)
    promises_kept: set[datetime] = field(default_factory=set)  # when the touch was applied
    actions: list[ActionRequested] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)  # rows that differ from their body, or cannot be read


@dataclass
class LeadRows:
    """The rows of one lead in every table; None or empty where a table has none."""

    id: str
    profile: Any = None
    lead: Any = None
    clock: ResponseClock | None = None
    status: Any = None
    requests: list[ProspectRequest] | None = None  # None: not all of them are counted yet, after an upgrade
    identities: list[Any] = field(default_factory=list)
    assignments: list[Any] = field(default_factory=list)
    decisions: list[Any] = field(default_factory=list)
    pages: list[Any] = field(default_factory=list)
    attempts: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    records: LeadRecords = field(default_factory=LeadRecords)
    partial: bool = False  # the first records are older than the history


def load_leads(snapshot: Snapshot, at_once: int = LEADS_AT_ONCE) -> Iterator[LeadRows]:
    """Yield every lead that has a row in any table, with `at_once` leads in memory."""
    last_id, more = "", True
    while more and (ids := _next_ids(snapshot, last_id, at_once)):
        yield from _load(snapshot, ids).values()
        last_id, more = ids[-1], len(ids) == at_once


def _next_ids(snapshot: Snapshot, last_id: str, at_once: int) -> list[str]:
    return list(snapshot.connection.scalars(_ids_after(at_once), {"last_id": last_id}))


@cache  # building it takes longer than a query on few leads
def _ids_after(at_once: int) -> sa.Select[Any]:
    by_table = [
        sa.select(
            sa.select(table.c.lead_id)
            .where(table.c.lead_id > sa.bindparam("last_id"))
            .distinct()
            .order_by(table.c.lead_id)
            .limit(at_once)
            .subquery()
        )
        for table in _TABLES
    ]
    ids = sa.union(*by_table).subquery()
    return sa.select(ids.c.lead_id).order_by(ids.c.lead_id).limit(at_once)


def _load(snapshot: Snapshot, ids: Sequence[str]) -> dict[str, LeadRows]:
    leads = {id: LeadRows(id) for id in ids}
    for row in _select(snapshot, scoring.profiles, ids):
        leads[row.lead_id].profile = row
    for row in _select(snapshot, router.leads, ids):
        leads[row.lead_id].lead = row
    _load_clocks(snapshot, leads)
    for row in _select(snapshot, reporting.statuses, ids):
        leads[row.lead_id].status = row
    _load_requests(snapshot, leads)
    for table in (scoring.identities, scoring.shared):
        for row in _select(snapshot, table, ids):
            leads[row.lead_id].identities.append(row)
    for row in _select(snapshot, router.assignments, ids):
        leads[row.lead_id].assignments.append(row)
    for row in _select(snapshot, router.decisions, ids):
        leads[row.lead_id].decisions.append(row)
    for row in _select(snapshot, notifier.pages, ids):
        leads[row.lead_id].pages.append(row)
    attempts = sa.select(notifier.attempts, notifier.pages.c.lead_id).join_from(
        notifier.attempts, notifier.pages, notifier.attempts.c.page_id == notifier.pages.c.id
    )
    for row in snapshot.rows(attempts.where(notifier.pages.c.lead_id.in_(ids))):
        leads[row.lead_id].attempts[row.page_id].append(row)
    for row in _select(snapshot, reporting.history, ids):
        _add_record(leads[row.lead_id].records, row)
    for rows in leads.values():
        rows.assignments.sort(key=lambda row: row.epoch)
        rows.records.moves.sort(key=lambda move: (move[2].version, move[1]))
        first_version = rows.records.moves[0][2].version if rows.records.moves else 0
        rows.partial = rows.lead is not None and first_version != 1 and rows.lead.created_at < snapshot.history_start
    return leads


def _load_requests(snapshot: Snapshot, leads: dict[str, LeadRows]) -> None:
    if is_complete(snapshot.connection, MODEL, MODEL_VERSION):
        for id, requests in find_requests(snapshot.connection, [*leads]).items():
            leads[id].requests = requests


def _load_clocks(snapshot: Snapshot, leads: dict[str, LeadRows]) -> None:
    try:
        clocks = find_clocks(snapshot.connection, [*leads])
    except (msgspec.MsgspecError, ValueError):
        if len(leads) == 1:
            next(iter(leads.values())).records.faults.append("its clock cannot be read")
            return
        for id, rows in leads.items():
            _load_clocks(snapshot, {id: rows})
        return
    for id, clock in clocks.items():
        leads[id].clock = clock


def _select(snapshot: Snapshot, table: sa.Table, ids: Sequence[str]) -> Iterator[Any]:
    return snapshot.rows(sa.select(table).where(table.c.lead_id.in_(ids)))


def _add_record(records: LeadRecords, row: Any) -> None:
    try:
        envelope = decode(unpacked(row.body))
        if row.type == envelope.type == LeadScored.TYPE:
            _add_score(records, row, envelope)
            return
        event = event_of(envelope)
    except (UnknownEventError, msgspec.DecodeError):
        if row.type in BY_TYPE:  # other types may come from a later version
            records.faults.append(f"the body of record {row.id} cannot be read")
        return
    if row_differs(row, envelope, event.TOPIC, timeline.lead_of(event), timeline.cause_of(event)):
        records.faults.append(f"the row of record {row.id} differs from its body")
    match event:
        case LeadEvent():
            records.moves.append((row.id, row.position, event))
        case PageSent():
            records.sent[event.page_id] = event
        case PageFailed():
            records.failed[event.page_id] = event
        case PromiseMissed():
            records.promises_missed.append(event)
        case PromiseKept():
            records.promises_kept.add(event.at)
        case ActionRequested():
            records.actions.append(event)


def _add_score(records: LeadRecords, row: Any, envelope: Envelope) -> None:
    records.scores += 1
    score = _decode_score(envelope.data)
    if records.newest_score is None or score.version > records.newest_score.version:
        records.newest_score = score
    if row_differs(row, envelope, LeadScored.TOPIC, score.lead_id, score.trigger.event_id):
        records.faults.append(f"the row of record {row.id} differs from its body")


def row_differs(row: Any, envelope: Envelope, topic: str, lead: str | None, cause: str | None) -> bool:
    """Return whether a row of the history differs from its body: id, topic, type, time, lead, cause."""
    body = (envelope.id, topic, envelope.type, micros(envelope.time), lead, cause)
    return (row.id, row.topic, row.type, row.at, row.lead_id, row.cause) != body

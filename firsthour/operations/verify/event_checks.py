"""Checks of events and records: each is stored, was handled by every consumer of its topic, and had its effect.

The history and `seen` confirm each other. An event that a consumer has read is in `seen`, or is a dead letter. An event in
`seen` is in the history. Each event is the cause of a record. For the records of units, the history itself shows that reporting
has read them, and on the embedded profile the rows of each lead show that the other consumers have.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, Final

import msgspec

from firsthour.kernel.time_units import micros, moment
from firsthour.operations.verify.lead_history import row_differs
from firsthour.operations.verify.snapshot import Snapshot
from firsthour.runtime.processing.retention import LOG_DAYS, SEEN_DAYS
from firsthour.runtime.storage.packing import unpacked
from schemas import topics
from schemas.envelope import UnknownEventError, decode, event_of
from schemas.events.base import Event
from schemas.events.catalogue import BY_TYPE
from schemas.events.outside import ABOUT_NO_LEAD
from schemas.events.routes import RepAvailabilityChanged
from services.reporting.domain.timeline import cause_of, lead_of

_SEEN_KEPT: Final = timedelta(days=SEEN_DAYS - LOG_DAYS - 1)
"""A record that reporting read longer ago may have no row in `seen`: another service may have read it `LOG_DAYS` earlier."""

# --- each is handled by every consumer -------------------------------------------------------------------------------

_NOT_STORED: Final = """
    SELECT id, event_id FROM log
    WHERE topic = :topic AND id <= :position
      AND NOT EXISTS (SELECT 1 FROM reporting_history WHERE reporting_history.id = log.event_id)
      AND event_id NOT IN (SELECT source FROM dead_letters WHERE consumer = 'reporting')
    ORDER BY id"""
_STORED_TWICE: Final = """
    SELECT log.id, event_id, log.body AS sent, reporting_history.body, log.topic <> reporting_history.topic AS is_elsewhere
    FROM log JOIN reporting_history ON reporting_history.id = log.event_id
    WHERE reporting_history.position = log.id
    ORDER BY log.id"""
_BEYOND_END: Final = """
    SELECT consumer, topic, position FROM cursors
    WHERE position > (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'log') ORDER BY consumer, topic"""
_STORED_BUT_NOT_SEEN: Final = """
    SELECT id, position, body FROM reporting_history
    WHERE topic = :topic AND heard_at >= :since
      AND NOT EXISTS (SELECT 1 FROM seen WHERE seen.consumer = :consumer AND seen.event_id = reporting_history.id)
      AND NOT EXISTS (SELECT 1 FROM dead_letters
                      WHERE dead_letters.consumer = :consumer AND dead_letters.source = reporting_history.id)
    ORDER BY id"""
_SEEN_BUT_NOT_STORED: Final = """
    SELECT event_id FROM seen
    WHERE consumer = 'reporting'
      AND NOT EXISTS (SELECT 1 FROM reporting_history WHERE reporting_history.id = seen.event_id)
    ORDER BY event_id"""
_SEEN_BY_SCORING_ONLY: Final = """
    SELECT event_id FROM seen
    WHERE consumer = 'scoring'
      AND NOT EXISTS (SELECT 1 FROM seen AS reported WHERE reported.consumer = 'reporting' AND reported.event_id = seen.event_id)
      AND NOT EXISTS (SELECT 1 FROM reporting_history WHERE reporting_history.id = seen.event_id)
      AND NOT EXISTS (SELECT 1 FROM dead_letters
                      WHERE dead_letters.consumer = 'reporting' AND dead_letters.source = seen.event_id)
    ORDER BY event_id"""


def events_are_stored(snapshot: Snapshot) -> Iterator[str]:
    """Check I1: each event and record is in the history, and every consumer handled it or has it as a dead letter."""
    yield from _check_seen(snapshot) if snapshot.distributed else _check_log(snapshot)
    since = micros(snapshot.clock.business() - _SEEN_KEPT)
    for topic in topics.ALL:
        for consumer in _noting(topic, distributed=snapshot.distributed):
            for row in snapshot.stream(_STORED_BUT_NOT_SEEN, topic=topic, consumer=consumer, since=since):
                if snapshot.progress.has_read(consumer, topic, _key(unpacked(row.body)), row.position):
                    yield f"event {row.id}: read by {consumer}, but neither handled nor a dead letter"


def _noting(topic: str, *, distributed: bool) -> Sequence[str]:
    """Return the consumers whose notes in `seen` are compared with the history.

    For records of units, the history is the note of reporting. The embedded log has each of them once, so no consumer notes it.
    """
    consumers = topics.READ_BY[topic]
    if topic not in topics.IDS_OF_UNITS:
        return consumers
    return [name for name in consumers if name != "reporting"] if distributed else ()


def _key(body: bytes) -> str:
    try:
        return decode(body).partitionkey
    except UnknownEventError:
        return ""


def _check_log(snapshot: Snapshot) -> Iterator[str]:
    for topic in topics.ALL:
        for row in snapshot.stream(_NOT_STORED, topic=topic, position=snapshot.progress.read_to("reporting", topic)):
            yield f"event {row.event_id} (log {row.id}): not in the history"
    for row in snapshot.stream(_STORED_TWICE):
        if row.is_elsewhere or unpacked(row.body) != unpacked(row.sent):
            yield f"event {row.event_id} (log {row.id}): differs from the history"
    for row in snapshot.ask(_BEYOND_END):
        yield f"{row.consumer}: its cursor of {row.topic} is at {row.position}, beyond the last record"


def _check_seen(snapshot: Snapshot) -> Iterator[str]:
    for row in snapshot.stream(_SEEN_BUT_NOT_STORED):
        yield f"event {row.event_id}: handled by reporting, but not in the history"
    read_by_scoring = [topic for topic in topics.ALL if "scoring" in topics.READ_BY[topic]]
    if not any(snapshot.progress.ahead("scoring", "reporting", topic) for topic in read_by_scoring):
        for row in snapshot.stream(_SEEN_BY_SCORING_ONLY):
            yield f"event {row.event_id}: handled by scoring, but not in the history"


_WITHOUT_LEAD: Final = """
    SELECT id, topic, type, lead_id, cause, at, body FROM reporting_history WHERE lead_id IS NULL ORDER BY id"""


def rows_without_lead_match_bodies(snapshot: Snapshot) -> Iterator[str]:
    """Check I1: the rows of events and of other records that name no lead say what their bodies say."""
    for row in snapshot.stream(_WITHOUT_LEAD):
        try:
            envelope = decode(unpacked(row.body))
            event = event_of(envelope)
        except (UnknownEventError, msgspec.DecodeError):
            if row.type in BY_TYPE:  # other types may come from a later version
                yield f"record {row.id}: its body cannot be read"
            continue
        if row_differs(row, envelope, event.TOPIC, lead_of(event), cause_of(event)):
            yield f"record {row.id}: its row differs from its body"


# --- each has its effect ---------------------------------------------------------------------------------------------

_WITHOUT_EFFECT: Final = """
    SELECT id, position, heard_at, type, body FROM reporting_history
    WHERE id IN (SELECT id FROM reporting_history WHERE topic = 'events' AND heard_at >= :since
                 EXCEPT SELECT cause FROM reporting_history WHERE cause IS NOT NULL)
      AND NOT EXISTS (SELECT 1 FROM dead_letters
                      WHERE dead_letters.consumer = 'scoring' AND dead_letters.source = reporting_history.id)
    ORDER BY id"""
_UNREAD_EFFECTS: Final = "SELECT body FROM log WHERE topic = 'leads' AND id > :position"
_DEAD_EFFECTS: Final = "SELECT body FROM dead_letters WHERE consumer = 'reporting' AND state <> 'retried'"


def events_have_effects(snapshot: Snapshot) -> Iterator[str]:
    """Check I1: each event that scoring has handled is the cause of a record about a lead."""
    pending = _pending_causes(snapshot)
    if pending is None:
        return
    for row in snapshot.stream(_WITHOUT_EFFECT, since=snapshot.history_start):
        if row.type in ABOUT_NO_LEAD or row.id in pending or not snapshot.history_covers(moment(row.heard_at)):
            continue
        if snapshot.progress.has_read("scoring", topics.EVENTS, _key(unpacked(row.body)), row.position):
            yield f"event {row.id}: handled, but the cause of no record about a lead"


def _pending_causes(snapshot: Snapshot) -> set[str] | None:
    """Return the causes of records that reporting has not read or could not store; None if such a record is unreadable."""
    position = 0 if snapshot.distributed else snapshot.progress.read_to("reporting", topics.LEADS)
    causes: set[str] = set()
    for row in snapshot.stream(_UNREAD_EFFECTS, position=position):
        causes.add(_cause(unpacked(row.body)) or "")
    for row in snapshot.stream(_DEAD_EFFECTS):
        cause = _cause(bytes(row.body))
        if cause is None:
            return None
        causes.add(cause)
    return causes


def _cause(body: bytes) -> str | None:
    try:
        return cause_of(event_of(decode(body))) or ""
    except (UnknownEventError, msgspec.DecodeError):
        return None


# --- availability of reps --------------------------------------------------------------------------------------------

_AVAILABILITY_RECORDS: Final = (
    "SELECT position, body FROM reporting_history WHERE topic = 'routes' AND type = 'rep.availability_changed'"
)
_ROUTER_REPS: Final = "SELECT rep, said, version FROM router_reps ORDER BY rep"
_NOTIFIER_REPS: Final = "SELECT rep, state, version FROM notifier_reps ORDER BY rep"
_INITIAL: Final = "available"  # without a record


def rep_availability_matches_history(snapshot: Snapshot) -> Iterator[str]:
    """Check I3: router and notifier hold the newest recorded availability of each rep."""
    if not snapshot.history_current or snapshot.progress.has_unread(topics.ROUTES):
        return
    newest = _newest_availability(snapshot)
    for row in snapshot.ask(_ROUTER_REPS):
        state, version = (newest[row.rep].state, newest[row.rep].version) if row.rep in newest else (_INITIAL, 0)
        if row.said != state:
            yield f"rep {row.rep}: {row.said} in the router, {state} by its last record"
        if row.version != version:
            yield f"rep {row.rep}: availability has version {row.version} in the router, {version} by its last record"
    notifier_rows = {row.rep: row for row in snapshot.ask(_NOTIFIER_REPS)}
    for rep in sorted(notifier_rows.keys() | newest.keys()):
        row, event = notifier_rows.get(rep), newest.get(rep)
        if row is not None and event is not None and row.version != event.version:
            yield (
                f"rep {rep}: availability has version {row.version} in the notifier, {event.version} by its last record"
            )
        state = event.state if event is not None else _INITIAL
        if row is None or row.state != state:
            yield f"rep {rep}: {row.state if row is not None else 'unknown'} in the notifier, {state} by its last record"


def _newest_availability(snapshot: Snapshot) -> dict[str, RepAvailabilityChanged]:
    """Return the newest record of each rep. A record read from a dead letter has position 0."""
    newest: dict[str, tuple[int, int, RepAvailabilityChanged]] = {}
    for row in snapshot.stream(_AVAILABILITY_RECORDS):
        event = _record_of(row)
        if not isinstance(event, RepAvailabilityChanged):
            continue
        if event.rep not in newest or (event.version, row.position) > newest[event.rep][:2]:
            newest[event.rep] = event.version, row.position, event
    return {rep: event for rep, (_, _, event) in newest.items()}


def _record_of(row: Any) -> Event | None:
    """Return the record of a row of the history. None: `rows_without_lead_match_bodies` names it."""
    try:
        return event_of(decode(unpacked(row.body)))
    except (UnknownEventError, msgspec.DecodeError):
        return None

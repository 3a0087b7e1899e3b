"""The checks of events and records: each is kept, was taken by every service that hears it, and had its effect.

The history and `seen` vouch for each other: what a service has read, and what is not a dead letter, it has seen; what
was seen, the history keeps; and each event has a record that names it as its cause.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

import msgspec

from firsthour.kernel.time_units import micros, moment
from firsthour.operations.verify.snapshot import Snapshot
from firsthour.runtime.processing.retention import LOG_DAYS, SEEN_DAYS
from schemas import topics
from schemas.envelope import UnknownEventError, decode, event_of
from schemas.events.outside import ABOUT_NO_LEAD
from schemas.events.routes import RepAvailabilityChanged
from services.reporting.domain import cause_of

_SURELY_SEEN: Final = timedelta(days=SEEN_DAYS - LOG_DAYS - 1)
"""A record heard longer ago may have no row in `seen` any more: another service may have read it `LOG_DAYS` earlier."""

# --- each is taken by every service that hears it --------------------------------------------------------------------

_NOT_KEPT: Final = """
    SELECT id, event_id FROM log
    WHERE topic = :topic AND id <= :position
      AND NOT EXISTS (SELECT 1 FROM reporting_history WHERE reporting_history.id = log.event_id)
      AND event_id NOT IN (SELECT source FROM dead_letters WHERE consumer = 'reporting')
    ORDER BY id"""
_KEPT_OTHERWISE: Final = """
    SELECT log.id, event_id FROM log JOIN reporting_history ON reporting_history.id = log.event_id
    WHERE reporting_history.position = log.id
      AND (reporting_history.body <> log.body OR reporting_history.topic <> log.topic)
    ORDER BY log.id"""
_BEYOND: Final = """
    SELECT consumer, topic, position FROM cursors
    WHERE position > (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'log') ORDER BY consumer, topic"""
_NOT_TAKEN_OF_HISTORY: Final = """
    SELECT id, position, body FROM reporting_history
    WHERE topic = :topic AND heard_at >= :heard
      AND NOT EXISTS (SELECT 1 FROM seen WHERE seen.consumer = :consumer AND seen.event_id = reporting_history.id)
      AND NOT EXISTS (SELECT 1 FROM dead_letters
                      WHERE dead_letters.consumer = :consumer AND dead_letters.source = reporting_history.id)
    ORDER BY id"""
_NOT_KEPT_OF_HEARD: Final = """
    SELECT event_id FROM seen
    WHERE consumer = 'reporting'
      AND NOT EXISTS (SELECT 1 FROM reporting_history WHERE reporting_history.id = seen.event_id)
    ORDER BY event_id"""
_NOT_HEARD: Final = """
    SELECT event_id FROM seen
    WHERE consumer = 'scoring'
      AND NOT EXISTS (SELECT 1 FROM seen AS heard WHERE heard.consumer = 'reporting' AND heard.event_id = seen.event_id)
      AND NOT EXISTS (SELECT 1 FROM reporting_history WHERE reporting_history.id = seen.event_id)
      AND NOT EXISTS (SELECT 1 FROM dead_letters
                      WHERE dead_letters.consumer = 'reporting' AND dead_letters.source = seen.event_id)
    ORDER BY event_id"""


def events_are_kept(case: Snapshot) -> Iterator[str]:
    """I1. Each event and record is in the history, and was taken by every service that hears it, or is a dead letter."""
    yield from _kept_past_one_machine(case) if case.distributed else _kept(case)
    heard = micros(case.clock.business() - _SURELY_SEEN)
    for topic in topics.ALL:
        for consumer in topics.HEARD_BY[topic]:
            for row in case.stream(_NOT_TAKEN_OF_HISTORY, topic=topic, consumer=consumer, heard=heard):
                if case.has_read(consumer, topic, _key(bytes(row.body)), row.position):
                    yield f"event {row.id}: read by {consumer}, and neither taken nor a dead letter"


def _key(body: bytes) -> str:
    try:
        return decode(body).partitionkey
    except UnknownEventError:
        return ""


def _kept(case: Snapshot) -> Iterator[str]:
    for topic in topics.ALL:
        for row in case.stream(_NOT_KEPT, topic=topic, position=case.read_to("reporting", topic)):
            yield f"event {row.event_id} (log {row.id}): not in the history"
    for row in case.stream(_KEPT_OTHERWISE):
        yield f"event {row.event_id} (log {row.id}): another one in the history"
    for row in case.ask(_BEYOND):
        yield f"{row.consumer} has read {row.topic} up to {row.position}, where no record is"


def _kept_past_one_machine(case: Snapshot) -> Iterator[str]:
    for row in case.stream(_NOT_KEPT_OF_HEARD):
        yield f"event {row.event_id}: heard by reporting, and not in the history"
    heard = [topic for topic in topics.ALL if "scoring" in topics.HEARD_BY[topic]]
    if not any(case.ahead("scoring", "reporting", topic) for topic in heard):
        for row in case.stream(_NOT_HEARD):
            yield f"event {row.event_id}: seen by scoring, and not in the history"


# --- each has its effect ---------------------------------------------------------------------------------------------

_WITHOUT_EFFECT: Final = """
    SELECT id, position, heard_at, type, body FROM reporting_history
    WHERE id IN (SELECT id FROM reporting_history WHERE topic = 'events' AND heard_at >= :heard
                 EXCEPT SELECT cause FROM reporting_history WHERE cause IS NOT NULL)
      AND NOT EXISTS (SELECT 1 FROM dead_letters
                      WHERE dead_letters.consumer = 'scoring' AND dead_letters.source = reporting_history.id)
    ORDER BY id"""
_EFFECTS_TO_HEAR: Final = "SELECT body FROM log WHERE topic = 'leads' AND id > :position"
_EFFECTS_LOST: Final = "SELECT body FROM dead_letters WHERE consumer = 'reporting' AND state <> 'retried'"


def events_have_effects(case: Snapshot) -> Iterator[str]:
    """I1. Each event that scoring has taken is the cause of a record about a lead."""
    excused = _causes(case)
    if excused is None:
        return
    for row in case.stream(_WITHOUT_EFFECT, heard=case.kept_since):
        if row.type in ABOUT_NO_LEAD or row.id in excused or not case.is_told_of(moment(row.heard_at)):
            continue
        if case.has_read("scoring", topics.EVENTS, _key(bytes(row.body)), row.position):
            yield f"event {row.id}: taken, and no record about a lead names it"


def _causes(case: Snapshot) -> set[str] | None:
    """The causes of records that reporting has still to hear or could not keep; None when one cannot be read any more."""
    position = 0 if case.distributed else case.read_to("reporting", topics.LEADS)
    found: set[str] = set()
    for row in case.stream(_EFFECTS_TO_HEAR, position=position):
        found.add(_cause(bytes(row.body)) or "")
    for row in case.stream(_EFFECTS_LOST):
        cause = _cause(bytes(row.body))
        if cause is None:
            return None
        found.add(cause)
    return found


def _cause(body: bytes) -> str | None:
    try:
        return cause_of(event_of(decode(body))) or ""
    except (UnknownEventError, msgspec.DecodeError):
        return None


# --- what was said of reps -------------------------------------------------------------------------------------------

_SAID_OF_REPS: Final = (
    "SELECT position, body FROM reporting_history WHERE topic = 'routes' AND type = 'rep.availability_changed'"
)
_ROUTER_SAYS: Final = "SELECT rep, said, version FROM router_reps ORDER BY rep"
_NOTIFIER_KNOWS: Final = "SELECT rep, state, version FROM notifier_reps ORDER BY rep"


def reps_are_told(case: Snapshot) -> Iterator[str]:
    """I3. The availability that router and notifier know of a rep is the one said last."""
    if not case.all_told or case.has_unheard(topics.ROUTES):
        return
    last: dict[str, tuple[tuple[int, int], RepAvailabilityChanged]] = {}
    for row in case.stream(_SAID_OF_REPS):
        event = event_of(decode(bytes(row.body)))
        if not isinstance(event, RepAvailabilityChanged):
            continue
        place = event.version, row.position  # a record heard from a dead letter has no position
        if event.rep not in last or place > last[event.rep][0]:
            last[event.rep] = place, event
    for row in case.ask(_ROUTER_SAYS):
        said = last[row.rep][1].state if row.rep in last else "available"
        if row.said != said:
            yield f"rep {row.rep}: {row.said} to the router, which last said {said}"
        if row.version != (last[row.rep][1].version if row.rep in last else 0):
            yield f"rep {row.rep}: availability has version {row.version} to the router, which last said another"
    notified = case.ask(_NOTIFIER_KNOWS)
    known = {row.rep: row.state for row in notified}
    for row in notified:
        if row.rep in last and row.version != last[row.rep][1].version:
            yield f"rep {row.rep}: availability has version {row.version} to the notifier, the router said another"
    for rep in sorted(known.keys() | last.keys()):
        said = last[rep][1].state if rep in last else "available"
        if known.get(rep, "nothing") != said:
            yield f"rep {rep}: {known.get(rep, 'unknown')} to the notifier, the router said {said}"

"""What `verify` asks of the rows as they stand: one question per function, each giving the rows that break it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from schemas import topics
from schemas.agreement import Agreement
from schemas.envelope import UnknownEventError, decode
from schemas.team import Team
from services.router.domain.choosing import Inputs, replay
from services.router.domain.lead import CUSTOMER, OPPORTUNITY
from services.runtime.clock import Clock, HostClock, micros

OVERDUE: Final = timedelta(seconds=60)
"""How long past its time a page may wait where somebody delivers."""
_SLACK_US: Final = 50_000
"""How far two readings of one moment may lie apart, one of them worked out from the other clock."""
_CRM: Final = frozenset({OPPORTUNITY, CUSTOMER})
"""Past the hand-over: the deal is in the CRM, which may move it there without an owner of ours."""


@dataclass(frozen=True)
class InForce:
    """A configuration that was in force from `since` (microseconds) on."""

    version: str
    since: int
    agreement: Agreement
    team: Team


@dataclass
class Case:
    """One snapshot, and what the questions share."""

    connection: Connection
    clock: Clock
    since: datetime | None = None
    alive_since: datetime | None = None

    def ask(self, sql: str, **values: object) -> Sequence[Any]:
        """Every row of the answer."""
        return self.connection.execute(sa.text(sql), values).all()

    @cached_property
    def configurations(self) -> list[InForce]:
        """Every configuration that was in force, oldest first."""
        rows = self.ask("SELECT version, taken_up_at, agreement, team FROM configurations ORDER BY taken_up_at")
        return [
            InForce(
                row.version,
                row.taken_up_at,
                Agreement.model_validate_json(row.agreement),
                Team.model_validate_json(row.team),
            )
            for row in rows
        ]

    @cached_property
    def statuses(self) -> dict[str, str]:
        """Whose each status is, by the newest configuration that knows it."""
        return {
            status: team for known in self.configurations for status, team in known.agreement.lifecycle.statuses.items()
        }

    def read_to(self, consumer: str, topic: str) -> int:
        """How far this consumer has read."""
        rows = self.ask(
            "SELECT position FROM cursors WHERE consumer = :consumer AND topic = :topic", consumer=consumer, topic=topic
        )
        return int(rows[0][0]) if rows else 0

    @cached_property
    def unsettled(self) -> set[str]:
        """Leads that are not judged: a record of theirs is still to be read, or is a dead letter, or they just changed."""
        waiting: set[str] = set()
        for topic in (topics.LEADS, topics.ROUTES, topics.ACTIONS, topics.PAGES):
            position = min(self.read_to(consumer, topic) for consumer in topics.HEARD_BY[topic])
            rows = self.ask("SELECT DISTINCT key FROM log WHERE topic = :topic AND id > :id", topic=topic, id=position)
            waiting |= {row.key for row in rows}
        waiting |= set(self._parked())
        if self.since is not None:
            for sql in _CHANGED_SINCE:
                waiting |= {row.lead_id for row in self.ask(sql, since=micros(self.since))}
        return waiting

    def _parked(self) -> Iterator[str]:
        for row in self.ask("SELECT body FROM dead_letters WHERE consumer <> 'gateway' AND state <> 'retried'"):
            try:
                yield decode(bytes(row.body)).partitionkey
            except UnknownEventError:
                continue

    def settled(self, rows: Sequence[Any]) -> Iterator[Any]:
        """Those rows whose lead is judged."""
        return (row for row in rows if row.lead_id not in self.unsettled)

    @cached_property
    def speed(self) -> float:
        """How many times faster than real time business time runs."""
        return 1.0 / max(self.clock.real_seconds(timedelta(seconds=1)), 1e-9)

    @cached_property
    def _now_us(self) -> tuple[int, int]:
        return micros(self.clock.business()), micros(self.clock.real())

    def business_us(self, real_us: int) -> int | None:
        """The business time at which it was `real_us`; None when the clock may have run at another speed then."""
        if isinstance(self.clock, HostClock) and self.speed != 1.0 and real_us < micros(self.clock.origin_real):
            return None
        business, real = self._now_us
        return business - round((real - real_us) * self.speed)


_CHANGED_SINCE: Final = (
    "SELECT lead_id FROM router_leads WHERE updated_at >= :since",
    "SELECT lead_id FROM scoring_profiles WHERE updated_at >= :since",
    "SELECT lead_id FROM notifier_clocks WHERE updated_at >= :since",
)

# --- I1 ----------------------------------------------------------------------------------------------------------

_NOT_TAKEN: Final = """
    SELECT id, event_id FROM log
    WHERE topic = 'events' AND id <= :position
      AND NOT EXISTS (SELECT 1 FROM seen WHERE seen.consumer = 'scoring' AND seen.event_id = log.event_id)
      AND event_id NOT IN (SELECT source FROM dead_letters WHERE consumer = 'scoring')
    ORDER BY id"""
_NOT_KEPT: Final = """
    SELECT id, event_id FROM log
    WHERE topic = 'events' AND id <= :position
      AND NOT EXISTS (SELECT 1 FROM reporting_history WHERE reporting_history.id = log.event_id)
      AND event_id NOT IN (SELECT source FROM dead_letters WHERE consumer = 'reporting')
    ORDER BY id"""
_NOT_ROUTED: Final = """
    SELECT lead_id FROM scoring_profiles
    WHERE NOT EXISTS (SELECT 1 FROM router_leads WHERE router_leads.lead_id = scoring_profiles.lead_id)
    ORDER BY lead_id"""
_NOWHERE: Final = """
    SELECT lead_id, status FROM router_leads
    WHERE owner IS NULL AND (queue_pool IS NULL OR coalesce(queue_reason, '') = '') ORDER BY lead_id"""


def events_are_kept(case: Case) -> Iterator[str]:
    """I1."""
    for row in case.ask(_NOT_TAKEN, position=case.read_to("scoring", topics.EVENTS)):
        yield f"event {row.event_id} (log {row.id}): read, and neither taken nor a dead letter"
    for row in case.ask(_NOT_KEPT, position=case.read_to("reporting", topics.EVENTS)):
        yield f"event {row.event_id} (log {row.id}): not in the history"
    for row in case.settled(case.ask(_NOT_ROUTED)):
        yield f"lead {row.lead_id}: scored, and unknown to the router"
    for row in case.settled(case.ask(_NOWHERE)):
        if case.statuses.get(row.status) not in ("marketing", "nobody") and row.status not in _CRM:
            yield f"lead {row.lead_id}: {row.status}, and neither owned nor queued with a reason"


# --- I2 ----------------------------------------------------------------------------------------------------------

_TWICE_SAID: Final = """
    SELECT type, cause, count(*) AS times FROM reporting_history
    WHERE cause IS NOT NULL GROUP BY type, cause HAVING count(*) > 1 ORDER BY type, cause"""
_TWICE_LOGGED: Final = """
    SELECT topic, event_id, count(*) AS times FROM log
    WHERE topic <> 'events' GROUP BY topic, event_id HAVING count(*) > 1 ORDER BY topic, event_id"""


def effects_are_single(case: Case) -> Iterator[str]:
    """I2."""
    for row in case.ask(_TWICE_SAID):
        yield f"event {row.cause}: {row.type} was said {row.times} times of it"
    for row in case.ask(_TWICE_LOGGED):
        yield f"record {row.event_id}: stands {row.times} times in {row.topic}"


# --- I3 ----------------------------------------------------------------------------------------------------------

_MANY_OPEN: Final = """
    SELECT lead_id, count(*) AS times FROM router_assignments
    WHERE closed_at IS NULL GROUP BY lead_id HAVING count(*) > 1 ORDER BY lead_id"""
_GAPS: Final = """
    SELECT lead_id, count(*) AS times, min(epoch) AS low, max(epoch) AS high FROM router_assignments
    GROUP BY lead_id HAVING min(epoch) <> 1 OR max(epoch) <> count(*) ORDER BY lead_id"""
_OVERLAPS: Final = """
    SELECT later.lead_id, later.epoch FROM router_assignments AS later
    JOIN router_assignments AS earlier ON earlier.lead_id = later.lead_id AND earlier.epoch = later.epoch - 1
    WHERE earlier.closed_at IS NULL OR later.opened_at < earlier.closed_at ORDER BY later.lead_id, later.epoch"""
_BACKWARDS: Final = """
    SELECT lead_id, epoch FROM router_assignments WHERE closed_at < opened_at ORDER BY lead_id, epoch"""
_TWO_OWNERS: Final = """
    SELECT router_leads.lead_id, owner, rep, router_leads.epoch, router_assignments.epoch AS assigned
    FROM router_leads
    LEFT JOIN router_assignments ON router_assignments.lead_id = router_leads.lead_id AND closed_at IS NULL
    WHERE coalesce(owner, '') <> coalesce(rep, '')
       OR (rep IS NOT NULL AND router_leads.epoch <> router_assignments.epoch)
    ORDER BY router_leads.lead_id"""


def owners_are_single(case: Case) -> Iterator[str]:
    """I3."""
    for row in case.ask(_MANY_OPEN):
        yield f"lead {row.lead_id}: {row.times} open assignments"
    for row in case.ask(_GAPS):
        yield f"lead {row.lead_id}: {row.times} assignments with epochs {row.low} to {row.high}"
    for row in case.ask(_OVERLAPS):
        yield f"lead {row.lead_id}: assignment {row.epoch} began before {row.epoch - 1} had ended"
    for row in case.ask(_BACKWARDS):
        yield f"lead {row.lead_id}: assignment {row.epoch} ended before it began"
    for row in case.ask(_TWO_OWNERS):
        yield (
            f"lead {row.lead_id}: owner {row.owner or 'nobody'} at epoch {row.epoch}, "
            f"open assignment of {row.rep or 'nobody'}{f' at {row.assigned}' if row.assigned else ''}"
        )


# --- I4 ----------------------------------------------------------------------------------------------------------

_NO_CLOCK: Final = """
    SELECT router_leads.lead_id, router_leads.status, state FROM
      (SELECT lead_id, status, epoch, owner, submit_at FROM router_leads
       WHERE status IN ('qualified', 'assigned', 'accepted') AND touched_at IS NULL) AS router_leads
    LEFT JOIN notifier_clocks ON notifier_clocks.lead_id = router_leads.lead_id
    WHERE notifier_clocks.lead_id IS NULL OR state NOT IN ('live', 'missed')
       OR notifier_clocks.submit_at <> router_leads.submit_at
       OR notifier_clocks.epoch <> router_leads.epoch
       OR coalesce(rep, '') <> coalesce(owner, '')
       OR (state = 'live' AND due_at IS NULL)
    ORDER BY router_leads.lead_id"""
_RUNS_ON: Final = """
    SELECT notifier_clocks.lead_id, router_leads.status, notifier_clocks.state FROM notifier_clocks
    LEFT JOIN router_leads ON router_leads.lead_id = notifier_clocks.lead_id
    WHERE notifier_clocks.state IN ('live', 'missed')
      AND (router_leads.lead_id IS NULL OR router_leads.touched_at IS NOT NULL
           OR router_leads.status NOT IN ('qualified', 'assigned', 'accepted'))
    ORDER BY notifier_clocks.lead_id"""


def clocks_live(case: Case) -> Iterator[str]:
    """I4."""
    for row in case.settled(case.ask(_NO_CLOCK)):
        yield f"lead {row.lead_id}: {row.status} and untouched, its clock is {row.state or 'missing'} or of another turn"
    for row in case.settled(case.ask(_RUNS_ON)):
        yield f"lead {row.lead_id}: {row.status or 'unknown'}, and its clock is still {row.state}"


# --- I5 ----------------------------------------------------------------------------------------------------------

_FIRED_TWICE: Final = """
    SELECT lead_id, epoch, rung, count(*) AS times FROM notifier_pages
    GROUP BY lead_id, epoch, rung HAVING count(*) > 1 ORDER BY lead_id, epoch, rung"""
_EARLY: Final = "SELECT id FROM notifier_pages WHERE created_at < due_at ORDER BY id"
_UNKNOWN_EPOCH: Final = """
    SELECT id, epoch FROM notifier_pages WHERE NOT EXISTS (
      SELECT 1 FROM router_assignments
      WHERE router_assignments.lead_id = notifier_pages.lead_id AND router_assignments.epoch = notifier_pages.epoch)
    ORDER BY id"""


def rungs_fire_once(case: Case) -> Iterator[str]:
    """I5."""
    for row in case.ask(_FIRED_TWICE):
        yield f"lead {row.lead_id}: rung {row.rung} of assignment {row.epoch} fired {row.times} times"
    for row in case.ask(_EARLY):
        yield f"page {row.id}: made before it was due"
    for row in case.ask(_UNKNOWN_EPOCH):
        yield f"page {row.id}: for assignment {row.epoch}, which does not exist"


# --- I6 ----------------------------------------------------------------------------------------------------------

_PAGES: Final = """
    SELECT id, state, channels, channel_index, deliveries, next_at, sent_at, error FROM notifier_pages
    WHERE (state = 'sent' AND (deliveries < 1 OR sent_at IS NULL OR next_at IS NOT NULL))
       OR (state IN ('pending', 'sending') AND (next_at IS NULL OR next_at < :overdue))
       OR (state = 'sending' AND deliveries < 1)
       OR (state IN ('failed', 'cancelled') AND (next_at IS NOT NULL OR coalesce(error, '') = ''))
       OR state = 'failed'
       OR state NOT IN ('pending', 'sending', 'sent', 'failed', 'cancelled')
    ORDER BY id"""
_UNRECORDED: Final = """
    SELECT id FROM notifier_pages WHERE state = 'sent' AND NOT EXISTS (
      SELECT 1 FROM notifier_attempts WHERE page_id = notifier_pages.id AND outcome = 'sent') ORDER BY id"""


def pages_arrive(case: Case) -> Iterator[str]:
    """I6. Where nobody delivers, a page may wait for as long as nobody does."""
    real = case.clock.real()
    watched = case.alive_since is not None and case.alive_since < real - OVERDUE
    overdue = micros(real - OVERDUE) if watched else 0
    for row in case.ask(_PAGES, overdue=overdue):
        wrong = _wrong_with(row, overdue)
        if wrong:
            yield f"page {row.id}: {row.state}, {wrong}"
    for row in case.ask(_UNRECORDED):
        yield f"page {row.id}: sent, and no attempt says so"


def _wrong_with(row: Any, overdue: int) -> str | None:
    tried_all = row.channel_index + 1 == len(msgspec.json.decode(row.channels))
    match row.state:
        case "sent":
            return "without a delivery, or still waiting"
        case "failed" if tried_all and row.error and row.next_at is None:
            return None
        case "failed":
            return "without a reason, or with a channel untried"
        case "cancelled":
            return "without a reason, or still waiting"
        case "pending" | "sending" if row.next_at is not None and row.next_at < overdue:
            return f"overdue for more than {OVERDUE.total_seconds():g} s"
        case "pending" | "sending":
            return "and nobody will look at it again"
    return "which is no state of a page"


# --- I7 ----------------------------------------------------------------------------------------------------------

_CLAIMED_AFTER: Final = """
    SELECT pages.id, pages.lead_id, pages.first_try_at, told.at FROM notifier_pages AS pages
    JOIN router_assignments ON router_assignments.lead_id = pages.lead_id AND router_assignments.epoch = pages.epoch
    JOIN reporting_history AS told ON told.lead_id = pages.lead_id AND told.type = 'promise.kept'
     AND told.at >= router_assignments.opened_at
    WHERE pages.state IN ('sending', 'sent', 'failed') AND pages.first_try_at IS NOT NULL ORDER BY pages.id"""
_CLAIMED_AFTER_OPT_OUT: Final = """
    SELECT pages.id, pages.lead_id, pages.first_try_at, notifier_clocks.updated_at AS at FROM notifier_pages AS pages
    JOIN notifier_clocks ON notifier_clocks.lead_id = pages.lead_id
    WHERE notifier_clocks.opted_out = 1 AND pages.state IN ('sending', 'sent', 'failed')
      AND pages.first_try_at IS NOT NULL ORDER BY pages.id"""


def nobody_told_after_a_touch(case: Case) -> Iterator[str]:
    """I7. The notifier says `promise.kept` in the unit that stores a touch, so that is when it knew."""
    after = "first claimed after somebody's touch was stored"
    found = {row.id: after for row in case.ask(_CLAIMED_AFTER) if _later(case, row)}
    after = "first claimed after the opt-out was stored"
    found |= {row.id: after for row in case.ask(_CLAIMED_AFTER_OPT_OUT) if _later(case, row)}
    yield from (f"page {id}: {why}" for id, why in sorted(found.items()))


def _later(case: Case, row: Any) -> bool:
    at = case.business_us(row.first_try_at)
    return at is not None and at > int(row.at) + _SLACK_US * case.speed


# --- I8 ----------------------------------------------------------------------------------------------------------

_LOADS: Final = """
    SELECT coalesce(router_reps.rep, held.rep) AS rep, coalesce(open, 0) AS open, coalesce(has, 0) AS has
    FROM (SELECT rep FROM router_reps UNION SELECT owner FROM router_leads WHERE owner IS NOT NULL) AS everybody
    LEFT JOIN router_reps ON router_reps.rep = everybody.rep
    LEFT JOIN (SELECT owner AS rep, count(*) AS has FROM router_leads
               WHERE status IN ('assigned', 'accepted', 'working') GROUP BY owner) AS held ON held.rep = everybody.rep
    WHERE coalesce(open, 0) <> coalesce(has, 0) ORDER BY 1"""


def loads_add_up(case: Case) -> Iterator[str]:
    """I8, as counted."""
    for row in case.ask(_LOADS):
        yield f"rep {row.rep}: counted with {row.open} open, has {row.has}"


# --- I10 ---------------------------------------------------------------------------------------------------------


class _Body(msgspec.Struct):
    """What of a stored decision is looked at."""

    inputs: Inputs


_body = msgspec.json.Decoder(_Body).decode
_DECISIONS: Final = """
    SELECT router_decisions.id, chosen, body, rep FROM router_decisions
    LEFT JOIN router_assignments ON router_assignments.decision_id = router_decisions.id ORDER BY router_decisions.id"""


def decisions_hold(case: Case) -> Iterator[str]:
    """I10."""
    for row in case.ask(_DECISIONS):
        again = replay(_body(row.body).inputs)
        if again != row.chosen:
            yield f"decision {row.id}: chose {row.chosen or 'nobody'}, replayed it gives {again or 'nobody'}"
        elif row.rep != row.chosen:
            yield f"decision {row.id}: chose {row.chosen or 'nobody'}, the assignment is of {row.rep or 'nobody'}"

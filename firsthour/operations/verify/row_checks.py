"""What `verify` asks of the rows as they stand: one question per function, each giving the rows that break it."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from firsthour.kernel.time_units import micros
from firsthour.operations.verify.snapshot import OVERDUE, Snapshot
from schemas.envelope import UnknownEventError, decode, event_of
from schemas.events.pages import PageSent
from schemas.events.routes import LeadAssigned

_SLACK_US: Final = 50_000
"""How far two readings of one moment may lie apart, one of them worked out from the other clock."""
_SHARED_SLACK_US: Final = 1_000_000
"""The same between processes, each of which knows the database's clock as of its last look."""


# --- I2 ----------------------------------------------------------------------------------------------------------

_TWICE_SAID: Final = """
    SELECT type, cause, count(*) AS times FROM reporting_history
    WHERE cause IS NOT NULL GROUP BY type, cause, CASE WHEN type = 'consent.changed' THEN lead_id END
    HAVING count(*) > 1 ORDER BY type, cause"""
"""An opt-out by an identifier that several people share is told once of each of them."""
_TWICE_LOGGED: Final = """
    SELECT topic, event_id, count(*) AS times FROM log
    WHERE topic <> 'events' GROUP BY topic, event_id HAVING count(*) > 1 ORDER BY topic, event_id"""


def effects_are_single(case: Snapshot) -> Iterator[str]:
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
    SELECT later.lead_id, later.epoch, later.opened_at, earlier.closed_at FROM router_assignments AS later
    JOIN router_assignments AS earlier ON earlier.lead_id = later.lead_id AND earlier.epoch = later.epoch - 1
    WHERE earlier.closed_at IS NULL OR later.opened_at < earlier.closed_at ORDER BY later.lead_id, later.epoch"""
_BACKWARDS: Final = """
    SELECT lead_id, epoch, closed_at FROM router_assignments WHERE closed_at < opened_at ORDER BY lead_id, epoch"""
_TWO_OWNERS: Final = """
    SELECT router_leads.lead_id, owner, rep, router_leads.epoch, router_assignments.epoch AS assigned
    FROM router_leads
    LEFT JOIN router_assignments ON router_assignments.lead_id = router_leads.lead_id AND closed_at IS NULL
    WHERE coalesce(owner, '') <> coalesce(rep, '')
       OR (rep IS NOT NULL AND router_leads.epoch <> router_assignments.epoch)
    ORDER BY router_leads.lead_id"""


def owners_are_single(case: Snapshot) -> Iterator[str]:
    """I3. A moment that the clock went through twice is not compared here: the lead's records are in order, and hold the
    moments of each assignment."""
    for row in case.ask(_MANY_OPEN):
        yield f"lead {row.lead_id}: {row.times} open assignments"
    for row in case.ask(_GAPS):
        yield f"lead {row.lead_id}: {row.times} assignments with epochs {row.low} to {row.high}"
    for row in case.ask(_OVERLAPS):
        if row.closed_at is not None and case.gone_twice(row.opened_at):
            continue
        yield f"lead {row.lead_id}: assignment {row.epoch} began before {row.epoch - 1} had ended"
    for row in case.ask(_BACKWARDS):
        if not case.gone_twice(row.closed_at):
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


def clocks_live(case: Snapshot) -> Iterator[str]:
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


def rungs_fire_once(case: Snapshot) -> Iterator[str]:
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


def pages_arrive(case: Snapshot) -> Iterator[str]:
    """I6. Where nobody delivers, a page may wait for as long as nobody does."""
    real = case.clock.real()
    watched = case.alive_since is not None and case.alive_since < real - OVERDUE
    overdue = micros(real - OVERDUE) if watched else 0
    for row in case.ask(_PAGES, overdue=overdue):
        wrong = _wrong_with(row, overdue)
        if wrong:
            yield f"page {row.id}: {row.state}, {wrong}"


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
    SELECT pages.id, pages.lead_id, pages.epoch, pages.first_try_at, told.at, told.position
    FROM notifier_pages AS pages
    JOIN router_assignments ON router_assignments.lead_id = pages.lead_id AND router_assignments.epoch = pages.epoch
    JOIN reporting_history AS told ON told.lead_id = pages.lead_id AND told.type = 'promise.kept'
     AND told.at >= router_assignments.opened_at
    WHERE pages.state IN ('sending', 'sent', 'failed') AND pages.first_try_at IS NOT NULL ORDER BY pages.id"""
_CLAIMED_AFTER_OPT_OUT: Final = """
    SELECT pages.id, pages.lead_id, pages.epoch, pages.first_try_at, notifier_clocks.updated_at AS at,
           (SELECT max(position) FROM reporting_history
            WHERE reporting_history.lead_id = pages.lead_id AND type = 'lead.opted_out') AS position
    FROM notifier_pages AS pages JOIN notifier_clocks ON notifier_clocks.lead_id = pages.lead_id
    WHERE notifier_clocks.opted_out = 1 AND pages.state IN ('sending', 'sent', 'failed')
      AND pages.first_try_at IS NOT NULL ORDER BY pages.id"""
_ORDER_OF_LEAD: Final = """
    SELECT position, body FROM reporting_history
    WHERE lead_id = :lead AND position > 0 AND type IN ('lead.assigned', 'page.sent')"""


def nobody_told_after_a_touch(case: Snapshot) -> Iterator[str]:
    """I7. The notifier says `promise.kept` in the unit that stores a touch, so that is when it knew."""
    after = "first claimed after somebody's touch was stored"
    found = {row.id: after for row in case.ask(_CLAIMED_AFTER) if _later(case, row)}
    after = "first claimed after the opt-out was stored"
    found |= {row.id: after for row in case.ask(_CLAIMED_AFTER_OPT_OUT) if _later(case, row)}
    yield from (f"page {id}: {why}" for id, why in sorted(found.items()))


def _later(case: Snapshot, row: Any) -> bool:
    at = case.business_us(row.first_try_at)
    slack = _SHARED_SLACK_US if case.distributed else _SLACK_US * case.speed
    return at is not None and at > int(row.at) + slack and not _came_first(case, row, at)


def _came_first(case: Snapshot, row: Any, claimed_at: int) -> bool:
    """Whether the clock was set back, and the records are in this order: the page was sent, then the touch was stored; or
    the touch was stored, then the page's assignment began."""
    sent_before, assigned_after = case.gone_twice(claimed_at), case.gone_twice(int(row.at))
    if not row.position or not (sent_before or assigned_after):
        return False
    for record in case.ask(_ORDER_OF_LEAD, lead=row.lead_id):
        try:
            event = event_of(decode(bytes(record.body)))
        except (UnknownEventError, msgspec.DecodeError):
            continue  # named by I1
        match event:
            case PageSent() if sent_before and event.page_id == row.id and record.position < row.position:
                return True
            case LeadAssigned() if assigned_after and event.epoch == row.epoch and record.position > row.position:
                return True
    return False


# --- I8 ----------------------------------------------------------------------------------------------------------

_LOADS: Final = """
    SELECT coalesce(router_reps.rep, held.rep) AS rep, coalesce(open, 0) AS open, coalesce(has, 0) AS has
    FROM (SELECT rep FROM router_reps UNION SELECT owner FROM router_leads WHERE owner IS NOT NULL) AS everybody
    LEFT JOIN router_reps ON router_reps.rep = everybody.rep
    LEFT JOIN (SELECT owner AS rep, count(*) AS has FROM router_leads
               WHERE status IN ('assigned', 'accepted', 'working') GROUP BY owner) AS held ON held.rep = everybody.rep
    WHERE coalesce(open, 0) <> coalesce(has, 0) ORDER BY 1"""


def loads_add_up(case: Snapshot) -> Iterator[str]:
    """I8, as counted."""
    for row in case.ask(_LOADS):
        yield f"rep {row.rep}: counted with {row.open} open, has {row.has}"

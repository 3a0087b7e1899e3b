"""The time of facts: an older fact never undoes a newer one.

An event that is older than the state that it would change adds facts and points. It changes no status, owner or clock.

The functions change the lead in place. Times are microseconds since the epoch.
"""

from typing import Final

from firsthour.kernel.time_units import moment
from services.router.domain.lead import HELD, QUALIFIED, UNANSWERED_MAX, Lead, LeadState

SKEW_US: Final = 300 * 1_000_000
"""How far the clock of a sender of touches may be behind, by default."""

RUNNING: Final = HELD | {QUALIFIED}
"""The statuses in which a first touch ends a response clock."""

_RANKS: Final = {"open": 0, "lost": 2, "won": 3}
_OTHER_STAGE: Final = 1


def drop_future_times(lead: Lead, now: int) -> None:
    """Drop times after `now`, which remain when the host's clock is set back. They would make every fact of now an older one.

    The time of an opt-out stays: in doubt the person is not contacted.
    """
    state = lead.state
    if state.since is not None and state.since > now:
        state.since = None
    if state.back_at is not None and state.back_at > now:
        state.back_at = None
    if state.consented_at is not None and state.consented_at > now:
        state.consented_at = None
    if state.stage_at is not None and state.stage_at > now:
        state.stage_at = None


def note_change(lead: Lead, when: int) -> None:
    """Note that a fact of this time changed the status."""
    lead.state.since = max(lead.state.since or 0, when)


def note_return(lead: Lead, when: int) -> None:
    """Note that the lead returned to Marketing, or that the person opted out, at this time."""
    note_change(lead, when)
    lead.state.back_at = max(lead.state.back_at or 0, when)


def is_older(lead: Lead, when: int) -> bool:
    """Return whether a fact of this time is older than the status of the lead."""
    return when < (lead.state.since or 0)


# --- consent -------------------------------------------------------------------------------------------------------


def note_opt_out(lead: Lead, when: int) -> bool:
    """Note an opt-out. Return whether it is in force: the newer of opt-out and consent is; of equal times, the opt-out."""
    state = lead.state
    state.opted_out_at = max(state.opted_out_at or 0, when)
    return state.consented_at is None or state.opted_out_at >= state.consented_at


def note_consent(lead: Lead, when: int) -> bool:
    """Note a consent. Return whether it is in force."""
    state = lead.state
    state.consented_at = max(state.consented_at or 0, when)
    return state.opted_out_at is None or state.consented_at > state.opted_out_at


# --- deals ---------------------------------------------------------------------------------------------------------


def note_stage(lead: Lead, stage: str, when: int) -> bool:
    """Note the stage of a deal unless the stored stage is newer. Return whether it may change the status."""
    state = lead.state
    if state.stage_at is not None and (when, _rank(stage)) < (state.stage_at, _rank(state.stage or "")):
        return False
    state.stage, state.stage_at = stage, when
    return not is_older(lead, when)


def _rank(stage: str) -> int:
    return _RANKS.get(stage, _OTHER_STAGE)


# --- touches -------------------------------------------------------------------------------------------------------


def touch_fault(lead: Lead, when: int, skew_us: int, now: int) -> str | None:
    """Return why a touch of this time does not count. None: it counts.

    The clock of a sender may be behind, so a touch counts from `skew_us` before the submit on. A touch from before the
    last return to Marketing does not count. A submit after `now` excludes no touch: the host's clock was set back.
    """
    submit = lead.submit_at
    if submit is None or when >= submit:
        return None
    if when < submit - skew_us and submit <= now:
        early = (submit - when) // 1_000_000
        return f"{early} s before the submit; the tolerance is {skew_us // 1_000_000} s"
    if lead.state.back_at is not None and when < lead.state.back_at:
        return f"before the lead last left Sales ({moment(lead.state.back_at).isoformat(timespec='seconds')})"
    return None


def count_touch(lead: Lead, when: int, *, answered: bool, stops: bool) -> str:
    """Count a touch. Return its effect as a text for people. `stops`: it ends a response clock."""
    touched_at = when if lead.submit_at is None else max(when, lead.submit_at)
    is_first = lead.touched_at is None
    if stops:
        lead.touched_at = touched_at if lead.touched_at is None else min(lead.touched_at, touched_at)
    _count_answer(lead.state, touched_at, answered=answered)
    if lead.submit_at is None or lead.status not in RUNNING:
        return "counted; no response clock was running"
    if not is_first:
        return "counted; an earlier touch had ended the response clock"
    if stops:
        return "the first touch since the submit: the response clock has ended"
    return "counted; the response clock goes on until a conversation, and the next page comes later"


def _count_answer(state: LeadState, when: int, *, answered: bool) -> None:
    """Count a touch as an attempt or a conversation. The order in which touches are reported makes no difference."""
    state.attempts += 1
    if answered:
        state.conversations += 1
        state.answered_at = max(state.answered_at or 0, when)
        later = tuple(at for at in state.unanswered_at if at > state.answered_at)
        state.unanswered, state.unanswered_at = len(later), later
    elif state.answered_at is None or when > state.answered_at:
        state.unanswered += 1
        state.unanswered_at = tuple(sorted((*state.unanswered_at, when))[-UNANSWERED_MAX:])

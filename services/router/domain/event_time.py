"""Facts act by their own time: an older fact never undoes a newer one.

The functions change the lead that they are given, without IO.

An event that is older than the state it would change adds its facts and its points. It changes no status, owner or
clock. Times are microseconds since the epoch.
"""

from typing import Final

from firsthour.kernel.time_units import moment
from services.router.domain.lead import HELD, QUALIFIED, Lead

SKEW_US: Final = 300 * 1_000_000
"""How far the clock of a sender of touches may be behind, unless a setting says otherwise."""

RUNNING: Final = HELD | {QUALIFIED}
"""The statuses in which a first touch ends a response clock."""

_RANKS: Final = {"open": 0, "lost": 2, "won": 3}
_OTHER_STAGE: Final = 1


def forget_ahead(lead: Lead, now: int) -> None:
    """Drop the times that lie ahead of `now`: the host's clock was set back since. Facts of now are newer all the same.

    The time of an opt-out is kept: in doubt the person is left alone.
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


def changed(lead: Lead, when: int) -> None:
    """Note that a fact of this time changed the status."""
    lead.state.since = max(lead.state.since or 0, when)


def went_back(lead: Lead, when: int) -> None:
    """Note that the lead went back to Marketing, or out of reach, at this time."""
    changed(lead, when)
    lead.state.back_at = max(lead.state.back_at or 0, when)


def is_older(lead: Lead, when: int) -> bool:
    """Whether a fact of this time is older than the status that the lead has."""
    return when < (lead.state.since or 0)


# --- consent -------------------------------------------------------------------------------------------------------


def withdraw(lead: Lead, when: int) -> bool:
    """Note an opt-out. Return whether it holds: the newest of opt-out and consent does, of one moment the opt-out."""
    state = lead.state
    state.opted_out_at = max(state.opted_out_at or 0, when)
    return state.consented_at is None or state.opted_out_at >= state.consented_at


def consent(lead: Lead, when: int) -> bool:
    """Note a consent. Return whether it holds."""
    state = lead.state
    state.consented_at = max(state.consented_at or 0, when)
    return state.opted_out_at is None or state.consented_at > state.opted_out_at


# --- deals ---------------------------------------------------------------------------------------------------------


def moves_deal(lead: Lead, stage: str, when: int) -> bool:
    """Note the stage of a deal unless a newer one is known. Return whether it may change the status."""
    state = lead.state
    if state.stage_at is not None and (when, _rank(stage)) < (state.stage_at, _rank(state.stage or "")):
        return False
    state.stage, state.stage_at = stage, when
    return not is_older(lead, when)


def _rank(stage: str) -> int:
    return _RANKS.get(stage, _OTHER_STAGE)


# --- touches -------------------------------------------------------------------------------------------------------


def why_not(lead: Lead, when: int, skew_us: int, now: int) -> str | None:
    """Return why a touch of this time counts for nothing; None if it counts.

    A sender's clock may be behind: a touch counts from `skew_us` before the submit on, yet not from before the lead was
    last with Marketing. A submit ahead of `now` bars no touch: the host's clock was set back since.
    """
    submit = lead.submit_at
    if submit is None or when >= submit:
        return None
    if when < submit - skew_us and submit <= now:
        early = (submit - when) // 1_000_000
        return f"it was {early} s before the submit, and the tolerance is {skew_us // 1_000_000} s"
    if lead.state.back_at is not None and when < lead.state.back_at:
        return f"it was before the lead last left Sales ({moment(lead.state.back_at).isoformat(timespec='seconds')})"
    return None


def touch(lead: Lead, when: int, *, answered: bool) -> str:
    """Count a touch. Return its effect, in words for people."""
    counted = when if lead.submit_at is None else max(when, lead.submit_at)
    first = lead.touched_at is None
    lead.touched_at = counted if lead.touched_at is None else min(lead.touched_at, counted)
    state = lead.state
    state.attempts += 1
    state.unanswered = 0 if answered else state.unanswered + 1
    if first and lead.submit_at is not None and lead.status in RUNNING:
        return "the first touch since the submit: the response clock has ended"
    if lead.submit_at is None or lead.status not in RUNNING:
        return "counted; no response clock was running"
    return "counted; an earlier touch had ended the response clock"

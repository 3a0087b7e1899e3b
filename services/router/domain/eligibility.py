"""Reasons why a rep cannot take a lead. A function that returns a reason returns None if it finds none.

The part of a reason before the colon is its kind. A decision counts the reps of each kind.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from firsthour.kernel.time_units import EPOCH, micros, moment
from schemas.agreement.routing import RoutingRule
from services.router.domain.lead import Lead
from services.router.domain.rules import RoutingRules
from services.router.domain.team_state import Presence

DEACTIVATED: Final = "deactivated"
NOT_IN_TEAM: Final = "not in the team"
LEFT: Final = frozenset({DEACTIVATED, NOT_IN_TEAM})
"""The reasons of reps who have left: their lags are divided among the rest of a pool."""

# --- the rep alone ------------------------------------------------------------------------------------------------


def unavailability(rules: RoutingRules, reps: Mapping[str, Presence], rep: str, now: int) -> str | None:
    """Return why `rep` gets no new lead at all: deactivated, away, or at capacity."""
    absent = absence(rules, reps, rep, now)
    person, presence = rules.rep(rep), reps.get(rep)
    if absent is not None or person is None:
        return absent
    limit = person.capacity.open
    open_leads = presence.open if presence else 0
    return f"at capacity: {open_leads} of {limit} open" if limit is not None and open_leads >= limit else None


def absence(rules: RoutingRules, reps: Mapping[str, Presence], rep: str, now: int) -> str | None:
    """Return why `rep` does not work now."""
    person, presence = rules.rep(rep), reps.get(rep)
    if person is None:
        return NOT_IN_TEAM
    if has_left(rules, reps, rep, now):
        return DEACTIVATED
    if presence is not None and presence.as_of(now) == "away":
        return f"away: until {_day(presence.until)}" if presence.until is not None else "away"
    until = person.away_until(moment(now)) if person.away else None
    return f"away: until {_day(micros(until))}" if until is not None else None


def has_left(rules: RoutingRules, reps: Mapping[str, Presence], rep: str, now: int) -> bool:
    """Return whether the team file or a command has deactivated `rep`."""
    person, presence = rules.rep(rep), reps.get(rep)
    return person is None or not person.active or (presence is not None and presence.as_of(now) == "deactivated")


def reps_with_capacity(rules: RoutingRules, reps: Mapping[str, Presence], now: int) -> set[str]:
    """Return the reps who are available and below capacity."""
    return {rep for rep in rules.team.rep_by_id if unavailability(rules, reps, rep, now) is None}


# --- the rep and the lead -----------------------------------------------------------------------------------------


def declined_before(rules: RoutingRules, lead: Lead, rep: str, now: int) -> str | None:
    """Return why `rep`, who had the lead before and did not take it, does not get it again yet."""
    state = lead.state
    if rep == state.not_again:
        return "had the lead before and did not take it"
    declined = state.declined.get(rep) if state.declined else None
    if declined is not None and now < declined + rules.never_back_us:
        return f"had the lead before and did not take it: excluded until {_day(declined + rules.never_back_us)}"
    return None


def too_long_ago(rule: RoutingRule, lead: Lead, now: int) -> str | None:
    """Return why `rule` does not send the lead to its previous owner: that ownership ended longer ago than `within`."""
    ended_at = lead.state.previous_left_at
    if rule.within is None or ended_at is None or now - ended_at <= micros(EPOCH + rule.within):
        return None
    return f"had the lead too long ago: the ownership ended {_day(ended_at)}"


def _day(us: int) -> str:
    return (EPOCH + timedelta(microseconds=us)).strftime("%Y-%m-%d %H:%MZ")

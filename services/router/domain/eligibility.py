"""Whether a rep can take a lead. Each function returns the reason why not, or None.

The part of a reason before a colon is its kind: decisions count reps by kind.
"""

from collections.abc import Mapping
from datetime import timedelta

from firsthour.kernel.time_units import EPOCH, micros, moment
from schemas.agreement.routing import RoutingRule
from services.router.domain.lead import Lead
from services.router.domain.rules import RoutingRules
from services.router.domain.team_state import Presence

# --- the rep alone ------------------------------------------------------------------------------------------------


def unavailable(rules: RoutingRules, reps: Mapping[str, Presence], rep: str, now: int) -> str | None:
    """Return why `rep` gets no new lead at all: deactivated, away, or at capacity."""
    absent = not_here(rules, reps, rep, now)
    known, presence = rules.rep(rep), reps.get(rep)
    if absent is not None or known is None:
        return absent
    limit = known.capacity.open
    has = presence.open if presence else 0
    return f"at capacity: {has} of {limit} open" if limit is not None and has >= limit else None


def not_here(rules: RoutingRules, reps: Mapping[str, Presence], rep: str, now: int) -> str | None:
    """Return why `rep` does not work now."""
    known, presence = rules.rep(rep), reps.get(rep)
    if known is None:
        return "not in the team"
    if is_gone(rules, reps, rep, now):
        return "deactivated"
    if presence is not None and presence.as_of(now) == "away":
        return f"away: until {_day(presence.until)}" if presence.until is not None else "away"
    until = known.away_until(moment(now)) if known.away else None
    return f"away: until {_day(micros(until))}" if until is not None else None


def is_gone(rules: RoutingRules, reps: Mapping[str, Presence], rep: str, now: int) -> bool:
    """Return whether `rep` has left, by the team file or by a command."""
    known, presence = rules.rep(rep), reps.get(rep)
    return known is None or not known.active or (presence is not None and presence.as_of(now) == "deactivated")


def with_room(rules: RoutingRules, reps: Mapping[str, Presence], now: int) -> set[str]:
    """Return the reps who are available and below capacity."""
    return {rep for rep in rules.team.rep_by_id if unavailable(rules, reps, rep, now) is None}


# --- the rep and the lead -----------------------------------------------------------------------------------------


def declined_before(rules: RoutingRules, lead: Lead, rep: str, now: int) -> str | None:
    """Return why `rep`, who had this lead and did not take it, does not get it again yet."""
    state = lead.state
    if rep == state.not_again:
        return "had it and did not take it"
    declined = state.declined.get(rep) if state.declined else None
    if declined is not None and now < declined + rules.never_back_us:
        return f"had it and did not take it: until {_day(declined + rules.never_back_us)}"
    return None


def too_long_ago(rule: RoutingRule, lead: Lead, now: int) -> str | None:
    """Return why `rule` no longer sends the lead to its previous owner: the owner lost it before the rule's `within`."""
    left = lead.state.previous_left_at
    if rule.within is None or left is None or now - left <= micros(EPOCH + rule.within):
        return None
    return f"had it too long ago: until {_day(left)}"


def _day(us: int) -> str:
    return (EPOCH + timedelta(microseconds=us)).strftime("%Y-%m-%d %H:%MZ")

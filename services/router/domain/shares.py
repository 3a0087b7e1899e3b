"""The share of a pool's places that the leads of one source may take, so that a flood does not fill all reps."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from services.router.domain.eligibility import absence
from services.router.domain.lead import Lead
from services.router.domain.rules import RoutingRules, RuleOption
from services.router.domain.team_state import INITIAL_PRESENCE, TeamState

LEAST: Final = 1
"""A source may always have one open lead in a pool: a share of a small pool never closes it."""


def source_of(lead: Lead) -> str | None:
    """Return the source of the request of a lead. None: it has none."""
    return (lead.state.trigger.source or None) if lead.state.trigger is not None else None


def closed(
    rules: RoutingRules, lead: Lead, team: TeamState, pool: str, options: Sequence[RuleOption], now: int
) -> str | None:
    """Return why the source of the lead gets no further place in a pool. None: it does.

    Places are the open leads that the available members may have. The text does not change with the number of waiting leads.

    Args:
        options: The members of the pool.
        now: The time, in microseconds.
    """
    source = source_of(lead)
    share = rules.shares.get(source or "")
    if source is None or share is None or share >= 1:
        return None
    open_leads: Mapping[str, int] = team.of_source.get(source, {})
    places, taken = 0.0, 0
    for option in options:
        is_simple = option.simple_below > 0 and team.reps.get(option.rep, INITIAL_PRESENCE).state == "available"
        if not is_simple and absence(rules, team.reps, option.rep, now) is not None:
            continue
        capacity = rules.capacity(option.rep)
        places += capacity
        taken += open_leads.get(option.rep, 0)
    if places == 0 or math.isinf(places):
        return None
    limit = max(LEAST, math.floor(share * places))
    if taken < limit:
        return None
    return f"share of {source}: its leads have {limit} of the {places:.0f} places of {pool}, by `share_of_pool`"

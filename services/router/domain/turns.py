"""The turns of a pool: each member gets a share, by weight, of the leads that the member could take.

A lead is one turn. Each eligible member is credited a share of the lead, by weight. The member who gets the lead is
charged a whole lead. The balance is the member's lag: positive while leads are owed, negative while the member is ahead.
A lead that a member could not take (language, capacity, absence) does not change the member's lag.

A member is due if the lag, with the share of this lead, is above zero. Of the due members, the one whose turn must end
soonest gets the lead (EEVDF: Stoica and Abdel-Wahab, 1995). By the largest lag alone, light members would be served
before heavy members are due.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import accumulate, pairwise

import msgspec

SCALE = 720_720_000_000
"""One lead. Shares are exact if the sum of the weights divides this number. Every number up to 16 does."""

ROUNDING = 1_000_000
"""The tolerance for rounding of a lag, in parts of `SCALE`: one part for each lead."""
_SCALE_OF_PASSES = 720_720_000


class Candidate(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A member of a pool, in the order of the team file. `ruled_out_by`: why the member cannot take this lead. None: eligible."""

    rep: str
    weight: int = 1
    lag: int = 0
    ruled_out_by: str | None = None
    passes: int = 0  # only in decisions from before revision 0008, which counted turns instead of lags


class Turn(msgspec.Struct, frozen=True, gc=False):
    """A turn: the member who gets the lead, and the lags of the pool's members afterwards, without zeros."""

    rep: str
    lags: dict[str, int]


def next_turn(candidates: Sequence[Candidate]) -> Turn | None:
    """Return the next turn. None: no member is eligible. The sum of the lags of all members does not change."""
    eligible = [candidate for candidate in candidates if candidate.ruled_out_by is None]
    if not eligible:
        return None
    if any(candidate.passes for candidate in eligible):
        return Turn(_by_passes(eligible).rep, {})
    shares = _shares(tuple([candidate.weight for candidate in eligible]))
    chosen = _chosen(eligible, shares)
    lags = {
        candidate.rep: after
        for candidate, share in zip(eligible, shares, strict=True)
        if (after := candidate.lag + share)
    }
    lags[chosen] = lags.get(chosen, 0) - SCALE
    if len(eligible) < len(candidates):
        lags |= {c.rep: c.lag for c in candidates if c.lag and c.ruled_out_by is not None}
    if not lags[chosen]:
        del lags[chosen]
    return Turn(chosen, lags)


def settle(lags: Mapping[str, int], members: Mapping[str, int]) -> Mapping[str, int]:
    """Return the lags of `members` after the other members of `lags` have left the pool.

    The lag of a member who left is divided among the rest, so that the lags still add up to zero. A member who comes back
    begins at zero.

    Args:
        members: the weight of each member, by rep.
    """
    surplus = [lag for rep, lag in lags.items() if rep not in members]
    if not any(surplus):
        return lags
    if not members:
        return {}
    shares = divide(sum(surplus), list(members.values()))
    return {rep: lags.get(rep, 0) + share for rep, share in zip(members, shares, strict=True)}


def divide(whole: int, weights: Sequence[int]) -> list[int]:
    """Divide `whole` into parts by weight. The parts add up to `whole` exactly; each is at most one off."""
    total = sum(weights)
    ends = [0, *(end * whole // total for end in accumulate(weights))]
    return [end - begin for begin, end in pairwise(ends)]


@lru_cache(maxsize=16)
def _shares(weights: tuple[int, ...]) -> list[int]:
    """Return the share of each member in one lead. The same members take most leads of a pool."""
    return divide(SCALE, weights)


def _chosen(eligible: Sequence[Candidate], shares: Sequence[int]) -> str:
    """Return the due member whose turn ends first; among equals the first in the team file.

    A turn ends when a whole lead is owed. Its end is counted in how much each unit of weight must be credited until then.
    """
    chosen, first_end = "", None
    for candidate, share in zip(eligible, shares, strict=True):
        lag = candidate.lag
        if lag + share > ROUNDING and (first_end is None or (SCALE - lag) // candidate.weight < first_end):
            chosen, first_end = candidate.rep, (SCALE - lag) // candidate.weight
    if first_end is None:  # every eligible member is ahead: the members who are owed leads cannot take this one
        return max(zip(eligible, shares, strict=True), key=_lag_with_share)[0].rep
    return chosen


def _lag_with_share(pair: tuple[Candidate, int]) -> int:
    candidate, share = pair
    return candidate.lag + share


def _by_passes(eligible: Sequence[Candidate]) -> Candidate:
    """Return the choice by the rule in force before revision 0008, to replay decisions from before it."""
    ahead = sum(candidate.weight * candidate.passes for candidate in eligible) + _SCALE_OF_PASSES
    weights = sum(candidate.weight for candidate in eligible)
    return min(
        (candidate for candidate in eligible if candidate.passes * weights < ahead),
        key=lambda candidate: candidate.passes + _SCALE_OF_PASSES // candidate.weight,
    )

"""The turns of a pool: each member gets their share of the leads that they could take.

A lead is one turn. Every member who could take it is credited a share of it, by weight; the member who gets it is
charged all of it. What remains is the member's lag: positive while leads are owed, negative while the member is ahead.
Members who could not take a lead (language, capacity, absence) neither gain nor lose by it.

Of the members who are due (a lag above zero, the share of this lead included), the one whose turn must end soonest is
taken (EEVDF: Stoica and Abdel-Wahab, 1995). The largest lag alone would serve light members before heavy ones are due.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise

import msgspec

SCALE = 720_720_000_000
"""One lead. Shares are exact where the sum of the weights divides it, as every number up to 16 does."""

_ROUNDING = 1_000_000
"""How far a lag may be off, in parts of `SCALE`: one part for each lead."""
_SCALE_OF_PASSES = 720_720_000


class Candidate(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A member of a pool, in the order of the team file. `ruled_out_by` says why they cannot take this lead."""

    rep: str
    weight: int = 1
    lag: int = 0
    ruled_out_by: str | None = None
    passes: int = 0  # read from decisions of before revision 0008, which counted turns instead of lags


class Turn(msgspec.Struct, frozen=True, gc=False):
    """A turn taken: the member who took it, and the lags of the pool's members after it; zeros are left out."""

    rep: str
    lags: dict[str, int]


def next_turn(seats: Sequence[Candidate]) -> Turn | None:
    """Return the next turn, or None when every member is ruled out. The lags of all members add up to the same as before."""
    here = [seat for seat in seats if seat.ruled_out_by is None]
    if not here:
        return None
    if any(seat.passes for seat in here):
        return Turn(_by_passes(here).rep, {})
    shares = divided(SCALE, [seat.weight for seat in here])
    due = [seat for seat, share in zip(here, shares, strict=True) if seat.lag + share > _ROUNDING]
    if not due:  # all of them are ahead, for the members who are owed leads cannot take this one
        due = [max(zip(here, shares, strict=True), key=_credited)[0]]
    chosen = min(due, key=_end)  # the first of equals, in the order of the team file
    lags = {seat.rep: seat.lag for seat in seats}
    lags |= {seat.rep: seat.lag + share for seat, share in zip(here, shares, strict=True)}
    lags[chosen.rep] -= SCALE
    return Turn(chosen.rep, {rep: lag for rep, lag in lags.items() if lag})


def settled(lags: Mapping[str, int], members: Mapping[str, int]) -> Mapping[str, int]:
    """Return the lags of `members` (each with a weight) once the others of `lags` have left the pool.

    What a member who left was owed or had ahead is divided among the rest, so that their lags go on adding up to zero. A
    member who comes back begins at zero.
    """
    left = [lag for rep, lag in lags.items() if rep not in members]
    if not any(left):
        return lags
    if not members:
        return {}
    shares = divided(sum(left), list(members.values()))
    return {rep: lags.get(rep, 0) + share for rep, share in zip(members, shares, strict=True)}


def divided(whole: int, weights: Sequence[int]) -> list[int]:
    """Return `whole` in parts by weight. The parts add up to it exactly, each at most one off."""
    total = sum(weights)
    ends = [0, *(end * whole // total for end in accumulate(weights))]
    return [end - begin for begin, end in pairwise(ends)]


def _end(seat: Candidate) -> int:
    """When the turn must end: after so many parts of a lead for each unit of weight, the member is owed a whole lead."""
    return (SCALE - seat.lag) // seat.weight


def _credited(of: tuple[Candidate, int]) -> int:
    seat, share = of
    return seat.lag + share


def _by_passes(here: Sequence[Candidate]) -> Candidate:
    """The choice as it was made before revision 0008, so that decisions of then can be replayed."""
    ahead = sum(seat.weight * seat.passes for seat in here) + _SCALE_OF_PASSES
    weights = sum(seat.weight for seat in here)
    return min(
        (seat for seat in here if seat.passes * weights < ahead),
        key=lambda seat: seat.passes + _SCALE_OF_PASSES // seat.weight,
    )

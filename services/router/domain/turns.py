"""Whose turn it is in a pool: shares by weight, never more than one lead away from what a rep is entitled to.

Stride scheduling with an eligibility test (EEVDF: Stoica and Abdel-Wahab, 1995; proportionate progress: Baruah et al.,
1996). A rep's pass grows by `SCALE / weight` with every turn. Plain stride takes the smallest pass; with weights 5, 1, 1
that serves all three once before the first has its second turn, when it is owed more than one. So of those who are not
ahead of the pool's average (nobody gets a turn before it is due), the one whose next turn must end soonest is taken.
"""

from collections.abc import Sequence

import msgspec

SCALE = 720_720_000
"""One turn of a rep of weight 1. Divides by every weight up to 16, and nearly by the others."""


class Seat(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A member of a pool, in the order of the team file. `ruled_out_by` says why they cannot take this lead."""

    rep: str
    weight: int = 1
    passes: int = 0
    ruled_out_by: str | None = None


class Turn(msgspec.Struct, frozen=True, gc=False):
    """A turn taken: by whom, and what the pool remembers after it: its average pass, and everybody's."""

    rep: str
    virtual: int
    passes: dict[str, int]


def take(seats: Sequence[Seat]) -> Turn | None:
    """The next turn, or None when everybody is ruled out.

    Who is ruled out is moved up to the average, so absence earns no credit; who is ahead of it stays there.
    """
    here = [seat for seat in seats if seat.ruled_out_by is None]
    if not here:
        return None
    weights = sum([seat.weight for seat in here])
    sum_passes = sum([seat.weight * seat.passes for seat in here])
    ahead = sum_passes + SCALE
    due = [seat for seat in here if seat.passes * weights < ahead]
    chosen = min(due, key=_end)  # the first of equals, in the order of the team file
    virtual = ahead // weights
    passes = {
        seat.rep: virtual if seat.ruled_out_by is not None and seat.passes < virtual else seat.passes for seat in seats
    }
    passes[chosen.rep] = _end(chosen)
    return Turn(chosen.rep, virtual, passes)


def _end(seat: Seat) -> int:
    return seat.passes + SCALE // seat.weight

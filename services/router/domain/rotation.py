"""Decisions as they are stored: what a decision before has stored already is named, not repeated.

The lags of a pool follow from the turn before. So a decision names the decision that made it (`after`), and stores only the
members that are ruled out. Every `FULL_EVERY` turns, and when the members of the pool have changed, a decision stores all
its members. `Rotations` computes the inputs of a decision again, from there on, by the code that takes the turns.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from schemas.errors import FirstHourError
from schemas.events.base import Facts
from services.router.domain.decision import Inputs, MatchedRule
from services.router.domain.eligibility import LEFT
from services.router.domain.team_state import Lags, RotationState
from services.router.domain.turns import Candidate, next_turn, settle

FULL_EVERY: Final = 128
"""A decision follows from at most this many decisions before it."""
TURNS_KEPT: Final = 32  # in memory, for the decisions that follow them


class RotationError(FirstHourError):
    """Raised when a decision cannot be computed from the decisions that it rests on."""


class StoredStep(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A rule that matches the lead. Either `seats` has all its members, or they follow from the turn of `after`."""

    rule: str
    pool: str | None = None
    seats: tuple[Candidate, ...] = ()
    after: str | None = None  # id of a decision
    out: dict[str, str] = {}  # by reason: the places of the members that it rules out, as `0-4,7`
    closed: str | None = None  # as in `MatchedRule`


class StoredInputs(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """`Inputs`, as they are stored."""

    now: datetime
    urgency: str
    steps: tuple[StoredStep, ...]
    facts: Facts = {}
    excluded: tuple[str, ...] = ()


def stored(inputs: Inputs, pools: Mapping[str, RotationState], rosters: Mapping[str, str]) -> StoredInputs:
    """Return the inputs as they are stored.

    Args:
        inputs: what the decision depends on.
        pools: the rotation of each pool before the decision.
        rosters: the fingerprint of the members of each pool.
    """
    steps = tuple(_stored_step(step, pools, rosters) for step in inputs.steps)
    return StoredInputs(inputs.now, inputs.urgency, steps, inputs.facts, inputs.excluded)


def _stored_step(step: MatchedRule, pools: Mapping[str, RotationState], rosters: Mapping[str, str]) -> StoredStep:
    if step.closed is not None:
        return StoredStep(step.rule, step.pool, closed=step.closed)
    rotation = pools.get(step.pool) if step.pool is not None else None
    if rotation is None or step.pool is None or not _follows(rotation, rosters.get(step.pool)):
        return StoredStep(step.rule, step.pool, step.seats)
    places: dict[str, list[int]] = {}
    for place, candidate in enumerate(step.seats):
        if candidate.ruled_out_by is not None:
            places.setdefault(candidate.ruled_out_by, []).append(place)
    return StoredStep(step.rule, step.pool, after=rotation.after, out={why: _text(at) for why, at in places.items()})


def _follows(rotation: RotationState, roster: str | None) -> bool:
    return bool(rotation.after) and rotation.roster == roster and rotation.turns + 1 < FULL_EVERY


def turned(rotation: RotationState, lags: Lags, decision_id: str, roster: str) -> RotationState:
    """Return the rotation of a pool after a turn. `roster`: the fingerprint of its members."""
    turns = rotation.turns + 1 if _follows(rotation, roster) else 0
    return RotationState(lags, decision_id, turns, roster)


class Rotations:
    """Computes the inputs of stored decisions. `find` returns the inputs of a decision by its id; None: there is none."""

    def __init__(self, find: Callable[[str], StoredInputs | None]) -> None:
        self._find = find
        self._turns: OrderedDict[str, tuple[tuple[Candidate, ...], Lags]] = OrderedDict()

    def inputs(self, row: StoredInputs) -> Inputs:
        """Return everything that the decision depends on. Raises `RotationError`."""
        steps = tuple(MatchedRule(step.rule, self._seats(step), step.pool, step.closed) for step in row.steps)
        return Inputs(row.now, row.urgency, steps, row.facts, row.excluded)

    def _seats(self, step: StoredStep) -> tuple[Candidate, ...]:
        return step.seats if step.after is None else _seats_after(self._turn(step.after), step)

    def _turn(self, id: str) -> tuple[tuple[Candidate, ...], Lags]:
        """Return the members of the pool and their lags after the turn that this decision made."""
        steps: list[tuple[str, StoredStep]] = []
        while id not in self._turns:
            step = self._step(id)
            steps.append((id, step))
            if step.after is None:
                break
            if len(steps) > FULL_EVERY:
                raise RotationError(f"it rests on more than {FULL_EVERY} decisions")
            id = step.after
        for id, step in reversed(steps):
            seats = self._seats(step)
            turn = next_turn(seats)
            if turn is None:
                raise RotationError(f"decision {id}, on which it rests, made no turn")
            self._turns[id] = seats, turn.lags
        result = self._turns[id]
        while len(self._turns) > TURNS_KEPT:
            self._turns.popitem(last=False)
        return result

    def _step(self, id: str) -> StoredStep:
        row = self._find(id)
        if row is None or not row.steps:
            raise RotationError(f"decision {id}, on which it rests, is missing")
        return row.steps[-1]


def _seats_after(turn: tuple[tuple[Candidate, ...], Lags], step: StoredStep) -> tuple[Candidate, ...]:
    seats, lags = turn
    reasons = {place: why for why, text in step.out.items() for place in _places(text)}
    members = {
        candidate.rep: candidate.weight for place, candidate in enumerate(seats) if reasons.get(place) not in LEFT
    }
    lags = settle(lags, members)
    return tuple(
        Candidate(candidate.rep, candidate.weight, lags.get(candidate.rep, 0), reasons.get(place))
        for place, candidate in enumerate(seats)
    )


def _text(places: Sequence[int]) -> str:
    """Return ascending places as text: `0-4,7`."""
    ranges: list[list[int]] = []
    for place in places:
        if ranges and ranges[-1][1] == place - 1:
            ranges[-1][1] = place
        else:
            ranges.append([place, place])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def _places(text: str) -> Iterator[int]:
    for part in text.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)

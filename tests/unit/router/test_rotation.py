"""Stored decisions: the inputs computed from the decisions before are the inputs that the choice was made from."""

import random
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.domain.decision import Inputs, MatchedRule, decide
from services.router.domain.eligibility import DEACTIVATED, LEFT
from services.router.domain.rotation import FULL_EVERY, RotationError, Rotations, StoredInputs, stored, turned
from services.router.domain.team_state import INITIAL_ROTATION, RotationState
from services.router.domain.turns import Candidate, settle

NOW = datetime(2026, 12, 1, 9, tzinfo=UTC)
POOL = "all"


class StoredPool:
    """A pool that takes turns, with the decisions as they are stored and the inputs that they were made from."""

    def __init__(self, weights: Mapping[str, int]) -> None:
        self.weights = dict(weights)
        self.rotation: RotationState = INITIAL_ROTATION
        self.rows: dict[str, StoredInputs] = {}
        self.inputs: dict[str, Inputs] = {}

    def decide(self, reasons: Mapping[str, str]) -> str:
        """Decide about a lead that the members in `reasons` cannot take. Return the id of the decision."""
        members = {rep: weight for rep, weight in self.weights.items() if reasons.get(rep) not in LEFT}
        lags = settle(self.rotation.lags, members)
        seats = tuple(
            Candidate(rep, weight, lags.get(rep, 0), reasons.get(rep)) for rep, weight in self.weights.items()
        )
        inputs = Inputs(NOW, "hot", (MatchedRule("everyone", seats, POOL),))
        id, roster = f"d{len(self.rows)}", str(self.weights)
        self.rows[id], self.inputs[id] = stored(inputs, {POOL: self.rotation}, {POOL: roster}), inputs
        if (turn := decide(inputs).turn) is not None:
            self.rotation = turned(self.rotation, turn.lags, id, roster)
        return id

    def replayed(self, id: str) -> Inputs:
        return Rotations(self.rows.get).inputs(self.rows[id])

    def size(self, id: str) -> int:
        return len(msgspec.json.encode(self.rows[id]))


def pool_of(count: int) -> StoredPool:
    return StoredPool({f"rep{n}": 1 + n % 3 for n in range(count)})


@given(st.integers(0, 2**32))
def test_stored_decisions_give_the_inputs_of_the_choice(seed: int) -> None:
    chance = random.Random(seed)
    pool = pool_of(chance.randint(1, 6))
    for _ in range(chance.randint(1, 40)):
        if chance.random() < 0.1:
            pool.weights = {f"rep{n}": chance.randint(1, 3) for n in range(chance.randint(1, 6))}
        why = ("away", DEACTIVATED, "at capacity: 2 of 2 open")
        pool.decide({rep: chance.choice(why) for rep in pool.weights if chance.random() < 0.4})
    rotations = Rotations(pool.rows.get)
    for id in chance.sample(sorted(pool.rows), len(pool.rows)):
        assert rotations.inputs(pool.rows[id]) == pool.inputs[id]


def test_decision_follows_from_a_bounded_number_of_decisions() -> None:
    pool = pool_of(3)
    ids = [pool.decide({}) for _ in range(2 * FULL_EVERY + 1)]
    full = [id for id in ids if pool.rows[id].steps[0].seats]
    assert full == [ids[0], ids[FULL_EVERY], ids[2 * FULL_EVERY]]
    assert pool.replayed(ids[-2]) == pool.inputs[ids[-2]]


@pytest.mark.parametrize("members", [4, 1_000])
def test_bytes_of_a_decision_do_not_depend_on_the_pool(members: int) -> None:
    pool = pool_of(members)
    pool.decide({})
    assert pool.size(pool.decide({})) < 150


def test_reps_ruled_out_are_grouped_by_reason() -> None:
    pool = pool_of(100)
    pool.decide({})
    away, full = {f"rep{n}": "away" for n in (0, 1, 2, 7)}, {f"rep{n}": "at capacity" for n in range(50, 100)}
    id = pool.decide(away | full)
    assert pool.rows[id].steps[0].out == {"away": "0-2,7", "at capacity": "50-99"}


def test_missing_decision_is_named_by_those_that_rest_on_it() -> None:
    pool = pool_of(3)
    first, second = pool.decide({}), pool.decide({})
    del pool.rows[first]
    with pytest.raises(RotationError, match=f"decision {first}, on which it rests, is missing"):
        pool.replayed(second)


def test_decisions_in_a_circle_are_an_error() -> None:
    pool = pool_of(3)
    pool.decide({})
    second, third = pool.decide({}), pool.decide({})
    pool.rows[second] = pool.rows[third]
    with pytest.raises(RotationError, match="more than"):
        pool.replayed(third)


def test_rotation_without_lags_of_an_older_release_is_stored_in_full() -> None:
    pool = pool_of(2)
    pool.rotation = RotationState({"rep0": 5, "rep1": -5})
    assert len(pool.rows[pool.decide({})].steps[0].seats) == 2

"""Properties of turns, for any weights and any eligibility.

The entitlement of a member is a sum over the leads that the member could take: the weight of the member, divided by the
weights of all members who could take the lead.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.router.domain.turns import ROUNDING, SCALE, Candidate, Turn, divide, next_turn, settle
from tests.examples import examples

weights = st.lists(st.integers(1, 16), min_size=1, max_size=7)
NONE: frozenset[int] = frozenset()


class FairPool:
    """A pool as stored, with the entitlement and the number of leads of each member."""

    def __init__(self, of: Sequence[int]) -> None:
        self.weights = {str(n): weight for n, weight in enumerate(of)}
        self.lags: dict[str, int] = {}
        self.entitlements = {rep: Fraction(0) for rep in self.weights}
        self.counts = Counter[str]()

    def next(self, absent: frozenset[int] = NONE) -> int | None:
        lags = settle(self.lags, self.weights)
        seats = [
            Candidate(rep, weight, lags.get(rep, 0), "away" if int(rep) in absent else None)
            for rep, weight in self.weights.items()
        ]
        turn = next_turn(seats)
        if turn is None:
            return None
        self.lags = turn.lags
        here = {seat.rep: seat.weight for seat in seats if seat.ruled_out_by is None}
        for rep, weight in here.items():
            self.entitlements[rep] += Fraction(weight, sum(here.values()))
        self.counts[turn.rep] += 1
        return int(turn.rep)

    def deviation(self) -> Fraction:
        """Return the largest difference of a member's leads from the entitlement."""
        return max(abs(self.entitlements[rep] - self.counts[rep]) for rep in self.weights)


@settings(max_examples=examples(300))
@given(weights, st.integers(1, 200))
def test_equally_eligible_members_stay_within_one_lead_of_entitlement(of: list[int], turns: int) -> None:
    pool = FairPool(of)
    for n in range(1, turns + 1):
        assert pool.next() is not None
        assert all(owed == Fraction(n * pool.weights[rep], sum(of)) for rep, owed in pool.entitlements.items())
        assert pool.deviation() < 1


@pytest.mark.parametrize("of", [[5, 1, 1], [1] * 40, [1000, *[1] * 60], [300, 50, 3, 2, *[1] * 20]])
def test_large_and_uneven_pools_stay_within_one_lead_of_entitlement(of: list[int]) -> None:
    pool = FairPool(of)
    for _ in range(700):
        pool.next()
        assert pool.deviation() < 1


@settings(max_examples=examples(500))
@given(weights, st.lists(st.booleans(), max_size=200), st.integers(0, 6))
def test_partly_eligible_member_stays_within_one_lead_of_their_share(
    of: list[int], could: list[bool], member: int
) -> None:
    """Eligibility follows any pattern. The other members stay within one lead too."""
    pool, some = FairPool([*of, 3]), min(member, len(of))
    for can in could:
        pool.next(NONE if can else frozenset({some}))
        assert pool.deviation() < 1


@settings(max_examples=examples(300))
@given(
    st.lists(st.integers(1, 16), min_size=3, max_size=3),
    st.lists(st.frozensets(st.integers(0, 2), max_size=2), max_size=150),
)
def test_three_members_stay_within_one_lead_for_any_eligibility(of: list[int], absences: list[frozenset[int]]) -> None:
    pool = FairPool(of)
    for absent in absences:
        pool.next(absent)
        assert pool.deviation() < 1


@settings(max_examples=examples(300))
@given(weights, st.lists(st.frozensets(st.integers(0, 6), max_size=6), max_size=150))
def test_any_members_stay_within_two_leads_for_any_eligibility(of: list[int], absences: list[frozenset[int]]) -> None:
    pool = FairPool(of)
    for absent in absences:
        chosen = pool.next(absent)
        assert chosen is None or chosen not in absent
        assert sum(pool.lags.values()) == 0
        assert pool.deviation() < 2


@given(
    st.lists(st.tuples(st.integers(1, 1000), st.integers(-2 * SCALE, 2 * SCALE), st.booleans()), min_size=1, max_size=8)
)
def test_member_who_is_not_due_gets_no_turn_while_another_is_due(state: list[tuple[int, int, bool]]) -> None:
    seats = [Candidate(str(n), weight, lag, "away" if away else None) for n, (weight, lag, away) in enumerate(state)]
    here = [seat for seat in seats if seat.ruled_out_by is None]
    turn = next_turn(seats)
    if turn is None:
        assert not here
        return
    total = sum(seat.weight for seat in here)
    credited = {seat.rep: seat.lag + Fraction(SCALE * seat.weight, total) for seat in here}
    assert turn.rep in credited
    rounding = SCALE // 100_000
    assert credited[turn.rep] > 0 or max(credited.values()) <= max(credited[turn.rep], Fraction(0)) + rounding
    gone = {seat.rep: seat.lag for seat in seats if seat.ruled_out_by}
    assert {rep: turn.lags.get(rep, 0) for rep in gone} == gone


@given(weights, st.integers(0, 50), st.integers(1, 200))
def test_absence_earns_no_credit(of: list[int], before: int, absent_for: int) -> None:
    pool = FairPool([*of, 4])
    away = str(len(of))
    for _ in range(before):
        pool.next()
    lag = pool.lags.get(away, 0)
    for _ in range(absent_for):
        pool.next(frozenset({len(of)}))
    assert pool.lags.get(away, 0) == lag
    assert abs(lag) < SCALE


@given(weights, st.integers(0, 60), st.integers(1, 6), st.integers(0, 100))
def test_member_removed_and_added_again_begins_with_no_lag(
    of: list[int], before: int, weight: int, meanwhile: int
) -> None:
    pool = FairPool([*of, weight])
    member = str(len(of))
    for _ in range(before):
        pool.next()
    del pool.weights[member]
    for _ in range(meanwhile + 1):
        pool.next()
    assert member not in pool.lags
    pool.weights[member] = weight
    share = Fraction(weight, sum(pool.weights.values()))
    assert sum(pool.next() == len(of) for _ in range(50)) <= 50 * share + 2


@given(st.lists(st.integers(-SCALE, SCALE), min_size=1, max_size=6), st.integers(1, 6))
def test_lags_of_members_who_left_are_divided_among_the_rest(lags: list[int], stay: int) -> None:
    pool_lags = {str(n): lag for n, lag in enumerate(lags)}
    members: Mapping[str, int] = {str(n): n + 1 for n in range(min(stay, len(lags)))}
    after = settle(pool_lags, members)
    assert sum(after.get(rep, 0) for rep in members) == sum(lags) or set(members) == set(pool_lags) or len(members) == 0
    assert settle(pool_lags, {}) == {} or not any(lags)


@given(st.integers(-SCALE, SCALE), st.lists(st.integers(1, 1000), min_size=1, max_size=50))
def test_parts_add_up_and_follow_the_weights(whole: int, of: list[int]) -> None:
    parts = divide(whole, of)
    assert sum(parts) == whole
    assert all(abs(part - Fraction(whole * weight, sum(of))) <= 1 for part, weight in zip(parts, of, strict=True))


def test_equal_members_get_turns_in_the_order_of_the_team_file() -> None:
    pool = FairPool([1, 1, 1])
    assert [pool.next() for _ in range(6)] == [0, 1, 2, 0, 1, 2]


def test_twice_the_weight_gets_twice_the_leads() -> None:
    pool = FairPool([2, 1])
    assert Counter(pool.next() for _ in range(30)) == {0: 20, 1: 10}


def test_pool_without_eligible_members_gives_no_turn() -> None:
    assert FairPool([1, 2]).next(frozenset({0, 1})) is None


def test_decision_stored_with_passes_replays_to_the_same_rep() -> None:
    seats = [Candidate("a", 2, passes=720_720_000), Candidate("b", 1, passes=0), Candidate("c", 1, passes=720_720_000)]
    turn = next_turn(seats)
    assert turn is not None
    assert turn.rep == "b"


# --- as it was ----------------------------------------------------------------------------------------------------


def reference_turn(candidates: Sequence[Candidate]) -> Turn | None:
    """The first implementation of `next_turn`: the definition, without regard to its cost."""
    eligible = [candidate for candidate in candidates if candidate.ruled_out_by is None]
    if not eligible:
        return None
    shares = divide(SCALE, [candidate.weight for candidate in eligible])
    credited = list(zip(eligible, shares, strict=True))
    due = [candidate for candidate, share in credited if candidate.lag + share > ROUNDING]
    if not due:
        due = [max(credited, key=lambda pair: pair[0].lag + pair[1])[0]]
    chosen = min(due, key=lambda candidate: (SCALE - candidate.lag) // candidate.weight)
    lags = {candidate.rep: candidate.lag for candidate in candidates}
    lags |= {candidate.rep: candidate.lag + share for candidate, share in credited}
    lags[chosen.rep] -= SCALE
    return Turn(chosen.rep, {rep: lag for rep, lag in lags.items() if lag})


_LAGS = st.one_of(st.integers(-2, 2).map(lambda n: n * SCALE), st.integers(-2 * SCALE, 2 * SCALE), st.integers(-2, 2))


@settings(max_examples=examples(300))
@given(st.lists(st.tuples(st.integers(1, 20), _LAGS, st.booleans()), max_size=12))
def test_turn_is_that_of_its_definition(state: list[tuple[int, int, bool]]) -> None:
    seats = [Candidate(str(n), weight, lag, "away" if away else None) for n, (weight, lag, away) in enumerate(state)]
    assert next_turn(seats) == reference_turn(seats)

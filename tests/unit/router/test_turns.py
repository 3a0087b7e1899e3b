"""The laws of turns, whatever the weights and whoever comes and goes."""

from collections import Counter
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from services.router.domain.turns import SCALE, Seat, take

# Weights that divide SCALE, so that the laws hold exactly and not but for rounding.
weights = st.lists(st.integers(1, 16), min_size=1, max_size=7)


class Pool:
    """A pool as the store keeps it: an average, and a pass for each member once it has one."""

    def __init__(self, of: list[int]) -> None:
        self.weights = of
        self.virtual = 0
        self.passes: dict[str, int] = {}

    def next(self, absent: frozenset[int] = frozenset()) -> int | None:
        seats = [
            Seat(str(n), weight, self.passes.get(str(n), self.virtual), "away" if n in absent else None)
            for n, weight in enumerate(self.weights)
        ]
        turn = take(seats)
        if turn is None:
            return None
        self.virtual = turn.virtual
        self.passes |= turn.passes
        return int(turn.rep)


@settings(max_examples=300)
@given(weights, st.integers(1, 200))
def test_shares_stay_within_one_lead_of_entitlement(of: list[int], turns: int) -> None:
    pool, had, total = Pool(of), Counter[int](), sum(of)
    for n in range(1, turns + 1):
        chosen = pool.next()
        assert chosen is not None
        had[chosen] += 1
        for rep, weight in enumerate(of):
            assert abs(had[rep] - Fraction(n * weight, total)) < 1


@settings(max_examples=300)
@given(weights, st.lists(st.frozensets(st.integers(0, 6), max_size=5), max_size=120))
def test_who_comes_and_goes_never_costs_the_others_their_share(of: list[int], absences: list[frozenset[int]]) -> None:
    """Between any two who are always here, neither ever gets ahead by more than one turn of the slower one."""
    pool, had = Pool(of), Counter[int]()
    here = set(range(len(of))).difference(*absences) if absences else set(range(len(of)))
    for absent in absences:
        chosen = pool.next(absent)
        assert chosen is None or chosen not in absent
        if chosen is not None:
            had[chosen] += 1
        for one in here:
            for other in here:
                ahead = Fraction(had[one], of[one]) - Fraction(had[other], of[other])
                assert ahead <= max(Fraction(1, of[one]), Fraction(1, of[other]))


@given(st.lists(st.tuples(st.integers(1, 1000), st.integers(0, 10 * SCALE), st.booleans()), min_size=1, max_size=8))
def test_no_state_gives_a_rep_a_turn_before_it_is_due(state: list[tuple[int, int, bool]]) -> None:
    seats = [Seat(str(n), weight, passes, "away" if away else None) for n, (weight, passes, away) in enumerate(state)]
    here = [seat for seat in seats if seat.ruled_out_by is None]
    turn = take(seats)
    if turn is None:
        assert not here
        return
    chosen = seats[int(turn.rep)]
    total = sum(seat.weight for seat in here)
    assert chosen in here
    assert chosen.passes * total < sum(seat.weight * seat.passes for seat in here) + SCALE
    assert turn.passes[turn.rep] == chosen.passes + SCALE // chosen.weight


@given(weights, st.integers(0, 50), st.integers(1, 50))
def test_absence_earns_no_credit(of: list[int], before: int, absent_for: int) -> None:
    """Whoever returns gets no more than one who was always here and has had what they are owed."""
    pool = Pool([*of, 4])
    away = frozenset({len(of)})
    for _ in range(before):
        pool.next()
    for _ in range(absent_for):
        pool.next(away)
    assert pool.passes[str(len(of))] >= pool.virtual


def test_equals_go_in_the_order_of_the_team_file() -> None:
    pool = Pool([1, 1, 1])
    assert [pool.next() for _ in range(6)] == [0, 1, 2, 0, 1, 2]


def test_twice_the_weight_gets_twice_the_leads() -> None:
    pool = Pool([2, 1])
    assert Counter(pool.next() for _ in range(30)) == {0: 20, 1: 10}


def test_nobody_here_means_no_turn() -> None:
    assert Pool([1, 2]).next(frozenset({0, 1})) is None

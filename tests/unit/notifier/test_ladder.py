"""Laws of the ladder: when its rungs come."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from schemas.agreement import Rung
from services.notifier.domain.ladder import plan

NINE = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
minutes = st.integers(0, 500).map(lambda n: timedelta(minutes=n))
ladders = st.lists(minutes, max_size=6).map(
    lambda spans: tuple(Rung(at=span, page="owner", by=("slack",)) for span in sorted(spans))
)


def test_rungs_count_from_the_assignment() -> None:
    ladder = (Rung(at=timedelta(0), page="owner"), Rung(at=timedelta(minutes=10), page="manager"))
    rungs = plan(ladder, NINE + timedelta(hours=1), NINE + timedelta(minutes=5))
    assert [(r.index, r.due_at - NINE) for r in rungs] == [(0, timedelta(minutes=5)), (1, timedelta(minutes=15))]


def test_a_rung_after_the_promise_comes_at_its_end() -> None:
    rungs = plan(
        (Rung(at=timedelta(minutes=30), reassign=True),), NINE + timedelta(hours=1), NINE + timedelta(minutes=50)
    )
    assert rungs[0].due_at == NINE + timedelta(hours=1)


def test_an_assignment_after_the_promise_has_its_whole_ladder() -> None:
    rungs = plan((Rung(at=timedelta(minutes=30), reassign=True),), NINE + timedelta(hours=1), NINE + timedelta(hours=1))
    assert rungs[0].due_at == NINE + timedelta(minutes=90)


@given(ladders, minutes, minutes)
def test_no_rung_is_early_for_more_than_the_promise_nor_late_for_a_timely_assignment(
    ladder: tuple[Rung, ...], promise: timedelta, assigned: timedelta
) -> None:
    promise_at, assigned_at = NINE + promise, NINE + assigned
    for step in plan(ladder, promise_at, assigned_at):
        assert step.due_at in (assigned_at + step.rung.at, promise_at)
        assert step.due_at >= assigned_at
        if assigned_at < promise_at:
            assert step.due_at <= promise_at
        else:
            assert step.due_at == assigned_at + step.rung.at


@given(ladders, minutes, minutes)
def test_rungs_keep_their_order(ladder: tuple[Rung, ...], promise: timedelta, assigned: timedelta) -> None:
    due = [step.due_at for step in plan(ladder, NINE + promise, NINE + assigned)]
    assert due == sorted(due)


@given(ladders, minutes, minutes, minutes)
def test_a_later_assignment_never_makes_a_rung_due_sooner(
    ladder: tuple[Rung, ...], promise: timedelta, assigned: timedelta, later: timedelta
) -> None:
    first = plan(ladder, NINE + promise, NINE + assigned)
    second = plan(ladder, NINE + promise, NINE + assigned + later)
    assert all(a.due_at <= b.due_at for a, b in zip(first, second, strict=True))

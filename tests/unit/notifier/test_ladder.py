"""Properties of the ladder: the times of its rungs."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from schemas.agreement.response import Recipient, Rung
from services.notifier.domain.ladder import Progress, ladder_from_json, ladder_to_json, next_due, planned

NINE = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
TEN = NINE + timedelta(hours=1)
LADDER = (
    Rung(at=timedelta(0), page="owner", by=("slack",)),
    Rung(at=timedelta(minutes=10), page="owner", by=("slack",)),
    Rung(at=timedelta(minutes=20), page="manager", by=("slack", "email")),
    Rung(at=timedelta(minutes=30), reassign=True),
)
minutes = st.integers(0, 500).map(lambda n: timedelta(minutes=n))
recipients: list[Recipient | None] = ["owner", "cover", "manager", "channel", None]
ladders = st.lists(st.tuples(minutes, st.sampled_from(recipients)), max_size=6).map(
    lambda rungs: tuple(_rung(at, page) for at, page in sorted(rungs, key=lambda rung: rung[0]))
)


def _rung(at: timedelta, page: Recipient | None) -> Rung:
    if page is None:
        return Rung(at=at, reassign=True)
    return Rung(at=at, page=page, by=("slack",), to="#inbound" if page == "channel" else None)


def at(minute: float) -> datetime:
    return NINE + timedelta(minutes=minute)


@dataclass
class Walk:
    """One assignment that goes up the ladder."""

    ladder: tuple[Rung, ...] = LADDER
    promise_at: datetime = TEN
    assigned_at: datetime = NINE

    def times(self, up_from: datetime = NINE, told_after: timedelta = timedelta(0)) -> list[datetime]:
        """Return when a notifier that runs from `up_from` on reaches each rung.

        Each page is accepted `told_after` after its rung fired.
        """
        reached: list[datetime] = []
        progress = Progress()
        while (due := next_due(self.ladder, self.promise_at, self.assigned_at, progress)) is not None:
            fired = max(due, up_from, *reached[-1:])
            reached.append(fired)
            rung, owner = self.ladder[progress.next_rung], progress.owner_at
            told_at = fired if rung.reassign else fired + told_after
            owner = owner or (told_at if rung.page == "owner" else None)
            progress = Progress(progress.next_rung + 1, fired, told_at, owner_at=owner)
        return reached


def test_rungs_count_from_the_assignment() -> None:
    assert Walk(assigned_at=at(5)).times() == [at(5), at(15), at(25), at(35)]


def test_rung_after_the_promise_is_due_at_its_end() -> None:
    assert Walk(assigned_at=at(45)).times() == [at(45), at(55), TEN, TEN]


def test_assignment_after_the_promise_has_its_whole_ladder() -> None:
    assert Walk(assigned_at=TEN).times() == [at(60), at(70), at(80), at(90)]


def test_rungs_missed_during_an_outage_keep_their_spans() -> None:
    assert Walk().times(up_from=at(40)) == [at(40), at(50), at(60), at(70)]
    assert Walk(assigned_at=at(45)).times(up_from=at(90)) == [at(90), at(100), at(110), at(120)]


def test_late_page_delays_the_later_rungs() -> None:
    late = Progress(3, at(20), rung_told_at=at(45), owner_at=NINE)
    assert next_due(LADDER, TEN, NINE, late) == at(55)


def test_owner_changes_no_sooner_than_the_span_after_their_page() -> None:
    assert next_due(LADDER, TEN, NINE, Progress(3, at(20), at(20), owner_at=at(18))) == at(48)
    assert next_due(LADDER, TEN, NINE, Progress(3, at(20), at(20), owner_at=None)) is None


def test_rung_without_a_recipient_takes_no_time_from_the_next() -> None:
    assert next_due(LADDER, TEN, NINE, Progress(1, NINE, NINE, empty=True, owner_at=NINE, owner_told=False)) == NINE
    passed = Progress(2, NINE, NINE, empty=True, owner_at=NINE, owner_told=False)
    assert next_due(LADDER, TEN, NINE, passed) == NINE
    manager_told = Progress(3, NINE, at(1), owner_at=NINE, owner_told=False)
    assert next_due(LADDER, TEN, NINE, manager_told) == at(11), "the owner was never told"


def test_owner_told_before_an_empty_rung_keeps_the_lead_for_the_whole_span() -> None:
    passed = Progress(3, at(10), at(10), empty=True, owner_at=NINE)
    assert next_due(LADDER, TEN, NINE, passed) == at(30)


def test_ladder_without_owner_pages_changes_the_owner() -> None:
    ladder = (Rung(at=timedelta(0), page="manager"), Rung(at=timedelta(minutes=30), reassign=True))
    assert next_due(ladder, TEN, NINE, Progress(1, NINE, NINE)) == at(30)


def test_page_being_sent_delays_the_next_until_the_promise_ends() -> None:
    assert next_due(LADDER, TEN, NINE, Progress(1, NINE)) == TEN
    assert next_due(LADDER, TEN, NINE, Progress(2, TEN)) == at(70)


def test_page_being_sent_prevents_the_change_of_owner() -> None:
    assert next_due(LADDER, TEN, NINE, Progress(3, at(70))) is None


@given(ladders, minutes, minutes, minutes, minutes)
def test_rungs_keep_their_order_and_are_never_early(
    ladder: tuple[Rung, ...], promise: timedelta, assigned: timedelta, up: timedelta, told: timedelta
) -> None:
    walk = Walk(ladder, NINE + promise, NINE + assigned)
    reached = walk.times(NINE + up, told)
    assert len(reached) == len(ladder)
    assert reached == sorted(reached)
    for rung, when in zip(ladder, reached, strict=True):
        assert when >= planned(rung, walk.promise_at, walk.assigned_at)


@given(ladders, minutes, minutes)
def test_ladder_without_delays_follows_the_plan(
    ladder: tuple[Rung, ...], promise: timedelta, assigned: timedelta
) -> None:
    walk = Walk(ladder, NINE + promise, NINE + assigned)
    expected = [planned(rung, walk.promise_at, walk.assigned_at) for rung in ladder]
    assert walk.times(walk.assigned_at) == expected
    assert all(
        when <= max(walk.promise_at, walk.assigned_at + rung.at) for rung, when in zip(ladder, expected, strict=True)
    )


@given(ladders, minutes, minutes, minutes)
def test_late_ladder_has_the_spans_of_the_agreement(
    ladder: tuple[Rung, ...], promise: timedelta, assigned: timedelta, down: timedelta
) -> None:
    walk = Walk(ladder, NINE + promise, NINE + assigned)
    up_from = walk.assigned_at + down + timedelta(minutes=1000)
    reached = walk.times(up_from)
    assert [when - up_from for when in reached] == [rung.at - ladder[0].at for rung in ladder]


@given(ladders)
def test_stored_ladder_is_read_unchanged(ladder: tuple[Rung, ...]) -> None:
    assert ladder_from_json(ladder_to_json(ladder)) == ladder

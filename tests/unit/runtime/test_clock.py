"""Clocks and ids."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from firsthour.kernel.time_units import EPOCH, micros, moment
from firsthour.runtime.clock import HostClock, new_id
from tests.hand_clock import HandClock


@given(st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(9999, 1, 1), timezones=st.just(UTC)))
def test_moment_is_equal_after_conversion_to_microseconds(at: datetime) -> None:
    assert moment(micros(at)) == at


@given(st.integers(-(10**15), 10**17), st.integers(-(10**15), 10**17))
def test_moments_have_the_order_of_their_microseconds(one: int, other: int) -> None:
    assert (moment(one) < moment(other)) == (one < other)


def test_ids_are_unique_uuids_of_version_7_that_grow_with_time() -> None:
    ids = [new_id() for _ in range(2_000)]
    assert len(set(ids)) == len(ids)
    assert {UUID(id).version for id in ids} == {7}
    assert {UUID(id).variant for id in ids} == {"specified in RFC 4122"}
    assert [id[:13] for id in ids] == sorted(id[:13] for id in ids)


def test_business_time_runs_faster_from_its_origin() -> None:
    clock = HostClock(60.0, HostClock().real() - timedelta(minutes=1), EPOCH)
    assert timedelta(hours=1) <= clock.business() - EPOCH < timedelta(hours=2)
    assert clock.real_seconds(timedelta(hours=1)) == 60


def test_hand_clock_stands_still_until_it_is_advanced() -> None:
    clock = HandClock()
    before = clock.business()
    clock.advance(minutes=10)
    assert clock.business() - before == timedelta(minutes=10)
    assert clock.real() == clock.business()

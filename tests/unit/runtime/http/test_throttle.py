"""Counts of failed attempts, by network, in a bounded table."""

from datetime import timedelta

import pytest

from firsthour.runtime.http.client_address import network
from firsthour.runtime.http.throttle import ADDRESSES_MAX, ATTEMPTS_MAX, WINDOW_SECONDS, Throttle
from tests.hand_clock import HandClock


def test_failures_are_counted_by_address_and_forgotten_after_the_window() -> None:
    clock = HandClock()
    throttle = Throttle(clock)
    assert [throttle.failed("192.0.2.1") for _ in range(ATTEMPTS_MAX)] == [None] * ATTEMPTS_MAX
    assert throttle.failed("192.0.2.1") == WINDOW_SECONDS
    assert throttle.failed("192.0.2.2") is None
    clock.now += timedelta(seconds=WINDOW_SECONDS)
    assert throttle.failed("192.0.2.1") is None


def test_the_table_of_addresses_is_bounded() -> None:
    throttle = Throttle(HandClock())
    for number in range(ADDRESSES_MAX + 100):
        throttle.failed(f"host-{number}")
    assert len(throttle._windows) == ADDRESSES_MAX


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "20010db800000000::/64"),
        ("2001:db8::ffff:2", "20010db800000000::/64"),
        ("", ""),
    ],
)
def test_an_ipv6_sender_is_its_network(address: str, source: str) -> None:
    assert network(address) == source

"""The keys in memory are those of now."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.engine import Connection

from firsthour.runtime.http.auth import Key, Keys, digest
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.http.throttle import ADDRESSES_MAX, ATTEMPTS_MAX, WINDOW_SECONDS, Throttle, network
from tests.hand_clock import HandClock


class Slow:
    """Reads what there is when it is asked; every answer waits until it is let through."""

    def __init__(self) -> None:
        self.there: list[Key] = []
        self.waiting: list[asyncio.Future[None]] = []

    async def __call__(self, work: Callable[[Connection], Any], /) -> Any:
        found = [*self.there]
        self.waiting.append(asyncio.get_running_loop().create_future())
        await self.waiting[-1]
        return found


async def test_an_answer_of_before_a_key_was_made_does_not_make_it_unknown_again() -> None:
    clock, reads = HandClock(), Slow()
    keys = Keys(clock)
    first = asyncio.create_task(keys.refresh(reads))
    await asyncio.sleep(0)
    reads.there = [Key("k", "form", "ingest", None, digest("fh_k"), clock.now, None, None, None)]
    second = asyncio.create_task(keys.refresh(reads))
    await asyncio.sleep(0)
    while not (first.done() and second.done()):
        for answer in reversed(reads.waiting):  # whoever asked last is answered first
            if not answer.done():
                answer.set_result(None)
                break
        await asyncio.sleep(0)
    assert keys.find("Bearer fh_k") is not None


# --- how long a key holds ----------------------------------------------------------------------------------------


def one_key(clock: HandClock, **more: Any) -> Key:
    given = {"id": "k", "name": "form", "role": "sales", "rep": None, "hash": digest("fh_k"), "created_at": clock.now}
    return Key(**{**given, "expires_at": None, "revoked_at": None, "used_at": None, **more})


def test_a_key_holds_no_longer_than_the_bound_after_it_was_read() -> None:
    clock = HandClock()
    keys = Keys(clock, given="given", local="local", age_seconds_max=3_600)
    keys.take([one_key(clock)])
    assert keys.warnings() == ()
    clock.now += timedelta(minutes=59)
    assert keys.find("Bearer fh_k") is not None
    assert "revoked since is still accepted" in keys.warnings()[0]
    clock.now += timedelta(minutes=2)
    with pytest.raises(Problem) as caught:
        keys.find("Bearer fh_k")
    assert (caught.value.status, caught.value.headers["Retry-After"]) == (503, "5")
    assert "answered 503" in keys.warnings()[0]
    assert keys.find("Bearer given") is not None
    assert keys.find("Bearer local") is not None
    keys.take([one_key(clock)])
    assert keys.find("Bearer fh_k") is not None


def test_before_any_key_was_read_a_bounded_table_knows_none() -> None:
    keys = Keys(HandClock(), age_seconds_max=3_600)
    with pytest.raises(Problem):
        keys.find("Bearer fh_k")
    assert keys.warnings() == ("keys are not known (never read): requests with a key are answered 503",)


def test_the_key_of_a_rep_ends_with_the_rep() -> None:
    clock, team = HandClock(), {"ana"}
    keys = Keys(clock, works=team.__contains__)
    keys.take([one_key(clock, rep="ana"), one_key(clock, id="other", hash=digest("fh_other"))])
    assert keys.find("Bearer fh_k") is not None
    team.clear()
    assert keys.find("Bearer fh_k") is None
    assert keys.find("Bearer fh_other") is not None


# --- wrong keys --------------------------------------------------------------------------------------------------


def test_failures_are_counted_for_each_address_and_forgotten_after_the_window() -> None:
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

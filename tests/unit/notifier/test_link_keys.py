"""The keys of links: shared by processes, replaced after 30 days, removed once their links have expired."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

from services.notifier.domain.link import LIFETIME, Link, LinkKey, token_of
from services.notifier.link_keys import KEPT_FOR, LOOK_SECONDS, SIGNS_FOR, LinkKeys
from tests.unit.notifier.harness import NotifierHarness

PAGE = "0192f3c4-0000-7000-8000-000000000001"


@dataclass
class Parts:
    """The resources of a process that uses the keys."""

    units: Any
    reads: Any
    clock: Any


def keys_of(harness: NotifierHarness) -> LinkKeys:
    return LinkKeys(cast(Any, Parts(harness.units, harness.units.read, harness.clock)))


def token(harness: NotifierHarness, key: LinkKey) -> str:
    return token_of(Link("open", PAGE, harness.clock.now + LIFETIME, 1), key)


async def test_two_processes_sign_with_the_same_key(harness: NotifierHarness) -> None:
    key = await keys_of(harness).signing()
    assert await keys_of(harness).signing() == key
    assert len(key.secret) == 32


async def test_gateway_reads_the_key_of_a_token_that_it_does_not_know(harness: NotifierHarness) -> None:
    gateway, notifier = keys_of(harness), keys_of(harness)
    assert await gateway.link("A" * 56) is None  # the gateway has read the keys, and there is none
    key = await notifier.signing()
    harness.clock.advance(seconds=LOOK_SECONDS + 0.1)
    assert (await gateway.link(token(harness, key))) is not None


async def test_guesses_read_the_keys_once_per_second_at_most(harness: NotifierHarness) -> None:
    keys = keys_of(harness)
    with harness.units.counting() as executed:
        for n in range(100):
            assert await keys.link(f"{n:056}") is None
    assert len(executed) == 1


async def test_key_is_replaced_after_30_days_and_its_links_stay_valid(harness: NotifierHarness) -> None:
    keys = keys_of(harness)
    first = await keys.signing()
    harness.clock.now += SIGNS_FOR
    assert await keys.signing() == first
    last_token = token(harness, first)
    harness.clock.advance(minutes=11)
    second = await keys.signing()
    assert (second.id, second.secret == first.secret) == (2, False)

    harness.clock.now += LIFETIME - timedelta(minutes=20)
    assert await keys_of(harness).link(last_token) is not None


async def test_old_key_is_removed_once_its_links_have_expired(harness: NotifierHarness) -> None:
    keys = keys_of(harness)
    old = token(harness, await keys.signing())
    harness.clock.now += KEPT_FOR + timedelta(hours=1)
    await keys.signing()
    assert await keys_of(harness).link(old) is None
    assert [row["id"] for row in harness.rows("SELECT id FROM notifier_link_keys")] == [2]


async def test_links_of_a_removed_key_are_refused_within_ten_minutes(harness: NotifierHarness) -> None:
    gateway = keys_of(harness)
    old = token(harness, await gateway.signing())
    assert await gateway.link(old) is not None
    harness.execute("DELETE FROM notifier_link_keys")
    harness.clock.advance(minutes=10, seconds=1)
    assert await gateway.link(old) is None
    assert await gateway.link(token(harness, await gateway.signing())) is not None

"""Limits at the door: what is refused, when it may come again, and the bound of the tables."""

import pytest

from firsthour.runtime.http.problem import Problem
from schemas.sources import Quota
from services.gateway.limits import KEYS_MAX, MINUTE_SECONDS, DoorLimits, Windows, mail_domain
from tests.hand_clock import HandClock
from tests.unit.gateway.harness import GatewayHarness

CLIENT = "198.51.100.7"


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def test_posts_of_one_address_beyond_the_limit_are_refused_until_the_window_ends(clock: HandClock) -> None:
    door = DoorLimits(2)
    door.check_address(CLIENT, clock.monotonic())
    clock.advance(seconds=10)
    door.check_address(CLIENT, clock.monotonic())
    with pytest.raises(Problem) as refused:
        door.check_address(CLIENT, clock.monotonic())

    assert (refused.value.status, refused.value.headers) == (429, {"Retry-After": "50"})
    door.check_address("198.51.100.8", clock.monotonic())
    clock.advance(seconds=50)
    door.check_address(CLIENT, clock.monotonic())


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "172.18.0.2", "::1", "fd00::1", "", "unix:"])
def test_local_address_is_not_counted_because_it_may_be_a_proxy(address: str) -> None:
    door = DoorLimits(1)
    for _ in range(3):
        door.check_address(address, 0.0)


def test_addresses_of_one_ipv6_network_are_one_sender() -> None:
    door = DoorLimits(1)
    door.check_address("2001:db8::1", 0.0)
    with pytest.raises(Problem):
        door.check_address("2001:db8::2", 0.0)


def test_forms_for_one_mail_domain_are_limited() -> None:
    door = DoorLimits(1)
    assert door.check_domain("acme.example", 0.0) == 1
    with pytest.raises(Problem, match="429"):
        door.check_domain("acme.example", 0.0)


def test_source_is_refused_from_ten_times_its_quota_on() -> None:
    door, quota = DoorLimits(1), Quota(per_minute=10)
    door.check_source("crm", quota, 100, 0.0)
    door.check_source("other", quota, 100, 0.0)
    with pytest.raises(Problem, match="429"):
        door.check_source("crm", quota, 1, 0.0)


def test_table_of_windows_is_bounded() -> None:
    windows = Windows(MINUTE_SECONDS)
    for n in range(3 * KEYS_MAX):
        windows.add(str(n), 0.0)
        assert len(windows) <= KEYS_MAX + 1


@pytest.mark.parametrize(
    ("email", "domain"),
    [("a@b.example", "b.example"), ("a@gmail.com", ""), (None, ""), ("a@mailinator.com", "mailinator.com")],
)
def test_free_mailboxes_have_no_mail_domain(email: str | None, domain: str) -> None:
    assert mail_domain(email) == domain


async def test_gateway_answers_429_with_a_time_before_it_reads_the_form(harness: GatewayHarness) -> None:
    harness.gateway._guard.door = DoorLimits(1)
    fields = b'{"email": "ann@acme.example"}'
    headers = {"content-type": "application/json", "x-forwarded-for": CLIENT}
    first, second, other = [
        await harness.request("POST", "/v1/forms/demo-request", headers | more, fields, client="127.0.0.1")
        for more in ({}, {}, {"x-forwarded-for": "198.51.100.9", "accept": "text/html"})
    ]

    assert (first.status, second.status, len(harness.records)) == (202, 429, 1)
    assert second.headers["content-type"] == "application/problem+json"
    assert (second.headers["retry-after"], second.json["title"]) == ("60", "Too Many Requests")
    assert other.status == 429  # of the mail domain
    assert b"again in a minute" in other.body

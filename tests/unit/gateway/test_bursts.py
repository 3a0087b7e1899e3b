"""What is a burst, what confirms it, and the bounds of what is kept about bursts."""

from datetime import UTC, datetime

import pytest

from services.gateway.bursts import (
    BURST_MIN,
    BURSTS_MAX,
    OTHERS_MAX,
    PACE_MAX,
    QUIET_SECONDS,
    SPREAD_MIN,
    UNKNOWN_MIN,
    BurstMark,
    Bursts,
    shortened,
)

REAL = datetime(2026, 12, 1, 9, tzinfo=UTC)


class Forms:
    """Posts of forms within one minute."""

    def __init__(self) -> None:
        self.bursts = Bursts()
        self._numbers: dict[str, int] = {}

    def post(self, domain: str, client: str, now: float = 0.0) -> BurstMark:
        for name in (f"of {domain}", f"from {client}"):
            self._numbers[name] = self._numbers.get(name, 0) + 1
        of_domain = self._numbers[f"of {domain}"] if domain else 0
        of_client = self._numbers[f"from {client}"] if client else 0
        return self.bursts.mark(domain, client, of_domain, of_client, now, REAL) or BurstMark()


def test_forms_beyond_what_people_send_from_one_client_are_held() -> None:
    forms = Forms()
    marks = [forms.post(f"d{n}.example", "198.51.100.7") for n in range(BURST_MIN)]
    assert set(marks) == {BurstMark()}
    assert forms.post("same.example", "198.51.100.7").held.endswith("client 198.51.100.x")
    assert forms.post("same.example", "198.51.100.8") == BurstMark()


def test_forms_for_one_domain_are_held_until_several_clients_sent_most_of_them() -> None:
    forms = Forms()
    clients = [forms.post("acme.example", f"203.0.113.{n}") for n in range(BURST_MIN + SPREAD_MIN)]
    held = [mark.held for mark in clients[BURST_MIN:]]
    assert held == [held[0]] * (SPREAD_MIN - 1) + [""]
    assert clients[-1].confirms == held[0].partition(" ")[0]
    assert forms.post("acme.example", "203.0.113.200") == BurstMark()


def test_one_client_of_many_companies_is_confirmed_only_at_the_pace_of_people() -> None:
    kiosk = Forms()
    marks = [kiosk.post(f"d{n}.example", "203.0.113.1") for n in range(BURST_MIN + SPREAD_MIN)]
    assert marks[-1].confirms

    robot = Forms()
    for _ in range(BURST_MIN + PACE_MAX + 1):
        robot.post("", "203.0.113.1")
    names = [robot.post(f"d{n}.example", "203.0.113.1") for n in range(200)]
    assert all(mark.held and not mark.confirms for mark in names)


def test_unknown_clients_of_one_domain_are_held_later_and_never_confirmed_by_spread() -> None:
    forms = Forms()
    marks = [forms.post("acme.example", "") for _ in range(UNKNOWN_MIN + 20)]
    assert [bool(mark.held) for mark in marks] == [False] * UNKNOWN_MIN + [True] * 20
    assert forms.post("", "") == BurstMark()


def test_burst_goes_on_until_no_form_has_come_for_a_while() -> None:
    bursts = Bursts()
    first = bursts.mark("a.example", "203.0.113.1", BURST_MIN + 1, 1, 0.0, REAL)
    later = bursts.mark("a.example", "203.0.113.1", 1, 1, QUIET_SECONDS - 1, REAL)
    assert first is not None
    assert later == first
    assert bursts.mark("a.example", "203.0.113.1", 1, 1, 3 * QUIET_SECONDS, REAL) is None


def test_what_is_kept_is_bounded() -> None:
    bursts = Bursts()
    for n in range(BURSTS_MAX + 100):
        bursts.mark(f"d{n}.example", "203.0.113.1", BURST_MIN + 1, 0, 0.0, REAL)
    assert len(bursts) == BURSTS_MAX
    for n in range(10 * OTHERS_MAX):
        bursts.mark("one.example", "" if n % 3 else f"203.0.113.{n}", UNKNOWN_MIN + 1, 0, 0.0, REAL)
    assert max(len(burst.others) for burst in bursts._active.values()) <= OTHERS_MAX


@pytest.mark.parametrize(
    ("kind", "name", "text"),
    [
        ("client", "203.0.113.7", "203.0.113.x"),
        ("client", "20010db800000000::/64", "20010db800000000::/64"),
        ("mail domain", "a.b.c.example", "a.b.c.example"),
    ],
)
def test_address_of_a_client_is_shown_without_its_last_part(kind: str, name: str, text: str) -> None:
    assert shortened(kind, name) == text

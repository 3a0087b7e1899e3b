"""The rate limit of a channel to one person: places in line, and pages that come before others."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from services.notifier.domain.pace import Pace
from services.notifier.domain.page import FAILOVER, FIRST, Page, postponed
from tests.unit.notifier.router_records import NINE


def page(id: str, rank: int = 1, person: str = "ana") -> Page:
    return Page(
        id=id,
        lead_id=id,
        epoch=1,
        rung=0,
        kind="owner",
        person=person,
        channels=("slack", "email"),
        due_at=NINE,
        created_at=NINE,
        rank=rank,
    )


def seconds(pace: Pace, one: Page, after: float = 0, *, alone: bool = True) -> float | None:
    """Return in how many seconds after nine this page may be sent, at a look so many seconds after nine."""
    at = pace.slot(one, NINE + timedelta(seconds=after), alone=alone)
    return None if at is None else (at - NINE).total_seconds()


def test_pages_to_one_person_are_one_second_apart() -> None:
    pace = Pace()
    assert [seconds(pace, page(id)) for id in "abc"] == [0, 1, 2]
    assert seconds(pace, page("d", person="bo")) == 0


def test_first_page_of_a_hot_lead_takes_the_next_place_in_line() -> None:
    pace = Pace()
    assert [seconds(pace, page(id)) for id in "abcd"] == [0, 1, 2, 3]
    assert seconds(pace, page("hot", FIRST)) == 1
    assert seconds(pace, page("hotter", FIRST)) == 2, "hot leads keep their order"
    assert [seconds(pace, page(id), after=1) for id in ("hot", "b", "c", "d", "e")] == [1, 3, 4, 5, 6]


def test_page_that_would_wait_too_long_in_line_leaves_it_for_another_channel() -> None:
    pace = Pace()
    for n in range(30):
        pace.slot(page(f"p{n}"), NINE, alone=False)
    assert seconds(pace, page("late"), alone=False) is None
    assert seconds(pace, page("late"), alone=True) == FAILOVER.total_seconds()


def test_displaced_page_leaves_the_line_at_its_next_look() -> None:
    pace = Pace()
    last = postponed(page("p29"), NINE, NINE, "rate limit")
    for n in range(29):
        pace.slot(page(f"p{n}"), NINE, alone=False)
    assert seconds(pace, last, alone=False) == 29
    pace.slot(page("hot", FIRST), NINE, alone=False)
    assert seconds(pace, last, after=29, alone=False) is None


def test_cancelled_page_gives_up_its_place() -> None:
    pace = Pace()
    for id in "abc":
        pace.slot(page(id), NINE, alone=True)
    assert seconds(pace, page("hot", FIRST), after=120) == 120, "b and c never came"


@pytest.mark.parametrize("channels", [("email",), ("inbox",)])
def test_channel_without_a_rate_limit_is_not_paced(channels: tuple[str, ...]) -> None:
    pace = Pace()
    pages = [replace(page(id), channels=channels) for id in "ab"]
    assert [seconds(pace, one) for one in pages] == [0, 0]

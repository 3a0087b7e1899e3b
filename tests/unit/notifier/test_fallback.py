"""The recipients of a page whose own recipient is not there."""

import pytest

from services.notifier.context import NotifierContext
from services.notifier.domain.clock import ResponseClock
from services.notifier.domain.fallback import nearest_away, next_there
from services.notifier.domain.page import Kind, Page, page_id
from services.notifier.domain.recipients import Absences
from tests.unit.notifier.router_records import NINE
from tests.unit.notifier.test_recipients import away, rep, with_team

CONFIG = with_team(rep("ana", manager="max"), rep("max", manager="eve"), rep("eve"), rep("old", active=False))
TERMS = NotifierContext(("slack",)).terms_of(CONFIG)
CLOCK = ResponseClock(
    lead_id="l1", version=1, urgency="hot", submit_at=NINE, promise_at=NINE, updated_at=NINE, epoch=1, rep="ana", pool="all"
)  # fmt: skip


def page_to(person: str, kind: Kind) -> Page:
    return Page(
        id=page_id("l1", 1, 2, person),
        lead_id="l1",
        epoch=1,
        rung=2,
        kind=kind,
        person=person,
        channels=("slack",),
        due_at=NINE,
        created_at=NINE,
        tries=3,
    )


def there(person: str, kind: Kind = "manager", *absent: str) -> list[str]:
    absences: Absences = {one: away() for one in absent}
    return [page.person for page in next_there(page_to(person, kind), CLOCK, TERMS, absences, NINE)]


def anyway(person: str, kind: Kind = "manager", *absent: str) -> list[str]:
    absences: Absences = {one: away() for one in absent}
    return [page.person for page in nearest_away(page_to(person, kind), CLOCK, TERMS, absences, NINE)]


def test_next_manager_up_comes_first_and_the_owner_last_for_a_reminder() -> None:
    assert there("max", "manager", "max") == ["eve", "vp"]
    assert there("eve", "manager", "eve") == ["vp", "max"]
    assert there("max", "reminder", "max", "eve") == ["vp", "ana"]
    assert there("left", "missed") == ["max", "eve", "vp"], "one who left the file"


@pytest.mark.parametrize("kind", ["refused", "handed_on"])
def test_notice_to_one_person_goes_to_no_manager(kind: Kind) -> None:
    assert there("ana", kind, "ana") == []
    assert anyway("ana", kind, "ana") == ["ana"]
    assert anyway("old", kind) == [], "deactivated"


def test_own_recipient_is_told_though_away_before_the_nearest_other() -> None:
    assert anyway("eve", "manager", "max", "eve", "vp") == ["eve", "vp", "max"]
    assert anyway("old", "manager", "max", "eve", "vp") == ["max", "eve", "vp"]


def test_passed_on_page_is_tried_anew_and_keeps_its_time() -> None:
    [page, _] = next_there(page_to("max", "manager"), CLOCK, TERMS, {"max": away()}, NINE)
    assert (page.id, page.tries, page.created_at) == (page_id("l1", 1, 2, "eve"), 0, NINE)

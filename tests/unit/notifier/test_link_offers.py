"""The links of each kind of page."""

from typing import Any

import pytest

from services.notifier.domain.link import ACTIONS
from services.notifier.domain.link_offers import offered_in
from services.notifier.domain.standing import TOUCHES, PageStanding
from tests.fakes.pages import page_message


def test_owner_gets_every_action() -> None:
    assert set(offered_in(page_message(), "email")) == set(ACTIONS)


@pytest.mark.parametrize(
    ("changes", "actions"),
    [
        ({"kind": "manager"}, {"open", *TOUCHES, "hand_over"}),
        ({"kind": "missed"}, {"open", *TOUCHES, "hand_over"}),
        ({"kind": "cover"}, {"open", *TOUCHES, "accept"}),
        ({"kind": "refused"}, {"open", *TOUCHES, "hand_over"}),
        ({"kind": "refused", "standing": PageStanding(None, TOUCHES)}, {*TOUCHES}),
        ({"kind": "reminder", "is_owner": True}, set(ACTIONS)),
        ({"kind": "next_attempt"}, {"open", *TOUCHES, "hand_over"}),
        ({"kind": "queued", "owner_name": ""}, {"open", *TOUCHES, "hand_over"}),
        ({"kind": "reassigned", "person_name": "Ana"}, set(TOUCHES)),
        ({"kind": "channel", "person_name": "#inbound"}, {"open"}),
        ({"kind": "test"}, set()),
    ],
)
def test_other_kinds_of_pages_get_their_part(changes: dict[str, Any], actions: set[str]) -> None:
    assert set(offered_in(page_message(**changes), "email")) == actions


def test_page_with_buttons_only_opens_the_lead() -> None:
    assert offered_in(page_message(), "slack") == ("open",)

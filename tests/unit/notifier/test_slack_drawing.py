"""The drawing of a Slack message, from which a picture of the documents is made."""

from html.parser import HTMLParser

import pytest

from services.notifier.channels.slack import body
from services.notifier.domain.standing import ALL_ACTIONS, PageStanding
from tests.fakes.pages import ATTACKS, hostile_message
from tests.fakes.slack_drawing import SAMPLE, drawing
from tests.fakes.slack_limits import message_error


class _DrawnPage(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_drawing_shows_the_lead_and_the_buttons() -> None:
    page = _DrawnPage(drawing(SAMPLE))
    for text in ("Hot lead: call Ann Lee (Acme)", "Accept", "Reached them", "No answer", "Not a fit", "Hand over"):
        assert text in page.text
    assert page.tags.count("button") == len(ALL_ACTIONS)


@pytest.mark.parametrize("attack", ATTACKS)
def test_hostile_lead_adds_no_element_and_stays_within_the_limits_of_slack(attack: str) -> None:
    message = hostile_message(attack)
    shown = body(message.threaded(None), clickable=True)
    assert message_error(shown) is None
    plain = set(_DrawnPage(drawing(SAMPLE)).tags)
    assert set(_DrawnPage(drawing(shown)).tags) <= plain


def test_status_stands_above_the_facts_and_buttons_below_them() -> None:
    message = hostile_message("x")
    standing = PageStanding("Accepted by Bo.", ("reached",), "Snooze was refused: <!channel>")
    page = body(message.__class__(**{**vars(message), "standing": standing}), clickable=True)
    types = [block["type"] for block in page["blocks"][:4]]
    assert types == ["header", "section", "section", "actions"]
    assert page["blocks"][1]["text"]["text"] == "Accepted by Bo.\nSnooze was refused: &lt;!channel&gt;"

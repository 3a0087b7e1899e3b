"""A page says only true things to its reader: to a former owner, an owner who manages, the manager of a waiting lead."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from services.notifier.channels.apprise import FURTHER_MAX, _further
from services.notifier.channels.mail_html import html_body
from services.notifier.channels.slack import body
from services.notifier.channels.slack_blocks import CHOICES_MAX, dialog
from services.notifier.channels.teams import CARD_BYTES_MAX
from services.notifier.channels.teams import body as card
from services.notifier.domain import mail_parts
from services.notifier.domain.clock import PreviousOwner
from services.notifier.domain.message import ActionLink, Message
from services.notifier.domain.message_text import words
from services.notifier.domain.page_words import Further, text_of
from services.notifier.domain.standing import PageStanding
from tests.fakes.pages import ATTACKS, NINE, page_message
from tests.fakes.slack_limits import message_error, view_error

LINK = "http://127.0.0.1:8080/a/" + "x" * 56
PREVIOUS = PreviousOwner(
    rep="ana",
    epoch=1,
    since=NINE,
    until=NINE,
    kind="reject",
    reason="no-budget",
    by="rep:max",
    told=True,
    accepted=True,
    attempts=0,
)
THREE = (
    Further("Hot lead: call Bo", "p1", LINK),
    Further("Moved on: Cy", "p2"),
    Further("Hot lead: call Di", "p3", LINK),
)


def everywhere(message: Message) -> dict[str, str]:
    """Return the message as each channel sends it."""
    parts = mail_parts.mail_parts(message)
    return {
        "slack": str(body(message, clickable=True)),
        "text": mail_parts.plain(parts),
        "html": html_body(parts),
        "teams": card(words(message), "For Bo").decode(),
    }


@pytest.mark.parametrize("changes", [{"kind": "lost"}, {"kind": "lost", "owner_name": ""}, {"kind": "reassigned"}])
def test_former_owner_gets_no_way_to_contact_the_person(changes: dict[str, Any]) -> None:
    message = page_message(person_name="Ana", previous=PREVIOUS, previous_by="Max Berg", **changes)
    for channel, text in everywhere(message).items():
        assert "12345678" not in text, channel
        assert "ann@acme" not in text, channel
        assert "before Christmas" not in text, channel
        assert "The lead was rejected (no budget), by Max Berg." in text, channel


def test_mail_asks_a_former_owner_only_about_a_contact_of_before() -> None:
    links = (ActionLink("reached", LINK),)
    lost = page_message(kind="lost", links=links, previous=PREVIOUS)
    owner = page_message(links=links)
    for text in (mail_parts.plain(mail_parts.mail_parts(lost)), html_body(mail_parts.mail_parts(lost))):
        assert "Were you in touch before? Then say so." in text
        assert "this lead is no longer yours" in text
        assert "How did it go?" not in text
    assert "How did it go?" in html_body(mail_parts.mail_parts(owner))


@pytest.mark.parametrize("kind", ["refused", "handed_on", "next_attempt"])
def test_mail_with_links_says_what_to_do_where_the_links_do_not(kind: Any) -> None:
    message = page_message(kind=kind, links=(ActionLink("reached", LINK),))
    first = words(message).todo[0]
    assert first in mail_parts.plain(mail_parts.mail_parts(message))
    assert first in html_body(mail_parts.mail_parts(message))


@pytest.mark.parametrize("kind", ["missed", "reminder"])
def test_page_about_a_lead_without_an_owner_names_none(kind: Any) -> None:
    page = words(page_message(kind=kind, owner_name="", person_name="Max"))
    assert page.footer == "FirstHour sent this page because you manage the reps who could take this lead."
    assert not any("owner" in sentence for sentence in page.todo)
    assert all(fact.label != "Owner" for fact in page.facts)


@pytest.mark.parametrize("kind", ["manager", "missed", "reminder"])
def test_manager_who_owns_the_lead_is_spoken_to_as_its_owner(kind: Any) -> None:
    page = words(page_message(kind=kind, is_owner=True))
    assert page.headline == "Still waiting: call Ann Lee (Acme)"
    assert not any("Ask the owner" in sentence for sentence in page.todo)


def test_difference_to_an_unknown_zone_of_the_reader_is_left_out() -> None:
    def local(**changes: Any) -> str:
        facts = words(page_message(card_country="JP", card_phone="", **changes)).facts
        return next(text_of(fact.line) for fact in facts if fact.label == "Their time")

    assert "7 h ahead" not in local(zone=None, is_own_zone=False)
    assert "ahead" not in local(zone="Europe/Berlin", is_own_zone=False)
    assert "8 h ahead" in local(zone="Europe/Berlin")


@pytest.mark.parametrize(
    ("said", "ended"), [("Closed: the person opted out.", True), ("Contacted: the clock has stopped.", False)]
)
def test_message_about_a_settled_lead_asks_for_nothing(said: str, ended: bool) -> None:
    message = page_message(kind="cover", owner_name="", standing=PageStanding(said, (), ended=ended, over=True))
    sent = body(message, clickable=True)
    assert message_error(sent) is None
    assert (sent["blocks"][0]["text"]["text"], sent["blocks"][1]["text"]["text"]) == ("Ann Lee (Acme)", said)
    assert sent["text"] == f"Ann Lee (Acme): {said}"
    assert "does not answer" not in str(sent)
    assert "Contact the lead" not in str(sent)


def test_further_pages_stay_in_a_message_whose_own_lead_is_settled() -> None:
    message = page_message(standing=PageStanding("Closed.", (), ended=True, over=True), also=THREE)
    assert "Hot lead: call Di" in str(body(message, clickable=True))


def test_each_further_page_has_its_own_link_in_every_channel() -> None:
    message = page_message(also=THREE)
    for channel, text in everywhere(message).items():
        for page in THREE:
            assert page.headline in text, channel
        assert text.count(LINK) == 2, channel
    assert list(_further(THREE)) == [
        "Also: Hot lead: call Bo",
        LINK,
        "Also: Moved on: Cy",
        "Also: Hot lead: call Di",
        LINK,
    ]


@pytest.mark.parametrize("text", [*ATTACKS, "x" * 40])
def test_a_hundred_further_pages_keep_the_limits_of_each_channel(text: str) -> None:
    headline = words(page_message(card_name=text)).headline
    many = tuple(Further(headline, f"p{number}", LINK) for number in range(100))
    message = page_message(also=many, standing=PageStanding("Accepted by Ana.", ("accept", "snooze")))
    assert message_error(body(message, clickable=True)) is None
    assert len(card(words(message), "For Bo")) <= CARD_BYTES_MAX
    assert len(list(_further(many))) == 2 * FURTHER_MAX + 1


def test_link_of_a_further_page_that_is_not_ours_is_left_out() -> None:
    message = page_message(also=(replace_url('http://x"><script>'), replace_url("javascript:alert(1)")))
    assert all("script" not in text for text in everywhere(message).values())


def replace_url(url: str) -> Further:
    return msgspec.structs.replace(THREE[0], url=url)


@pytest.mark.parametrize(("people", "listed"), [(99, 99), (100, 100), (101, 101), (1_500, CHOICES_MAX)])
def test_dialog_lists_more_colleagues_than_one_menu_holds(people: int, listed: int) -> None:
    choices = [(f"rep-{number}", f"Name {number:04} " + "y" * 80) for number in range(people)]
    view = dialog("hand_over", "page", choices)
    assert view_error(view) is None
    element = view["blocks"][0]["element"]
    groups = element.get("option_groups") or [element]
    values = [option["value"] for group in groups for option in group["options"]]
    assert len(values) == len(set(values)) == listed
    assert (f"Only {CHOICES_MAX} of {people}" in str(view)) is (listed < people)
    assert len(msgspec.json.encode(view)) < 250_000


def test_dialog_says_which_colleagues_are_left_out() -> None:
    view = dialog("hand_over", "page", [("cy", "Cy Young")], "Not free now: Bo Lind (at capacity).")
    assert view_error(view) is None
    assert "Not free now: Bo Lind (at capacity)." in str(view)


def test_sample_of_a_settled_message_has_no_empty_block() -> None:
    page = replace(page_message(), standing=PageStanding("Closed.", (), ended=True, over=True))
    assert [block["type"] for block in body(page)["blocks"]] == ["header", "section"]


def test_refused_hand_over_tells_the_owner_that_the_lead_is_still_theirs() -> None:
    page = words(page_message(kind="refused", is_owner=True))
    assert page.headline == "Not passed on: Ann Lee (Acme) is still yours"
    assert page.todo[1] == "Contact the lead, or hand it over to someone else."
    assert words(page_message(kind="refused")).headline == "Not passed on: Ann Lee (Acme) is with Bo Chen"


@pytest.mark.parametrize(
    ("kind", "headline"),
    [("missed", "No owner and no contact yet: Ann Lee (Acme)"), ("reminder", "Still no owner: Ann Lee (Acme)")],
)
def test_headline_about_a_lead_without_an_owner_says_so(kind: Any, headline: str) -> None:
    assert words(page_message(kind=kind, owner_name="")).headline == headline


@pytest.mark.parametrize(("kind", "owner"), [("manager", "Bo Chen"), ("missed", "Bo Chen"), ("queued", "")])
def test_mail_to_a_manager_says_what_to_do_and_why_it_came(kind: Any, owner: str) -> None:
    message = page_message(kind=kind, owner_name=owner, links=(ActionLink("reached", LINK),))
    parts = mail_parts.mail_parts(message)
    for text in (mail_parts.plain(parts), html_body(parts)):
        assert words(message).todo[0] in text
        assert "because you are a manager of Bo Chen" in text or not owner


def test_test_page_by_mail_speaks_of_no_lead_that_a_reply_could_reach() -> None:
    for kind, speaks in (("test", False), ("owner", True)):
        parts = mail_parts.mail_parts(page_message(kind=kind))
        for text in (mail_parts.plain(parts), html_body(parts)):
            assert ("does not reach the lead" in text) is speaks


def test_lead_that_was_only_tried_is_not_handed_on_as_contacted() -> None:
    tried = words(page_message(kind="handed_on", is_untalked=True)).todo[0]
    assert "has not answered yet" in tried
    assert "contacted before" in words(page_message(kind="handed_on")).todo[0]


def test_refused_click_of_another_person_asks_to_speak_to_the_owner_first() -> None:
    page = words(page_message(kind="refused"))
    assert page.todo[1] == "Ask the owner before you contact the person: one of you is enough."
    for text in everywhere(page_message(kind="refused", links=(ActionLink("reached", LINK),))).values():
        assert "12345678" not in text
        assert "How did it go?" not in text
    assert all("12345678" in text for text in everywhere(page_message(kind="refused", is_owner=True)).values())
    waiting = words(page_message(kind="refused", owner_name=""))
    assert waiting.headline == "Not passed on: Ann Lee (Acme) waits for an owner"
    assert not any("Ask the owner" in sentence for sentence in waiting.todo)


def test_page_to_an_owner_does_not_name_the_owner() -> None:
    for kind in ("owner", "reassigned", "again", "handed_on", "next_attempt"):
        assert all(fact.label != "Owner" for fact in words(page_message(kind=kind)).facts), kind


@pytest.mark.parametrize(
    ("kind", "reason", "said"),
    [
        ("reject", "no-time", "Ana for less than a minute, gave it back (no time), no attempt recorded"),
        ("hand-over", "rep:ana", "Ana for less than a minute, handed it over, no attempt recorded"),
    ],
)
def test_owner_who_gave_the_lead_away_is_not_said_to_have_ignored_the_pages(kind: str, reason: str, said: str) -> None:
    previous = msgspec.structs.replace(PREVIOUS, kind=kind, reason=reason, by="rep:ana", accepted=False)
    page = words(page_message(previous=previous, previous_name="Ana"))
    assert [text_of(fact.line) for fact in page.facts if fact.label == "Before you"] == [said]

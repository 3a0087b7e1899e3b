"""Pages over other channels, later, or in the inbox; text from outside stays inert."""

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from services.notifier.domain.link import ACTIONS
from tests.fakes.pages import ATTACKS
from tests.fakes.smtp import Mail
from tests.story.conftest import OpenWorld
from tests.story.sample_config import reps
from tests.story.world import World

CTO = "cto@prospect.example"
FORMULAS = ('=HYPERLINK("http://evil.example","click")', "+1+1", "-2+3", "@SUM(A1)", "\t=1", "a,b;c\n=d")
"""Text that a spreadsheet would evaluate."""


async def test_page_goes_by_mail_within_30_seconds_while_slack_is_down(world: World) -> None:
    world.slack.drop(times=None)
    await world.submit_form(email=CTO)
    assert (world.slack_recipients, world.mail_recipients) == ([], [])

    await world.wait(seconds=30)
    assert (world.slack_recipients, world.mail_recipients) == ([], ["ana"])
    [page] = await world.pages(CTO)
    assert (page["channel"], page["state"]) == ("email", "sent")


@pytest.mark.both_profiles
async def test_pages_over_a_channel_that_was_removed_go_by_the_others(
    open_world: OpenWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock keeps its ladder, which may name a channel that the agreement no longer has."""
    monkeypatch.setenv("CREW_URL", "http://127.0.0.1:9/x")
    ladder = [
        {"at": "0m", "page": "owner", "by": ["crew"]},
        {"at": "10m", "page": "manager", "by": ["crew"]},
        {"at": "30m", "reassign": True},
    ]
    crew = {"crew": {"kind": "teams", "url": {"env": "CREW_URL"}}}
    world = await open_world(agreement={"channels": crew, "response": {"ladder": ladder}})
    await world.submit_form(email=CTO)
    assert [page["state"] for page in await world.pages(CTO)] == ["pending"]

    await world.change("agreement", {})
    await world.wait(minutes=2)
    assert world.slack_recipients == ["ana"]
    await world.wait(minutes=10)
    assert world.slack_recipients == ["ana", "max"]
    await world.wait(minutes=20)
    assert await world.owner_of(CTO) == "bo"


async def test_page_goes_by_slack_after_two_temporary_failures(world: World) -> None:
    world.slack.respond(503, times=2)
    await world.submit_form(email=CTO)
    await world.wait(seconds=29)
    assert (world.slack_recipients, world.mail_recipients) == (["ana"], [])


async def test_slack_is_not_called_before_its_retry_after(world: World) -> None:
    world.slack.respond(429, retry_after=12)
    await world.submit_form(email=CTO)
    await world.wait(seconds=11)
    assert (world.slack.calls, world.slack_recipients) == (1, [])

    await world.wait(seconds=1)
    assert (world.slack.calls, world.slack_recipients, world.mail_recipients) == (2, ["ana"], [])


async def test_page_goes_by_mail_at_once_after_a_long_retry_after(world: World) -> None:
    world.slack.respond(429, retry_after=60)
    await world.submit_form(email=CTO)
    assert (world.slack_recipients, world.mail_recipients) == ([], ["ana"])


async def test_page_goes_by_mail_at_once_if_slack_does_not_know_the_rep(world: World) -> None:
    world.slack.error("channel_not_found")
    await world.submit_form(email=CTO)
    assert (world.slack_recipients, world.mail_recipients) == ([], ["ana"])


async def test_repeat_after_a_lost_answer_has_the_same_message_id(world: World) -> None:
    world.slack.accept_then_drop()
    await world.submit_form(email=CTO)
    await world.wait(seconds=30)

    assert world.slack_recipients == ["ana", "ana"]
    assert len({message["client_msg_id"] for message in world.slack.messages}) == 1


@pytest.mark.both_profiles
async def test_page_waits_with_a_reason_while_both_channels_are_down(world: World) -> None:
    world.slack.drop(times=None)
    world.smtp.refuse(451, times=None)
    await world.submit_form(email=CTO)
    await world.wait(minutes=9)

    [page] = await world.pages(CTO)
    assert page["state"] == "pending"
    assert page["error"]
    assert "page.failed" not in await world.event_types_of(CTO)
    world.slack.recover()
    await world.wait(minutes=1)
    assert world.slack_recipients == ["ana"]


@pytest.mark.slow
async def test_owner_has_the_whole_time_after_an_outage_of_both_channels(world: World) -> None:
    world.slack.drop(times=None)
    world.smtp.refuse(451, times=None)
    for n in range(3):
        await world.submit_form(email=f"person{n}@prospect.example")
    await world.wait(minutes=72)
    owners = [await world.owner_of(f"person{n}@prospect.example") for n in range(3)]
    assert (owners, world.slack_recipients, world.mail_recipients) == (["ana", "bo", "cy"], [], [])

    world.slack.recover()
    world.smtp.recover()
    await world.wait(minutes=1)
    recipients = {*world.slack_recipients, *world.mail_recipients}
    assert recipients >= {"ana", "bo", "cy"}
    await world.wait(minutes=28)
    assert [await world.owner_of(f"person{n}@prospect.example") for n in range(3)] == owners
    await world.wait(minutes=2)
    assert await world.owner_of("person0@prospect.example") != "ana"


@pytest.mark.slow
async def test_recovered_channel_delivers_only_valid_pages_within_seconds(world: World) -> None:
    world.slack.drop(times=None)
    world.smtp.refuse(451, times=None)
    for n in range(6):
        await world.submit_form(email=f"person{n}@prospect.example")
    await world.wait(minutes=8)
    await world.touch("person5@prospect.example", by="cy")
    world.smtp.recover()
    for _ in range(90):
        await world.wait(seconds=1)
        if world.mail_recipients:
            break
    await world.wait(seconds=3)
    assert sorted(world.mail_recipients) == ["ana", "ana", "bo", "bo", "cy"]


@pytest.mark.both_profiles
async def test_rep_without_an_address_loses_the_lead_and_may_get_it_again(open_world: OpenWorld) -> None:
    team = reps({"id": "ana", "slack": None}, pool=["ana"])
    ladder = [{"at": "0m", "page": "owner", "by": "slack"}, {"at": "30m", "reassign": True}]
    world = await open_world(agreement={"response": {"ladder": ladder, "reassign_at_most": 2}}, team=team)
    await world.submit_form(email=CTO)
    page = next(page for page in await world.pages(CTO) if page["person"] == "ana")
    assert (page["state"], page["error"]) == ("cancelled", "ana has no address in team.yaml for slack")
    assert await world.owner_of(CTO) == "max", "a rung without a recipient takes no time"
    state = json.loads((await world.rows("SELECT state FROM router_leads"))[0][0])
    assert "declined" not in state, "no page told ana of the lead"


async def test_invalid_slack_token_is_a_warning_and_pages_go_by_mail(world: World) -> None:
    world.slack.error("invalid_auth", times=None)
    await world.submit_form(email=CTO)
    assert (world.slack_recipients, world.mail_recipients) == ([], ["ana"])
    [warning] = await slack_warnings(world)
    assert "invalid_auth; check FIRSTHOUR_SLACK_BOT_TOKEN" in warning

    await world.wait(minutes=10)
    assert (await world.pages(CTO))[-1]["state"] == "pending", "this rung names only Slack"
    world.slack.recover()
    await world.wait(minutes=2)
    assert world.slack_recipients == ["ana"]
    assert await slack_warnings(world) == []


async def slack_warnings(world: World) -> list[str]:
    return [warning for warning in (await world.get("/readyz"))["warnings"] if "slack" in warning]


@pytest.mark.slow
async def test_page_without_a_set_up_channel_is_not_sent(open_world: OpenWorld) -> None:
    world = await open_world(channels=("inbox",))
    await world.submit_form(email=CTO)
    await world.wait(minutes=90)

    pages = [page for page in await world.pages(CTO) if page["kind"] != "missed"]
    assert {page["state"] for page in pages} == {"pending", "cancelled"}
    assert all(page["sent_at"] is None for page in pages)
    assert await world.owner_of(CTO) == "ana"
    warnings = (await world.get("/readyz"))["warnings"]
    assert (
        "the ladder pages by slack, which is not set up here: set FIRSTHOUR_SLACK_BOT_TOKEN; "
        "until then pages of rung 1, 2, 3 wait unsent" in warnings
    )
    assert any("email, which is not set up here: set FIRSTHOUR_SMTP_URL" in warning for warning in warnings)


async def test_page_arrives_when_one_channel_recovers(world: World) -> None:
    world.slack.drop(times=None)
    world.smtp.refuse(451, times=3)
    await world.submit_form(email=CTO)
    await world.wait(minutes=5)
    assert world.mail_recipients == ["ana"]


async def test_pages_without_any_account_go_to_inbox_and_terminal(open_world: OpenWorld) -> None:
    ladder = [
        {"at": "0m", "page": "owner"},
        {"at": "10m", "page": "owner"},
        {"at": "20m", "page": "manager"},
    ]
    world = await open_world(channels=("inbox",), agreement={"response": {"ladder": ladder}})
    await world.submit_form(email=CTO, name="Ann Lee")
    await world.wait(minutes=20)

    assert [message.person_name for message in world.shown] == ["Ana Gomez", "Ana Gomez", "Max Berg"]
    assert {(page["channel"], page["state"]) for page in await world.pages(CTO)} == {("inbox", "sent")}
    assert world.slack.calls == 0


async def test_reminder_refers_to_the_first_mail_of_its_assignment(open_world: OpenWorld) -> None:
    ladder = [{"at": "0m", "page": "owner", "by": "email"}, {"at": "10m", "page": "owner", "by": "email"}]
    world = await open_world(agreement={"response": {"ladder": ladder}})
    await world.submit_form(email=CTO)
    await world.wait(minutes=10)

    first, second = (mail.message for mail in world.smtp.mails)
    assert second["In-Reply-To"] == first["Message-ID"]
    assert first["Reply-To"] is None


async def test_pages_to_one_person_are_paced_and_all_arrive(open_world: OpenWorld) -> None:
    world = await open_world(team=reps(pool=["ana"]))
    for n in range(5):
        await world.submit_form(email=f"person{n}@prospect.example")
    assert world.slack_recipients == ["ana"]

    await world.wait(seconds=4)
    assert world.slack_recipients == ["ana"] * 5


# --- text from outside ------------------------------------------------------------------------------------------------


class Tags(HTMLParser):
    """The tags, attributes and links of a mail."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name == "href"]


OWN_MARKUP = re.compile(
    r"<!date\^\d+\^[\w{} ]+\|[\w: ()]+>|<mailto:stranger\d*@prospect\d*\.example\?subject=Your%20request\|[a-z0-9.@]+>"
    r"|<http://127\.0\.0\.1:8080/a/[\w-]+\|Open the lead>"
)
"""The markup of a page without a phone number: times, the address of the lead, and our own link."""


def texts_of(blocks: Any) -> list[dict[str, Any]]:
    """Return every text object in the blocks of a Slack message."""
    if isinstance(blocks, list):
        return [text for block in blocks for text in texts_of(block)]
    if not isinstance(blocks, dict):
        return []
    own = [blocks] if isinstance(blocks.get("text"), str) else []
    return own + [text for part in blocks.values() for text in texts_of(part)]


async def submit_everywhere(world: World, typed: str, email: str = "stranger@prospect.example") -> None:
    """Submit a form with this text in every field."""
    names = ("name", "first_name", "last_name", "title", "company", "industry", "utm_source", "utm_campaign", "message")
    fields: dict[str, Any] = {"email": email, "path": typed, **dict.fromkeys(names, typed)}
    answer = await world.post_form("demo-request", **fields)
    assert answer.status_code == 202, answer.text
    await world.wait(seconds=4)  # more than twenty in a minute for one mail domain are a burst


def encodable(typed: str) -> str:
    """Return the text without lone surrogates, which a client cannot encode."""
    return typed.encode(errors="replace").decode()


async def test_text_from_outside_is_inert_in_slack(open_world: OpenWorld) -> None:
    world = await open_world(team=reps(pool=["ana"]))
    for n, typed in enumerate([*ATTACKS, *FORMULAS]):
        world.slack.messages.clear()
        await submit_everywhere(world, encodable(typed), f"stranger@prospect{n}.example")
        [message] = world.slack.messages
        assert_inert(message)


def assert_inert(message: dict[str, Any]) -> None:
    assert message["channel"] == "U0ANA"
    texts = texts_of(message["blocks"])
    assert {text["type"] for text in texts} == {"plain_text", "mrkdwn"}
    for text in [*(OWN_MARKUP.sub("", text["text"]) for text in texts), message["text"]]:
        assert "<" not in text
        assert ">" not in text
        assert "://" not in text
        assert all(char == "\n" or char.isprintable() for char in text), ascii(text)
        assert not set("\u202e\u2066\u200b\ufeff") & set(text)
    assert (message["mrkdwn"], message["parse"], message["link_names"]) == (False, "none", False)
    json.dumps(message).encode()


async def test_text_from_outside_is_inert_in_a_mail(open_world: OpenWorld) -> None:
    world = await open_world(channels=("email",), team=reps(pool=["ana"]))
    for n, typed in enumerate([*ATTACKS, *FORMULAS]):
        world.smtp.mails.clear()
        await submit_everywhere(world, encodable(typed), f"stranger@prospect{n}.example")
        [mail] = world.smtp.mails
        assert_inert_mail(mail, f"stranger@prospect{n}.example")


def assert_inert_mail(mail: Mail, email: str) -> None:
    assert mail.recipients == ("ana@acme.example",)
    assert (mail.message["To"], mail.message["Bcc"], mail.message["Cc"]) == ("Ana Gomez <ana@acme.example>", None, None)
    assert len(mail.message.get_all("Subject", [])) == 1
    assert str(mail.message["Subject"]).isprintable()
    assert b"\nBcc:" not in mail.raw
    html = mail.message.get_body(("html",))
    assert html is not None
    tags = Tags(html.get_content())
    assert tags.tags <= {
        *(
            "html",
            "head",
            "meta",
            "title",
            "wbr",
            "body",
            "h1",
            "p",
            "table",
            "tr",
            "td",
            "ul",
            "li",
            "a",
            "blockquote",
            "br",
            "div",
        )
    }
    assert tags.attributes <= {"style", "lang", "href", "name", "content", "charset", "role"}
    of_lead = [link for link in tags.links if not link.startswith("http://127.0.0.1:8080/a/")]
    assert set(of_lead) == {f"mailto:{email}?subject=Your%20request"}
    assert len(tags.links) - len(of_lead) == len(ACTIONS)


@pytest.mark.both_profiles
async def test_text_from_outside_is_stored_unchanged(world: World) -> None:
    for n, typed in enumerate(FORMULAS):
        await submit_everywhere(world, typed, f"stranger@prospect{n}.example")
        assert (await world.lead(f"stranger@prospect{n}.example"))["company"] == " ".join(typed.split())

"""Notices to teams: one occasion is told once, and each channel shows them as text."""

from typing import Any

import msgspec
import pytest

from schemas.agreement.ways_out import Contact, Tell
from services.notifier.channels.email import EmailChannel, server
from services.notifier.channels.pagerduty import PagerDutyChannel
from services.notifier.channels.slack import SlackChannel
from services.notifier.channels.teams import TeamsChannel
from services.notifier.channels.webhook import WebhookChannel
from services.notifier.domain.notice import (
    LINE_CHARS_MAX,
    LINES_MAX,
    Notice,
    contact_of,
    dispatch_of,
    notice_of,
    text_of,
)
from tests.fakes.pages import ATTACKS
from tests.fakes.services import FakeService
from tests.fakes.slack import FakeSlack
from tests.fakes.smtp import FakeSmtp
from tests.unit.notifier.router_records import NINE

OPERATOR = Contact.model_validate({"by": ["slack", "email"], "slack": "C012AB3CD", "email": "ops@acme.example"})


def notice(*lines: str) -> Notice:
    text = text_of("A channel is down", lines)
    return notice_of(dispatch_of(OPERATOR, "operator", "down slack", text, "", NINE), OPERATOR)


def test_occasion_is_one_dispatch_for_each_team() -> None:
    text = text_of("A", ["b"])
    first = dispatch_of(OPERATOR, "operator", "key", text, "", NINE)
    assert (first.channel, first.channels, first.type) == ("slack", ("slack", "email"), "operator")
    assert dispatch_of(OPERATOR, "operator", "key", text_of("other", []), "", NINE).id == first.id
    assert dispatch_of(OPERATOR, "sales", "key", text, "", NINE).id != first.id
    assert dispatch_of(OPERATOR, "operator", "key 2", text, "", NINE).id != first.id


def test_recipient_is_that_of_the_team() -> None:
    tell = Tell(operator=OPERATOR)
    assert contact_of(tell, "operator") == OPERATOR
    assert contact_of(tell, "sales") is None


@pytest.mark.parametrize("text", [*ATTACKS, "y" * 100_000])
def test_text_of_a_notice_is_bounded_clean_lines(text: str) -> None:
    stored = text_of(text, [text] * 100)
    assert len(stored.lines) <= LINES_MAX
    for line in (stored.subject, *stored.lines):
        assert len(line) <= LINE_CHARS_MAX
        assert line.isprintable()
        assert "://" not in line
    assert msgspec.json.encode(stored)


def test_line_of_a_notice_is_kept_up_to_its_bound() -> None:
    line = "word " * 100
    assert text_of("A", [line]).lines == (line.strip(),)


async def test_slack_shows_a_notice_as_plain_text_in_the_channel_of_the_team() -> None:
    async with FakeSlack() as slack:
        channel = SlackChannel("xoxb-x", slack.url, timeout_seconds=60.0)
        outcomes = [await channel.tell(notice("<!channel> & <http://x|y>")) for _ in range(2)]
        await channel.close()
    assert len({message["client_msg_id"] for message in slack.messages}) == 1
    assert slack.recipients == ["C012AB3CD", "C012AB3CD"]
    assert "<!channel>" not in str(slack.messages)
    assert type(outcomes[0]).__name__ == "Sent"


async def test_mail_of_a_notice_goes_to_the_address_of_the_team() -> None:
    async with FakeSmtp() as smtp:
        channel = EmailChannel(server(smtp.url), "FirstHour <pages@acme.example>", lambda: NINE, timeout_seconds=60.0)
        await channel.tell(notice("Bcc: x@evil.example"))
    [mail] = smtp.mails
    assert mail.recipients == ("ops@acme.example",)
    assert mail.message["Auto-Submitted"] == "auto-generated"
    assert "Bcc" not in mail.message


async def test_services_show_a_notice() -> None:
    async with FakeService() as service:
        teams = TeamsChannel("teams", service.url, "", timeout_seconds=60.0)
        pager = PagerDutyChannel("oncall", "k" * 32, "", f"{service.url}/", timeout_seconds=60.0)
        crm = WebhookChannel("crm", service.url, ["whsec_" + "A" * 32], lambda: NINE, ("127.0.0.1",), 60.0)
        for channel in (teams, pager, crm):
            assert type(await channel.tell(notice("because", "do this"))).__name__ == "Sent"
    card, event, hook = service.accepted
    texts = [run["text"] for block in card["attachments"][0]["content"]["body"] for run in block["inlines"]]
    assert {"A channel is down", "• because", "• do this"} <= set(texts)
    payload: dict[str, Any] = event["payload"]
    assert (event["event_action"], payload["severity"], payload["custom_details"]["2"]) == (
        "trigger",
        "warning",
        "do this",
    )
    assert hook["data"] == {"team": "operator", "subject": "A channel is down", "lines": ["because", "do this"]}

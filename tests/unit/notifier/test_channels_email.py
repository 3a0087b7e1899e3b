"""Pages by mail, over a real socket to a fake mail server."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.notifier.channels.base import GiveUp, Sent, TryAgain, Unusable
from services.notifier.channels.email import EmailChannel, MailServer, MailSettingsError, server
from services.notifier.domain.link import ACTIONS
from services.notifier.domain.message import ActionLink, Message
from tests.examples import examples
from tests.fakes.pages import ATTACKS, NINE, hostile_message, page_message
from tests.fakes.smtp import FakeSmtp, Mail

HEADERS = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "References",
    "Auto-Submitted",
    "X-Auto-Response-Suppress",
    "MIME-Version",
    "Content-Type",
]


@pytest_asyncio.fixture
async def smtp() -> AsyncIterator[FakeSmtp]:
    async with FakeSmtp() as fake:
        yield fake


def email_channel(smtp: FakeSmtp, timeout_seconds: float = 60.0) -> EmailChannel:
    return EmailChannel(server(smtp.url), "FirstHour <pages@firsthour.example>", lambda: NINE, timeout_seconds)


async def test_page_has_text_and_html_and_replies_do_not_go_to_the_lead(smtp: FakeSmtp) -> None:
    sent = await email_channel(smtp).send(page_message())
    assert sent == Sent("<0192f3c4-0000-7000-8000-000000000001@firsthour.example>")
    mail = smtp.mails[0]
    assert (mail.sender, mail.recipients) == ("pages@firsthour.example", ("bo@sales.example",))
    assert mail.message["Subject"] == "Hot lead: Ann Lee (Acme)"
    assert mail.message["To"] == "Bo Chen <bo@sales.example>"
    assert mail.message["Reply-To"] is None
    assert mail.message["Auto-Submitted"] == "auto-generated"
    assert mail.message["Date"] == "Tue, 01 Dec 2026 09:00:00 +0000"
    assert [part.get_content_type() for part in mail.message.walk()] == [
        "multipart/alternative",
        "text/plain",
        "text/html",
    ]
    plain, html = (part.get_content() for part in mail.message.iter_parts())
    assert "+49 30 12345678" in plain
    assert "tel:+493012345678" in html


async def test_repeat_keeps_the_message_id_and_later_mails_join_the_thread(smtp: FakeSmtp) -> None:
    channel = email_channel(smtp)
    first_id = f"<{page_message().page_id}@firsthour.example>"
    for page in (
        page_message(),
        page_message(),
        page_message(page_id="second", rung=1, mail_thread=first_id),
        page_message(page_id="of the manager", kind="manager", written_at=NINE + timedelta(hours=3)),
        page_message(page_id="other", lead_id="lead-2"),
    ):
        await channel.send(page)
    first, repeat, reminder, manager, other = (mail.message for mail in smtp.mails)
    assert first["Message-ID"] == repeat["Message-ID"] == first_id != reminder["Message-ID"]
    assert (reminder["In-Reply-To"], first["In-Reply-To"]) == (first_id, None)
    assert reminder["References"] == f"{first['References']} {first_id}"
    assert reminder["Subject"] == f"Re: {first['Subject']}"
    assert (manager["References"], manager["Subject"]) == (first["References"], first["Subject"])
    assert other["References"] != first["References"]
    assert "lead-1" not in str(first["References"])


@pytest.mark.parametrize(
    "thread", ["<a@b>\r\nBcc: x@example.test", "<a b@c>", "a@b", "<a@b> <c@d>", "<" + "a" * 200 + "@b>"]
)
async def test_reference_that_is_no_message_id_is_left_out(smtp: FakeSmtp, thread: str) -> None:
    assert isinstance(await email_channel(smtp).send(page_message(mail_thread=thread)), Sent)
    mail = smtp.mails[0].message
    assert mail["In-Reply-To"] is None
    assert mail["Bcc"] is None


async def test_mail_has_a_link_for_each_action_in_text_and_html(smtp: FakeSmtp) -> None:
    links = tuple(ActionLink(action, f"https://firsthour.example/a/{action}") for action in ACTIONS)
    await email_channel(smtp).send(page_message(links=links, lead_url=links[0].url))
    plain, html = (part.get_content() for part in smtp.mails[0].message.iter_parts())
    for label, action in (("Reached them", "reached"), ("Not a fit", "reject"), ("Open the lead", "open")):
        assert f"{label}: https://firsthour.example/a/{action}\n" in plain.replace("\r\n", "\n")
        assert f'href="https://firsthour.example/a/{action}"' in html
    assert "mailto:ann@acme.example?subject=Your%20request" in plain
    assert 'href="mailto:ann@acme.example?subject=Your%20request"' in html


async def test_hundred_kilobytes_in_every_field_make_a_small_mail(smtp: FakeSmtp) -> None:
    for text in ("x" * 100_000, "<b>" * 34_000, "\u202e" * 100_000, "\n" * 100_000, "a@b.com " * 12_500):
        assert isinstance(await email_channel(smtp).send(hostile_message(text)), Sent)
    assert max(len(mail.raw) for mail in smtp.mails) < 40_000


@pytest.mark.parametrize("stage", ["RCPT", "DATA"])
async def test_recipient_error_4xx_is_temporary_and_5xx_permanent(smtp: FakeSmtp, stage: str) -> None:
    channel = email_channel(smtp)
    smtp.refuse(451, stage)  # type: ignore[arg-type]  # one of the three, from the list above
    assert await channel.send(page_message()) == TryAgain(None, "the mail server cannot accept the page now (451)")
    smtp.refuse(550, stage)  # type: ignore[arg-type]  # as above
    assert await channel.send(page_message()) == GiveUp("the mail server rejected the page (550)")
    assert isinstance(await channel.send(page_message()), Sent)
    assert len(smtp.mails) == 1


@pytest.mark.parametrize(
    ("reply", "remedy"),
    [
        ("550 5.1.1 <x@y.example>: no such user", "the address does not exist there"),
        ("552 5.2.2 <x@y.example>: mailbox full", "full or switched off"),
        ("554 5.7.1 <x@y.example>: rejected by policy", "SPF, DKIM and FIRSTHOUR_MAIL_FROM"),
        ("450 4.2.1 <x@y.example>: try later", "full or switched off"),
        ("550 5.1.1234567 <x@y.example>", ""),
        ("550 <5.1.1@y.example> no", ""),
    ],
)
async def test_rejection_names_its_remedy_and_no_address(smtp: FakeSmtp, reply: str, remedy: str) -> None:
    smtp.reply(reply)
    outcome = await email_channel(smtp).send(page_message())
    assert isinstance(outcome, GiveUp if reply[0] == "5" else TryAgain)
    assert remedy in outcome.why
    assert "y.example" not in outcome.why
    assert remedy or outcome.why.endswith("(550)")


async def test_rejected_sender_makes_the_channel_unusable_and_names_the_setting(smtp: FakeSmtp) -> None:
    smtp.refuse(451, "MAIL")
    assert isinstance(await email_channel(smtp).send(page_message()), TryAgain)
    smtp.refuse(550, "MAIL")
    refused = await email_channel(smtp).send(page_message())
    assert refused == Unusable("the mail server rejects this installation (550); check FIRSTHOUR_MAIL_FROM")


async def test_international_domain_is_encoded(smtp: FakeSmtp) -> None:
    page = page_message(person_email="bo@bücher.example", card_email="ann@köln.example")
    assert isinstance(await email_channel(smtp).send(page), Sent)
    (mail,) = smtp.mails
    assert mail.recipients == ("bo@xn--bcher-kva.example",)
    assert mail.message["To"] == "Bo Chen <bo@xn--bcher-kva.example>"


async def test_silent_mail_server_ends_in_the_timeout(smtp: FakeSmtp) -> None:
    smtp.hang()
    async with asyncio.timeout(60):
        assert isinstance(await email_channel(smtp, 0.2).send(page_message()), TryAgain)


async def test_mail_accepted_without_an_answer_is_repeated_with_the_same_id(smtp: FakeSmtp) -> None:
    smtp.accept_then_hang()
    assert isinstance(await email_channel(smtp, 0.2).send(page_message()), TryAgain)
    assert isinstance(await email_channel(smtp).send(page_message()), Sent)
    first, second = smtp.mails
    assert first.message["Message-ID"] == second.message["Message-ID"]


async def test_refused_connection_is_temporary(smtp: FakeSmtp) -> None:
    channel = email_channel(smtp)
    await smtp.stop()
    assert isinstance(await channel.send(page_message()), TryAgain)


async def test_valid_login_sends_and_wrong_login_names_the_setting() -> None:
    async with FakeSmtp(login=("user", "p@ss/word")) as smtp:
        right = EmailChannel(
            MailServer("127.0.0.1", smtp.port, "user", "p@ss/word", start_tls=False),
            "pages@firsthour.example",
            lambda: NINE,
        )
        assert isinstance(await right.send(page_message()), Sent)
        wrong = EmailChannel(
            MailServer("127.0.0.1", smtp.port, "user", "wrong", start_tls=False),
            "pages@firsthour.example",
            lambda: NINE,
        )
        refused = await wrong.send(page_message())
        assert isinstance(refused, Unusable)
        assert "FIRSTHOUR_SMTP_URL" in refused.why


async def test_password_is_not_sent_without_encryption(smtp: FakeSmtp) -> None:
    url = f"smtp://user:secret@127.0.0.1:{smtp.port}"
    channel = EmailChannel(server(url), "pages@firsthour.example", lambda: NINE)
    assert isinstance(await channel.send(page_message()), Unusable)
    assert smtp.mails == []


@pytest.mark.parametrize(
    "address", ["", "bo", "bo@sales.example\r\nRCPT TO:<x@example.test>", "a@b.example, c@d.example"]
)
async def test_person_without_a_plain_address_gets_no_mail(smtp: FakeSmtp, address: str) -> None:
    assert isinstance(await email_channel(smtp).send(page_message(person_email=address)), GiveUp)
    assert smtp.mails == []


def _assert_intact(mail: Mail, page: Message) -> None:
    """Assert that the mail has each header once, only the recipient of the page, and two bodies."""
    assert mail.recipients == ("bo@sales.example",)
    assert mail.message.keys() == HEADERS
    assert [address.addr_spec for address in mail.message["To"].addresses] == ["bo@sales.example"]
    assert mail.message.defects == []
    assert [part.get_content_type() for part in mail.message.iter_parts()] == ["text/plain", "text/html"]
    assert mail.message["Message-ID"] == f"<{page.page_id}@firsthour.example>"


@pytest.mark.parametrize("attack", ATTACKS)
async def test_attack_adds_no_header_and_no_recipient(smtp: FakeSmtp, attack: str) -> None:
    page = hostile_message(attack)
    assert isinstance(await email_channel(smtp).send(page), Sent)
    _assert_intact(smtp.mails[0], page)


async def test_encoded_word_in_a_name_is_not_decoded(smtp: FakeSmtp) -> None:
    await email_channel(smtp).send(page_message(card_name="=?utf-8?q?Your=20bank?="))
    assert "= ?utf-8?q?Your=20bank?=" in smtp.mails[0].message["Subject"]


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.one_of(st.text(st.characters(), max_size=300), st.text('\r\n\t =?:,;<>@"\\.(utf8qb)Bc_-', max_size=300)))
async def test_any_text_leaves_headers_and_recipients_unchanged(smtp: FakeSmtp, raw: str) -> None:
    page = hostile_message(raw)
    assert isinstance(await email_channel(smtp).send(page), Sent)
    _assert_intact(smtp.mails[-1], page)


@pytest.mark.parametrize(
    ("url", "parsed"),
    [
        ("smtp://mail.example", MailServer("mail.example", 25)),
        ("smtp://mail.example:2525/?starttls=true", MailServer("mail.example", 2525, start_tls=True)),
        ("smtp://u:p%40ss@mail.example", MailServer("mail.example", 587, "u", "p@ss", start_tls=True)),
        ("smtp://u:p@mail.example/?starttls=false", MailServer("mail.example", 587, "u", "p", start_tls=False)),
        ("smtps://u:p@mail.example", MailServer("mail.example", 465, "u", "p", tls=True, start_tls=False)),
    ],
)
def test_mail_server_url_is_parsed(url: str, parsed: MailServer) -> None:
    assert server(url) == parsed


@pytest.mark.parametrize(
    "url", ["", "mail.example", "http://mail.example", "smtp://", "smtp://h:99999", "smtp://h?starttls=x"]
)
def test_invalid_mail_server_url_is_rejected_without_showing_it(url: str) -> None:
    with pytest.raises(MailSettingsError, match="FIRSTHOUR_SMTP_URL"):
        server(url)


def test_password_is_not_in_the_repr() -> None:
    assert "secret" not in repr(server("smtps://user:secret@mail.example"))


def test_sender_without_an_address_is_rejected() -> None:
    with pytest.raises(MailSettingsError, match="FIRSTHOUR_MAIL_FROM"):
        EmailChannel(server("smtp://mail.example"), "FirstHour", lambda: NINE)

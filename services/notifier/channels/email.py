"""Pages as mail over SMTP, text and HTML.

Every attempt to send a page carries the same Message-ID, so that a mailbox can drop a duplicate. All mails about a lead have
one subject and refer to one id, so that a mailbox shows one thread per lead. Headers contain cleaned text only.
"""

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime, parseaddr
from urllib.parse import parse_qs, unquote, urlsplit

from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPDataError,
    SMTPException,
    SMTPRecipientsRefused,
    SMTPResponseException,
    SMTPSenderRefused,
)

from schemas.errors import FirstHourError
from schemas.mail import deliverable
from services.notifier.channels.base import TIMEOUT_SECONDS, GiveUp, Outcome, Sent, TryAgain, Unusable
from services.notifier.channels.mail_html import html_body
from services.notifier.domain import outside_text
from services.notifier.domain.mail_parts import mail_parts, plain, subject_of, thread_of
from services.notifier.domain.message import Message
from services.notifier.domain.notice import Notice
from services.notifier.domain.notice import words as words_of_notice

_MESSAGE_ID = re.compile(r"<[A-Za-z0-9_.-]{1,100}@[A-Za-z0-9.-]{1,255}>").fullmatch


class MailSettingsError(FirstHourError, ValueError):
    """`FIRSTHOUR_SMTP_URL` or `FIRSTHOUR_MAIL_FROM` is invalid; the message says why and gives an example."""


@dataclass(frozen=True)
class MailServer:
    """The SMTP server. `start_tls` None: used if the server offers it."""

    host: str
    port: int
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False  # from the first byte
    start_tls: bool | None = None

    def connection(self, timeout_seconds: float, local_hostname: str) -> SMTP:
        """Return a connection that is not open yet. `local_hostname`: hides the host's own name, whose lookup can block."""
        return SMTP(
            hostname=self.host,
            port=self.port,
            username=self.user,
            password=self.password,
            use_tls=self.tls,
            start_tls=self.start_tls,
            timeout=timeout_seconds,
            local_hostname=local_hostname,
        )


def server(url: str) -> MailServer:
    """Parse `smtp://user:password@host:587/?starttls=true` or `smtps://...`.

    With a password, STARTTLS is required unless the URL contains `starttls=false`.

    Raises:
        MailSettingsError: The URL is invalid. The message never contains the URL.
    """
    error = "FIRSTHOUR_SMTP_URL: {}; write smtp://user:password@host:587/?starttls=true or smtps://user:password@host"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise MailSettingsError(error.format("not a URL")) from None
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise MailSettingsError(error.format("needs smtp:// or smtps:// and a host"))
    choice = parse_qs(parts.query).get("starttls", [""])[-1].lower()
    if choice not in ("", "true", "false"):
        raise MailSettingsError(error.format("starttls is true or false"))
    tls, user = parts.scheme == "smtps", unquote(parts.username or "") or None
    if tls:
        start_tls: bool | None = False
    else:
        start_tls = choice == "true" if choice else (True if user else None)
    password = unquote(parts.password or "") if user else None
    return MailServer(parts.hostname, port or (465 if tls else 587 if user else 25), user, password, tls, start_tls)


class EmailChannel:
    """Mail to a person's address, over one connection per page."""

    name = "email"

    def __init__(
        self, smtp: MailServer, mail_from: str, now: Callable[[], datetime], timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        """Take `now` (real time) for the Date header. Raises `MailSettingsError` if `mail_from` is not an address."""
        self._smtp = smtp
        self._from = _sender(mail_from)
        self._now = now
        self._timeout_seconds = timeout_seconds

    async def send(self, message: Message) -> Outcome:
        recipient = deliverable(message.person_email)
        if recipient is None:
            return GiveUp("no plain email address for this person; check `email` of the rep in team.yaml")
        return await self._send(compose(message, recipient, self._from, self._now()), recipient)

    async def tell(self, notice: Notice) -> Outcome:
        recipient = deliverable(notice.email or "")
        if recipient is None:
            return GiveUp(f"no email address for {notice.team}; add `email` under `tell` in agreement.yaml")
        return await self._send(compose_notice(notice, recipient, self._from, self._now()), recipient)

    async def _send(self, mail: EmailMessage, recipient: str) -> Outcome:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._hand_over(mail, recipient)
        except SMTPRecipientsRefused as error:
            refused = max(error.recipients, key=lambda recipient: recipient.code)
            return _reply_outcome(refused.code, refused.message)
        except SMTPAuthenticationError as error:
            return _rejection_outcome(error.code, "check user and password in FIRSTHOUR_SMTP_URL")
        except SMTPSenderRefused as error:
            return _rejection_outcome(error.code, "check FIRSTHOUR_MAIL_FROM")
        except SMTPDataError as error:
            return _reply_outcome(error.code, error.message)
        except SMTPResponseException as error:  # at the greeting, before the page was transmitted
            return _rejection_outcome(error.code, "check FIRSTHOUR_SMTP_URL")
        except (OSError, TimeoutError) as error:  # refused, reset, closed, unknown host, invalid certificate
            return TryAgain(None, f"no answer from the mail server ({type(error).__name__})")
        except SMTPException:
            return Unusable("the mail server does not offer this STARTTLS or login; check FIRSTHOUR_SMTP_URL")
        return Sent(str(mail["Message-ID"]))

    async def close(self) -> None:
        """Do nothing: no connection is kept between pages."""

    async def _hand_over(self, mail: EmailMessage, recipient: str) -> None:
        connection = self._smtp.connection(self._timeout_seconds, self._from.domain)
        try:
            await connection.connect()
            await connection.send_message(mail, sender=self._from.addr_spec, recipients=[recipient])
            # the server has accepted the page: an error while closing does not change that
            with suppress(SMTPException, OSError, TimeoutError):
                await connection.quit(timeout=0.5)
        finally:
            connection.close()


def compose(message: Message, recipient: str, sender: Address, now: datetime) -> EmailMessage:
    """Return the mail of a page. `recipient` is a plain address, as SMTP requires.

    A reply goes to the sender, never to the lead: it would quote our words about the lead.
    """
    parts = mail_parts(message)
    mail = EmailMessage(policy=SMTP_POLICY)
    mail["From"] = sender
    mail["To"] = Address(outside_text.header(message.person_name, outside_text.NAME_CHARS_MAX), addr_spec=recipient)
    mail["Subject"] = outside_text.header(subject_of(message))
    mail["Date"] = format_datetime(now)
    mail["Message-ID"] = _message_id(message.page_id, sender)
    for name, ids in _thread(message, sender).items():
        mail[name] = ids
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Auto-Response-Suppress"] = "All"
    mail.set_content(plain(parts))
    mail.add_alternative(html_body(parts), subtype="html")
    return mail


def _thread(message: Message, sender: Address) -> dict[str, str]:
    """Return the headers of the thread: all mails about a lead refer to one id, and later mails to the first one too."""
    thread, first = thread_of(message), message.mail_thread
    if thread is None:
        return {}
    root = _message_id(thread, sender)
    if first is None or not _MESSAGE_ID(first):
        return {"References": root}
    return {"In-Reply-To": first, "References": f"{root} {first}"}


def compose_notice(notice: Notice, recipient: str, sender: Address, now: datetime) -> EmailMessage:
    """Return the mail of a notice to a team."""
    mail = EmailMessage(policy=SMTP_POLICY)
    mail["From"] = sender
    mail["To"] = Address(addr_spec=recipient)
    mail["Subject"] = outside_text.header(notice.subject)
    mail["Date"] = format_datetime(now)
    mail["Message-ID"] = _message_id(notice.id, sender)
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Auto-Response-Suppress"] = "All"
    mail.set_content("\n".join([notice.subject, "", *notice.lines, "", words_of_notice(notice).footer, ""]))
    return mail


def _sender(mail_from: str) -> Address:
    name, address = parseaddr(mail_from)
    spec = deliverable(address)
    if spec is None:
        raise MailSettingsError("FIRSTHOUR_MAIL_FROM: no email address; write FirstHour <pages@your-company.example>")
    return Address(outside_text.header(name, outside_text.NAME_CHARS_MAX), addr_spec=spec)


def _message_id(page_id: str, sender: Address) -> str:
    return f"<{re.sub(r'[^A-Za-z0-9_-]', '-', page_id)}@{sender.domain}>"


_ENHANCED = re.compile(r"([245])\.(\d{1,3})\.\d{1,3}\b").match
_SUBJECTS = {
    "1": "the address does not exist there; check `email` of the rep in team.yaml",
    "2": "the mailbox is full or switched off; ask the rep, or correct `email` in team.yaml",
    "7": "its policy refuses our mail; check SPF, DKIM and FIRSTHOUR_MAIL_FROM",
}
"""The remedy, by the subject of the enhanced status code (RFC 3463)."""


def _reply_outcome(code: int, text: str) -> TryAgain | GiveUp:
    """Return the outcome of a reply. Its text is left out because it repeats addresses; its status code has the subject."""
    enhanced = _ENHANCED(text.lstrip())
    remedy = f"; {_SUBJECTS[enhanced[2]]}" if enhanced is not None and enhanced[2] in _SUBJECTS else ""
    if 500 <= code < 600:
        return GiveUp(f"the mail server rejected the page ({code}){remedy}")
    return TryAgain(None, f"the mail server cannot accept the page now ({code}){remedy}")


def _rejection_outcome(code: int, remedy: str) -> TryAgain | Unusable:
    if 500 <= code < 600:
        return Unusable(f"the mail server rejects this installation ({code}); {remedy}")
    return TryAgain(None, f"the mail server cannot accept the page now ({code})")

"""A mail server over a real socket: it stores the accepted mails, and fails on request.

In a test: `async with FakeSmtp() as smtp: ...`. As a process of its own, `python -m tests.fakes.smtp --port 9002 --record
FILE` appends one JSON line per mail before it accepts it.
"""

import argparse
import asyncio
import json
import time
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from pathlib import Path
from typing import Literal, Self, cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

Stage = Literal["MAIL", "RCPT", "DATA"]


@dataclass(frozen=True)
class Mail:
    """One accepted mail: its envelope and its content."""

    sender: str
    recipients: tuple[str, ...]
    raw: bytes
    message: EmailMessage


@dataclass
class SmtpFault:
    """The failure of the next mails: a rejection or silence at a stage, before or after the mail is accepted."""

    stage: Stage
    times: int | None  # None: until `recover()`
    reply: str | None  # None: never answer
    accepted: bool = False


class FakeSmtp:
    """Accepts mail unless a fault is set. It is also the handler of aiosmtpd, which prescribes names with capitals."""

    def __init__(self, record: Path | None = None, login: tuple[str, str] | None = None) -> None:
        self.mails: list[Mail] = []
        self.port = 0
        self._login = login
        self._record = record
        self._faults: list[SmtpFault] = []
        self._server: asyncio.Server | None = None
        self._stopped = asyncio.Event()
        self._connections: set[SMTP] = set()

    @property
    def url(self) -> str:
        user = "{}:{}@".format(*self._login) if self._login else ""
        return f"smtp://{user}127.0.0.1:{self.port}/?starttls=false"

    @property
    def recipients(self) -> list[str]:
        """Return the addresses of the recipients of accepted mails, in order."""
        return [recipient for mail in self.mails for recipient in mail.recipients]

    def refuse(self, code: int, stage: Stage = "RCPT", times: int | None = 1) -> None:
        """Reject the next mails with 451, 550 and so on. The reply repeats an address, as replies of real servers do."""
        self._faults.append(SmtpFault(stage, times, f"{code} <somebody@example.test>: not now or not ever"))

    def reply(self, line: str, stage: Stage = "RCPT", times: int | None = 1) -> None:
        """Answer the next mails with this line."""
        self._faults.append(SmtpFault(stage, times, line))

    def hang(self, stage: Stage = "DATA", times: int | None = 1) -> None:
        """Stop answering the next mails at this stage."""
        self._faults.append(SmtpFault(stage, times, None))

    def accept_then_hang(self, times: int | None = 1) -> None:
        """Accept the mail and never answer."""
        self._faults.append(SmtpFault("DATA", times, None, accepted=True))

    def recover(self) -> None:
        """Remove all faults."""
        self._faults.clear()

    async def start(self, port: int = 0) -> Self:
        self._server = await asyncio.get_running_loop().create_server(self._session, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        self._stopped.set()
        if self._server is not None:
            self._server.close()
            for connection in self._connections:
                if connection.transport is not None:
                    connection.transport.close()
            await self._server.wait_closed()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    def _session(self) -> SMTP:
        connection = SMTP(
            self,
            hostname="mail.example.test",
            auth_require_tls=False,
            authenticator=self._authenticate if self._login else None,
            loop=asyncio.get_running_loop(),
        )
        self._connections.add(connection)
        return connection

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, auth_data: object
    ) -> AuthResult:
        login = cast(LoginPassword, auth_data)
        matches = (login.login.decode(), login.password.decode()) == self._login
        return AuthResult(success=matches, handled=False)

    async def handle_MAIL(  # noqa: N802  (named by aiosmtpd)
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        refusal = await self._fault("MAIL")
        if refusal is None:
            envelope.mail_from = address
        return refusal or "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        refusal = await self._fault("RCPT")
        if refusal is None:
            envelope.rcpt_tos.append(address)
        return refusal or "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if any(fault.stage == "DATA" and fault.accepted for fault in self._faults):
            self._accept(envelope)
        refusal = await self._fault("DATA")
        if refusal is None:
            self._accept(envelope)
        return refusal or "250 OK: accepted"

    async def _fault(self, stage: Stage) -> str | None:
        fault = next((fault for fault in self._faults if fault.stage == stage), None)
        if fault is None:
            return None
        if fault.times is not None:
            fault.times -= 1
            if fault.times <= 0:
                self._faults.remove(fault)
        if fault.reply is None:
            await self._stopped.wait()
            return "421 closing"
        return fault.reply

    def _accept(self, envelope: Envelope) -> None:
        raw = cast(bytes, envelope.content)
        message = message_from_bytes(raw, policy=SMTP_POLICY)
        if self._record is not None:
            line = {"at": time.time(), "to": envelope.rcpt_tos, "message_id": message["Message-ID"]}
            with self._record.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(line) + "\n")
        self.mails.append(Mail(envelope.mail_from or "", tuple(envelope.rcpt_tos), raw, message))


async def _main(port: int, record: Path) -> None:
    fake = await FakeSmtp(record).start(port)
    print(fake.url, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--record", type=Path, required=True)
    options = parser.parse_args()
    asyncio.run(_main(options.port, options.record))

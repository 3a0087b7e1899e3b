"""Socket Mode: clicks and commands over a connection that this process opens, where Slack cannot reach the installation.

Slack's own client holds the connection, in threads of its own. A request that is not acknowledged within three seconds is
shown to the person as failed.
"""

import asyncio
import json
import logging
import threading
from typing import Any, Final
from urllib.parse import urlencode

import structlog
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.socket_mode import SocketModeClient
from slack_sdk.socket_mode.client import BaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse

from firsthour.runtime.settings import PREFIX
from services.notifier.context import NotifierContext
from services.notifier.slack_desk import SlackDesk

LOOK_SECONDS: Final = 1.0
PING_SECONDS: Final = 5.0
"""Without an answer to four pings, the connection counts as broken."""
WAIT_SECONDS_MAX: Final = 60.0
ANSWER_SECONDS: Final = 2.9
PROBLEM: Final = "slack socket"
_TOKEN: Final = f"check {PREFIX}SLACK_APP_TOKEN, which needs the scope connections:write"

_log = structlog.get_logger(__name__)


class SlackSocket:
    """The runner that holds the connection."""

    name = "notifier.slack_socket"

    def __init__(
        self,
        desk: SlackDesk,
        context: NotifierContext,
        token: str,
        base_url: str,
        ping_seconds: float = PING_SECONDS,
    ) -> None:
        self._ping_seconds = ping_seconds
        self._desk = desk
        self._context = context
        self._token, self._base_url = token.strip(), base_url.rstrip("/") + "/"
        self._loop: asyncio.AbstractEventLoop | None = None

    async def step(self) -> bool:
        """Do nothing: requests arrive by themselves."""
        return False

    async def run(self) -> None:
        """Hold the connection until cancelled. A connection that ended is opened again, after a growing wait."""
        self._loop = asyncio.get_running_loop()
        client, wait = self._new_client(), LOOK_SECONDS
        try:
            while True:
                if client.is_connected():
                    wait = LOOK_SECONDS
                else:
                    wait = min(wait * 2, WAIT_SECONDS_MAX) if await self._connect(client) else LOOK_SECONDS
                await asyncio.sleep(wait)
        finally:
            # its threads end within seconds; the process does not wait for them
            threading.Thread(target=client.close, daemon=True).start()

    def _new_client(self) -> SocketModeClient:
        quiet = logging.getLogger("firsthour.slack_socket")  # the client logs addresses that hold a ticket
        quiet.disabled = True
        client = SocketModeClient(
            app_token=self._token,
            web_client=WebClient(base_url=self._base_url, logger=quiet),
            auto_reconnect_enabled=False,
            ping_interval=self._ping_seconds,
            logger=quiet,
        )
        client.socket_mode_request_listeners.append(self._hear)
        return client

    async def _connect(self, client: SocketModeClient) -> bool:
        """Open the connection. Return whether there is a problem."""
        problem = await asyncio.to_thread(_problem_of_connecting, client)
        before = self._context.problems.pop(PROBLEM, None)
        if problem is not None:
            self._context.problems[PROBLEM] = f"clicks in Slack do not arrive: {problem}"
            if before is None:
                _log.error("slack socket down", why=problem)
            return True
        _log.info("slack socket open")
        return False

    def _hear(self, client: BaseSocketModeClient, request: SocketModeRequest) -> None:
        """Answer a request. Called in a thread of the client."""
        if self._loop is None or self._loop.is_closed():
            return
        answer = asyncio.run_coroutine_threadsafe(self._answer(request.type, request.payload), self._loop)
        try:
            body = answer.result(ANSWER_SECONDS)
            payload: dict[str, Any] | None = json.loads(body) if body else None
            client.send_socket_mode_response(SocketModeResponse(envelope_id=request.envelope_id, payload=payload))
        except Exception as failure:  # noqa: BLE001  # without an acknowledgement, Slack tells the person
            _log.error("slack request not answered", error_type=type(failure).__name__)

    async def _answer(self, kind: str, payload: dict[str, Any]) -> bytes:
        if kind == "interactive":
            return await self._desk.interaction(urlencode({"payload": json.dumps(payload)}).encode())
        if kind == "slash_commands":
            return await self._desk.command(urlencode(payload).encode())
        return b""


def _problem_of_connecting(client: SocketModeClient) -> str | None:
    """Open a connection, in a thread. Return why there is none; None: it is open."""
    try:
        client.connect_to_new_endpoint()
    except SlackApiError as error:
        code = str(error.response.get("error", ""))
        return f"Slack refuses the app token ({code if code.replace('_', '').isalnum() else 'unreadable'}); {_TOKEN}"
    except Exception as error:  # noqa: BLE001  # whatever the client raises, the connection is tried again
        return f"no connection to Slack ({type(error).__name__})"
    return None if client.is_connected() else "no connection to Slack"

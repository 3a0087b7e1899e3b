"""Pages over the services of the `apprise` library: gateways of text messages and voice calls, and many more.

The library blocks, knows no limit for a whole call, and answers yes or no. So each call has a thread of its own and a time
limit here, and a `no` counts as temporary. Loading the library takes seconds, which count for no call: a call that is given
up in the meantime would still be made, and the page would arrive twice. So it is loaded once the agreement names a channel.
"""

import asyncio
import importlib
import logging
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import cache
from typing import Any, Final
from urllib.parse import quote

import structlog

from services.notifier.channels.base import TIMEOUT_SECONDS, GiveUp, Outcome, Sent, TryAgain, Unusable
from services.notifier.domain import message_text
from services.notifier.domain.message import Message
from services.notifier.domain.notice import Notice
from services.notifier.domain.outside_text import clean, own_url
from services.notifier.domain.page_words import Further, text_of

THREADS_MAX: Final = 8
"""Calls of one channel at a time, those included that did not end in time."""
BODY_CHARS_MAX: Final = 600
FURTHER_MAX: Final = 5
"""Further pages that a short message names."""
SHAPE: Final = re.compile(r"[a-z][a-z0-9+.-]{1,31}://[!-~]{1,2000}")
_LIMITS: Final = {"cto": "2", "rto": "2.5"}
"""The limits of the library for a connection and for an answer, in seconds, unless the URL has its own."""
LOADING_SECONDS: Final = 0.5
"""How long a page waits for the library. With the limits of the library, this is the time of one page."""
_MENTION: Final = re.compile(r"(?<![\w.+-])@(?=\w)")
_MARKUP: Final = str.maketrans({"<": "‹", ">": "›"})

_log = structlog.get_logger(__name__)


class _UnknownServiceError(Exception):
    """Raised for a URL that the library does not know."""


class _StillLoadingError(Exception):
    """Raised for a page that comes before the library is loaded. Nothing was sent."""


class AppriseChannel:
    """Messages by one URL, in which `{phone}` and `{email}` stand for those of the person."""

    def __init__(self, name: str, url: str, variable: str, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        """Take the URL, which is a secret. `variable`: where it stands."""
        self._name = name
        self._url = url
        self._variable = variable
        self._timeout_seconds = timeout_seconds
        self._running = 0  # calls whose thread has not ended

    @property
    def name(self) -> str:
        return self._name

    async def send(self, message: Message) -> Outcome:
        missing = self.lacks(message.person_phone, message.person_email)
        if missing:
            return GiveUp(f"no {missing} for this person; add `{missing}` to the rep in team.yaml")
        page = message_text.words(message)
        facts = "\n".join(f"{fact.label}: {text_of(fact.line)}" for fact in page.facts)[:BODY_CHARS_MAX]
        body = "\n".join([harmless(facts), *filter(None, [page.url]), *_further(page.also)])
        url = filled(self._url, message.person_phone, message.person_email)
        return await self._deliver(url, harmless(clean(page.subject)), body, message.page_id)

    async def tell(self, notice: Notice) -> Outcome:
        missing = self.lacks("", notice.email or "")
        if missing:
            return GiveUp(f"no {missing} for {notice.team}; use another channel under `tell` in agreement.yaml")
        url, body = filled(self._url, "", notice.email or ""), "\n".join(notice.lines)[:BODY_CHARS_MAX]
        return await self._deliver(url, harmless(notice.subject), harmless(body), notice.id)

    async def close(self) -> None:
        """Do nothing: no connection is kept. A call that did not end in time ends by itself."""

    def lacks(self, phone: str, email: str) -> str | None:
        """Return the attribute that the URL needs and the person does not have; None: nothing is missing."""
        if "{phone}" in self._url and not phone:
            return "phone"
        return "email" if "{email}" in self._url and not email else None

    async def _deliver(self, url: str, title: str, body: str, id: str) -> Outcome:
        if self._running >= THREADS_MAX:
            return TryAgain(None, f"{self._name}: {THREADS_MAX} calls have not ended yet")
        try:
            async with asyncio.timeout(self._timeout_seconds):
                library = await _when_loaded()
                accepted = await self._in_thread(lambda: _notify(library, url, title, body))
        except _StillLoadingError:
            return TryAgain(None, f"{self._name}: the apprise library is still being loaded; nothing was sent")
        except TimeoutError:
            return TryAgain(None, f"{self._name}: no answer within {self._timeout_seconds:g} s")
        except _UnknownServiceError:
            return Unusable(f"{self._name}: apprise knows no service of the URL in {self._variable}; correct it")
        except Exception as failure:  # noqa: BLE001  # a plug-in of the library may raise anything; its text may hold the URL
            _log.error("channel failed", channel=self._name, error_type=type(failure).__name__)
            return TryAgain(None, f"{self._name}: {type(failure).__name__}")
        return (
            Sent(f"{self._name}:{id}") if accepted else TryAgain(None, f"{self._name}: the service did not accept it")
        )

    async def _in_thread(self, call: Callable[[], bool]) -> bool:
        """Run the call in a thread that does not delay the end of the process."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = loop.create_future()

        def settle(result: bool | None, failure: Exception | None) -> None:
            self._running -= 1
            if future.done():
                return  # too late: the time limit has passed
            if failure is not None:
                future.set_exception(failure)
            else:
                future.set_result(bool(result))

        def run() -> None:
            result, failure = None, None
            try:
                result = call()
            except Exception as error:  # noqa: BLE001  # handed to the caller
                failure = error
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(settle, result, failure)

        self._running += 1
        threading.Thread(target=run, name=f"apprise {self._name}", daemon=True).start()
        return await future


def _further(pages: Sequence[Further]) -> Iterator[str]:
    """Yield the further pages of a message, each with its link."""
    for page in pages[:FURTHER_MAX]:
        yield f"Also: {harmless(page.headline)}"
        if url := own_url(page.url):
            yield url
    if len(pages) > FURTHER_MAX:
        yield f"And {len(pages) - FURTHER_MAX} more."


def filled(url: str, phone: str, email: str) -> str:
    """Return the URL for this person. What is filled in cannot end a part of the URL."""
    return url.replace("{phone}", quote(phone, safe="")).replace("{email}", quote(email, safe=""))


def harmless(text: str) -> str:
    """Return the text without markup and mentions: some of the services read it as markup."""
    return _MENTION.sub("@ ", text.translate(_MARKUP))


def limited(url: str) -> str:
    """Return the URL with time limits, unless it has its own."""
    for name, seconds in _LIMITS.items():
        if f"{name}=" not in url:
            url += f"{'&' if '?' in url else '?'}{name}={seconds}"
    return url


def is_known(url: str) -> bool:
    """Return whether the library knows the service of this URL. The first call loads the library."""
    example = filled(url, "+493012345678", "ann@example.com")
    return bool(SHAPE.fullmatch(url)) and loading().result().Apprise.instantiate(example) is not None


def _notify(library: Any, url: str, title: str, body: str) -> bool:
    """Send. Return whether the service accepted it."""
    asset = library.AppriseAsset(
        app_id="FirstHour",
        app_desc="FirstHour",
        app_url="",
        storage_mode=library.PersistentStoreMode.MEMORY,
        async_mode=False,  # in this thread: the threads of the library are few, and shared by all channels
        service_timeout=0,
        http_redirects=False,  # a gateway does not choose the host that gets the message
    )
    service = library.Apprise(asset=asset)
    if not service.add(limited(url)):
        raise _UnknownServiceError
    # a message without a body is refused
    return bool(service.notify(title=title if body else "", body=body or title, body_format=library.NotifyFormat.TEXT))


async def _when_loaded() -> Any:
    """Return the library. Raises `_StillLoadingError` if it is not loaded soon."""
    loaded = asyncio.wrap_future(loading())
    await asyncio.wait({loaded}, timeout=LOADING_SECONDS)
    if not loaded.done():
        raise _StillLoadingError
    return loaded.result()


@cache
def loading() -> Future[Any]:
    """Begin to load the library, and return the place of it. It has a thread that does not delay the end of the process."""
    place: Future[Any] = Future()
    place.set_running_or_notify_cancel()  # a page that waits no longer does not end it

    def load() -> None:
        try:
            place.set_result(_library())
        except Exception as failure:  # noqa: BLE001  # handed to each page
            place.set_exception(failure)

    threading.Thread(target=load, name="apprise", daemon=True).start()
    return place


def _library() -> Any:
    """Load the library and its plug-ins. Its log lines are dropped: they hold URLs with secrets and addresses of people."""
    library = importlib.import_module("apprise")
    log = logging.getLogger("apprise")
    log.handlers, log.propagate, log.disabled = [], False, True
    library.Apprise.instantiate("json://127.0.0.1")  # the first URL loads the plug-ins
    return library

"""The person behind a request of the console: their session, language and time zone, and what the services answer them."""

import contextlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from fastapi import Request, Response

from firsthour.kernel.time_zones import known_zone
from firsthour.runtime.http.auth import UNSTORED_KEYS, Keys
from firsthour.runtime.http.form_fields import form_fields
from firsthour.runtime.http.in_process import InnerAnswer, Query, inner_scope, send_inside
from firsthour.runtime.http.middleware import request_id_of
from firsthour.runtime.http.principal import READ, Principal
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.processing.service import Resources
from firsthour.runtime.storage import audit_log
from firsthour.runtime.storage.audit_log import AuditRecord
from firsthour.runtime.storage.unit import StorageError, Unit
from schemas.errors import FirstHourError
from services.console import sessions
from services.console.catalogue import language_of
from services.console.sessions import Session

SECURE_COOKIE: Final = "__Host-firsthour"
"""Over TLS. The prefix makes browsers refuse it from another host, over plain HTTP, or for a part of the paths."""
PLAIN_COOKIE: Final = "firsthour"
ZONE_COOKIE: Final = "firsthour_zone"
"""The time zone of the browser, which its script states."""
CSRF_FIELD: Final = "csrf"
CSRF_HEADER: Final = "x-csrf-token"
FIELD_CHARS_MAX: Final = 100_000
TOKEN_CHARS_MAX: Final = 100


class SignInNeededError(FirstHourError):
    """Raised when a request has no valid session."""


@dataclass(frozen=True)
class Viewer:
    """A person with a session."""

    session: Session
    csrf: str
    language: str
    zone: ZoneInfo
    request: Request

    @property
    def principal(self) -> Principal:
        return self.session.principal

    def may(self, right: str) -> bool:
        """Tell whether the viewer has this right of `firsthour.runtime.http.principal`."""
        return self.principal.allows(right)

    async def send(
        self, method: str, path: str, query: Query = (), *, body: bytes = b"", once: str | None = None
    ) -> InnerAnswer:
        """Send a request to the HTTP interface for the viewer, and return its answer. `once`: its `Idempotency-Key`."""
        headers = {} if once is None else {"idempotency-key": once}
        scope = inner_scope(self.request.scope, self.principal, method, path, query, headers)
        return await send_inside(self.request.app, scope, body)

    async def get(self, path: str, query: Query = ()) -> Any:
        """Return what a GET answers. Raises `Problem` as the interface answers it."""
        answer = await self.send("GET", path, query)
        if not answer.ok:
            raise problem_of(answer)
        return answer.json()


def problem_of(answer: InnerAnswer) -> Problem:
    """Return the problem that the interface answered."""
    content: Mapping[str, Any] = answer.json()
    return Problem(answer.status, content["title"], content.get("detail", ""), content.get("errors", ()))


def holder_of(principal: Principal) -> str:
    """Return the name that people read of the holder of a key. The keys of the process are those of its operator."""
    return "operator" if principal.id in UNSTORED_KEYS else principal.name


class Viewers:
    """Finds the viewer of a request."""

    def __init__(self, resources: Resources, keys: Keys) -> None:
        self._resources, self._keys = resources, keys
        self.secure = resources.settings.public_url.startswith("https:")
        self._public_host = urlsplit(resources.settings.public_url).netloc

    async def find(self, request: Request) -> Viewer:
        """Return the viewer. Raises `SignInNeededError`."""
        token = request.cookies.get(self.cookie(request), "")[:TOKEN_CHARS_MAX]
        if not token:
            raise SignInNeededError
        now = self._resources.clock.real()
        session = await self._resources.reads(lambda connection: sessions.find(connection, token))
        if session is None or not self.is_valid(session, now):
            raise SignInNeededError
        if now >= session.used_at + sessions.USE_NOTED:
            with contextlib.suppress(StorageError):  # a page can be read while nothing can be written
                await self._resources.units.run(lambda unit: sessions.note_use(unit.connection, session.id, now))
        return Viewer(session, csrf_of(token), language_of_request(request), zone_of_request(request), request)

    async def acting(self, request: Request, chars_max: int = FIELD_CHARS_MAX) -> tuple[Viewer, dict[str, str]]:
        """Return the viewer of a request that changes something, and the fields of its form, each cut to `chars_max`.

        Raises:
            SignInNeededError: there is no valid session.
            Problem: 403 if another site may have sent the request.
        """
        viewer = await self.find(request)
        fields = form_fields(await request.body(), chars_max)
        sent = request.headers.get(CSRF_HEADER) or fields.pop(CSRF_FIELD, "")
        if not hmac.compare_digest(sent.encode(), viewer.csrf.encode()):
            raise Problem(403, "", "The form is not one of this session. Load the page again, and send it from there.")
        self.refuse_other_sites(request)
        return viewer, fields

    async def valid_sessions(self) -> list[Session]:
        """Return the sessions that are accepted, the last used first."""
        now = self._resources.clock.real()
        listed = await self._resources.reads(lambda connection: sessions.open_sessions(connection, now))
        return [session for session in listed if self.is_valid(session, now)]

    def is_valid(self, session: Session, now: datetime) -> bool:
        """Return whether a session is accepted: with its key revoked, or its rep out of the team, it is not."""
        return session.is_valid(now) and self.accepts(session.key_id, session.rep)

    def accepts(self, key_id: str | None, rep: str | None) -> bool:
        """Return whether a key is still valid and a rep still in the team. None: there is no such bond."""
        if key_id is not None and not self._keys.has_valid(key_id):
            return False
        return rep is None or self._keys.is_active_rep(rep)

    def cookie(self, request: Request) -> str:
        """Return the name of the cookie of sessions."""
        return SECURE_COOKIE if self.over_tls(request) else PLAIN_COOKIE

    def remember(
        self, request: Request, response: Response, token: str, lasts: timedelta = sessions.SESSION_LASTS
    ) -> None:
        """Let the browser keep the token of a session. No script can read it, and no other site can send it with a form."""
        response.set_cookie(
            self.cookie(request),
            token,
            max_age=int(lasts.total_seconds()),
            secure=self.over_tls(request),
            httponly=True,
            samesite="lax",
        )

    def forget(self, request: Request, response: Response) -> None:
        """Let the browser drop the token."""
        response.delete_cookie(self.cookie(request), secure=self.over_tls(request), httponly=True, samesite="lax")

    def refuse_other_sites(self, request: Request) -> None:
        """Raise `Problem` 403 if the browser marks the request as sent by another site.

        Browsers state the site over TLS and to their own machine. Over plain HTTP to another one, the origin tells.
        """
        site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
        if site is not None:
            is_foreign = site not in ("same-origin", "none")
        else:
            own = (request.headers.get("host"), self._public_host)
            is_foreign = origin is not None and origin.partition("://")[2] not in own
        if is_foreign:
            raise Problem(403, "", "Another site sent this request. Open the console yourself.")

    def over_tls(self, request: Request) -> bool:
        """Return whether browsers reach this installation over TLS."""
        return self.secure or request.url.scheme == "https"


def end_session(unit: Unit, viewer: Viewer, id: str) -> None:
    """End a session for the viewer."""
    sessions.end(unit.connection, id)
    sender, request_id = viewer.principal, request_id_of(viewer.request.scope)
    audit_log.note(
        unit, AuditRecord(sender.actor, sender.role, sender.id, "sessions.delete", id, request_id=request_id)
    )


def csrf_of(token: str) -> str:
    """Return what the forms of a session carry. Only the server and the pages of the session know it."""
    return hmac.digest(token.encode(), b"forms", "sha256").hex()


def language_of_request(request: Request) -> str:
    """Return the language of the reader."""
    return language_of(request.headers.get("accept-language", ""))


def zone_of_request(request: Request) -> ZoneInfo:
    """Return the time zone of the reader; UTC, if the browser states none."""
    name = request.cookies.get(ZONE_COOKIE, "").replace("%2F", "/")
    return ZoneInfo(known_zone(name) or "UTC")


def may_enter(role: str) -> bool:
    """Return whether sessions of this role can see anything."""
    return Principal("", "", role).allows(READ)

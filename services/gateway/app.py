"""The lean path in front of the framework: verify, map, normalise, append durably, and only then answer 202.

Plain ASGI, because the framework's own way costs two to three times as much per request. Every path that is not the
gateway's goes on to the application behind.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Final, TypeVar

import structlog
from prometheus_client import Counter

from firsthour.kernel.config import Config
from firsthour.runtime.clock import new_id
from firsthour.runtime.config import source_secrets
from firsthour.runtime.eventlog.dead_letters import retention_of
from firsthour.runtime.http import idempotency
from firsthour.runtime.http.auth import Keys, Principal
from firsthour.runtime.http.middleware import App, Receive, Scope, Send, checked_body, request_id_of
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.processing.service import Resources
from firsthour.runtime.settings import environ
from firsthour.runtime.storage.records import Row
from firsthour.runtime.storage.unit import StorageError, Unit
from services.gateway import ingest, pages, replies, request_bodies, senders
from services.gateway.body_reader import read_whole_body
from services.gateway.domain import cloudevents, forms
from services.gateway.domain.coerce import UnmappableError
from services.gateway.domain.forms import Form
from services.gateway.domain.mapping import ParsedEvent
from services.gateway.ingest import EVENTS_PATH, FORMS_PATH, HOOKS_PATH, BadItem
from services.gateway.replies import Reply
from services.gateway.sources import SourceIndex, WebhookEndpoint, source_index

T = TypeVar("T")
Headers = Mapping[bytes, bytes]
Extra = dict[bytes, bytes]

BODY_LIMIT: Final = 256 * 1024
FORMS_ROUTE: Final = "/v1/forms/{form}"
TURN_ITEMS: Final = 10
"""Items of a list that are read before other requests have a turn: each may cost a few milliseconds at worst."""
PRESET_RETRY_SECONDS: Final = 3_600
PREFLIGHT_SECONDS: Final = 600
SECRETS_SECONDS: Final = 1.0  # how often secret files are looked at

_ALWAYS: Final = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
)
_SHOWN_TO_PAGES: Final = b"X-Request-Id, Idempotent-Replayed, Retry-After"

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class IncomingRequest:
    """A request, read whole. `extra` goes into the answer's headers, whatever the answer is."""

    path: str
    headers: Headers
    body: bytes
    extra: Extra
    address: str = ""


Answering = Callable[["Gateway", IncomingRequest], Awaitable[Reply]]


class Gateway:
    """Answers /v1/events, /v1/forms/* and /hooks/* itself; hands everything else to `inner`."""

    def __init__(self, resources: Resources, keys: Keys, inner: App) -> None:
        self._resources = resources
        self._units = resources.units
        self._clock = resources.clock
        self._telemetry = resources.telemetry
        self._retention = retention_of(resources.settings)
        self._keys = keys
        self.inner = inner
        self._boot, self._count = new_id(), count(1)  # of which ids of requests are made, which need not be random
        self._accepted_of: dict[str, Counter] = {}
        self._config: Config | None = None
        self._places = SourceIndex({}, {})
        self._secrets: tuple[tuple[int, ...] | None, ...] = ()
        self._looked_at = self._clock.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path: str = scope["path"]
            if scope["method"] == "POST":
                if path == EVENTS_PATH:
                    return await self._serve(scope, receive, send, EVENTS_PATH, Gateway._events)
                if path.startswith(FORMS_PATH):
                    return await self._serve(scope, receive, send, FORMS_ROUTE, Gateway._form)
                if path.startswith(HOOKS_PATH):
                    return await self._serve(scope, receive, send, "/hooks/{source}", Gateway._hook)
            elif scope["method"] == "OPTIONS" and path.startswith(FORMS_PATH):
                return await self._serve(scope, receive, send, FORMS_ROUTE, Gateway._preflight)
        await self.inner(scope, receive, send)
        return None

    @property
    def places(self) -> SourceIndex:
        """Made ready once for each configuration, and again when a secret file appears or changes."""
        config = self._resources.config.current
        if config is not self._config or self._secrets_changed(config):
            self._secrets = source_secrets.stamps(config)  # before the files are read: a later change shows
            self._places, self._config = source_index(config, environ()), config
            for hook in self._places.webhooks.values():
                if hook.trouble:
                    _log.error("source cannot be verified", source=hook.id, problem=hook.trouble)
        return self._places

    def _secrets_changed(self, config: Config) -> bool:
        """Tell whether a secret file changed since the places were made. Files are looked at once a second at most."""
        now = self._clock.monotonic()
        if now - self._looked_at < SECRETS_SECONDS:
            return False
        self._looked_at = now
        return source_secrets.stamps(config) != self._secrets

    async def _serve(self, scope: Scope, receive: Receive, send: Send, route: str, answering: Answering) -> None:
        start = self._clock.monotonic()
        client = scope.get("client")
        asked = IncomingRequest(scope["path"], dict(scope["headers"]), b"", {}, client[0] if client else "")
        request_id = request_id_of(scope) if b"x-request-id" in asked.headers else f"{self._boot}-{next(self._count)}"
        try:
            asked.body = await self._read(scope, receive, asked, route)
            reply = await answering(self, asked)
        except Exception as error:  # noqa: BLE001  # the last frame of our own: there is always an answer
            shown = route == FORMS_ROUTE and pages.wants_page(asked.headers.get(b"accept", b""))
            reply = replies.refusal(error, request_id, scope["method"], route, shown)
        sent = [
            *reply.headers,
            *_ALWAYS,
            *asked.extra.items(),
            (b"x-request-id", request_id.encode()),
            (b"content-length", b"%d" % len(reply.body)),
        ]
        await send({"type": "http.response.start", "status": reply.status, "headers": sent})
        await send({"type": "http.response.body", "body": reply.body})
        self._telemetry.answered(scope["method"], route, reply.status, self._clock.monotonic() - start)

    async def _read(self, scope: Scope, receive: Receive, asked: IncomingRequest, route: str) -> bytes:
        """The body. Raises `Problem`; the page whose form was too large or too slow may read that it was."""
        try:
            return await _body(scope, receive, asked.headers)
        except Problem:
            if route == FORMS_ROUTE:
                with suppress(Problem):
                    self._form_at(asked)
            raise

    # --- the three roads -------------------------------------------------------------------------------------------

    async def _events(self, asked: IncomingRequest) -> Reply:
        who = self._principal(asked)
        _refuse_encoded(asked.headers)
        media, options = request_bodies.parse_content_type(asked.headers.get(b"content-type", b""))
        binary = b"ce-specversion" in asked.headers and not media.startswith("application/cloudevents")
        body, kept_media = asked.body, media
        try:
            attributes = cloudevents.attributes(asked.headers) if binary else None
            if attributes is not None:
                body, kept_media = ingest.as_structured(body, attributes), cloudevents.STRUCTURED
            made = ingest.events(asked.body, media, options, attributes, key=who.name, now=self._clock.business())
            found = made if isinstance(made, list) else await _in_turns(made)
            found = senders.authorize(found, who, self.places.keys, self._resources.config.current.team)
            rows = ingest.rows(found)
        except UnmappableError as wrong:
            letter = await self._bury(EVENTS_PATH, who.name, kept_media, body, wrong, senders.bound_rep(who))
            raise ingest.problem_of(wrong, letter) from None
        key = self._idempotency_key(asked.headers)
        if key is None:
            return await self._keep(who.name, found, rows)
        print_ = idempotency.fingerprint(media.encode(), body)
        return await self._keep_once(who.name, found, rows, f"{who.id} POST {EVENTS_PATH}", key, print_, asked.extra)

    async def _form(self, asked: IncomingRequest) -> Reply:
        form = self._form_at(asked)
        header = asked.headers.get(b"content-type", b"")
        media, options = request_bodies.parse_content_type(header)
        key: str | None = None
        try:
            key = self._idempotency_key(asked.headers)
            _refuse_encoded(asked.headers)
            fields, altered = request_bodies.parse_form(asked.body, media, options)
            given = forms.submitted_id(fields)
            id = given or key or new_id()
            if form.is_robot(fields):
                await self._bury_robot(asked, form, id)
                return replies.sent_on(asked.headers, form, fields, media, replies.accepted([id]))
            referer = asked.headers.get(b"referer", b"").decode("latin-1")
            now, received = self._clock.business(), self._clock.real()
            found = ingest.form_post(form, fields, id=id, referer=referer, now=now, altered=altered, received=received)
            rows = ingest.rows([found])
            if given is None and key is None:
                reply = await self._keep(form.source, [found], rows)
            else:
                print_, scope = forms.fields_digest(fields), f"form POST {asked.path}"
                # A hidden field is the same for every post of many a page: only the same fields again are a retry.
                once = key or idempotency.fingerprint(id.encode(), print_.encode())
                reply = await self._keep_once(form.source, [found], rows, scope, once, print_, asked.extra)
        except (UnmappableError, Problem) as wrong:
            kept = wrong.status < 500 and asked.body.strip()
            letter = await self._bury_form(asked, form, wrong, key or "") if kept else None
            raise ingest.refusal_of(wrong, letter) from None
        return replies.sent_on(asked.headers, form, fields, media, reply)

    async def _hook(self, asked: IncomingRequest) -> Reply:
        id = asked.path.removeprefix(HOOKS_PATH)
        hook = self.places.webhooks.get(id)
        if hook is None:
            raise Problem(
                404, "Unknown source", "Name it in `sources.yaml`: `- {id: <name>, kind: webhook, verify: ...}`."
            )
        self._verify(hook, asked)
        media = asked.headers.get(b"content-type", b"application/json").decode("latin-1")
        delivery = ingest.delivery_of(hook, asked.headers, asked.body)
        try:
            if asked.headers.get(b"content-encoding", b"identity").lower() != b"identity":
                raise UnmappableError("header:Content-Encoding", "is not taken", "send the body as it is", 415)
            kind, options = request_bodies.parse_content_type(asked.headers.get(b"content-type", b"application/json"))
            if not request_bodies.is_json(kind):
                raise UnmappableError("header:Content-Type", "is not JSON", "send application/json", 415)
            now, team = self._clock.business(), self._resources.config.current.team
            items = await _in_turns(ingest.hook_items(hook, asked.body, options, team, delivery=delivery, now=now))
            bad = [item for item in items if isinstance(item, BadItem)]
            found = [one for item in items if not isinstance(item, BadItem) for one in item]
            if bad and not found:
                raise bad[0].wrong.anew()
            rows = ingest.rows(found)
        except UnmappableError as wrong:
            letter = await self._bury(asked.path, hook.id, media, asked.body, wrong, delivery if hook.standard else "")
            raise ingest.problem_of(wrong, letter) from None
        if bad:
            return await self._keep_apart(hook, asked.path, found, rows, bad)
        return await self._keep(hook.id, found, rows)

    async def _preflight(self, asked: IncomingRequest) -> Reply:
        self._form_at(asked)
        asked.extra[b"access-control-allow-methods"] = b"POST"
        asked.extra[b"access-control-allow-headers"] = b"Content-Type, Idempotency-Key, X-Request-Id"
        asked.extra[b"access-control-max-age"] = b"%d" % PREFLIGHT_SECONDS
        return Reply(204, b"", ((b"allow", b"POST, OPTIONS"),))

    # --- who asks --------------------------------------------------------------------------------------------------

    def _principal(self, asked: IncomingRequest) -> Principal:
        return self._keys.identify(asked.headers.get(b"authorization", b"").decode("latin-1"), asked.address)

    def _form_at(self, asked: IncomingRequest) -> Form:
        """The form of this path, for whom the request may come from."""
        form = self.places.forms.get(asked.path.removeprefix(FORMS_PATH))
        if form is None:
            raise Problem(404, "Unknown form", "Add its name to `forms:` of a `kind: form` source in `sources.yaml`.")
        asked.extra[b"vary"] = b"Origin"
        origin = asked.headers.get(b"origin")
        if origin is not None:
            if not form.allows(origin.decode("latin-1")):
                remedy = f"Add it to `allowed_origins` of the source {form.source} in `sources.yaml`."
                if origin == b"null":
                    remedy = (
                        "The browser does not tell which site the page is of, as for a file, a sandboxed frame, or a site "
                        "with `Referrer-Policy: no-referrer`; `strict-origin-when-cross-origin` lets it tell."
                    )
                raise Problem(403, "Origin not allowed", f"Pages of this origin may not post here. {remedy}")
            asked.extra[b"access-control-allow-origin"] = origin
            asked.extra[b"access-control-expose-headers"] = _SHOWN_TO_PAGES
        return form

    def _verify(self, hook: WebhookEndpoint, asked: IncomingRequest) -> None:
        if hook.preset is not None:
            raise Problem(
                503,
                "Preset not there yet",
                f"The preset {hook.preset} comes later; a `kind: webhook` source with `events:` works today.",
                headers={"Retry-After": str(PRESET_RETRY_SECONDS)},
            )
        if hook.signature is None:
            raise Problem(
                503,
                "Source not ready",
                "Its secret is missing here, so nothing from it can be verified. The operator's log says more.",
                headers={"Retry-After": str(replies.RETRY_SECONDS)},
            )
        if not hook.signature.holds(asked.headers, asked.body, self._clock.real()):
            raise Problem(
                401,
                "Signature does not hold",
                "Sign the body exactly as it is sent, with a secret of this source; check the clock.",
                headers={"WWW-Authenticate": "Signature"},
            )

    @staticmethod
    def _idempotency_key(headers: Headers) -> str | None:
        given = headers.get(b"idempotency-key")
        return None if given is None else idempotency.key_of(given.decode("latin-1"))

    # --- keeping ---------------------------------------------------------------------------------------------------

    async def _keep(self, source: str, found: list[ParsedEvent], rows: list[Row]) -> Reply:
        """Durable when this returns."""
        if found:
            await self._units.append(rows)
            self._counted(source, found)
        return replies.accepted([one.sent_id for one in found])

    def _counted(self, source: str, found: Sequence[ParsedEvent]) -> None:
        counter = self._accepted_of.get(source)
        if counter is None:
            counter = self._accepted_of[source] = self._telemetry.events_accepted.labels(source)
        counter.inc(len(found))
        for one in found:
            for flag in one.happened.flags:
                self._telemetry.event_flags.labels(flag).inc()

    async def _keep_once(
        self, source: str, found: list[ParsedEvent], rows: list[Row], scope: str, key: str, print_: str, extra: Extra
    ) -> Reply:
        """As `_keep`, in one unit with the answer, which is given again when the request comes again."""

        def work(unit: Unit) -> idempotency.StoredAnswer:
            def keep() -> tuple[int, bytes]:
                unit.rows.extend(rows)
                return 202, replies.accepted([one.sent_id for one in found]).body

            return idempotency.once(unit, scope, key, print_, keep)

        try:
            answer = await self._units.run(work)
        except StorageError:  # the key cannot be remembered; the events can be kept, and their ids make them count once
            return await self._keep(source, found, rows)
        if answer.replayed:
            extra[b"idempotent-replayed"] = b"true"
        else:
            self._counted(source, found)
        return Reply(answer.status, answer.body)

    async def _keep_apart(
        self, hook: WebhookEndpoint, path: str, found: list[ParsedEvent], rows: list[Row], bad: list[BadItem]
    ) -> Reply:
        """Keep the events, and each bad item as a dead letter: those beyond `APART_MAX` share the last one."""

        def work(unit: Unit) -> list[str]:
            unit.rows.extend(rows)
            return [bury(unit) for bury in ingest.burials(path, hook.id, bad, self._retention)]

        letters = await self._units.run(work)
        self._counted(hook.id, found)
        for _ in letters:
            self._telemetry.dead_letter("gateway")
        return replies.taken_in_part(
            [one.sent_id for one in found], letters, len(bad), [ingest.fault_of(item.wrong) for item in bad]
        )

    async def _bury(self, path: str, source: str, media: str, body: bytes, wrong: Exception, id: str = "") -> str:
        work = ingest.burial(
            path=path,
            source=source,
            content_type=media,
            body=body,
            error=str(wrong),
            id=id,
            retention=self._retention,
        )
        letter = await self._units.run(work)
        self._telemetry.dead_letter("gateway")
        return letter

    async def _bury_form(self, asked: IncomingRequest, form: Form, wrong: UnmappableError | Problem, id: str) -> str:
        """Keep a refused form: a person may wait for an answer. The content type is kept whole: it holds the boundary."""
        media = asked.headers.get(b"content-type", b"").decode("latin-1")
        return await self._bury(asked.path, form.source, media, asked.body, wrong, id)

    async def _bury_robot(self, asked: IncomingRequest, form: Form, id: str) -> None:
        """Kept, because now and then a person's browser fills every field it sees."""
        media = asked.headers.get(b"content-type", b"").decode("latin-1")  # whole: it holds the boundary
        work = ingest.burial(
            path=asked.path,
            source=form.source,
            content_type=media,
            body=asked.body,
            error="honeypot",
            id=id,
            robot=True,
            retention=self._retention,
        )
        await self._units.run(work)


# --- bodies ----------------------------------------------------------------------------------------------


async def _in_turns(made: Iterable[T]) -> list[T]:
    """Return the items as a list. The event loop has a turn after every `TURN_ITEMS` of them."""
    found: list[T] = []
    for item in made:
        found.append(item)
        if len(found) % TURN_ITEMS == 0:
            await asyncio.sleep(0)
    return found


async def _body(scope: Scope, receive: Receive, headers: Headers) -> bytes:
    if b"expect" in headers or not headers.get(b"content-length", b"0").isdigit():
        return await checked_body(scope, receive, BODY_LIMIT) or b""
    return await read_whole_body(receive, BODY_LIMIT)


def _refuse_encoded(headers: Headers) -> None:
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise Problem(
            415,
            "Content-Encoding not taken",
            "Send the body as it is, not compressed.",
            headers={"Accept-Encoding": "identity"},
        )

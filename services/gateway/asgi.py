"""The transport of the gateway: reads a request, hands it to `intake`, stores the outcome, sends the answer.

Plain ASGI, because the framework costs two to three times as much per request. Requests for other paths go to the
application behind.
"""

from collections.abc import Awaitable, Callable
from itertools import count
from typing import Final

from firsthour.runtime.clock import new_id
from firsthour.runtime.eventlog.dead_letters import retention_of
from firsthour.runtime.http.auth import Keys, require
from firsthour.runtime.http.client_address import FORWARDED, TrustedProxies
from firsthour.runtime.http.middleware import App, Receive, Scope, Send, request_id_of
from firsthour.runtime.http.principal import READ
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.http.visibility import visible_leads
from firsthour.runtime.processing.service import Resources, Runner
from services.gateway import body_reader, form_script, pages, replies, waiting
from services.gateway.domain.forms import Form
from services.gateway.fetcher import Fetcher
from services.gateway.flood_guard import FloodGuard
from services.gateway.intake import events, forms, handshakes, segment, webhooks
from services.gateway.intake.outcome import Accepted, Rejected
from services.gateway.intake.request import (
    EVENTS_PATH,
    FORMS_PATH,
    HOOKS_PATH,
    Headers,
    IncomingRequest,
    check_repeated,
    single_headers,
)
from services.gateway.refused_origins import RefusedOrigins
from services.gateway.replies import Reply
from services.gateway.source_counts import SourceCounts
from services.gateway.source_keeper import SourceKeeper
from services.gateway.sources import CurrentSources, SourceIndex
from services.gateway.store import IntakeStore
from services.gateway.waiting import LeadLookups, Waiters

FORMS_ROUTE: Final = "/v1/forms/{form}"
HOOKS_ROUTE: Final = "/hooks/{source}"
PREFLIGHT_SECONDS: Final = 600

HeaderPairs = tuple[tuple[bytes, bytes], ...]
_ALWAYS: Final[HeaderPairs] = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
_REPLAYED: Final[HeaderPairs] = ((b"idempotent-replayed", b"true"),)
_PREFLIGHT: Final = Reply(
    204,
    b"",
    (
        (b"allow", b"POST, OPTIONS"),
        (b"access-control-allow-methods", b"POST"),
        (b"access-control-allow-headers", b"Content-Type, Idempotency-Key, X-Request-Id"),
        (b"access-control-max-age", b"%d" % PREFLIGHT_SECONDS),
    ),
)
_VARY: Final[HeaderPairs] = ((b"vary", b"Origin"),)
_EXPOSED: Final = b"X-Request-Id, Idempotent-Replayed, Retry-After"

Endpoint = Callable[["Gateway", IncomingRequest, SourceIndex], Awaitable[Reply | Problem]]


class Gateway:
    """Answers /v1/events, /v1/forms/* and /hooks/*. Other requests go to `inner`."""

    def __init__(self, resources: Resources, keys: Keys, inner: App, lookups: LeadLookups | None = None) -> None:
        """`lookups`: look a lead up for requests that wait for it. None: no request waits."""
        self._waiters = Waiters(resources.reads, lookups)
        self._config = resources.config
        self._clock = resources.clock
        self._public_url = resources.settings.public_url.rstrip("/").encode()
        self._telemetry = resources.telemetry
        self._keys = keys
        self._sources = CurrentSources(resources.config, resources.clock)
        self._counts = SourceCounts()
        self._refused_origins = RefusedOrigins()
        retention = retention_of(resources.settings)
        self._store = IntakeStore(
            resources.units, resources.telemetry, retention, self._counts, resources.clock.monotonic
        )
        self._guard = FloodGuard(
            resources.config, resources.clock, self._counts, resources.settings.form_posts_per_minute
        )
        self._proxies = TrustedProxies(resources.settings.trusted_proxies)
        self.runners: tuple[Runner, ...] = (
            SourceKeeper(self._counts, self._guard, resources),
            Fetcher(resources, self._sources, self._guard, self._store, self._counts),
        )
        self.inner = inner
        self._process_id, self._count = new_id(), count(1)  # request ids are made of these: they need not be random

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path: str = scope["path"]
            if scope["method"] == "POST":
                if path == EVENTS_PATH:
                    return await self._serve(scope, receive, send, EVENTS_PATH, Gateway._events)
                if path.startswith(FORMS_PATH):
                    return await self._serve(scope, receive, send, FORMS_ROUTE, Gateway._form)
                if path.startswith(HOOKS_PATH):
                    return await self._serve(scope, receive, send, HOOKS_ROUTE, Gateway._webhook)
                if path in segment.PATHS:
                    return await self._serve(scope, receive, send, path, Gateway._segment)
            elif scope["method"] == "OPTIONS" and path.startswith(FORMS_PATH):
                return await self._serve(scope, receive, send, FORMS_ROUTE, Gateway._preflight)
            elif scope["method"] == "GET" and handshakes.expects_get(path, self._sources) is not None:
                return await self._serve(scope, receive, send, HOOKS_ROUTE, Gateway._handshake)
            elif scope["method"] == "GET" and path == form_script.PATH:
                return await self._serve(scope, receive, send, path, Gateway._script)
            elif scope["method"] == "GET" and path.startswith(FORMS_PATH):
                return await self._serve(scope, receive, send, FORMS_ROUTE, Gateway._visited)
            self._find_client(scope)
        await self.inner(scope, receive, send)
        return None

    async def _serve(self, scope: Scope, receive: Receive, send: Send, route: str, endpoint: Endpoint) -> None:
        """Answer one request. Every failure becomes an answer."""
        start = self._clock.monotonic()
        method, path = scope["method"], scope["path"]
        headers: Headers = dict(scope["headers"])
        request_id = request_id_of(scope) if b"x-request-id" in headers else f"{self._process_id}-{next(self._count)}"
        in_browser = route == FORMS_ROUTE and pages.wants_page(headers.get(b"accept", b""))
        cors: HeaderPairs = ()
        address = client[0] if (client := scope.get("client")) else ""
        if FORWARDED in headers:
            is_single = len(headers) == len(scope["headers"])
            address = self._proxies.client(address, headers[FORWARDED] if is_single else _forwarded(scope))
        if route == HOOKS_ROUTE and len(headers) < len(scope["headers"]):
            headers = single_headers(scope["headers"])
        try:
            sources = self._sources.index
            if route != HOOKS_ROUTE and len(headers) < len(scope["headers"]):
                check_repeated(scope["headers"])
            if route == FORMS_ROUTE:
                cors = _cors(sources.forms.get(path.removeprefix(FORMS_PATH)), headers.get(b"origin"))
                if method == "POST":
                    self._guard.door.check_address(address, start)
            limit = segment.BATCH_BYTES_MAX if path in segment.PATHS else body_reader.BODY_LIMIT
            body = await body_reader.read_request_body(scope, receive, headers, limit)
            target = _target(scope) if route == HOOKS_ROUTE or scope.get("query_string") else b""
            request = IncomingRequest(path, headers, body, address, in_browser, target)
            answer = await endpoint(self, request, sources)
            reply = (
                answer if isinstance(answer, Reply) else replies.failed(answer, request_id, method, route, in_browser)
            )
        except Exception as error:  # noqa: BLE001  # the outermost frame of the gateway: there is always an answer
            if isinstance(error, Problem) and path in segment.PATHS:
                reply = replies.for_segment(error)
            else:
                reply = replies.failed(error, request_id, method, route, in_browser)
            self._counts.refuse(_source_of(route, path, self._sources), reply.status)
        if reply.status == 403 and route == FORMS_ROUTE:
            self._refused_origins.note(
                _source_of(route, path, self._sources), headers.get(b"origin", b""), self._clock.monotonic()
            )
        sent = [
            *reply.headers,
            *_ALWAYS,
            *cors,
            *(_REPLAYED if reply.replayed else ()),
            (b"x-request-id", request_id.encode()),
            (b"content-length", b"%d" % len(reply.body)),
        ]
        await send({"type": "http.response.start", "status": reply.status, "headers": sent})
        await send({"type": "http.response.body", "body": reply.body})
        self._telemetry.answered(method, route, reply.status, self._clock.monotonic() - start)

    # --- endpoints -------------------------------------------------------------------------------------------------

    async def _events(self, request: IncomingRequest, sources: SourceIndex) -> Reply | Problem:
        sender = self._keys.identify(request.headers.get(b"authorization", b"").decode("latin-1"), request.address)
        team, now = self._config.current.team, self._clock.business()
        seconds = waiting.seconds_of(request.target) if request.target else None
        if seconds is not None:
            require(sender, READ)
        outcome = await events.decide(request, sender, sources.keys, team, now)
        outcome = self._admitted(outcome, sender.source or "", sources)
        answer = await self._store.commit(outcome)
        if seconds is None or isinstance(answer, Problem) or not isinstance(outcome, Accepted):
            return answer
        if visible_leads(self._config.current, sender) is not None:  # the lead may not be one that this rep sees
            return answer
        return await self._waiters.answer(outcome, answer, seconds)

    async def _form(self, request: IncomingRequest, sources: SourceIndex) -> Reply | Problem:
        decided = forms.decide(request, sources.forms, self._clock.business(), self._clock.real())
        outcome = self._guard.check_form(decided, request.address)
        if sources.quotas:
            outcome = self._admitted(outcome, decided.source, sources)
        answer = await self._store.commit(outcome)
        if request.in_browser and isinstance(outcome, Accepted) and isinstance(answer, Reply):
            return replies.for_browser(answer, outcome.next_page)
        return answer

    async def _webhook(self, request: IncomingRequest, sources: SourceIndex) -> Reply | Problem:
        team, now, received = self._config.current.team, self._clock.business(), self._clock.real()
        outcome = await webhooks.decide(request, sources.webhooks, self._public_url, team, now, received)
        outcome = self._admitted(self._guard.mark_relayed(outcome), outcome.source, sources)
        answer = await self._store.commit(outcome)
        if isinstance(answer, Problem) or not isinstance(outcome, Accepted):
            return answer
        if b"wait=" in request.target and sources.webhooks[outcome.source].answers:
            waited = await self._waiters.answer(outcome, answer, waiting.seconds_of_vendor(request.target))
            if waited is not answer:
                return waited
        return answer if outcome.reply is None else replies.for_vendor(outcome.reply)

    async def _segment(self, request: IncomingRequest, sources: SourceIndex) -> Reply | Problem:
        try:
            value, sender = segment.authenticated(request, self._keys)
        except Problem as problem:
            return replies.for_segment(problem)
        team, now = self._config.current.team, self._clock.business()
        outcome = await segment.decide(request, value, sender, sources.keys, team, now)
        try:
            outcome = self._admitted(self._guard.mark_relayed(outcome), sender.source or "", sources)
        except Problem as problem:
            return replies.for_segment(problem)
        answer = await self._store.commit(outcome)
        if isinstance(answer, Problem):
            return replies.for_segment(answer)
        return replies.for_vendor(outcome.reply) if isinstance(outcome, Accepted) and outcome.reply else answer

    def _admitted(self, outcome: Accepted | Rejected, source: str, sources: SourceIndex) -> Accepted | Rejected:
        quota = sources.quotas.get(source)
        return outcome if quota is None else self._guard.admit(outcome, source, quota)

    def _find_client(self, scope: Scope) -> None:
        """Set the address of the client to the one that a trusted proxy states, for the application behind."""
        forwarded = _forwarded(scope)
        if forwarded and (client := scope.get("client")):
            scope["client"] = (self._proxies.client(client[0], forwarded), client[1])

    async def _handshake(self, request: IncomingRequest, sources: SourceIndex) -> Reply | Problem:
        endpoint = handshakes.expects_get(request.path, self._sources)
        if endpoint is None:
            return Problem(405, "Method Not Allowed", "Send POST.", headers={"Allow": "POST"})
        return replies.for_vendor(handshakes.answer(endpoint, request.target.partition(b"?")[2]))

    async def _script(self, request: IncomingRequest, sources: SourceIndex) -> Reply | Problem:
        return form_script.reply()

    async def _visited(self, request: IncomingRequest, sources: SourceIndex) -> Reply | Problem:
        """Answer a visitor who opens the address of a form, or reloads the page after a post."""
        return Problem(405, "", "This path answers POST.", headers={"Allow": "POST, OPTIONS"})

    async def _preflight(self, request: IncomingRequest, sources: SourceIndex) -> Reply | Problem:
        forms.form_of(request.path, request.headers.get(b"origin"), sources.forms)
        return _PREFLIGHT


def _forwarded(scope: Scope) -> bytes:
    """Return the values of `X-Forwarded-For`, those of repeated headers in order. Empty: there is none."""
    return b",".join(value for name, value in scope["headers"] if name == FORWARDED)


def _target(scope: Scope) -> bytes:
    """Return path and query as they were sent."""
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    query = scope.get("query_string")
    return path + b"?" + query if query else path


def _source_of(route: str, path: str, sources: CurrentSources) -> str:
    """Return the source of a form or webhook whose request failed. Empty: it is unknown."""
    if route == FORMS_ROUTE:
        form = sources.index.forms.get(path.removeprefix(FORMS_PATH))
        return form.source if form else ""
    id = path.removeprefix(HOOKS_PATH).partition("/")[0]
    return id if route == HOOKS_ROUTE and id in sources.index.webhooks else ""


def _cors(form: Form | None, origin: bytes | None) -> HeaderPairs:
    """Return the headers that let pages of this origin read the answer. `form`: None: the form is unknown."""
    if form is None:
        return ()
    if origin is None or not form.allows(origin.decode("latin-1")):
        return _VARY
    return *_VARY, (b"access-control-allow-origin", origin), (b"access-control-expose-headers", _EXPOSED)

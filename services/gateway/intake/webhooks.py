"""`/hooks/{source}`: a vendor's webhook. `sources.yaml` defines its signature and its mapping."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from hashlib import sha256
from typing import Final, NamedTuple

import msgspec

from firsthour.runtime.http.problem import Problem
from schemas.sources import TOUCH
from schemas.team import Team
from services.gateway import request_bodies, senders
from services.gateway.domain import webhooks
from services.gateway.domain.coerce import Json, UnmappableError
from services.gateway.domain.mapping import ParsedEvent, parse_event
from services.gateway.domain.verification.request import SignedRequest, Verdict
from services.gateway.intake.outcome import Accepted, Rejected, RejectedBody, fault_of, problem_of, rows_of
from services.gateway.intake.request import HOOKS_PATH, Headers, IncomingRequest, is_compressed
from services.gateway.intake.turns import in_turns
from services.gateway.sources import WebhookEndpoint

UNTIMED_MAX: Final = timedelta(days=20)
"""Consumers remember for 21 days which events they have handled. A repeated delivery has no effect until then.

An older event may be a replay of a captured delivery, unless the signature covers the time of sending."""
BODIES_MAX: Final = 20  # rejected items of one request that become dead letters of their own
PRESET_RETRY_SECONDS: Final = 3_600
SECRET_RETRY_SECONDS: Final = 5


class RejectedItem(NamedTuple):
    """An item that cannot be mapped. `id` is the delivery id under which it is retried."""

    error: UnmappableError
    body: bytes
    id: str


async def decide(
    request: IncomingRequest,
    endpoints: Mapping[str, WebhookEndpoint],
    public_url: bytes,
    team: Team,
    now: datetime,
    received: datetime,
) -> Accepted | Rejected:
    """Decide about a delivery. `now` is business time; `received` is real time, against which signatures are checked."""
    try:
        endpoint, verdict = _verified_endpoint(request, endpoints, public_url, received)
    except Problem as problem:
        return Rejected(problem)
    delivery = _delivery_id(endpoint, request.headers, request.body)
    path, kept = HOOKS_PATH + endpoint.id, _without_secrets(request.body, endpoint)
    try:
        options = _json_options(request.headers)
        items = parse_items(endpoint, kept, options, team, delivery=delivery, now=now, fresh=not verdict.timed)
        parsed = await in_turns(items)
        rejected = [item for item in parsed if isinstance(item, RejectedItem)]
        events = [event for item in parsed if not isinstance(item, RejectedItem) for event in item]
        if rejected and not events:
            raise rejected[0].error.anew()
        rows = rows_of(events)
    except UnmappableError as error:
        media = request.headers.get(b"content-type", b"application/json").decode("latin-1")
        id = delivery if endpoint.standard_header is not None else ""
        return Rejected(problem_of(error), RejectedBody(path, endpoint.id, media, kept, str(error), id))
    ids = [event.sent_id for event in events]
    if not rejected:
        return Accepted(endpoint.id, ids, events, rows)
    bodies = _rejected_bodies(path, endpoint.id, rejected)
    return Accepted(endpoint.id, ids, events, rows, bodies=bodies, faults=[fault_of(item.error) for item in rejected])


def _without_secrets(body: bytes, endpoint: WebhookEndpoint) -> bytes:
    """Return the body without the keys of the sender, which are no data."""
    for secret in endpoint.body_secrets:
        body = body.replace(secret, b"*")
    return body


def parse_items(
    endpoint: WebhookEndpoint,
    body: bytes,
    options: request_bodies.Options,
    team: Team,
    *,
    delivery: str,
    now: datetime,
    fresh: bool = False,
) -> Iterator[list[ParsedEvent] | RejectedItem]:
    """Yield the events of each item of a verified body.

    Args:
        endpoint: The source.
        body: The body as it was received.
        options: The parameters of its content type.
        team: The reps to whom touches are attributed.
        delivery: The delivery id.
        now: The business time.
        fresh: Events older than `UNTIMED_MAX` are rejected, because nothing proves when the body was sent.

    Raises:
        UnmappableError: The body is not JSON.
    """
    parsed = request_bodies.parse_json(body, options)
    items = parsed.value if isinstance(parsed.value, list) and endpoint.entries else [parsed.value]
    is_list = items is parsed.value
    ids = webhooks.EventIds()
    for index, item in enumerate(items):
        pointer = f"#/{index}" if is_list else "#"
        # The id of an item without one depends on its place alone, so a retry gives the same id whatever its neighbours do.
        own = delivery if index == 0 else f"{delivery}#{index + 1}"
        try:
            if endpoint.entries:
                short_forms = webhooks.short_forms(endpoint.entries, item, own, ids)
            else:
                short_forms = [webhooks.standard_form(item, own)]
            yield [_parse(endpoint, form, team, now, parsed.altered, pointer, fresh) for form in short_forms]
        except UnmappableError as error:
            yield RejectedItem(error, msgspec.json.encode(item) if is_list else body, own)


def _parse(
    endpoint: WebhookEndpoint,
    short_form: Mapping[str, Json],
    team: Team,
    now: datetime,
    altered: bool,
    pointer: str,
    fresh: bool,
) -> ParsedEvent:
    scope = f"hook:{endpoint.id}\n{short_form.get('type')}"
    event = parse_event(short_form, origin=endpoint.id, scope=scope, now=now, altered=altered, pointer=pointer)
    if fresh and now - event.at > UNTIMED_MAX:
        fault = f"is more than {UNTIMED_MAX.days} days ago, and the signature does not cover the time of sending"
        raise UnmappableError(f"{pointer}/time", fault, "make sure that it is no replay, then retry the dead letter")
    senders.check_source_type(event, endpoint.id, endpoint.types, pointer)
    return senders.drop_unknown_rep(event, team) if event.type == TOUCH else event


def _verified_endpoint(
    request: IncomingRequest, endpoints: Mapping[str, WebhookEndpoint], public_url: bytes, received: datetime
) -> tuple[WebhookEndpoint, Verdict]:
    """Return the source of this path, once a proof of it holds. Raises `Problem`: 404, 503, 401."""
    id, slash, token = request.path.removeprefix(HOOKS_PATH).partition("/")
    endpoint = endpoints.get(id)
    if endpoint is None or (slash and not endpoint.tokens):
        raise Problem(404, "Unknown source", "Name it in `sources.yaml`: `- {id: <name>, kind: webhook, verify: ...}`.")
    if endpoint.preset is not None:
        raise Problem(
            503,
            "Preset not available",
            f"The preset {endpoint.preset} is not available yet. Use a `kind: webhook` source with `events:`.",
            headers={"Retry-After": str(PRESET_RETRY_SECONDS)},
        )
    if endpoint.verifier is None:
        raise Problem(
            503,
            "Source not ready",
            "The secret of this source is missing, so its requests cannot be verified. The operator's log has details.",
            headers={"Retry-After": str(SECRET_RETRY_SECONDS)},
        )
    signed = SignedRequest(
        request.headers,
        request.body,
        url=public_url + request.target,
        token=token.encode("utf-8", "surrogatepass"),
        value=partial(_value_of, request),
    )
    verdict = endpoint.verifier.check(signed, received)
    if not verdict.holds:
        raise Problem(
            401,
            "Invalid signature",
            "Sign the body exactly as it is sent, with a secret of this source, and check the clock.",
            headers={"WWW-Authenticate": "Signature"},
        )
    return endpoint, verdict


def _value_of(request: IncomingRequest) -> Json:
    """Return the parsed body; None: it cannot be parsed."""
    try:
        return request_bodies.parse_json(request.body, _json_options(request.headers)).value
    except UnmappableError:
        return None


def _delivery_id(endpoint: WebhookEndpoint, headers: Headers, body: bytes) -> str:
    """Return the id of a delivery, which is the same for each attempt. Without an id: a digest of the body."""
    if endpoint.standard_header is not None:
        return headers.get(endpoint.standard_header, b"").decode("latin-1")
    return sha256(body).hexdigest()[:32]


def _json_options(headers: Headers) -> request_bodies.Options:
    """Return the parameters of the content type. Raises `UnmappableError` 415 unless it is plain JSON."""
    if is_compressed(headers):
        raise UnmappableError("header:Content-Encoding", "is not supported", "send the body as it is", 415)
    media, options = request_bodies.parse_content_type(headers.get(b"content-type", b"application/json"))
    if not request_bodies.is_json(media):
        raise UnmappableError("header:Content-Type", "is not JSON", "send application/json", 415)
    return options


def _rejected_bodies(path: str, source: str, items: Sequence[RejectedItem]) -> list[RejectedBody]:
    """Return a body for each item. Those beyond `BODIES_MAX` share the last one, as a list."""
    single, rest = list(items[:BODIES_MAX]), items[BODIES_MAX:]
    if rest:
        body = b"[" + b",".join(item.body for item in rest) + b"]"
        single.append(RejectedItem(rest[0].error, body, rest[0].id))
    return [RejectedBody(path, source, request_bodies.JSON, item.body, str(item.error), item.id) for item in single]

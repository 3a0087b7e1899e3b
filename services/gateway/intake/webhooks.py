"""`/hooks/{source}`: a vendor's webhook. `sources.yaml` defines its signature and its mapping."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from hashlib import sha256
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from firsthour.runtime.http.exact_json import Parsed
from firsthour.runtime.http.problem import Problem
from schemas.sources import TOUCH
from schemas.team import Team
from services.gateway import request_bodies, senders, webhook_bodies
from services.gateway.domain import thin_events, unmatched, webhooks
from services.gateway.domain.coerce import Json, UnmappableError
from services.gateway.domain.mapping import ParsedEvent, parse_relayed
from services.gateway.domain.thin_events import ThinPart
from services.gateway.domain.verification.request import SignedRequest, Verdict
from services.gateway.intake import handshakes
from services.gateway.intake.outcome import Accepted, Rejected, RejectedBody, UnmatchedBody, fault_of, rows_of
from services.gateway.intake.request import HOOKS_PATH, Headers, IncomingRequest, is_compressed
from services.gateway.intake.turns import in_turns
from services.gateway.sources import WebhookEndpoint

UNTIMED_MAX: Final = timedelta(days=20)
"""Consumers remember for 21 days which events they have handled. A repeated delivery has no effect until then.

An older event may be a replay of a captured delivery, unless the signature covers the time of sending."""
BODIES_MAX: Final = 20  # rejected items of one request that become dead letters of their own
SECRET_RETRY_SECONDS: Final = 5


MappedItem = list[tuple[ParsedEvent, webhooks.CompiledMapping | None]]
"""The events of an item, each with its entry of `events:`. None: the body is an event of ours."""


class RejectedItem(NamedTuple):
    """An item that cannot be mapped. `id` is the delivery id under which it is retried. `whole`: it is the whole body."""

    error: UnmappableError
    body: bytes
    id: str
    whole: bool = True


class VerifiedDelivery(NamedTuple):
    """A verified request. `body`: without the keys of its sender. `id`: of the delivery, the same for each attempt."""

    endpoint: WebhookEndpoint
    headers: Headers
    body: bytes
    id: str

    def kept(self, error: str) -> RejectedBody:
        """Return the body as it is kept."""
        sent_type = self.headers.get(b"content-type", b"application/json").decode("latin-1")
        source = self.endpoint.id
        return RejectedBody(HOOKS_PATH + source, source, sent_type, self.body, error, _kept_id(self.endpoint, self.id))


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
        id = request.path.removeprefix(HOOKS_PATH).partition("/")[0]
        return Rejected(problem, source=id if id in endpoints else "")
    id = _delivery_id(endpoint, request.headers, request.body)
    delivery = VerifiedDelivery(endpoint, request.headers, _without_secrets(request.body, endpoint), id)
    try:
        media, options = _content_type(request.headers)
        value = webhook_bodies.parse_body(delivery.body, media, options, endpoint.format)
        if endpoint.handshake is not None and (challenge := handshakes.echo(endpoint, value.value)):
            return Accepted(endpoint.id, [], reply=challenge)
        thin = None if endpoint.api is None else thin_part(endpoint, value.value)
    except UnmappableError as error:
        return _unmapped(delivery, error)
    if thin is None:
        return await _mapped(delivery, value, team, now=now, fresh=not verdict.timed)
    if thin.nothing_left:
        return Accepted(endpoint.id, [event.id for event in thin.events], reply=endpoint.reply, thin=thin.events)
    rest = Parsed(thin.rest, value.altered)
    outcome = await _mapped(delivery, rest, team, now=now, fresh=not verdict.timed)
    if not thin.events:
        return outcome
    ids = [*(event.id for event in thin.events), *outcome.ids]
    return replace(outcome, ids=ids, thin=thin.events, unmatched_body=None)


async def _mapped(delivery: VerifiedDelivery, value: Parsed, team: Team, *, now: datetime, fresh: bool) -> Accepted:
    """Return the events of a verified body."""
    endpoint = delivery.endpoint
    source, reply = endpoint.id, endpoint.reply
    events: list[ParsedEvent] = []
    rejected: list[RejectedItem] = []
    missed = 0
    try:
        items = parse_items(endpoint, delivery.body, value, team, delivery=delivery.id, now=now, fresh=fresh)
        for item in await in_turns(items):
            if isinstance(item, RejectedItem):
                rejected.append(item)
            else:
                events += [event for event, _ in item]
                missed += not item
        if rejected and not events:
            raise rejected[0].error.anew()
        rows = rows_of(events)
    except UnmappableError as error:
        return _unmapped(delivery, error)
    if not events:
        sample = UnmatchedBody(unmatched.vendor_type(value.value), delivery.kept(unmatched.WHY))
        return Accepted(source, [], unmatched=max(1, missed), unmatched_body=sample, reply=reply)
    ids = [event.sent_id for event in events]
    if not rejected:
        return Accepted(source, ids, events, rows, unmatched=missed, reply=reply)
    whole = delivery.kept("")
    bodies = _rejected_bodies(whole.path, source, whole.content_type, rejected)
    faults = [fault_of(item.error) for item in rejected]
    return Accepted(source, ids, events, rows, bodies=bodies, faults=faults, unmatched=missed, reply=reply)


def _unmapped(delivery: VerifiedDelivery, error: UnmappableError) -> Accepted:
    """Keep the body. The sender has proven itself and cannot mend the mapping, so it is not told to disable the address."""
    endpoint = delivery.endpoint
    return Accepted(endpoint.id, [], bodies=[delivery.kept(str(error))], faults=[fault_of(error)], reply=endpoint.reply)


def thin_part(endpoint: WebhookEndpoint, value: Json) -> ThinPart:
    """Return the events of a body that the API of the vendor completes, and the rest. Raises `UnmappableError`."""
    return ThinPart([], value, False) if endpoint.api is None else thin_events.select(endpoint.api.lookup, value)


def _without_secrets(body: bytes, endpoint: WebhookEndpoint) -> bytes:
    """Return the body without the keys of the sender, which are no data."""
    for secret in endpoint.body_secrets:
        body = body.replace(secret, b"*")
    return body


def parse_items(
    endpoint: WebhookEndpoint,
    body: bytes,
    parsed: Parsed,
    team: Team,
    *,
    delivery: str,
    now: datetime,
    fresh: bool = False,
) -> Iterator[MappedItem | RejectedItem]:
    """Yield the events of each item of a verified body, each with the entry that maps it.

    Args:
        endpoint: The source.
        body: The body as it was received.
        parsed: Its value.
        team: The reps to whom touches are attributed.
        delivery: The delivery id.
        now: The business time.
        fresh: Events older than `UNTIMED_MAX` are rejected, because nothing proves when the body was sent.
    """
    if not endpoint.entries:
        try:
            form = webhooks.standard_form(parsed.value, delivery)
            yield [(_parse(endpoint, form, team, now, parsed.altered, "#", fresh), None)]
        except UnmappableError as error:
            yield RejectedItem(error, body, delivery)
        return
    ids = webhooks.EventIds()
    for item in webhooks.items_of(endpoint.entries, parsed.value, delivery):
        pointer = "#" if item.place is None else f"#/{item.place}"
        try:
            forms = webhooks.short_forms(item, ids)
            yield [(_parse(endpoint, form, team, now, parsed.altered, pointer, fresh), entry) for entry, form in forms]
        except UnmappableError as error:
            if item.place is None:  # a part is retried with its whole body; what was accepted has no further effect
                yield RejectedItem(error, body, delivery)
            else:
                yield RejectedItem(error, msgspec.json.encode(item.value), item.own, whole=False)


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
    event = parse_relayed(short_form, origin=endpoint.id, scope=scope, now=now, altered=altered, pointer=pointer)
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
    if endpoint.verifier is None:
        raise Problem(
            503,
            "Source not ready",
            "The secret of this source is missing, so its requests cannot be verified. The operator's log has details.",
            headers={"Retry-After": str(SECRET_RETRY_SECONDS)},
        )
    signed = signed_request(endpoint, request.headers, request.body, token, public_url + request.target)
    verdict = endpoint.verifier.check(signed, received)
    if not verdict.holds:
        raise Problem(
            401,
            "Invalid signature",
            "Sign the body exactly as it is sent, with a secret of this source, and check the clock.",
            headers={"WWW-Authenticate": "Signature"},
        )
    return endpoint, verdict


def signed_request(endpoint: WebhookEndpoint, headers: Headers, body: bytes, token: str, url: bytes) -> SignedRequest:
    """Return the parts of a request that its proof may cover. `token`: the part of the path after the source."""
    proof = token.encode("utf-8", "surrogatepass") if token else b""
    if not endpoint.body_secrets:
        return SignedRequest(headers, body, url=url, token=proof)
    return SignedRequest(headers, body, url=url, token=proof, value=partial(_value_of, headers, body, endpoint.format))


def _value_of(headers: Headers, body: bytes, format: str | None) -> Json:
    """Return the parsed body; None: it cannot be parsed."""
    try:
        return webhook_bodies.parse_body(body, *_content_type(headers), format).value
    except UnmappableError:
        return None


def _delivery_id(endpoint: WebhookEndpoint, headers: Headers, body: bytes) -> str:
    """Return the id of a delivery, which is the same for each attempt. Without an id: a digest of the body."""
    if endpoint.standard_header is not None:
        return headers.get(endpoint.standard_header, b"").decode("latin-1")
    return sha256(body).hexdigest()[:32]


def _kept_id(endpoint: WebhookEndpoint, delivery: str) -> str:
    """Return the delivery id that is kept with a body. Empty: it is a digest of the body."""
    return delivery if endpoint.standard_header is not None else ""


def _content_type(headers: Headers) -> tuple[str, request_bodies.Options]:
    """Return the media type and its parameters. Raises `UnmappableError` 415 for a compressed body."""
    if is_compressed(headers):
        raise UnmappableError("header:Content-Encoding", "is not supported", "send the body as it is", 415)
    return request_bodies.parse_content_type(headers.get(b"content-type", b"application/json"))


def _rejected_bodies(path: str, source: str, sent_type: str, items: Sequence[RejectedItem]) -> list[RejectedBody]:
    """Return a body for each item of a list, and the whole body once. Those beyond `BODIES_MAX` share one, as a list."""
    listed, whole = [item for item in items if not item.whole], [item for item in items if item.whole]
    single, rest = listed[:BODIES_MAX], listed[BODIES_MAX:]
    if rest:
        body = b"[" + b",".join(item.body for item in rest) + b"]"
        single.append(RejectedItem(rest[0].error, body, rest[0].id))
    return [
        *(RejectedBody(path, source, request_bodies.JSON, item.body, str(item.error), item.id) for item in single),
        *(RejectedBody(path, source, sent_type, item.body, str(item.error), item.id) for item in whole[:1]),
    ]

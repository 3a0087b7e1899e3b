"""`/v1/batch`, `/v1/identify`, `/v1/track` ...: the tracking API of Segment and RudderStack, under an API key as write key."""

import base64
import binascii
import zlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Final

import msgspec

from firsthour.runtime.http import strict_json
from firsthour.runtime.http.auth import Keys
from firsthour.runtime.http.exact_json import StrictError
from firsthour.runtime.http.principal import Principal
from firsthour.runtime.http.problem import Problem
from schemas.team import Team
from services.gateway import senders
from services.gateway.domain import segment
from services.gateway.domain.coerce import Json, UnmappableError
from services.gateway.domain.mapping import ParsedEvent, parse_relayed
from services.gateway.fixed_reply import FixedReply
from services.gateway.intake.outcome import Accepted, Rejected, RejectedBody, fault_of, problem_of, rows_of
from services.gateway.intake.request import IncomingRequest
from services.gateway.intake.turns import in_turns
from services.gateway.request_bodies import JSON
from services.gateway.senders import Types

BATCH_PATH: Final = "/v1/batch"
PATHS: Final = frozenset({BATCH_PATH, *(f"/v1/{call}" for call in segment.CALLS)})
BATCH_BYTES_MAX: Final = 500 * 1024
CALL_BYTES_MAX: Final = 32 * 1024
CALLS_MAX: Final = 1_000
LETTERS_MAX: Final = 20
_SUCCESS: Final = FixedReply(200, JSON, b'{"success":true}')


def authenticated(request: IncomingRequest, keys: Keys) -> tuple[Json, Principal]:
    """Return the value of the body, and the principal of the write key. Raises `Problem`; 401 before the body is judged.

    The write key is the user name of Basic authentication, else `writeKey` in the body.
    """
    key = _key_of(request)
    if key:
        sender = keys.identify(f"Bearer {key}", request.address)
        return parsed_body(request), sender
    try:
        value = parsed_body(request)
    except Problem:
        keys.identify("", request.address)
        raise
    own = value.get("writeKey") if isinstance(value, dict) else None
    return value, keys.identify(f"Bearer {own}" if isinstance(own, str) else "", request.address)


def _key_of(request: IncomingRequest) -> str:
    """Return the key in the header; empty: it has none."""
    scheme, _, credentials = request.headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    if scheme.lower() == "bearer":
        return credentials
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[0]
    except (binascii.Error, ValueError):
        return ""


def parsed_body(request: IncomingRequest) -> Json:
    """Return the value of the body, whatever its media type; it may be compressed by gzip. Raises `Problem`."""
    encoding = request.headers.get(b"content-encoding", b"identity").lower()
    if encoding not in (b"identity", b"gzip"):
        raise Problem(415, "Unsupported content encoding", "Send the body as it is, or with gzip.")
    body = _unzipped(request.body) if encoding == b"gzip" else request.body
    try:
        return strict_json.parse(body, BATCH_BYTES_MAX).value
    except StrictError as error:
        status = 413 if error.status == 413 else 400
        fault = str(error)
        raise Problem(status, "Invalid body", f"{fault[:1].upper()}{fault[1:]}.") from None


def _unzipped(body: bytes) -> bytes:
    stream = zlib.decompressobj(wbits=31)
    try:
        plain = stream.decompress(body, BATCH_BYTES_MAX + 1)
    except zlib.error:
        raise Problem(400, "Invalid body", "The body is not gzip, as its content encoding says.") from None
    if len(plain) > BATCH_BYTES_MAX:
        raise Problem(413, "Content Too Large", f"Send at most {BATCH_BYTES_MAX // 1024} KiB in one batch.")
    if not stream.eof or stream.unused_data:
        raise Problem(400, "Invalid body", "The body is not one whole gzip stream.")
    return plain


async def decide(
    request: IncomingRequest,
    value: Json,
    sender: Principal,
    sources: Mapping[str, Types],
    team: Team,
    now: datetime,
) -> Accepted | Rejected:
    """Decide about the calls of a request. `value`: its parsed body. A call that cannot be mapped is kept, the rest accepted."""
    if not isinstance(value, dict):
        return Rejected(Problem(400, "Invalid body", "The body is not an object."), source=sender.name)
    kind = request.path.removeprefix("/v1/")
    calls: Json = value.get("batch") if request.path == BATCH_PATH else [value]
    if not isinstance(calls, list) or len(calls) > CALLS_MAX:
        problem = Problem(400, "Invalid batch", f"Send `batch`, a list of at most {CALLS_MAX} calls.")
        return Rejected(problem, source=sender.name)
    own_kind = None if request.path == BATCH_PATH else kind
    sent = segment.instant(value.get("sentAt"))
    delivery = sha256(request.body).hexdigest()[:32]
    parsed = await in_turns(_parsed(calls, own_kind, sent, delivery, sender.name, now))
    events = [event for event in parsed if isinstance(event, ParsedEvent)]
    rejected = [item for item in parsed if not isinstance(item, ParsedEvent)]
    try:
        events = senders.authorize(events, sender, sources, team)
        rows = rows_of(events)
    except UnmappableError as error:
        return Rejected(problem_of(error), source=sender.name)
    except Problem as problem:
        return Rejected(problem, source=sender.name)
    bodies = list(_rejected_bodies(rejected, sender.name))
    if rejected and not events:
        refusal = problem_of(rejected[0][0])
        refusal.status = 400  # the libraries of Segment repeat a call after other errors
        return Rejected(refusal, bodies[0], sender.name)
    ids = [event.sent_id for event in events]
    faults = [fault_of(error) for error, _ in rejected]
    return Accepted(sender.name, ids, events, rows, bodies=bodies, faults=faults, reply=_SUCCESS)


def _rejected_bodies(rejected: Sequence[tuple[UnmappableError, bytes]], key: str) -> Iterator[RejectedBody]:
    """Yield a body for each rejected call. Those beyond `LETTERS_MAX` share one, as a batch."""
    for error, body in rejected[:LETTERS_MAX]:
        yield RejectedBody(BATCH_PATH, key, JSON, body, str(error))
    if rest := rejected[LETTERS_MAX:]:
        body = b'{"batch":[' + b",".join(body for _, body in rest) + b"]}"
        yield RejectedBody(BATCH_PATH, key, JSON, body, f"{len(rest)} calls, the first: {rest[0][0]}")


class _Messages:
    """Numbers the calls of one batch that have the same `messageId` and other data: none of them is lost."""

    def __init__(self, key: str, now: datetime) -> None:
        self._key, self._now = key, now
        self._first: dict[str, ParsedEvent] = {}  # by event id
        self._others: dict[tuple[str, bytes], ParsedEvent] = {}  # by event id, and a digest of the call
        self._numbers: dict[str, int] = {}

    def parsed(self, call: Json, id: str, pointer: str) -> ParsedEvent:
        """Return the event of a call. Raises `UnmappableError`."""
        event = parse_call(call, id, self._key, self._now, pointer)
        first = self._first.setdefault(event.event_id, event)
        if event == first or not isinstance(call, dict):
            return event
        content = event.event_id, sha256(msgspec.json.encode(call)).digest()
        if content not in self._others:
            self._others[content] = self._numbered(call, event, pointer)
        return self._others[content]

    def _numbered(self, call: dict[str, Json], event: ParsedEvent, pointer: str) -> ParsedEvent:
        """Return the event under the id `m#2` for the second call with the id `m`. No number is tried twice."""
        number = self._numbers.get(event.event_id, 1)
        while True:
            number += 1
            id = f"{event.sent_id}#{number}"
            numbered = parse_call({**call, "messageId": id}, id, self._key, self._now, pointer)
            if numbered.event_id not in self._first:
                self._numbers[event.event_id] = number
                self._first[numbered.event_id] = numbered
                return numbered


def _parsed(
    calls: list[Json], kind: str | None, sent: datetime | None, delivery: str, key: str, now: datetime
) -> Iterator[ParsedEvent | tuple[UnmappableError, bytes]]:
    messages = _Messages(key, now)
    for index, call in enumerate(calls):
        pointer = f"#/batch/{index}" if kind is None else "#"
        call_sent = segment.instant(call.get("sentAt")) if isinstance(call, dict) and sent is None else sent
        written = (
            {**call, "timestamp": segment.corrected(segment.stamp_of(call), call_sent, now)}
            if isinstance(call, dict)
            else call
        )
        if isinstance(written, dict) and kind is not None:
            written["type"] = kind
        try:
            yield messages.parsed(written, f"{delivery}-{index}", pointer)
        except UnmappableError as error:
            yield error, msgspec.json.encode(written)


def parse_call(call: Json, id: str, key: str, now: datetime, pointer: str = "#") -> ParsedEvent:
    """Return the event of one call, whose `type` names it. Raises `UnmappableError`."""
    if not isinstance(call, dict):
        raise UnmappableError(pointer, "is not an object", "send a call such as identify")
    if len(msgspec.json.encode(call)) > CALL_BYTES_MAX:
        raise UnmappableError(
            pointer, f"has more than {CALL_BYTES_MAX // 1024} KiB", "send fewer traits or properties", 413
        )
    short = segment.short_form(call, str(call.get("type")), id, pointer)
    return parse_relayed(short, origin=key, scope=f"segment:{key}", now=now, pointer=pointer)

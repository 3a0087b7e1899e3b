"""Tries a body at a source: what would be verified, mapped and stored. Nothing is stored."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from firsthour.runtime.http.exact_json import Parsed
from schemas.team import Team
from services.gateway import request_bodies, webhook_bodies
from services.gateway.domain import thin_events, webhooks
from services.gateway.domain.coerce import Json, UnmappableError
from services.gateway.domain.mapping import ParsedEvent
from services.gateway.domain.thin_events import ThinPart
from services.gateway.domain.webhooks import CompiledMapping
from services.gateway.intake.outcome import fault_of
from services.gateway.intake.request import HOOKS_PATH, Headers
from services.gateway.intake.webhooks import MappedItem, RejectedItem, parse_items, signed_request, thin_part
from services.gateway.sources import WebhookEndpoint

LEAVES_MAX: Final = 300
"""Parts of a body that are examined. Each is left out once, so the cost is the product of parts and mapping."""
EXAMINED_MAX: Final = 10
"""Items of a list, from the first on, whose parts are examined. The others are like them."""
MAPPED_MAX: Final = 3_000
"""Items that are mapped again for all parts together: a body in which `each` selects thousands has few parts examined."""
EVENTS_MAX: Final = 50
DELIVERY: Final = "try"
AS_SENT: Final[Mapping[str, str]] = {"": "as sent"}
"""The expressions of an event that needs no mapping."""


@dataclass(frozen=True)
class TriedRequest:
    """The request of a trial. `target`: path and query; empty: the address of the source. `signed`: it has headers to verify.

    `answer`: the answer of the vendor's API that completes the first thin event. None: there is none.
    """

    headers: Headers
    body: bytes
    target: bytes = b""
    signed: bool = True
    answer: bytes | None = None


class Trial(NamedTuple):
    """What a trial shows, and the events of `report["events"]`, whose effect is added."""

    report: dict[str, Any]
    events: Sequence[ParsedEvent] = ()


def outcome(
    endpoint: WebhookEndpoint, request: TriedRequest, public_url: bytes, team: Team, now: datetime, received: datetime
) -> Trial:
    """Return what the request would do: `verified`, `events`, `faults` and `unused`, the parts that no expression reads.

    `fetches`: the thin events, each with the address at which the rest of it would be read; nothing is fetched.

    `unmatched`: the number of items to which no entry of `events` applies, as the gateway counts them.

    `verified` is null if the request was given without headers. A body is mapped whether it is verified or not.
    """
    report = empty_report(_verification(endpoint, request, public_url, received))
    try:
        media, options = request_bodies.parse_content_type(request.headers.get(b"content-type", b"application/json"))
        parsed = webhook_bodies.parse_body(request.body, media, options, endpoint.format)
        thin = thin_part(endpoint, parsed.value)
        report["fetches"] = _fetches(endpoint, thin)
        delivery, value = DELIVERY, thin.rest
        if request.answer is not None:
            delivery, value = _completed(thin, request.answer)
        elif thin.nothing_left:
            return Trial(report)
        parsed = Parsed(value, parsed.altered)
        items = list(parse_items(endpoint, request.body, parsed, team, delivery=delivery, now=now))
    except UnmappableError as error:
        return Trial({**report, "faults": [fault_of(error)]})
    faults = [item.error for item in items if isinstance(item, RejectedItem)]
    events = fill(report, [item for item in items if not isinstance(item, RejectedItem)], faults)
    report["unused"] = [] if faults else unused(endpoint.entries, parsed.value)
    return Trial(report, events)


def empty_report(verification: Mapping[str, Any]) -> dict[str, Any]:
    """Return the report of a body of which nothing is known yet but its verification."""
    return {**verification, "events": [], "faults": [], "unused": [], "unmatched": 0, "fetches": []}


def fill(
    report: dict[str, Any], items: Sequence[MappedItem], faults: Sequence[UnmappableError]
) -> Sequence[ParsedEvent]:
    """Add the events of the items of a body, its faults, and the number of items to which no entry applies. Return the events."""
    pairs = [pair for item in items for pair in item][:EVENTS_MAX]
    report["events"] = [_event(event, entry) for event, entry in pairs]
    report["faults"] = [fault_of(fault) for fault in faults]
    report["unmatched"] = sum(not item for item in items) or (0 if items or faults else 1)
    return [event for event, _ in pairs]


def _completed(thin: ThinPart, answer: bytes) -> tuple[str, Json]:
    """Return id and body of the first thin event, completed. Raises `UnmappableError`."""
    if not thin.events:
        raise UnmappableError("#", "names no event that an answer completes", "leave the answer out")
    try:
        value = request_bodies.parse_json(answer).value
    except UnmappableError as error:
        raise UnmappableError(f"answer{error.pointer.removeprefix('#')}", error.fault, error.remedy) from None
    if not isinstance(value, dict):
        raise UnmappableError(
            "answer", "is not a JSON object", "give the body of the vendor's answer, as it was received"
        )
    event = thin.events[0]
    return event.id, thin_events.completed(event.event, value)


def _fetches(endpoint: WebhookEndpoint, thin: ThinPart) -> list[dict[str, str]]:
    """Return id and address of some thin events. Raises `UnmappableError` if a part of an address is missing."""
    if endpoint.api is None:
        return []
    api = endpoint.api
    return [
        {"id": one.id, "url": api.base_url + thin_events.path_of(api.lookup, one.event)}
        for one in thin.events[:EVENTS_MAX]
    ]


def _verification(
    endpoint: WebhookEndpoint, request: TriedRequest, public_url: bytes, received: datetime
) -> dict[str, Any]:
    if not request.signed:
        return {"verified": None, "why": "no headers were given, so nothing was verified"}
    if endpoint.verifier is None:
        return {"verified": False, "why": endpoint.trouble or "the source has no secret"}
    target = request.target or f"{HOOKS_PATH}{endpoint.id}".encode()
    path = unquote(target.partition(b"?")[0].decode("latin-1"))
    token = path.removeprefix(f"{HOOKS_PATH}{endpoint.id}").removeprefix("/")
    signed = signed_request(endpoint, request.headers, request.body, token, public_url + target)
    verdict = endpoint.verifier.check(signed, received)
    return {"verified": verdict.holds, "why": verdict.fault or None}


def _event(event: ParsedEvent, entry: CompiledMapping | None) -> dict[str, Any]:
    external = event.external
    return {
        "type": event.type,
        "id": event.sent_id,
        "time": event.at.isoformat(),
        "email": external.email,
        "phone": external.phone,
        "crm_id": external.crm_id,
        "anonymous_id": external.anonymous_id,
        "person": dict(external.person),
        "fields": dict(external.fields),
        "expressions": dict(entry.texts if entry is not None else AS_SENT),
        "places": dict(entry.places) if entry is not None else {},
        "effect": None,
    }


# --- unused parts -----------------------------------------------------------------------------------------------------


def unused(entries: Sequence[CompiledMapping], body: Json) -> list[str]:
    """Return the JSON pointers of the leaves that can be left out without a change of any event."""
    if not entries:
        return []
    if isinstance(body, list):
        body = body[:EXAMINED_MAX]
    whole = _forms(entries, body)
    most = min(LEAVES_MAX, MAPPED_MAX // max(1, len(whole) if isinstance(whole, list) else 1))
    leaves = [pointer for pointer, _ in zip(_leaves(body, ()), range(most), strict=False)]
    return [_text(pointer) for pointer in leaves if _forms(entries, _without(body, pointer)) == whole]


def _forms(entries: Sequence[CompiledMapping], body: Json) -> object:
    ids = webhooks.EventIds()
    try:
        return [form for item in webhooks.items_of(entries, body, DELIVERY) for form in webhooks.short_forms(item, ids)]
    except UnmappableError as error:
        return str(error)


def _leaves(value: Json, pointer: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of each value that has no values inside."""
    inside: Iterator[tuple[str | int, Json]] = iter(())
    if isinstance(value, dict):
        inside = iter(value.items())
    elif isinstance(value, list):
        inside = iter(enumerate(value))
    empty = True
    for key, item in inside:
        empty = False
        yield from _leaves(item, (*pointer, key))
    if empty and pointer and value not in (None, "", {}, []):
        yield pointer


def _without(value: Json, pointer: tuple[str | int, ...]) -> Json:
    """Return a copy in which the value at `pointer` is null. Only the containers on the way are copied."""
    if not pointer:
        return None
    key, *rest = pointer
    if isinstance(value, dict) and isinstance(key, str):
        return {**value, key: _without(value[key], tuple(rest))}
    if isinstance(value, list) and isinstance(key, int):
        return [*value[:key], _without(value[key], tuple(rest)), *value[key + 1 :]]
    return value


def _text(pointer: tuple[str | int, ...]) -> str:
    return "#" + "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in pointer)


def headers_of(given: Mapping[str, str]) -> Headers:
    """Return headers by lower-case name, as a request has them."""
    return {
        name.lower().encode("latin-1", "replace"): value.encode("latin-1", "replace") for name, value in given.items()
    }

"""Converts calls of Segment's tracking API to the short form: identify, track, page, screen, group, alias.

A call names a person by `userId`, which is often an address, by `anonymousId`, and by `email` in its traits. The clock of the
sender is corrected by the time between sending and arrival.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final

from firsthour.kernel.field_names import FieldNames
from services.gateway.domain.coerce import Json, UnmappableError
from services.gateway.domain.facts import FLAT
from services.gateway.domain.mapping import CLIENT
from services.gateway.domain.named_fields import REACHED_BY, named_fields

CALLS: Final = ("identify", "track", "page", "screen", "group", "alias")
_NAMES: Final = FieldNames(leave=("crm_id",))
_TRACKED: Final[Mapping[str, str]] = {
    "form submitted": "form.submitted",
    "lead generated": "form.submitted",
    "content downloaded": "content.downloaded",
    "email opened": "email.opened",
    "email link clicked": "email.clicked",
    "email bounced": "email.bounced",
    "unsubscribed": "email.unsubscribed",
    "email unsubscribed": "email.unsubscribed",
    "trial started": "trial.started",
    "meeting booked": "meeting.booked",
    "live chat conversation started": "chat.started",
    "webinar attended": "webinar.attended",
}
"""The names of tracked events that are events of ours. Every other name becomes `custom.<name>`."""
_NOT_IN_TYPES: Final = re.compile(r"[^a-z0-9]+")
_TYPE_MAX: Final = 80
_GROUP_FACTS: Final[Mapping[str, str]] = {
    "name": "company.name",
    "industry": "company.industry",
    "employees": "company.employees",
    "website": "company.domain",
    "domain": "company.domain",
}


_FACT_NAMES: Final = frozenset(name for name, fact in FLAT.items() if not fact.startswith("utm.")) | {
    "company",
    "custom",
}
_Fields = Mapping[str, Json]


def short_form(call: Mapping[str, Json], kind: str, id: str, pointer: str = "#") -> dict[str, Json]:
    """Return a call in the short form. `id`: the id of a call without a `messageId`. Raises `UnmappableError`."""
    convert = _CONVERSIONS.get(kind)
    if convert is None:
        raise UnmappableError(f"{pointer}/type", "is not a call", f"send one of: {', '.join(CALLS)}")
    traits = {**_object(_object(call, "context"), "traits"), **_object(call, "traits")}
    properties = _object(call, "properties")
    message_id = call.get("messageId")
    short: dict[str, Json] = {
        "id": message_id if message_id not in (None, "") else id,
        **convert(call, traits, properties, pointer),
    }
    known = _object(_object(call, "context"), "traits") if kind == "group" else {**properties, **traits}
    short = {**_person(call, known), **short}
    if isinstance(ip := _object(call, "context").get("ip"), str):
        short[CLIENT] = ip
    if call.get("timestamp") not in (None, ""):
        short["time"] = call["timestamp"]
    return short


def delivered(call: Json, id: str) -> dict[str, Json] | None:
    """Return a call that a webhook of the vendor delivers in the short form. None: the body is no call. Raises `UnmappableError`.

    Its `timestamp` is corrected by the vendor already.
    """
    if not isinstance(call, dict) or call.get("type") not in CALLS:
        return None
    return short_form({**call, "timestamp": stamp_of(call)}, str(call["type"]), id)


def meanings() -> Iterator[tuple[str, str]]:
    """Yield the types of the events that calls become, each with the calls, for people."""
    yield "lead.updated", "identify, group, alias"
    yield "page.viewed", "page, screen"
    by_type: dict[str, list[str]] = {}
    for name, type in _TRACKED.items():
        by_type.setdefault(type, []).append(name)
    for type, names in by_type.items():
        yield type, "track, named " + " or ".join(f"“{name}”" for name in names)
    yield "custom.<name>", "every other track, under its name"


def _person(call: Mapping[str, Json], traits: Mapping[str, Json]) -> dict[str, Json]:
    user, email, phone = call.get("userId"), traits.get("email"), traits.get("phone")
    anonymous = call.get("anonymousId") or (f"user:{user}" if user not in (None, "") else None)
    if email in (None, ""):
        email = _external_email(call) or (user if isinstance(user, str) and "@" in user else None)
    found: dict[str, Json] = {"email": email, "phone": phone, "anonymous_id": anonymous}
    return {name: value for name, value in found.items() if value not in (None, "")}


def _external_email(call: Mapping[str, Json]) -> Json:
    """Return the address by which a warehouse names the person: `context.externalId` of RudderStack."""
    ids = _object(call, "context").get("externalId")
    found = (id for id in ids if isinstance(id, dict)) if isinstance(ids, list) else ()
    return next((id.get("id") for id in found if id.get("identifierType") == "email"), None)


def _identify(call: _Fields, traits: _Fields, _: _Fields, __: str) -> dict[str, Json]:
    reached_by, data = _facts(traits)
    return {"type": "lead.updated", **reached_by, "data": {**data, **_campaign(call)}}


def _track(call: _Fields, traits: _Fields, properties: _Fields, pointer: str) -> dict[str, Json]:
    name = call.get("event")
    if not isinstance(name, str) or not name.strip():
        raise UnmappableError(f"{pointer}/event", "is missing", "name the event that was tracked")
    known = _TRACKED.get(name.strip().lower())
    slug = _NOT_IN_TYPES.sub("-", name.strip().lower()).strip("-")[:_TYPE_MAX].strip("-")
    if known == "form.submitted":
        reached_by, facts = _facts({**traits, **properties})
        return {"type": known, **reached_by, "data": {"form": name, **facts, **_campaign(call)}}
    data = {f"properties.{own}" if _is_fact(own) else own: value for own, value in properties.items()}
    return {"type": known or f"custom.{slug or 'event'}", "data": {**data, "event": name}}


def _is_fact(name: str) -> bool:
    """Tell whether a property has the name of a fact about the person: the `name` of a product is none."""
    return name in _FACT_NAMES


def _page(call: _Fields, traits: _Fields, properties: _Fields, _: str) -> dict[str, Json]:
    page = {**_object(_object(call, "context"), "page"), **properties}
    data = {name: page.get(name) for name in ("path", "url", "referrer")}
    data["page"] = call.get("name") or page.get("title")
    data["path"] = data["path"] or data["page"]
    return {"type": "page.viewed", "data": {**data, **_campaign(call)}}


def _group(call: _Fields, traits: _Fields, _: _Fields, __: str) -> dict[str, Json]:
    own = _object(call, "traits")
    data = {ours: own[theirs] for theirs, ours in _GROUP_FACTS.items() if theirs in own}
    return {"type": "lead.updated", "data": {**data, "custom.group_id": call.get("groupId")}}


def _alias(call: _Fields, traits: _Fields, _: _Fields, __: str) -> dict[str, Json]:
    """Join two ids: an event that has both joins their people."""
    return {"type": "lead.updated", "anonymous_id": call.get("previousId"), "data": {}}


_CONVERSIONS: Final = {
    "identify": _identify,
    "track": _track,
    "page": _page,
    "screen": _page,
    "group": _group,
    "alias": _alias,
}


def _facts(traits: Mapping[str, Json]) -> tuple[dict[str, Json], dict[str, Json]]:
    """Return the email address and the phone number in these traits, however they are written, and the facts under our names."""
    flat = dict(traits)
    company, address = flat.pop("company", None), flat.pop("address", None)
    if isinstance(company, dict):
        flat |= {_GROUP_FACTS.get(name, f"company.{name}"): value for name, value in company.items()}
        flat["company.employees"] = flat.get("company.employees") or company.get("employee_count")
    elif company is not None:
        flat["company.name"] = company
    if isinstance(address, dict) and address.get("country"):
        flat["country"] = address["country"]
    identifiers, data = named_fields(_NAMES, flat)
    return {name: value for name in REACHED_BY if (value := identifiers.get(name)) not in (None, "")}, data


def _campaign(call: Mapping[str, Json]) -> dict[str, Json]:
    campaign = _object(_object(call, "context"), "campaign")
    return {f"utm.{'campaign' if name == 'name' else name}": value for name, value in campaign.items() if name in _UTM}


_UTM: Final = frozenset({"name", "source", "medium", "term", "content"})


def _object(value: Mapping[str, Json], name: str) -> Mapping[str, Json]:
    inner = value.get(name)
    return inner if isinstance(inner, dict) else {}


def stamp_of(call: Mapping[str, Json]) -> Json:
    """Return the time of a call by the clock of its sender. The library of RudderStack for Node.js has another name for it."""
    stamp = call.get("timestamp")
    return call.get("originalTimestamp") if stamp in (None, "") else stamp


def corrected(stamp: Json, sent: datetime | None, received: datetime) -> Json:
    """Return the time of a call by our clock. A time that cannot be read is returned as it is.

    `sent`: when the sender sent it, by its own clock; None: unknown.
    """
    if sent is None or not isinstance(stamp, str):
        return stamp
    at = instant(stamp)
    if at is None:
        return stamp
    try:
        return (received - max(sent - at, timedelta(0))).isoformat()
    except OverflowError:  # the clock of the sender is thousands of years off
        return stamp


def instant(stamp: Json) -> datetime | None:
    """Return the time of a text such as `2026-12-01T09:00:00.000Z`; None: it is not one with an offset."""
    if not isinstance(stamp, str):
        return None
    try:
        at = datetime.fromisoformat(stamp)
    except ValueError:
        return None
    return at if at.tzinfo is not None else None

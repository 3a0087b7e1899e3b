"""Bodies of a webhook to which no entry of its mapping applies: vendors also send events that are not wanted."""

import re
from typing import Final

from services.gateway.domain.coerce import Json, UnmappableError

TYPE_NAMES: Final = (
    "type",
    "event",
    "event_type",
    "eventType",
    "event_name",
    "eventName",
    "triggerEvent",
    "subscriptionType",
    "trigger",
    "topic",
    "action",
    "kind",
    "status",
)
"""Names under which vendors state the type of an event, in the order in which they are looked for."""
_TYPE: Final = re.compile(r"[\w.:/ -]{1,60}", re.ASCII)
FAULT: Final = "no entry of `events` applies to this body"
REMEDY: Final = "add an entry to the source in sources.yaml if it is wanted"
WHY: Final = f"{FAULT}; {REMEDY}"


def error() -> UnmappableError:
    """Return the error of a body that is retried although no entry applies to it."""
    return UnmappableError("#", FAULT, f"{REMEDY}; drop it if not")


def vendor_type(body: Json) -> str:
    """Return the type that the vendor states in a body, or in its first item. Empty: none was found."""
    item = body[0] if isinstance(body, list) and body else body
    if not isinstance(item, dict):
        return ""
    inner = item.get("event")
    for part in (item, inner if isinstance(inner, dict) else {}):
        for name in TYPE_NAMES:
            value = part.get(name)
            if isinstance(value, str) and _TYPE.fullmatch(value):
                return value
    return ""

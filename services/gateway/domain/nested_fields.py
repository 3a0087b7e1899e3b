"""The fields of a form as an object: `contact.email` becomes `{"contact": {"email": ...}}`."""

from collections.abc import Mapping
from typing import Final

from services.gateway.domain.coerce import Json

DEPTH_MAX: Final = 10


def nested(fields: Mapping[str, Json]) -> dict[str, Json]:
    """Return the object. A field that is both a value and the parent of other fields keeps both: the value under its name."""
    root: dict[str, Json] = {}
    for name, value in fields.items():
        *parents, last = name.split(".", DEPTH_MAX - 1)
        place = root
        for index, parent in enumerate(parents):
            inner = place.setdefault(parent, {})
            if not isinstance(inner, dict):  # the parent has a value of its own
                last = ".".join((*parents[index:], last))
                break
            place = inner
        place[name if isinstance(place.get(last), dict) else last] = value
    return root

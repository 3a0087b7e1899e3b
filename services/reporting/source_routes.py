"""The fields of a source that were seen and not understood, with the remedy for each."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends

from firsthour.kernel.config import Config
from firsthour.kernel.field_names import FieldNames
from firsthour.kernel.time_units import moment
from firsthour.runtime.http.auth import needs
from firsthour.runtime.http.principal import Principal
from firsthour.runtime.processing.service import Resources
from schemas.conditions.tree import Node, tests
from schemas.values import Shape
from services.reporting import source_fields

_CUSTOM: Final = "custom."


def add_source_routes(api: APIRouter, resources: Resources) -> None:
    """Add the route of the fields of a source."""
    names = FieldNames()

    @api.get("/v1/sources/{id}/fields", tags=["sources"])
    async def fields(id: str, principal: Annotated[Principal, Depends(needs("marketing"))]) -> dict[str, Any]:
        """The fields that a source sent and FirstHour did not understand, the most frequent first.

        Each was kept as the custom fact `custom.<name>`. `id` is a source of `sources.yaml` or the name of an API key.
        Names are listed for 35 days, values never. `means`: our field of this name, which another field of the same form
        filled. `used`: a condition of the agreement reads the fact. A source has at most 200 names. A further one takes the
        place of a seldom one; `others` counts the events of those that gave way.
        """
        rows, others = await resources.reads(lambda connection: source_fields.fields_of(connection, id))
        used = _used(resources.config.current)
        items = [
            {
                "name": row.name,
                "events": row.events,
                "first_at": moment(row.first_at),
                "last_at": moment(row.last_at),
                "means": meaning[1] if (meaning := names[row.name]) else None,
                "used": f"{_CUSTOM}{row.name}" in used,
            }
            for row in rows
        ]
        return {"items": items, "others": others, "next": None}


def _used(config: Config) -> set[str]:
    """Return the custom facts that conditions of the agreement read."""
    return set(_fields(config.agreement))


def _fields(part: object) -> Any:
    """Yield the fields in every condition below this part of the agreement."""
    if isinstance(part, Node):
        yield from (test.field for test in tests(part))
    elif isinstance(part, Shape):
        yield from (field for value in vars(part).values() for field in _fields(value))
    elif isinstance(part, dict):
        yield from (field for value in part.values() for field in _fields(value))
    elif isinstance(part, tuple):
        yield from (field for value in part for field in _fields(value))

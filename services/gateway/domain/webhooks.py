"""Converts a vendor's body to the short form, by the JMESPath expressions of `sources.yaml`, which are compiled once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from firsthour.kernel.field_names import FieldNames
from schemas.sources import EventMapping
from services.gateway.domain.coerce import Json, UnmappableError
from services.gateway.domain.expressions import Expression, FieldName, compile_expression, is_true
from services.gateway.domain.named_fields import named_fields

_FRAME: Final = ("time", "id", "email", "phone", "crm_id", "anonymous_id", "client")
_WHY_MAX: Final = 200  # characters of the error of an expression, which has the value that it met
_NAMES: Final = FieldNames(leave=("crm_id",))
BODY: Final = "_body"
"""The name of the whole body in the expressions of an entry with `each`."""


Conversion = Callable[[Json, str], dict[str, Json] | None]
"""Returns an item in the short form, under the delivery id if it has none of its own. None: it does not apply to the item."""


@dataclass(frozen=True)
class CompiledMapping:
    """One entry of `events:`, compiled.

    `when`: None: the entry applies to every item. `each`: selects the items of the body; None: the items of a list, or the
    body itself. `body_named`: an expression reads the whole body as `_body`. `form_fields`: selects an object of fields with the
    names that people use. `plain_data`: the fields of `data` that are each a field of the item, with its name; None: there are others.
    `texts` and `places`: the expressions as written, by field; under the empty name that of all other fields. `convert`: takes the
    place of all expressions.
    """

    type: str
    when: Expression | None
    frame: Mapping[str, Expression]
    data: Mapping[str, Expression]
    each: Expression | None = None
    body_named: bool = False
    form_fields: Expression | None = None
    plain_data: Sequence[tuple[str, str]] | None = None
    texts: Mapping[str, str] = field(default_factory=dict, repr=False)
    places: Mapping[str, str] = field(default_factory=dict, repr=False)
    convert: Conversion | None = None


def compile_mapping(mapping: EventMapping, places: Mapping[str, str] | None = None) -> CompiledMapping:
    """Compile `mapping`. Its expressions were checked when the configuration was read.

    `places`: file, line and column of the expression of each field. None: they are unknown.
    """
    texts = {name: text for name in _FRAME if (text := getattr(mapping, name))}
    written = (mapping.when or "", mapping.form_fields or "", *texts.values(), *mapping.data.values())
    data = {name: compile_expression(text) for name, text in mapping.data.items()}
    plain = [(name, expression.name) for name, expression in data.items() if isinstance(expression, FieldName)]
    return CompiledMapping(
        mapping.type,
        compile_expression(mapping.when) if mapping.when else None,
        {name: compile_expression(text) for name, text in texts.items()},
        data,
        compile_expression(mapping.each) if mapping.each else None,
        any(BODY in text for text in written),
        compile_expression(mapping.form_fields) if mapping.form_fields else None,
        plain if len(plain) == len(data) else None,
        {**texts, **mapping.data, **_named(form_fields=mapping.form_fields, when=mapping.when, each=mapping.each)},
        places or {},
    )


def _named(**texts: str | None) -> dict[str, str]:
    return {name: text for name, text in texts.items() if text}


class EventIds:
    """Numbers the events of one body that have the same id."""

    def __init__(self) -> None:
        self._taken: set[tuple[str, str]] = set()
        self._numbers: dict[tuple[str, str], int] = {}

    def unused(self, type: str, id: str) -> str:
        """Return `id`, or `id#2` for the second event of this type with that id. No number is tried twice."""
        unused, number = id, self._numbers.get((type, id), 1)
        while (type, unused) in self._taken:
            number += 1
            unused = f"{id}#{number}"
        self._numbers[type, id] = number
        self._taken.add((type, unused))
        return unused


class BodyItem(NamedTuple):
    """A part of a body that may become events. `place`: its index in the body, if the body is a list; None: it is not.

    `own`: the delivery id of the part.
    """

    value: Json
    own: str
    entries: Sequence[CompiledMapping]
    place: int | None = None


def items_of(entries: Sequence[CompiledMapping], body: Json, delivery: str) -> Iterator[BodyItem]:
    """Yield the parts of a body: those of a list, then what the entries with `each` select. Raises `UnmappableError`.

    The id of a part without one depends on its place alone, so a retry gives the same id whatever its neighbours do.
    """
    plain = [entry for entry in entries if entry.each is None]
    if plain:
        listed = isinstance(body, list)
        for index, value in enumerate(body if isinstance(body, list) else [body]):
            own = delivery if index == 0 else f"{delivery}#{index + 1}"
            yield BodyItem(value, own, plain, index if listed else None)
    for entry in entries:
        if entry.each is not None:
            selected = _search(entry, entry.each, body, "each")
            values = selected if isinstance(selected, list) else [] if selected is None else [selected]
            for index, value in enumerate(values):
                item = {**value, BODY: body} if entry.body_named and isinstance(value, dict) else value
                yield BodyItem(item, delivery if index == 0 else f"{delivery}#{index + 1}", (entry,))


def short_forms(item: BodyItem, ids: EventIds) -> list[tuple[CompiledMapping, dict[str, Json]]]:
    """Return each entry whose `when` is true for the item, with its event. Raises `UnmappableError`.

    The delivery id of the item becomes the id of an event that has none.
    """
    forms: list[tuple[CompiledMapping, dict[str, Json]]] = []
    for entry in item.entries:
        if entry.convert is not None:
            form = entry.convert(item.value, item.own)
            if form is not None:
                forms.append((entry, _numbered(form, item.own, ids)))
        elif entry.when is None or is_true(_search(entry, entry.when, item.value, "when")):
            forms.append((entry, _numbered(_event(entry, item.value), item.own, ids)))
    return forms


def _event(entry: CompiledMapping, item: Json) -> dict[str, Json]:
    frame = _values(entry, entry.frame, item)
    event: dict[str, Json] = {name: value for name, value in frame.items() if value is not None}
    if entry.plain_data is not None and type(item) is dict:
        data = {name: item.get(theirs) for name, theirs in entry.plain_data}
    else:
        data = _values(entry, entry.data, item)
    if entry.form_fields is not None:
        fields = _search(entry, entry.form_fields, item, "form_fields")
        identifiers, named = named_fields(_NAMES, fields if isinstance(fields, dict) else {})
        event = {**identifiers, **event}
        data = {**named, **{name: value for name, value in data.items() if value is not None}}
    event["type"] = entry.type
    event["data"] = data
    return event


def _numbered(event: dict[str, Json], delivery: str, ids: EventIds) -> dict[str, Json]:
    """Return the event with an id that no other event of its type in the body has."""
    id = event.get("id")
    if id is None or id == "":
        id = delivery
    if isinstance(id, str | int) and not isinstance(id, bool):
        event["id"] = ids.unused(str(event["type"]), str(id))
    return event


def _values(entry: CompiledMapping, expressions: Mapping[str, Expression], item: Json) -> dict[str, Json]:
    """Return the value of each field. Raises `UnmappableError` for the first expression that fails."""
    try:
        return {name: expression.search(item) for name, expression in expressions.items()}
    except Exception:  # noqa: BLE001  # the search of each alone names it
        return {name: _search(entry, expression, item, name) for name, expression in expressions.items()}


def _search(entry: CompiledMapping, expression: Expression, item: Json, field: str) -> Any:
    try:
        return expression.search(item)
    except Exception as error:  # noqa: BLE001  # functions of JMESPath raise several errors for values of other types
        why = " ".join(str(error).split())[:_WHY_MAX] or type(error).__name__
        place = entry.places.get(field) or entry.places.get("") or "sources.yaml"
        fault = f"the expression of `{field}` fails on this body: {why}"
        raise UnmappableError(place, fault, "correct the mapping or the body, then retry the dead letter") from None


def standard_form(body: Json, delivery: str) -> dict[str, Json]:
    """Return the short form of `{type, timestamp, data}`, the body that Standard Webhooks recommends.

    Such a body needs no mapping. Raises `UnmappableError`.
    """
    if not isinstance(body, dict):
        raise UnmappableError("#", "is not an object", 'send {"type": ..., "timestamp": ..., "data": {...}}')
    return {"id": delivery, "type": body.get("type"), "time": body.get("timestamp"), "data": body.get("data")}

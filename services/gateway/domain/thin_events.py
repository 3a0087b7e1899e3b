"""Thin events: the parts of a delivery that only name an event, and the address at which the rest of it is read.

A completed event is an object with the thin event as `_event` and the answer of the API as `_answer`. It is mapped as a body is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from schemas.fetching import Fetch, path_parts
from services.gateway.domain.coerce import Json, UnmappableError
from services.gateway.domain.expressions import Expression, compile_expression, is_true

EVENT: Final = "_event"
ANSWER: Final = "_answer"
ID_MAX: Final = 200  # characters
_REMEDY: Final = "correct `fetch` of the source in sources.yaml, then retry the dead letter"


class ThinEvent(NamedTuple):
    """An event to complete. `id` is unique among those of its source."""

    id: str
    event: Json


class ThinPart(NamedTuple):
    """The thin events of a body, and the rest of it, which is mapped as it is. `nothing_left`: there is no rest."""

    events: list[ThinEvent]
    rest: Json
    nothing_left: bool


@dataclass(frozen=True)
class Lookup:
    """The expressions of `fetch:`, compiled. `pieces`: of the path, literal text and expressions in turns."""

    each: Expression | None
    when: Expression | None
    id: Expression
    pieces: tuple[str | Expression, ...]
    retry_when: Expression | None


def compile_lookup(fetch: Fetch) -> Lookup:
    """Compile the expressions, which were checked when the configuration was read."""
    return Lookup(
        compile_expression(fetch.each) if fetch.each else None,
        compile_expression(fetch.when) if fetch.when else None,
        compile_expression(fetch.id),
        tuple(compile_expression(piece) if n % 2 else piece for n, piece in enumerate(path_parts(fetch.path))),
        compile_expression(fetch.retry_when) if fetch.retry_when else None,
    )


def select(lookup: Lookup, body: Json) -> ThinPart:
    """Return the thin events of a body. Raises `UnmappableError`."""
    if lookup.each is not None:
        selected = _search(lookup.each, body, "each")
        values = selected if isinstance(selected, list) else []
        thin = [value for value in values if _is_thin(lookup, value)]
        return ThinPart(_named(lookup, thin), body, bool(thin))
    if isinstance(body, list):
        marks = [_is_thin(lookup, value) for value in body]
        thin = [value for value, is_thin in zip(body, marks, strict=True) if is_thin]
        rest = [value for value, is_thin in zip(body, marks, strict=True) if not is_thin]
        return ThinPart(_named(lookup, thin), rest, bool(thin) and not rest)
    is_thin = _is_thin(lookup, body)
    return ThinPart(_named(lookup, [body] if is_thin else []), body, is_thin)


def path_of(lookup: Lookup, event: Json) -> str:
    """Return the path and query at which the rest of the event is read. Raises `UnmappableError` if a part of it is missing."""
    return "".join(
        piece if isinstance(piece, str) else quote(_text(_search(piece, event, "path"), "path"), safe="")
        for piece in lookup.pieces
    )


def asks_again(lookup: Lookup, refusal: Json) -> bool:
    """Tell whether a refusal is temporary although its status reads as final."""
    if lookup.retry_when is None:
        return False
    try:
        return is_true(lookup.retry_when.search(refusal))
    except Exception:  # noqa: BLE001  # functions of JMESPath raise several errors for values of other types
        return False


def pending(event: Json) -> dict[str, Json]:
    """Return the body of a thin event that is kept as a dead letter."""
    return {EVENT: event}


def completed(event: Json, answer: Json) -> dict[str, Json]:
    """Return the body of a completed event."""
    return {EVENT: event, ANSWER: answer}


def pending_event(lookup: Lookup, body: Json) -> ThinEvent | None:
    """Return the thin event of a body that `pending` made; None: it is another body, or one that is complete."""
    if not isinstance(body, Mapping) or EVENT not in body or ANSWER in body:
        return None
    return _named(lookup, [body[EVENT]])[0]


def _is_thin(lookup: Lookup, value: Json) -> bool:
    return isinstance(value, dict) and (lookup.when is None or is_true(_search(lookup.when, value, "when")))


def _named(lookup: Lookup, values: list[Json]) -> list[ThinEvent]:
    """Return the events, each once."""
    by_id: dict[str, ThinEvent] = {}
    for value in values:
        id = _text(_search(lookup.id, value, "id"), "id")
        by_id.setdefault(id, ThinEvent(id, value))
    return list(by_id.values())


def _text(value: Json, field: str) -> str:
    """Return a text or a whole number as it is written in a path."""
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not 0 < len(text) <= ID_MAX or not text.isprintable() or text.strip(". ") == "":
        fault = f"an expression of `{field}` gives neither a text of at most {ID_MAX} characters nor a whole number"
        raise UnmappableError(f"fetch/{field}", fault, _REMEDY)
    return text


def _search(expression: Expression, value: Json, field: str) -> Any:
    try:
        return expression.search(value)
    except Exception as error:  # noqa: BLE001  # as above
        fault = f"the expression of `{field}` fails on this body ({type(error).__name__})"
        raise UnmappableError(f"fetch/{field}", fault, _REMEDY) from None

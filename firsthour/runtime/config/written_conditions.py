"""The conditions of the agreement as written: each condition and each of its tests, with its location."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from firsthour.runtime.config.documents import ConfigDocuments, Document, at, names, rows
from schemas.agreement.custom_fields import KINDS
from schemas.conditions.fields import ANY
from schemas.values import Loc

_LISTS: Final = (
    ("scoring", "fit", "rules"),
    ("scoring", "engagement", "rules"),
    ("qualify",),
    ("routing", "rules"),
    ("suppress",),
    ("recycle",),
    ("audiences",),
)
_MAPPINGS: Final = (("personas",), ("segments",))


@dataclass(frozen=True)
class WrittenTest:
    """One test as written. `path`: the path of the list that contains it."""

    loc: Loc
    field: str
    op: str
    value: object
    path: tuple[str, ...]


def fields(raw: object, loc: Loc) -> Iterator[tuple[Loc, str, object]]:
    """Yield location, name and test of every field in a condition, as written, valid or not."""
    for key, value in raw.items() if isinstance(raw, Mapping) else ():
        if key == "not":
            yield from fields(value, (*loc, key))
        elif key in ("all", "any"):
            for index, part in enumerate(value if isinstance(value, list) else ()):
                yield from fields(part, (*loc, key, index))
        else:
            yield (*loc, key), key, value


def conditions(files: ConfigDocuments) -> Iterator[tuple[tuple[str, ...], Loc, object, str | None]]:
    """Yield every condition: the path of its list or mapping, its location, the condition, the event type of its rule."""
    for path in _LISTS:
        for loc, row in rows(files.agreement, *path):
            on = row.get("on")
            yield path, (*loc, "when"), row.get("when"), on if isinstance(on, str) else None
    for path in _MAPPINGS:
        named = at(files.agreement.data, *path)
        for name, raw in named.items() if isinstance(named, Mapping) else ():
            yield path, (*path, name), raw, None


def tests_of(files: ConfigDocuments) -> Iterator[WrittenTest]:
    """Yield every test of every condition of the agreement."""
    for path, condition, raw, _ in conditions(files):
        for loc, field, value in fields(raw, condition):
            if isinstance(value, Mapping):
                for op, operand in value.items():
                    yield WrittenTest((*loc, op), field, op, operand, path)
            else:
                yield WrittenTest(loc, field, "eq", value, path)


def texts(test: WrittenTest) -> Iterator[tuple[Loc, str]]:
    return names(test.value, test.loc)


def _custom_fields(agreement: Document) -> Iterator[tuple[str, Mapping[str, object]]]:
    declared = at(agreement.data, "custom_fields")
    for name, field in declared.items() if isinstance(declared, Mapping) else ():
        if isinstance(field, Mapping):
            yield f"custom.{name}", field


def custom_kinds(agreement: Document) -> dict[str, str]:
    """Return the kind of each declared custom field, by its full name."""
    return {name: KINDS.get(str(field.get("type")), ANY) for name, field in _custom_fields(agreement)}


def custom_values(agreement: Document) -> dict[str, list[str]]:
    """Return the only values of each declared custom field that has a list of them."""
    fields = ((name, field.get("one_of")) for name, field in _custom_fields(agreement))
    return {
        name: [value for value in values if isinstance(value, str)]
        for name, values in fields
        if isinstance(values, list)
    }

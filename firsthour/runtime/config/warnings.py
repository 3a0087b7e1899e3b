"""Warnings about valid configuration files: fields without an effect yet, and values that are probably mistakes."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from firsthour.kernel.printable import printable
from firsthour.runtime.config import (
    calendar_checks,
    condition_warnings,
    order_checks,
    presets,
    source_checks,
    written_conditions,
)
from firsthour.runtime.config.documents import ConfigDocuments, Document, at, rows
from schemas.conditions.fields import FIELDS
from schemas.sources import PRESETS
from schemas.values import Loc, shown

EACH: Final = "*"
WARNINGS_MAX: Final = 100  # of one kind; the rest appears once these are corrected


def _always(_: object) -> bool:
    return True


@dataclass(frozen=True)
class UnusedSetting:
    """A field without an effect yet. `path`: `*` is each row of a list, or each key. `will`: its later effect."""

    file: str
    path: tuple[str, ...]
    will: str
    when: Callable[[object], bool] = _always


NOT_YET: Final = (
    UnusedSetting("agreement", ("personas",), "classify leads by persona"),
    UnusedSetting("agreement", ("lifecycle", "campaigns"), "limit campaign lists to these statuses"),
    UnusedSetting("agreement", ("segments",), "divide customers into segments"),
    UnusedSetting("agreement", ("recycle",), "send stalled leads back to Marketing"),
    UnusedSetting("agreement", ("audiences",), "make campaign lists"),
    UnusedSetting("agreement", ("holds",), "let a team exclude a lead from campaigns"),
    UnusedSetting("agreement", ("promises", "marketing"), "fill the scorecard"),
    UnusedSetting(
        "agreement",
        ("promises", "sales", EACH),
        "fill the scorecard",
        lambda value: not (isinstance(value, Mapping) and "attempts" in value),
    ),
    UnusedSetting("agreement", ("goals",), "measure revenue against the plan"),
    UnusedSetting("team", ("reps", EACH, "capacity", "per_day"), "limit new leads per day"),
    UnusedSetting("team", ("reps", EACH, "capacity", "per_hour"), "limit new leads per hour"),
)


def _places(data: object, path: tuple[str, ...], loc: Loc = ()) -> Iterator[tuple[Loc, Any]]:
    """Yield every value at `path`, with its location."""
    if not path:
        yield loc, data
        return
    step, *rest = path
    inside: list[tuple[str | int, Any]] = []
    if step != EACH:
        inside = [(step, data[step])] if isinstance(data, Mapping) and step in data else []
    elif isinstance(data, Mapping):
        inside = list(data.items())
    elif isinstance(data, list):
        inside = list(enumerate(data))
    for key, value in inside:
        yield from _places(value, tuple(rest), (*loc, key))


def _warning(document: Document, loc: Loc, text: str, *, key: bool = True) -> str:
    """Return a warning at the name of a field, or (`key=False`) at its value."""
    line, column = document.place.find(loc, key=key)
    return printable(f"{document.file}:{line}:{column}: {text}")


def _not_yet(files: ConfigDocuments) -> Iterator[str]:
    """Yield a line for each field without an effect yet, at its first use."""
    for field in NOT_YET:
        document: Document = getattr(files, field.file)
        places = [loc for loc, value in _places(document.data, field.path) if value is not None and field.when(value)]
        name = ".".join(step for step in field.path if step != EACH)
        more = f" (and {len(places) - 1} more)" if len(places) > 1 else ""
        for loc in islice(places, 1):
            yield _warning(document, loc, f"`{name}`{more} has no effect yet; it will {field.will}")


def _unknown_fields(files: ConfigDocuments) -> Iterator[str]:
    """Yield a line for each unknown field of an event: it may be misspelt."""
    mapped = {
        field for _, data in _places(files.sources.data, ("sources", EACH, "events", EACH, "data")) for field in data
    }
    for _, name in _places(files.sources.data, ("sources", EACH, "preset")):
        mapped |= set(presets.mapped_fields(name)) if name in PRESETS else set()
    for path in (("scoring", "engagement", "rules"), ("qualify",)):
        for rule, row in rows(files.agreement, *path):
            for loc, field, _ in written_conditions.fields(row.get("when"), (*rule, "when")):
                if field not in FIELDS and field not in mapped and not field.startswith("custom."):
                    text = f"{shown(field)} is not a known field, so it is read as a field of the event; check its spelling"
                    yield _warning(files.agreement, loc, text)


def _unowned(files: ConfigDocuments) -> Iterator[str]:
    """Yield a line for leads that no rule takes, and for rungs without a person to page."""
    rules = list(rows(files.agreement, "routing", "rules"))
    if not any("pool" in rule and not rule.get("when") for _, rule in rules):
        text = "no rule takes the remaining leads, so they wait in the queue; add a last rule `{name: Everyone else, pool: ...}`"
        yield _warning(files.agreement, ("routing", "rules"), text)
    if any(rung.get("page") == "manager" for _, rung in rows(files.agreement, "response", "ladder")):
        members = {
            at(row, "rep") for loc, _ in rows(files.team, "pools") for _, row in rows(files.team, *loc, "members")
        }
        reps = [
            (loc, rep) for loc, rep in rows(files.team, "reps") if rep.get("id") in members and not rep.get("manager")
        ]
        for loc, rep in reps[:1]:
            more = f" (and {len(reps) - 1} more)" if len(reps) > 1 else ""
            text = f"{shown(rep['id'])}{more} has no manager, but the ladder pages the manager; add `manager:`"
            yield _warning(files.team, (*loc, "id"), text)


def _replayable(files: ConfigDocuments) -> Iterator[str]:
    """Yield a line for each webhook without a time: a captured delivery counts again when its id has expired."""
    for source, row in rows(files.sources, "sources"):
        verify = row.get("verify")
        schemes = [one for one in (verify if isinstance(verify, list) else [verify]) if isinstance(one, Mapping)]
        if all(_is_timed(scheme) for scheme in schemes):
            continue
        untimed = [loc for loc, event in rows(files.sources, *source, "events") if not event.get("time")]
        for loc in untimed[:1]:
            text = (
                "this event has no time, so a captured delivery counts again after 21 days;"
                " map `time` to a field of the body, or name the header of a signed time as `timestamp_header`"
            )
            yield _warning(files.sources, loc, text)


def _is_timed(scheme: Mapping[str, Any]) -> bool:
    return scheme.get("scheme") == "standard-webhooks" or "timestamp_header" in scheme or "timestamp_field" in scheme


def warnings(files: ConfigDocuments) -> tuple[str, ...]:
    """Return all warnings about files without mistakes, one line each: `file:line:column: ...`."""
    checked = [
        *((files.agreement, *warning) for warning in islice(condition_warnings.warnings(files), WARNINGS_MAX)),
        *((files.agreement, *warning) for warning in islice(order_checks.agreement(files), WARNINGS_MAX)),
        *((files.team, *warning) for warning in islice(order_checks.team(files), WARNINGS_MAX)),
        *((files.team, *warning) for warning in calendar_checks.warnings(files)),
        *((files.sources, *warning) for warning in islice(source_checks.warnings(files.sources), WARNINGS_MAX)),
    ]
    lines = dict.fromkeys(_warning(document, loc, text, key=False) for document, loc, text in checked)
    return (*_not_yet(files), *_unknown_fields(files), *_unowned(files), *_replayable(files), *lines)

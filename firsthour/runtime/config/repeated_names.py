"""Checks of lists in which a name stands twice: the second would have no effect, so it is a mistake for another name."""

from collections.abc import Iterator, Mapping

from firsthour.runtime.config.documents import ConfigProblem, Document, at, names, rows
from schemas.values import Loc, repeated_indexes, shown


def problems(agreement: Document) -> Iterator[ConfigProblem]:
    """Yield the repeated names in every `by:`, in `quiet_hours.but` and in the `events` of webhooks."""
    rungs = [loc for loc, _ in rows(agreement, "response", "ladder")]
    teams = [("tell", team) for team in _keys(at(agreement.data, "tell"))]
    for place in (*rungs, ("response", "remind"), ("response", "missed"), *teams):
        yield from _twice(agreement, (*place, "by"), "the channel")
    yield from _twice(agreement, ("response", "quiet_hours", "but"), "the urgency")
    for name in _keys(at(agreement.data, "channels")):
        yield from _twice(agreement, ("channels", name, "events"), "the event")


def _keys(value: object) -> tuple[str, ...]:
    return tuple(value) if isinstance(value, Mapping) else ()


def _twice(agreement: Document, path: Loc, noun: str) -> Iterator[ConfigProblem]:
    placed = list(names(at(agreement.data, *path), path))
    for index in repeated_indexes([name for _, name in placed]):
        loc, name = placed[index]
        yield agreement.problem(loc, f"{noun} {shown(name)} occurs twice", "remove one of them, or name another")

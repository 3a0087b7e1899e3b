"""Tries a record of the topic `inbound` at a source of `kind: kafka`. Nothing is stored."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from firsthour.runtime.http.exact_json import Parsed
from firsthour.runtime.http.problem import Problem
from schemas.team import Team
from services.gateway import trial
from services.gateway.domain.coerce import UnmappableError
from services.gateway.intake.inbound import body_of, cloudevent_of, opened, parse_items, parse_record, sender_of
from services.gateway.intake.webhooks import MappedItem
from services.gateway.sources import InboundSource, Producers

WHY: Final = "the broker decides which programs may write to the topic, so nothing was verified"
_FRAME: Final = frozenset({"specversion", "id", "source", "type", "time", "datacontenttype", "dataschema"})
"""Attributes that are read in any case, or that say nothing about the event."""


def outcome(
    source: InboundSource,
    producers: Producers,
    body: bytes,
    headers: Sequence[tuple[str, bytes]],
    team: Team,
    now: datetime,
) -> trial.Trial:
    """Return what a record would become, as `trial.outcome` does for a delivery. `headers`: of a binary event, with its `ce_`."""
    report = trial.empty_report({"verified": None, "why": WHY})
    record = body_of(body, headers)
    try:
        event, _ = cloudevent_of(record)
        _check_producer(event, source, producers)
        if not source.entries:
            parsed = parse_record(record, producers, team, now)
            if parsed.error is not None:
                raise parsed.error
            return trial.Trial(report, trial.fill(report, [[(one, None) for one in parsed.events]], []))
        items = list(parse_items(event, source, team, now))
        seen = opened(event)
    except (UnmappableError, Problem) as error:
        trial.fill(report, [], [error if isinstance(error, UnmappableError) else _fault(error)])
        return trial.Trial(report)
    mapped: list[MappedItem] = [item for item in items if not isinstance(item, UnmappableError)]
    faults = [item for item in items if isinstance(item, UnmappableError)]
    events = trial.fill(report, mapped, faults)
    parts = [] if faults else trial.unused(source.entries, seen)
    report["unused"] = [part for part in parts if part.removeprefix("#/") not in _FRAME]
    return trial.Trial(report, events)


def _check_producer(event: Parsed, source: InboundSource, producers: Producers) -> None:
    """Raise `UnmappableError` 403 if the record would be one of another source."""
    sender = sender_of(event, producers)
    if sender.id != source.id:
        fault = f"is a producer of the source {sender.id}"
        raise UnmappableError("#/source", fault, "try the record there, or move the producer to this source", 403)


def _fault(problem: Problem) -> UnmappableError:
    fault, _, remedy = (problem.detail or problem.title).partition("; ")
    return UnmappableError("#", fault, remedy or "correct the record", problem.status)

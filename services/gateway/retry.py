"""Parses a dead letter of the gateway again, possibly with a corrected body."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import unquote

from firsthour.runtime.eventlog import dead_letters
from firsthour.runtime.eventlog.dead_letters import DeadLetter
from firsthour.runtime.http.exact_json import Parsed
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.storage.unit import Unit
from schemas.sources import TOUCH
from schemas.team import Team
from schemas.topics import EVENTS
from services.gateway import fetches, request_bodies, senders, source_counts, webhook_bodies
from services.gateway.domain import forms, thin_events, unmatched
from services.gateway.domain.cloudevents import STRUCTURED
from services.gateway.domain.coerce import UnmappableError
from services.gateway.domain.forms import Form
from services.gateway.domain.mapping import ParsedEvent
from services.gateway.domain.thin_events import ThinEvent, ThinPart
from services.gateway.intake.events import parse_events
from services.gateway.intake.forms import parse_post
from services.gateway.intake.inbound import ORIGIN, InboundBody, parse_record
from services.gateway.intake.outcome import problem_of, rows_of
from services.gateway.intake.request import EVENTS_PATH, FORMS_PATH, HOOKS_PATH
from services.gateway.intake.segment import BATCH_PATH, parse_call
from services.gateway.intake.webhooks import RejectedItem, parse_items, thin_part
from services.gateway.sources import Producers, SourceIndex, WebhookEndpoint, producers_of, source_index


def retry(unit: Unit, letter: DeadLetter, body: bytes | None = None) -> list[str]:
    """Append the events of a dead letter and mark it as retried, in one unit.

    The sender was authenticated when the letter was received. Its events happen as of that time. Thin events wait for their
    fetch again.

    Args:
        unit: The unit.
        letter: The dead letter.
        body: The corrected body. None: the body of the letter.

    Returns:
        The senders' ids of the events.

    Raises:
        Problem: 422 if the body still cannot be mapped, 409 if `sources.yaml` no longer names the source.
    """
    sources = source_index(unit.config, {})  # needs no secret: the signature was verified when the letter was received
    now = received_at(unit, letter.at)
    try:
        content = letter.body if body is None else body
        if letter.origin.startswith(ORIGIN):
            inbound = _parse_inbound(letter, content, producers_of(unit.config), unit.config.team, now)
            parsed = ParsedLetter(inbound)
        else:
            parsed = _parse(letter, content, sources, unit.config.team, now)
        unit.rows.extend(rows_of(parsed.events))
    except UnmappableError as error:
        raise problem_of(error) from None
    dead_letters.store_outcome(unit.connection, letter.id, "retried", unit.clock.real(), f"retried on {EVENTS}")
    fetches.add(unit, letter.source, parsed.thin, now)
    if parsed.events:
        source_counts.count_later(unit, parsed.events[0].external.source, len(parsed.events), now)
    return [*(event.id for event in parsed.thin), *(event.sent_id for event in parsed.events)]


def received_at(unit: Unit, real: datetime) -> datetime:
    """Return the business time at which it was `real` time."""
    now, second = unit.now, unit.clock.real_seconds(timedelta(seconds=1))
    return now - (unit.clock.real() - real) / second if second > 0 else now


class ParsedLetter(NamedTuple):
    """The events of a dead letter, and those that are to be completed."""

    events: list[ParsedEvent]
    thin: Sequence[ThinEvent] = ()


def _parse(letter: DeadLetter, body: bytes, sources: SourceIndex, team: Team, now: datetime) -> ParsedLetter:
    path, _, fragment = letter.origin.partition("#")
    id = unquote(fragment)
    if path == EVENTS_PATH:
        return ParsedLetter(_parse_events(letter, body, id, team, now))
    if path == BATCH_PATH:
        return ParsedLetter(_parse_calls(letter, body, now))
    if path.startswith(FORMS_PATH) and (form := sources.forms.get(path.removeprefix(FORMS_PATH))):
        return ParsedLetter([_parse_form(letter, body, id, form, now)])
    if path.startswith(HOOKS_PATH) and (endpoint := sources.webhooks.get(path.removeprefix(HOOKS_PATH))):
        return _parse_delivery(letter, body, id, endpoint, team, now)
    raise Problem(
        409, "Unknown source", f"`sources.yaml` no longer names the source of {path}. Add it again, or drop the letter."
    )


def _parse_events(letter: DeadLetter, body: bytes, rep: str, team: Team, now: datetime) -> list[ParsedEvent]:
    """`rep`: the rep of the API key. Empty: the key may name any rep."""
    media, options = _content_type(letter)
    events = parse_events(body, media, options, None, key=letter.source, now=now)
    return [_attributed(event, rep, team) if event.type == TOUCH else event for event in events]


def _parse_calls(letter: DeadLetter, body: bytes, now: datetime) -> list[ParsedEvent]:
    """Return the event of a call, or those of the calls that share one letter."""
    value = request_bodies.parse_json(body).value
    calls = value.get("batch") if isinstance(value, dict) else None
    if not isinstance(calls, list):
        return [parse_call(value, letter.id, letter.source, now)]
    return [
        parse_call(call, f"{letter.id}-{index}", letter.source, now, f"#/batch/{index}")
        for index, call in enumerate(calls)
    ]


def _parse_inbound(
    letter: DeadLetter, body: bytes, producers: Producers, team: Team, now: datetime
) -> list[ParsedEvent]:
    """A corrected body is a structured CloudEvent."""
    kept = InboundBody(body, letter.content_type if body is letter.body else STRUCTURED)
    parsed = parse_record(kept, producers, team, now)
    if parsed.error is not None:
        raise parsed.error
    if parsed.unmatched is not None:
        raise unmatched.error()
    return list(parsed.events)


def _attributed(touch: ParsedEvent, rep: str, team: Team) -> ParsedEvent:
    return senders.attribute_to_rep(touch, rep) if rep else senders.drop_unknown_rep(touch, team)


def _parse_form(letter: DeadLetter, body: bytes, id: str, form: Form, now: datetime) -> ParsedEvent:
    media, options = _content_type(letter)
    if body is not letter.body and body.lstrip().startswith(b"{"):  # a corrected body may be JSON in any case
        media, options = request_bodies.JSON, {}
    fields, altered = request_bodies.parse_form(body, media, options)
    own = forms.submitted_id(fields) or id or letter.id
    return parse_post(form, fields, id=own, referer=None, now=now, altered=altered, received=letter.at)


def _parse_delivery(
    letter: DeadLetter, body: bytes, id: str, endpoint: WebhookEndpoint, team: Team, now: datetime
) -> ParsedLetter:
    media, options = _content_type(letter)
    if body is not letter.body and body.lstrip()[:1] in (b"{", b"["):  # a corrected body may be JSON in any case
        media, options = request_bodies.JSON, {}
    delivery = id or sha256(letter.body).hexdigest()[:32]
    events: list[ParsedEvent] = []
    parsed = webhook_bodies.parse_body(body, media, options, endpoint.format)
    thin = ThinPart([], parsed.value, False)
    if endpoint.api is not None:
        pending = thin_events.pending_event(endpoint.api.lookup, parsed.value)
        if pending is not None:
            return ParsedLetter([], [pending])
        thin = thin_part(endpoint, parsed.value)
    if thin.nothing_left:
        return ParsedLetter([], thin.events)
    rest = Parsed(thin.rest, parsed.altered)
    for item in parse_items(endpoint, body, rest, team, delivery=delivery, now=now):
        if isinstance(item, RejectedItem):
            raise item.error.anew()
        events += [event for event, _ in item]
    if not events and not thin.events:
        raise unmatched.error()
    return ParsedLetter(events, thin.events)


def _content_type(letter: DeadLetter) -> tuple[str, request_bodies.Options]:
    return request_bodies.parse_content_type(letter.content_type.encode("latin-1", "replace"))

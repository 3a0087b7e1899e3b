"""The webhooks of a change of a lead: which events a record of the router makes, and their data."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from schemas.agreement.agreement import Agreement
from schemas.agreement.ways_out import WebhookWay
from schemas.events.routes import (
    LeadAssigned,
    LeadCard,
    LeadEvent,
    LeadOptedOut,
    LeadRecycled,
    LeadReleased,
    LeadStatusChanged,
    TouchApplied,
)
from schemas.team import Team
from services.notifier.domain.dispatch import Dispatch, dispatch_id

ASSIGNED: Final = "lead.assigned"
RELEASED: Final = "lead.released"
MOVED: Final = "lead.moved"
TOUCHED: Final = "touch.applied"
TEXT_CHARS_MAX: Final = 2_000
_Data = dict[str, Any]
_json = msgspec.json.Encoder().encode


def endpoints(agreement: Agreement) -> Mapping[str, WebhookWay]:
    """Return the webhooks that get changes of leads, by name."""
    return {name: way for name, way in agreement.channels.items() if isinstance(way, WebhookWay) and way.events}


def dispatches(
    ways: Mapping[str, WebhookWay],
    records: Iterable[tuple[str, LeadEvent]],
    cards: Mapping[str, LeadCard],
    team: Team,
    real: datetime,
) -> Iterator[Dispatch]:
    """Yield the webhooks of these records.

    Args:
        ways: The webhooks that get changes of leads.
        records: Each with the id of its event, from which the ids of its webhooks follow.
        cards: By lead. A lead that was never handed over to Sales has none.
        team: For the names of owners.
        real: The time of their creation.
    """
    for event_id, event in records:
        for type in types(event):
            body = ""
            for name, way in ways.items():
                if type not in way.events:
                    continue
                body = body or _body(type, event, cards.get(event.lead_id), team)
                yield Dispatch(
                    id=dispatch_id("webhook", name, event_id, type),
                    kind="webhook",
                    channel=name,
                    channels=(name,),
                    type=type,
                    lead_id=event.lead_id,
                    body=body,
                    created_at=real,
                    next_at=real,
                )


def types(event: LeadEvent) -> Iterator[str]:
    """Yield the types of the webhooks of a record: one for a change of the owner, the status and a touch each."""
    if isinstance(event, LeadAssigned):
        yield ASSIGNED
    elif isinstance(event, LeadReleased) or (isinstance(event, LeadRecycled) and event.rep is not None):
        yield RELEASED
    elif isinstance(event, TouchApplied):
        yield TOUCHED
    if event.status != event.was:
        yield MOVED


def _body(type: str, event: LeadEvent, card: LeadCard | None, team: Team) -> str:
    return _json({"type": type, "timestamp": event.at, "data": _data(event, card, team)}).decode()


def _data(event: LeadEvent, card: LeadCard | None, team: Team) -> _Data:
    data: _Data = {
        "lead": event.lead_id,
        "version": event.version,
        "epoch": event.epoch,
        "status": event.status,
        "was": event.was,
        "by": event.by,
        "owner": _person(event.owner, team),
        "person": _lead(card),
    }
    match event:
        case LeadAssigned():
            data |= {"assigned_at": event.assigned_at, "submit_at": event.submit_at, "urgency": event.urgency}
            data |= {"pool": event.pool, "rule": event.rule, "reason": event.reason}
        case LeadReleased() | LeadRecycled():
            data |= {"kind": event.kind, "reason": _cut(event.reason), "previous_owner": _person(event.rep, team)}
        case LeadOptedOut() | LeadStatusChanged():
            data |= {"reason": _cut(event.reason)}
        case TouchApplied():
            data["touch"] = _touch(event, team)
    return data


def _touch(event: TouchApplied, team: Team) -> _Data:
    return {
        "channel": event.channel,
        "answered": event.answered,
        "at": event.touched_at,
        "by": _person(event.rep, team),
        "note": _cut(event.note),
        "ignored": event.ignored,
    }


def _lead(card: LeadCard | None) -> _Data | None:
    if card is None:
        return None
    texts = {"name": card.name, "email": card.email, "phone": card.phone, "title": card.title, "company": card.company}
    return {name: _cut(text) or None for name, text in texts.items()}


def _person(rep: str | None, team: Team) -> _Data | None:
    if rep is None:
        return None
    known = team.rep_by_id.get(rep)
    return {"id": _cut(rep), "name": known.name if known else None, "email": known.email if known else None}


def _cut(text: str | None) -> str | None:
    """Return the beginning of the text, without lone surrogates, which no encoding takes."""
    return text[:TEXT_CHARS_MAX].encode(errors="replace").decode() if text else text

"""Scoring's handlers: load, decide, store, emit."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial

import msgspec

from firsthour.kernel.time_units import micros
from firsthour.runtime.storage.records import Record
from firsthour.runtime.storage.unit import Unit
from schemas.events import (
    ABOUT_NO_LEAD,
    ConsentChanged,
    ExternalEvent,
    Facts,
    LeadEvent,
    LeadRecycled,
    LeadScored,
    LeadTouched,
    OpportunityMoved,
    Score,
    Trigger,
)
from services.scoring import store
from services.scoring.domain import bounds
from services.scoring.domain.identity import ResolvedIdentity
from services.scoring.domain.profile import Profile, forget, learn
from services.scoring.domain.qualify import matched_lines, suppression
from services.scoring.domain.rules import ScoringRules, rules_of
from services.scoring.domain.score import score_of

CONSENTS = {"consent.given": True, "consent.withdrawn": False, "email.unsubscribed": False}
PASSED_ON = frozenset({"touch.recorded", "opportunity.changed", *CONSENTS})
_NOTHING = Score(0.0, 0.0, 0.0, "D")


CLOSED = "customer"
"""The status that Sales keeps and that waits for nothing."""

Told = LeadScored | LeadTouched | ConsentChanged | OpportunityMoved

Count = Callable[[Mapping[str, int]], None]
"""Counts what the bounds of a profile dropped, by kind."""


def hear_events(batch: Sequence[Record], unit: Unit, count: Count) -> None:
    """Resolve the person of each event, take it into their profile, say their score or pass the fact on."""
    rules = rules_of(unit.config)
    heard = [record for record in batch if record.envelope.type not in ABOUT_NO_LEAD]
    found, made = store.resolve(unit, [(one.event_id, _happened(one), micros(one.envelope.time)) for one in heard])
    profiles = store.lock(unit, sorted({one.lead for one in found}), made)
    now = unit.now
    lost: Counter[str] = Counter()
    for record, one in zip(heard, found, strict=True):
        for event in _take(one, profiles[one.lead], record, rules, now, lost):
            unit.emit(event, key=event.lead_id)
    store.save(unit, profiles, now)
    if lost := +lost:
        unit.after.append(partial(count, lost))


def _happened(record: Record) -> ExternalEvent:
    event = record.event
    assert isinstance(event, ExternalEvent)  # noqa: S101  # `events` holds nothing else
    return event


def _take(
    found: ResolvedIdentity, profile: Profile, record: Record, rules: ScoringRules, now: datetime, lost: Counter[str]
) -> list[Told]:
    lead, shared, others = found
    happened, type = _happened(record), record.envelope.type
    if happened.email and profile.email and happened.email != profile.email:
        raise store.IdentityTakenError(f"lead {lead} has got another address meanwhile; the events are taken again")
    at = min(record.envelope.time, now)
    known = learn(profile, happened, type, at, rules, lost)
    fields = bounds.own(happened.fields)
    told = bounds.told(fields)
    lost.update(refused=len(happened.fields) - len(fields), field=len(fields) - len(told))
    trigger = Trigger(record.event_id, type, at, happened.source, told)
    scored = _scored(lead, profile, trigger, rules, now, known, fields)
    if shared:
        scored = msgspec.structs.replace(scored, shared=shared)
    if type not in PASSED_ON:
        return [scored]
    about = (lead, *others) if CONSENTS.get(type) is False else (lead,)
    # The fact goes first, so that its score meets the status that follows from it: an opt-out hands nobody over.
    return [*(_passed_on(one, record, happened, type, at) for one in about), scored]


def _scored(
    lead: str, profile: Profile, trigger: Trigger, rules: ScoringRules, now: datetime, known: Facts, fields: Facts
) -> LeadScored:
    because = suppression(rules, known)
    scored = _NOTHING if because else score_of(profile, rules, now, known)
    forget(profile, rules, now)
    profile.version += 1
    return LeadScored(
        lead_id=lead,
        version=profile.version,
        at=now,
        trigger=trigger,
        score=scored,
        email=profile.email,
        phone=profile.phone,
        facts=known,
        met=() if because else matched_lines(profile, rules, trigger.type, fields, known, scored),
        suppressed=because,
    )


def _passed_on(lead: str, record: Record, happened: ExternalEvent, type: str, at: datetime) -> Told:
    fields = happened.fields
    if type == "touch.recorded":
        return LeadTouched(
            lead_id=lead,
            at=at,
            channel=str(fields.get("channel", "other")),
            answered=fields.get("answered") is True,
            by=_text(fields.get("rep")),
            by_email=_text(fields.get("rep_email")),
            event_id=record.event_id,
            note=_text(fields.get("note")),
        )
    if type == "opportunity.changed":
        amount = fields.get("amount")
        return OpportunityMoved(
            lead_id=lead,
            at=at,
            stage=str(fields.get("stage", "open")),
            event_id=record.event_id,
            opportunity_id=_text(fields.get("opportunity_id")),
            amount=float(amount) if isinstance(amount, int | float) else None,
            currency=_text(fields.get("currency")),
        )
    reason = str(fields.get("reason", type))
    return ConsentChanged(lead_id=lead, at=at, given=CONSENTS[type], reason=reason, event_id=record.event_id)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def hear_routes(batch: Sequence[Record], unit: Unit) -> None:
    """A recycled lead starts again: what it did up to that mark counts nothing any more. Leads that Sales has are noted."""
    routed = [(record, event) for record in batch if isinstance(event := record.event, LeadEvent)]
    teams = unit.config.agreement.lifecycle.statuses if routed else {}
    is_open = {status for status, team in teams.items() if team == "sales" and status != CLOSED}
    turned = [event for _, event in routed if (event.status in is_open) != (event.was in is_open)]
    store.set_standings(unit, {event.lead_id: (event.version, event.status in is_open) for event in turned})
    recycled = [
        (record, event) for record, event in routed if isinstance(event, LeadRecycled) and event.kind == "recycle"
    ]
    if not recycled:
        return
    rules = rules_of(unit.config)
    profiles = store.lock(unit, sorted({event.lead_id for _, event in recycled}))
    now = unit.now
    for record, event in recycled:
        profile = profiles[event.lead_id]
        profile.recycled_at = max(profile.recycled_at or 0, micros(event.since or event.at))
        trigger = Trigger(record.event_id, event.TYPE, event.at, "router")
        scored = _scored(event.lead_id, profile, trigger, rules, now, profile.known(), {})
        unit.emit(msgspec.structs.replace(scored, met=()), key=event.lead_id)
    store.save(unit, profiles, now)

"""Scoring's handlers: load, decide, store, emit."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial

import msgspec

from firsthour.kernel.time_units import micros
from firsthour.runtime.storage.records import Record
from firsthour.runtime.storage.unit import Unit
from schemas.events.base import Facts
from schemas.events.leads import ConsentChanged, LeadScored, LeadTouched, OpportunityMoved, Score, Trigger
from schemas.events.outside import ABOUT_NO_LEAD, ExternalEvent
from schemas.events.routes import LeadEvent, LeadRecycled
from services.scoring import store
from services.scoring.domain import bounds
from services.scoring.domain.background import background_of, remember
from services.scoring.domain.identity import ResolvedIdentity
from services.scoring.domain.profile import Profile, forget, learn
from services.scoring.domain.qualify import matched_lines, suppression
from services.scoring.domain.rules import ScoringRules, rules_of
from services.scoring.domain.score import score_of

CONSENTS = {"consent.given": True, "consent.withdrawn": False, "email.unsubscribed": False}
PASSED_ON = frozenset({"touch.recorded", "opportunity.changed", *CONSENTS})
_NO_SCORE = Score(0.0, 0.0, 0.0, "D")


CLOSED = "customer"
"""A status of Sales that no longer counts as open."""

ScoringEvent = LeadScored | LeadTouched | ConsentChanged | OpportunityMoved

Count = Callable[[Mapping[str, int]], None]
"""Counts the facts, texts and hits beyond the bounds of profiles, by kind."""


def hear_events(batch: Sequence[Record], unit: Unit, count: Count) -> None:
    """Resolve the person of each event, add the event to the profile, and emit the score and the facts to pass on."""
    rules = rules_of(unit.config)
    relevant = [record for record in batch if record.envelope.type not in ABOUT_NO_LEAD]
    identities, created = store.resolve(
        unit, [(record.event_id, external_of(record), micros(record.envelope.time)) for record in relevant]
    )
    profiles = store.lock(unit, sorted({identity.lead for identity in identities}), created)
    now = unit.now
    dropped: Counter[str] = Counter()
    for record, identity in zip(relevant, identities, strict=True):
        for event in score_event(identity, profiles[identity.lead], record, rules, now, dropped):
            unit.emit(event, key=event.lead_id)
    store.save(unit, profiles, now)
    if dropped := +dropped:
        unit.after.append(partial(count, dropped))


def external_of(record: Record) -> ExternalEvent:
    """Return the outside event of a record."""
    event = record.event
    assert isinstance(event, ExternalEvent)  # noqa: S101  # the topic `events` contains no other type
    return event


def score_event(
    identity: ResolvedIdentity,
    profile: Profile,
    record: Record,
    rules: ScoringRules,
    now: datetime,
    dropped: Counter[str],
) -> list[ScoringEvent]:
    """Add an event to the profile, which changes. Return the facts to pass on, and the score last."""
    lead, shared, others, is_open = identity
    event, type = external_of(record), record.envelope.type
    if event.email and profile.email and event.email != profile.email:
        raise store.IdentityTakenError(f"lead {lead} has another address meanwhile; the events are processed again")
    at = min(record.envelope.time, now)
    facts = learn(profile, event, type, at, rules, dropped)
    fields = bounds.outside_fields(event.fields)
    remember(profile, type, fields, micros(at))
    bounded_fields = bounds.bounded_fields(fields)
    dropped.update(refused=len(event.fields) - len(fields), field=len(fields) - len(bounded_fields))
    trigger = Trigger(record.event_id, type, at, event.source, bounded_fields, event.burst, event.confirms)
    scored = _scored(lead, profile, trigger, rules, now, facts, fields)
    if shared:
        scored = msgspec.structs.replace(scored, shared=shared)
    if is_open and scored.background is None:  # the lead may still wait for an owner, or get another one
        scored = msgspec.structs.replace(scored, background=background_of(profile, rules, micros(now), facts))
    if type not in PASSED_ON:
        return [scored]
    leads = (lead, *others) if CONSENTS.get(type) is False else (lead,)
    # The fact precedes the score, so that the router applies it first: an opted-out lead is not handed over.
    return [*(_passed_on(each, record, event, type, at) for each in leads), scored]


def _scored(
    lead: str, profile: Profile, trigger: Trigger, rules: ScoringRules, now: datetime, facts: Facts, fields: Facts
) -> LeadScored:
    reason = suppression(rules, facts, now)
    score = _NO_SCORE if reason else score_of(profile, rules, now, facts)
    forget(profile, rules, now)
    profile.version += 1
    met = () if reason else matched_lines(profile, rules, trigger.type, fields, facts, score, now)
    return LeadScored(
        lead_id=lead,
        version=profile.version,
        at=now,
        trigger=trigger,
        score=score,
        email=profile.email,
        phone=profile.phone,
        facts=facts,
        met=met,
        background=background_of(profile, rules, micros(now), facts) if met else None,
        suppressed=reason,
    )


def _passed_on(lead: str, record: Record, event: ExternalEvent, type: str, at: datetime) -> ScoringEvent:
    fields = event.fields
    if type == "touch.recorded":
        return LeadTouched(
            lead_id=lead,
            at=at,
            channel=str(fields.get("channel", "other")),
            answered=fields.get("answered", fields.get("channel") == "meeting")
            is True,  # a booked meeting is an answer
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
    """Store which leads Sales has, and restart the score of recycled leads: earlier hits no longer count."""
    routes = [(record, event) for record in batch if isinstance(event := record.event, LeadEvent)]
    teams = unit.config.agreement.lifecycle.statuses if routes else {}
    open_statuses = {status for status, team in teams.items() if team == "sales" and status != CLOSED}
    transitions = [event for _, event in routes if (event.status in open_statuses) != (event.was in open_statuses)]
    store.set_standings(unit, {event.lead_id: (event.version, event.status in open_statuses) for event in transitions})
    recycles = [
        (record, event) for record, event in routes if isinstance(event, LeadRecycled) and event.kind == "recycle"
    ]
    if not recycles:
        return
    rules = rules_of(unit.config)
    profiles = store.lock(unit, sorted({event.lead_id for _, event in recycles}))
    now = unit.now
    for record, event in recycles:
        profile = profiles[event.lead_id]
        profile.recycled_at = max(profile.recycled_at or 0, micros(event.since or event.at))
        trigger = Trigger(record.event_id, event.TYPE, event.at, "router")
        scored = _scored(event.lead_id, profile, trigger, rules, now, profile.flat_facts(), {})
        unit.emit(msgspec.structs.replace(scored, met=(), background=None), key=event.lead_id)
    store.save(unit, profiles, now)

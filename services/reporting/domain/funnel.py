"""The way of each lead through the steps of the funnel, pass by pass.

A pass begins when the lead enters a status of Marketing, and ends when the lead goes back to Marketing or is lost. The first
pass begins with the first event of the person. A lead that comes back begins a further pass: it is not counted as new.

A step is reached at its first time within the pass. Steps are the statuses, the first touch, the first conversation and the
stages of the opportunity as the CRM words them. Touches and stages count by their own time. Times are microseconds since the
epoch.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from firsthour.kernel.time_units import micros
from schemas.agreement.lifecycle import OUTCOMES, STAGE_CHARS_MAX, STAGES_MAX, Lifecycle
from schemas.events.base import Event
from schemas.events.leads import LeadScored, OpportunityMoved
from schemas.events.routes import LeadAssigned, LeadEvent, LeadQualified, LeadRecycled, TouchApplied
from services.reporting.domain.funnel_steps import ATTEMPT, CONVERSATION, STAGE, is_lost

PASSES_MAX: Final = 50
_ORIGIN: Final = ("source", "campaign", "form", "persona")
_RETURNED: Final = "recycled"
_DEAL: Final = "opportunity.changed"
_MARKETING: Final = "marketing"
_SALES: Final = "sales"


class FunnelPass(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One pass of a lead. The fields are the columns of `reporting_funnel`, `steps` as JSON."""

    lead_id: str
    cycle: int = 1
    start_at: int  # the first step
    source: str | None = None  # of the first event of the person, as the next two
    campaign: str | None = None
    form: str | None = None
    persona: str | None = None  # None: scoring does not classify the person
    grade: str | None = None  # at the hand-over, before it that of the first event
    rep: str | None = None  # the last owner
    team: str | None = None  # the pool of the last assignment
    status: str | None = None  # None: a later pass has begun, so the lead does not stand here
    status_at: int = 0
    ended: str | None = None  # how the pass ended: the lost status, or recycled, rejected, lost. None: it goes on
    steps: Mapping[str, int] = {}


Passes = Sequence[FunnelPass]
"""The passes of one lead, the first one first."""
FunnelEvent = LeadScored | OpportunityMoved | LeadEvent


def changes_funnel(event: Event) -> bool:
    """Return whether a record can change a pass. Of the scores only the first one does: it has the origin of the lead."""
    return isinstance(event, OpportunityMoved | LeadEvent) or (isinstance(event, LeadScored) and event.version == 1)


def apply(passes: Passes, event: FunnelEvent, lifecycle: Lifecycle, lead_id: str) -> list[FunnelPass]:
    """Return the passes of a lead after a record.

    Args:
        lead_id: of the passes. The record of a lead that was merged into another one names the other id.
    """
    if isinstance(event, LeadScored):
        return _begin(passes, event, next(iter(lifecycle.statuses)), lead_id)
    if isinstance(event, OpportunityMoved):
        return _note_stage(passes, event.stage, micros(event.at))
    after = _move(passes, event, lifecycle, lead_id)
    if isinstance(event, TouchApplied):
        return _touch(after, event)
    return after


def _begin(passes: Passes, event: LeadScored, status: str, lead_id: str) -> list[FunnelPass]:
    """Return the passes with the origin of the lead. On Kafka the record of a hand-over can be read before it."""
    at, fields, facts = micros(event.trigger.at), event.trigger.fields, event.facts
    origin = {
        "source": _text(event.trigger.source),
        "campaign": _text(facts.get("utm.campaign")),
        "form": _text(fields.get("form")),
        "persona": _text(facts.get("persona")),
    }
    grade = _text(event.score.grade)
    known = passes or [FunnelPass(lead_id=lead_id, start_at=at, status=status, status_at=at)]
    first, *later = [replace(one, **origin, grade=one.grade or grade) for one in known]
    if first.cycle == 1:
        first = replace(_with_step(first, status, at), start_at=min(first.start_at, at))
    after = [first, *later]
    return _note_stage(after, str(fields.get("stage", "open")), at) if event.trigger.type == _DEAL else after


def _note_stage(passes: Passes, stage: str, at: int) -> list[FunnelPass]:
    """Count a stage for the last pass that had begun at its time.

    The stage in the first event of a person precedes the score: it is read from the score.
    """
    if stage in OUTCOMES or not passes:
        return [*passes]
    index = _pass_at(passes, at)
    one, key = passes[index], STAGE + stage[:STAGE_CHARS_MAX]
    if key not in one.steps and sum(name.startswith(STAGE) for name in one.steps) >= STAGES_MAX:
        return [*passes]
    return [*passes[:index], _with_step(one, key, at), *passes[index + 1 :]]


def _touch(passes: Passes, event: TouchApplied) -> list[FunnelPass]:
    """Count a touch for the last pass that had begun at its time. A touch that the router ignored for its clock counts too."""
    if not passes:
        return []
    at = micros(event.touched_at)
    index = _pass_at(passes, at)
    one = _with_step(passes[index], ATTEMPT, at)
    if event.answered:
        one = _with_step(one, CONVERSATION, at)
    return [*passes[:index], one, *passes[index + 1 :]]


def _pass_at(passes: Passes, at: int) -> int:
    return next((n for n in reversed(range(len(passes))) if passes[n].start_at <= at), 0)


def _move(passes: Passes, event: LeadEvent, lifecycle: Lifecycle, lead_id: str) -> list[FunnelPass]:
    """Return the passes after a change of status: a step, an end, or the begin of a further pass."""
    at, status = _time_of(event), event.status
    if not passes:
        begins = event.was == next(iter(lifecycle.statuses))
        if not begins and not _returns(event, lifecycle):
            return []  # the lead is older than the model
        start = FunnelPass(lead_id=lead_id, start_at=at, status=event.was, status_at=at)
        if not begins:
            return _next_pass([start], status, at)[1:]
        passes = [start]
    *earlier, last = passes
    if is_lost(lifecycle, status):
        ended = last if last.ended else replace(last, ended=status)
        return [*earlier, _standing(ended, status, at)]
    if _returns(event, lifecycle) or last.ended is not None:
        ended = last if last.ended else replace(last, ended=_kind(event))
        return _next_pass([*earlier, ended], status, at)
    last = _with_owner(_standing(_with_step(last, status, at), status, at), event)
    return [*earlier, last]


def _returns(event: LeadEvent, lifecycle: Lifecycle) -> bool:
    """Return whether the lead goes back from Sales to Marketing."""
    teams = lifecycle.statuses
    return teams.get(event.was) == _SALES and teams.get(event.status) == _MARKETING


def _kind(event: LeadEvent) -> str:
    if isinstance(event, LeadRecycled):
        if event.kind == "reject":
            return "rejected"
        return "lost" if event.reason == "lost" else _RETURNED
    return _RETURNED


def _next_pass(passes: Passes, status: str, at: int) -> list[FunnelPass]:
    """Begin a further pass. After `PASSES_MAX` the last one goes on."""
    *earlier, last = passes
    if len(passes) >= PASSES_MAX:
        return [*earlier, _standing(replace(last, ended=None), status, at)]
    at = max(at, last.start_at)
    origin = {name: getattr(last, name) for name in ("lead_id", *_ORIGIN, "grade")}
    begun = FunnelPass(**origin, cycle=last.cycle + 1, start_at=at, status=status, status_at=at, steps={status: at})
    return [*earlier, replace(last, status=None), begun]


def _with_step(one: FunnelPass, step: str, at: int) -> FunnelPass:
    """Return the pass with the first time of a step."""
    known = one.steps.get(step)
    if known is not None and known <= at:
        return one
    return replace(one, steps={**one.steps, step: at})


def _standing(one: FunnelPass, status: str, at: int) -> FunnelPass:
    return one if one.status == status else replace(one, status=status, status_at=at)


def _with_owner(one: FunnelPass, event: LeadEvent) -> FunnelPass:
    if isinstance(event, LeadAssigned):
        return replace(one, rep=event.rep, team=event.pool)
    if isinstance(event, LeadQualified):
        return replace(one, grade=_text(event.score.grade) or one.grade)
    return one


def _time_of(event: LeadEvent) -> int:
    """Return the time at which the status began. A hand-over counts from the submit."""
    if isinstance(event, LeadQualified):
        return micros(event.submit_at)
    if isinstance(event, LeadRecycled) and event.since is not None:
        return micros(event.since)
    return micros(event.at)


def _text(value: object) -> str | None:
    return str(value)[:STAGE_CHARS_MAX] if value not in (None, "") else None


def united(ours: Passes, theirs: Passes, lead_id: str) -> list[FunnelPass]:
    """Return the passes of two leads that are one person: pass by pass, with the earlier time of each step.

    The person came from where the earlier of the two came from, and stands where the lead that remains (`ours`) stands.
    """
    by_cycle = {one.cycle: replace(one, lead_id=lead_id) for one in theirs}
    for one in ours:
        other = by_cycle.get(one.cycle)
        by_cycle[one.cycle] = one if other is None else _joined(one, other)
    *earlier, last = [by_cycle[cycle] for cycle in sorted(by_cycle)]
    if ours:
        last = replace(last, status=ours[-1].status, status_at=ours[-1].status_at, ended=ours[-1].ended)
    return [*(replace(one, status=None, ended=one.ended or _RETURNED) for one in earlier), last]


def _joined(mine: FunnelPass, other: FunnelPass) -> FunnelPass:
    earlier, later = (mine, other) if mine.start_at <= other.start_at else (other, mine)
    steps = dict(mine.steps)
    for step, at in other.steps.items():
        steps[step] = min(at, steps.get(step, at))
    origin = {name: getattr(earlier, name) or getattr(later, name) for name in (*_ORIGIN, "grade")}
    owner = mine if mine.rep else other
    return replace(
        mine,
        **origin,
        start_at=earlier.start_at,
        steps=steps,
        rep=owner.rep,
        team=owner.team,
        ended=mine.ended or other.ended,
    )

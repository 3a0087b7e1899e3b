"""Whether a scored lead is handed over to Sales now. Marketing's agreement says by which lines; each hand-over counts once."""

from firsthour.kernel.time_units import micros
from schemas.events import LeadScored, MatchedLine
from services.router.domain.event_time import changed
from services.router.domain.lead import Lead
from services.router.domain.rules import RoutingRules


def learn(lead: Lead, scored: LeadScored) -> None:
    """Take in what scoring says. An older record says nothing new: each record holds all that is known of the person."""
    state = lead.state
    if scored.version <= lead.scoring_version:
        return
    lead.scoring_version = scored.version
    lead.email = scored.email
    state.phone = scored.phone
    state.facts = scored.facts
    state.score = scored.score
    state.suppressed = scored.suppressed


def rearm(lead: Lead, scored: LeadScored, rules: RoutingRules, now: int) -> None:
    """A lead that came back counts by score again once its total has fallen far enough, or its rest has ended."""
    if lead.state.rests_until is not None and lead.state.rests_until <= now:
        lead.state.armed, lead.state.rests_until = True, None
    if not lead.state.armed and rules.rearm_below is not None and scored.score.total < rules.rearm_below:
        lead.state.armed = True


def line_met(lead: Lead, scored: LeadScored, rules: RoutingRules) -> MatchedLine | None:
    """The first line that hands this lead over: one met by the event itself always counts, by the score only if armed
    and not at rest."""
    if scored.suppressed is not None or lead.status not in rules.handover:
        return None
    by_score = lead.state.armed and lead.state.rests_until is None
    return next((met for met in scored.met if met.by_event or by_score), None)


def qualify(lead: Lead, scored: LeadScored, met: MatchedLine, rules: RoutingRules) -> None:
    """Note the hand-over: what for, how urgent, and from when the response clock runs. Touches count anew."""
    lead.urgency = met.urgency
    lead.urgency_rank = rules.ranks.get(met.urgency, len(rules.ranks))
    lead.submit_at = micros(scored.trigger.at)
    lead.touched_at = None
    state = lead.state
    state.armed = False
    state.line = met.name
    state.trigger = scored.trigger
    state.reassignments = state.attempts = state.unanswered = 0
    state.back = state.rests_until = None
    changed(lead, lead.submit_at)

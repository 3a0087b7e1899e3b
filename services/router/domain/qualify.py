"""Whether a scored lead is handed over to Sales now. Marketing's agreement names the lines; each hand-over counts once.

`learn` and `rearm` change the lead in place: most scores do no more than that.
"""

from firsthour.kernel.time_units import micros, moment
from schemas.events.leads import LeadScored, MatchedLine
from schemas.events.routes import LeadQualified
from services.router.domain.event_time import changed, is_older
from services.router.domain.lead import QUALIFIED, Lead, title
from services.router.domain.lifecycle import SYSTEM
from services.router.domain.outcome import BY_RULES, Outcome, copied, end_assignment, next_event, set_status
from services.router.domain.rules import RoutingRules


def learn(lead: Lead, scored: LeadScored) -> None:
    """Take over what scoring says. An older record adds nothing: each record holds all that is known of the person."""
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
    """Let a lead that came back count by score again, once its total has fallen far enough or its rest has ended."""
    if lead.state.rests_until is not None and lead.state.rests_until <= now:
        lead.state.armed, lead.state.rests_until = True, None
    if not lead.state.armed and rules.rearm_below is not None and scored.score.total < rules.rearm_below:
        lead.state.armed = True


def line_met(lead: Lead, scored: LeadScored, rules: RoutingRules) -> MatchedLine | None:
    """Return the first line that hands this lead over. A line met by the event itself always counts, a line met by the
    score only if the lead is armed and not at rest."""
    if scored.suppressed is not None or lead.status not in rules.handover:
        return None
    by_score = lead.state.armed and lead.state.rests_until is None
    return next((met for met in scored.met if met.by_event or by_score), None)


def is_new(lead: Lead, scored: LeadScored, met: MatchedLine, *, newer: bool) -> bool:
    """Return whether this record may hand the lead over: it is not older than the status, and either newer than the record
    before (`newer`) or about a form that was sent after the last submit."""
    asked_at = micros(scored.trigger.at)
    return not is_older(lead, asked_at) and (newer or (met.by_event and asked_at > (lead.submit_at or 0)))


def hand_over(lead: Lead, scored: LeadScored, met: MatchedLine, rules: RoutingRules, now: int) -> Outcome:
    """Marketing's lead becomes a lead of Sales, also one that has an owner: that assignment ends."""
    after = copied(lead)
    ended = end_assignment(after, SYSTEM.name, f"qualified: {met.name}", now)
    _qualify(after, scored, met, rules)
    set_status(after, QUALIFIED, None)
    event = next_event(
        after,
        LeadQualified,
        at=moment(now),
        was=lead.status,
        by=SYSTEM.name,
        line=met.name,
        urgency=met.urgency,
        submit_at=moment(after.submit_at or now),
        score=scored.score,
        trigger=scored.trigger,
        title=title(after.state.facts),
    )
    return Outcome(after, (event,), ended, BY_RULES)


def _qualify(lead: Lead, scored: LeadScored, met: MatchedLine, rules: RoutingRules) -> None:
    """Note the line, the urgency and the start of the response clock. Touches count anew."""
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

"""The hand-over of a scored lead to Sales. The agreement names the lines; a score hands a lead over once.

`learn` and `rearm` change the lead in place, because most scores need no more.
"""

from typing import Final, NamedTuple

from firsthour.kernel.time_units import micros, moment
from schemas.events.leads import LeadScored, MatchedLine
from schemas.events.routes import LeadAskedAgain, LeadQualified
from services.router.domain.event_time import is_older, note_change
from services.router.domain.lead import CUSTOMER, HELD, OPPORTUNITY, QUALIFIED, Lead, card, title
from services.router.domain.lifecycle import SYSTEM
from services.router.domain.outcome import BY_RULES, Outcome, copy_of, end_assignment, next_event, set_status
from services.router.domain.rules import RoutingRules

OWNED: Final = HELD | {OPPORTUNITY, CUSTOMER}
"""The statuses in which a lead may have an owner."""
SENT_TWICE_US: Final = 60 * 1_000_000


def learn(lead: Lead, scored: LeadScored) -> None:
    """Store score and facts on the lead. An older record is ignored, because every record contains all facts."""
    state = lead.state
    if scored.version <= lead.scoring_version:
        return
    lead.scoring_version = scored.version
    lead.email = scored.email
    state.phone = scored.phone
    state.facts = scored.facts
    state.score = scored.score
    state.suppressed = scored.suppressed
    if scored.background is not None:
        state.background = scored.background


class Judged(NamedTuple):
    """The effect of a score: the line that hands the lead over, or the outcome of a request that was repeated."""

    line: MatchedLine | None = None
    again: Outcome | None = None


def judge(lead: Lead, scored: LeadScored, rules: RoutingRules, now: int) -> Judged:
    """Learn the score, and return what follows from it. The lead changes."""
    newer = scored.version > lead.scoring_version
    learn(lead, scored)
    if newer:
        rearm(lead, scored, rules, now)
    if not scored.met:
        return Judged()
    line = first_line(lead, scored, rules)
    if line is not None:
        return Judged(line if is_new(lead, scored, line, newer=newer) else None)
    again = repeated_line(lead, scored, newer=newer)
    return Judged(again=ask_again(lead, scored, again, rules, now) if again is not None else None)


def rearm(lead: Lead, scored: LeadScored, rules: RoutingRules, now: int) -> None:
    """Arm the lead again after its total fell below `rearm_below`, or after its rest ended."""
    if lead.state.rests_until is not None and lead.state.rests_until <= now:
        lead.state.armed, lead.state.rests_until = True, None
    if not lead.state.armed and rules.rearm_below is not None and scored.score.total < rules.rearm_below:
        lead.state.armed = True


def first_line(lead: Lead, scored: LeadScored, rules: RoutingRules) -> MatchedLine | None:
    """Return the first line that hands this lead over. None: no line does.

    A line that is met by the event always counts. A line that is met by the score counts if the lead is armed and not at
    rest.
    """
    if scored.suppressed is not None or lead.status not in rules.handover:
        return None
    by_score = lead.state.armed and lead.state.rests_until is None
    return next((line for line in scored.met if line.by_event or by_score), None)


def is_new(lead: Lead, scored: LeadScored, line: MatchedLine, *, newer: bool) -> bool:
    """Return whether this record may hand the lead over.

    A record older than the status may not. Any other may if it is newer than the stored one (`newer`), or if its form was
    sent after the last submit.
    """
    requested_at = micros(scored.trigger.at)
    return not is_older(lead, requested_at) and (newer or (line.by_event and requested_at > (lead.submit_at or 0)))


def hand_over(lead: Lead, scored: LeadScored, line: MatchedLine, rules: RoutingRules, now: int) -> Outcome:
    """Hand the lead over to Sales. An open assignment ends."""
    after = copy_of(lead)
    ended = end_assignment(after, SYSTEM.name, f"qualified: {line.name}", now)
    _qualify(after, scored, line, rules)
    set_status(after, QUALIFIED, None)
    event = next_event(
        after,
        LeadQualified,
        at=moment(now),
        was=lead.status,
        by=SYSTEM.name,
        line=line.name,
        urgency=line.urgency,
        submit_at=moment(after.submit_at or now),
        score=scored.score,
        trigger=scored.trigger,
        title=title(after.state.facts),
    )
    return Outcome(after, (event,), ended, BY_RULES)


def repeated_line(lead: Lead, scored: LeadScored, *, newer: bool) -> MatchedLine | None:
    """Return the line by which the person of an owned lead asks again. None: the record is no new request.

    The same request within a minute, while the first waits for a touch, is one request that was sent twice.
    """
    if scored.suppressed is not None or lead.owner is None or lead.status not in OWNED:
        return None
    line = next((line for line in scored.met if line.by_event), None)
    at, before = micros(scored.trigger.at), lead.submit_at or 0
    if line is None or at <= before or is_older(lead, at) or not (newer or at > before):
        return None
    known = lead.state.trigger
    sent_twice = lead.untouched and at - before <= SENT_TWICE_US
    return None if sent_twice and known is not None and known.fields == scored.trigger.fields else line


def ask_again(lead: Lead, scored: LeadScored, line: MatchedLine, rules: RoutingRules, now: int) -> Outcome:
    """Start the response clock of an owned lead again. Status and owner stay."""
    after = copy_of(lead)
    _start_request(after, scored, line, rules)
    after.state.asked_again = True
    event = next_event(
        after,
        LeadAskedAgain,
        at=moment(now),
        was=lead.status,
        by=SYSTEM.name,
        rep=lead.owner,
        line=line.name,
        urgency=line.urgency,
        submit_at=moment(after.submit_at or now),
        trigger=scored.trigger,
        pool=lead.pool,
        card=card(after),
    )
    return Outcome(after, (event,))


def _qualify(lead: Lead, scored: LeadScored, line: MatchedLine, rules: RoutingRules) -> None:
    _start_request(lead, scored, line, rules)
    note_change(lead, micros(scored.trigger.at))


def _start_request(lead: Lead, scored: LeadScored, line: MatchedLine, rules: RoutingRules) -> None:
    """Set the line, the urgency and the start of the response clock. Counters of touches start at zero."""
    lead.urgency = line.urgency
    lead.urgency_rank = rules.rank(line.urgency)
    lead.submit_at = micros(scored.trigger.at)
    lead.touched_at = None
    state = lead.state
    state.armed = False
    state.line = line.name
    state.trigger = scored.trigger
    state.reassignments = state.attempts = state.conversations = state.unanswered = 0
    state.unanswered_at, state.answered_at = (), None
    state.back = state.rests_until = None
    state.asked_again = False

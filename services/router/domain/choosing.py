"""Who gets a lead: the first matching rule, the turns of its pool, and a reason for everybody passed over.

`gather_inputs` gathers all that the choice depends on; `decide` makes it from that alone, and the same inputs are stored with
the decision. So a decision replayed is the decision, not a copy of its logic.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from firsthour.kernel.time_units import EPOCH, micros, moment
from schemas.agreement import RoutingRule
from schemas.events import Facts
from schemas.facts import is_product_fact
from services.router.domain.lead import Lead
from services.router.domain.rules import RoutingRules, RuleOption
from services.router.domain.turns import Candidate, Turn, next_turn, settled

NO_RULE = "no routing rule matches"


class MatchedRule(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One rule that matched: the seats it offers, those of a `pool` or of one rep."""

    rule: str
    seats: tuple[Candidate, ...]
    pool: str | None = None


class Inputs(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """All that one decision depends on, without a name or an address. `facts` are the ones the rules read."""

    now: datetime
    urgency: str
    steps: tuple[MatchedRule, ...]
    facts: Facts = {}
    excluded: tuple[str, ...] = ()


class Considered(msgspec.Struct, frozen=True, gc=False):
    """One rep looked at. `share`: of the pool's leads, 0 to 1."""

    rep: str
    eligible: bool
    ruled_out_by: str | None
    share: float
    rule: str


class RuleResult(msgspec.Struct, frozen=True, gc=False):
    """The result of one rule that holds: a rep (None: none), and why."""

    rule: str
    pool: str | None
    rep: str | None
    why: str


class Decision(msgspec.Struct, frozen=True, gc=False):
    """Who was chosen, or where the lead waits (`chosen` None) and why."""

    rule: str | None
    pool: str | None
    chosen: str | None
    why: str
    turn: Turn | None = None


@dataclass
class Presence:
    """What is known of a rep beside the team file. `open`: leads that are assigned, accepted or working."""

    open: int = 0
    state: str = "available"  # available, away or deactivated
    until: int | None = None  # microseconds; away no longer from then on
    said: str = "available"  # the state last told on `routes`
    updated_at: int = 0
    version: int = 0  # of state and until: raised with every change, and told with it
    reason: str | None = None  # of the state

    def as_of(self, now: int) -> str:
        """The state, with an absence that has ended taken as ended."""
        return "available" if self.state == "away" and self.until is not None and self.until <= now else self.state


NOTHING_KNOWN = Presence()
"""Of somebody never heard of, who is here and has nothing to do. Never changed: `TeamState.presence` makes a new one."""


Lags = Mapping[str, int]
"""Of a pool's members, in parts of a lead (`turns.SCALE`); of a member who is not there, zero."""


@dataclass
class TeamState:
    """Everything shared by leads: who is here with how much to do, and the lags of each pool."""

    reps: dict[str, Presence]
    pools: dict[str, Lags]

    def presence(self, rep: str) -> Presence:
        """Of anybody; who was never heard of is here and has nothing to do."""
        return self.reps.setdefault(rep, Presence())


def decide(inputs: Inputs) -> Decision:
    """The choice these inputs lead to: the first step that finds a rep; without one, a place in the queue of the first
    pool."""
    for step in inputs.steps:
        turn = next_turn(step.seats)
        if turn is not None:
            return Decision(step.rule, step.pool, turn.rep, _why(step), turn if step.pool else None)
    pools = [step for step in inputs.steps if step.pool is not None]
    if pools:
        return Decision(pools[0].rule, pools[0].pool, None, _why_none(pools))
    why = f"no rule with a pool holds; {_why_none(inputs.steps)}" if inputs.steps else NO_RULE
    return Decision(None, "", None, why)


def outcomes(inputs: Inputs) -> Iterator[RuleResult]:
    """The result of each rule that holds, up to the first that found a rep."""
    for step in inputs.steps:
        turn = next_turn(step.seats)
        why = _why(step) if turn else summary(step.seats)
        yield RuleResult(step.rule, step.pool, turn.rep if turn else None, why)
        if turn is not None:
            return


def considered(inputs: Inputs) -> Iterator[Considered]:
    """Everybody looked at on the way: of each step up to the first that somebody could take. Told when somebody asks."""
    for step in inputs.steps:
        weights = sum(seat.weight for seat in step.seats) or 1
        for seat in step.seats:
            share = round(seat.weight / weights, 4)
            yield Considered(seat.rep, seat.ruled_out_by is None, seat.ruled_out_by, share, step.rule)
        if any(seat.ruled_out_by is None for seat in step.seats):
            return


def replay(inputs: Inputs) -> str | None:
    """The rep these inputs lead to."""
    return decide(inputs).chosen


def _why(step: MatchedRule) -> str:
    if step.pool is None:
        return step.rule
    could = [seat.ruled_out_by for seat in step.seats].count(None)
    return f"next in turn in {step.pool}: {could} of {len(step.seats)} could take it"


def _why_none(steps: Sequence[MatchedRule]) -> str:
    if len(steps) == 1 and steps[0].pool is not None:
        return summary(steps[0].seats)
    return "; ".join(f"{step.pool or step.rule}: {summary(step.seats)}" for step in steps)


def summary(seats: Sequence[Candidate]) -> str:
    """Why nobody can take it, as `all 3 at capacity` or `2 at capacity, 1 away`."""
    if not seats:
        return "names no rep"
    kinds = Counter((seat.ruled_out_by or "").partition(":")[0] for seat in seats)
    if len(kinds) == 1:
        kind, count = next(iter(kinds.items()))
        return f"all {count} {kind}" if count > 1 else f"the only one {kind}"
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())


# --- gathering ----------------------------------------------------------------------------------------------------


def gather_inputs(rules: RoutingRules, lead: Lead, floor: TeamState, now: datetime) -> Inputs:
    """Everything the choice for `lead` depends on: the rules that hold, up to the first that finds a rep."""
    facts = context(rules, lead)
    case = _Case(rules, lead, floor, micros(now))
    steps: list[MatchedRule] = []
    for index in rules.matched(facts):
        rule = rules.routing[index]
        if rule.pool is not None:
            lags = floor.pools.get(rule.pool, {})
            steps.append(MatchedRule(rule.name, _seats(case, rules.candidates[index], lags), rule.pool))
        else:
            steps.append(_step(case, rule, facts))
        if any(seat.ruled_out_by is None for seat in steps[-1].seats):
            break
    read = {name: facts[name] for name in rules.read if name in facts}
    not_again = lead.state.not_again
    return Inputs(now, lead.urgency, tuple(steps), read, (not_again,) if not_again else ())


def manual_inputs(rules: RoutingRules, lead: Lead, now: datetime, rule: str, rep: str) -> Inputs:
    """The inputs of a choice that is already made: by hand, or because the manager owns it now."""
    return Inputs(now, lead.urgency, (MatchedRule(rule, (Candidate(rep),)),))


def context(rules: RoutingRules, lead: Lead) -> Facts:
    """What routing rules read of a lead."""
    state = lead.state
    facts: Facts = {**state.facts}
    if state.trigger is not None:
        facts |= {name: value for name, value in state.trigger.fields.items() if not is_product_fact(name)}
    facts |= {"status": lead.status, "urgency": lead.urgency, "grade": state.score.grade}
    facts |= {"fit": state.score.fit, "engagement": state.score.engagement, "total": state.score.total}
    owner = _account_owner(rules, facts)
    if owner is not None:
        facts["account.owner"] = owner
    if state.previous_owner is not None:
        facts["previous_owner"] = state.previous_owner
    return facts


def _account_owner(rules: RoutingRules, facts: Facts) -> str | None:
    for name in ("company.domain", "email.domain"):
        owner = rules.team.owner_by_domain.get(str(facts.get(name, "")).lower())
        if owner is not None:
            return owner
    return None


@dataclass(frozen=True)
class _Case:
    """One lead in front of the team, at one moment."""

    rules: RoutingRules
    lead: Lead
    floor: TeamState
    now: int


def _step(case: _Case, rule: RoutingRule, facts: Facts) -> MatchedRule:
    rep = str(facts.get(rule.to or "", ""))
    gone = _too_long_ago(case, rule)
    seats = (Candidate(rep, ruled_out_by=gone or _absent(case, rep) or _had_it(case, rep)),) if rep else ()
    return MatchedRule(rule.name, seats)


def _seats(case: _Case, candidates: Sequence[RuleOption], lags: Lags) -> tuple[Candidate, ...]:
    reps, now = case.floor.reps, case.now
    whys: list[str | None] = []
    members: dict[str, int] = {}  # those who have not left: an absence keeps its lag, a departure does not
    for one in candidates:
        rep = one.rep
        presence = reps.get(rep, NOTHING_KNOWN)
        simple = presence.open < one.simple_below and presence.state == "available"
        absent = None if simple else _absent(case, rep)
        whys.append(absent or _had_it(case, rep) or one.speechless)
        if absent is None or not is_gone(case.rules, reps, rep, now):
            members[rep] = one.weight
    lags = settled(lags, members)
    return tuple(
        Candidate(one.rep, one.weight, lags.get(one.rep, 0), why) for one, why in zip(candidates, whys, strict=True)
    )


def _too_long_ago(case: _Case, rule: RoutingRule) -> str | None:
    left = case.lead.state.previous_left_at
    if rule.within is None or left is None or case.now - left <= micros(EPOCH + rule.within):
        return None
    return f"had it too long ago: until {_day(left)}"


# Why somebody cannot take a lead, or None. What stands before a colon is the kind of reason.


def _absent(case: _Case, rep: str) -> str | None:
    return unavailable(case.rules, case.floor.reps, rep, case.now)


def _had_it(case: _Case, rep: str) -> str | None:
    state = case.lead.state
    if rep == state.not_again:
        return "had it and did not take it"
    declined = state.declined.get(rep) if state.declined else None
    if declined is not None and case.now < declined + case.rules.never_back_us:
        return f"had it and did not take it: until {_day(declined + case.rules.never_back_us)}"
    return None


def unavailable(rules: RoutingRules, reps: Mapping[str, Presence], rep: str, now: int) -> str | None:
    """Why `rep` gets no new lead at all, or None: gone, away, or at capacity."""
    absent = not_here(rules, reps, rep, now)
    known, presence = rules.rep(rep), reps.get(rep)
    if absent is not None or known is None:
        return absent
    limit = known.capacity.open
    has = presence.open if presence else 0
    return f"at capacity: {has} of {limit} open" if limit is not None and has >= limit else None


def with_room(rules: RoutingRules, reps: Mapping[str, Presence], now: int) -> set[str]:
    """The reps who are here and below capacity."""
    return {rep for rep in rules.team.rep_by_id if unavailable(rules, reps, rep, now) is None}


def not_here(rules: RoutingRules, reps: Mapping[str, Presence], rep: str, now: int) -> str | None:
    """Why `rep` is not working now, or None."""
    known, presence = rules.rep(rep), reps.get(rep)
    if known is None:
        return "not in the team"
    if is_gone(rules, reps, rep, now):
        return "deactivated"
    if presence is not None and presence.as_of(now) == "away":
        return f"away: until {_day(presence.until)}" if presence.until is not None else "away"
    until = known.away_until(moment(now)) if known.away else None
    return f"away: until {_day(micros(until))}" if until is not None else None


def is_gone(rules: RoutingRules, reps: Mapping[str, Presence], rep: str, now: int) -> bool:
    """Whether `rep` has left, by the team file or by what was said."""
    known, presence = rules.rep(rep), reps.get(rep)
    return known is None or not known.active or (presence is not None and presence.as_of(now) == "deactivated")


def _day(us: int) -> str:
    return (EPOCH + timedelta(microseconds=us)).strftime("%Y-%m-%d %H:%MZ")

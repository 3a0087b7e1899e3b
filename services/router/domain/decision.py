"""The choice of a lead's owner: the first routing rule that finds a rep, by the turns of its pool.

`gather_inputs` collects everything that the choice depends on. `decide` chooses from these inputs alone. The inputs are
stored with the decision, so that a replay runs the code that made the decision.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from firsthour.kernel.time_units import micros
from schemas.agreement.routing import RoutingRule
from schemas.conditions.fields import NOW
from schemas.events.base import Facts
from schemas.facts import is_product_fact
from services.router.domain.eligibility import LEFT, declined_before, too_long_ago, unavailability
from services.router.domain.lead import Lead
from services.router.domain.rules import RoutingRules, RuleOption
from services.router.domain.shares import closed
from services.router.domain.team_state import INITIAL_PRESENCE, INITIAL_ROTATION, Lags, TeamState
from services.router.domain.turns import Candidate, Turn, next_turn, settle

NO_RULE = "no routing rule matches"


class MatchedRule(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A routing rule that matches the lead. `seats`: the members of its `pool`, or the one rep that it names.

    `closed`: why the source of the lead gets no place in the pool, whose members are then not considered. None: it does.
    """

    rule: str
    seats: tuple[Candidate, ...]
    pool: str | None = None
    closed: str | None = None


class Inputs(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Everything that a decision depends on, without personal data. `facts`: the facts that routing rules read."""

    now: datetime
    urgency: str
    steps: tuple[MatchedRule, ...]
    facts: Facts = {}
    excluded: tuple[str, ...] = ()


class Considered(msgspec.Struct, frozen=True, gc=False):
    """A rep that a decision considered. `share`: the share of the pool's leads, 0 to 1."""

    rep: str
    eligible: bool
    ruled_out_by: str | None
    share: float
    rule: str


class RuleResult(msgspec.Struct, frozen=True, gc=False):
    """The result of a rule that matches: a rep and the reason. `rep` None: no rep could take the lead."""

    rule: str
    pool: str | None
    rep: str | None
    why: str


class Decision(msgspec.Struct, frozen=True, gc=False):
    """The chosen rep and the reason. `chosen` None: the lead waits in the queue of `pool`."""

    rule: str | None
    pool: str | None
    chosen: str | None
    why: str
    turn: Turn | None = None


# --- the choice ---------------------------------------------------------------------------------------------------


def decide(inputs: Inputs) -> Decision:
    """Return the choice that follows from `inputs`: the rep of the first rule that finds one.

    If no rule finds a rep, the lead waits in the queue of the first rule's pool.
    """
    for step in inputs.steps:
        turn = next_turn(step.seats)
        if turn is not None:
            return Decision(step.rule, step.pool, turn.rep, _why(step), turn if step.pool else None)
    pools = [step for step in inputs.steps if step.pool is not None]
    if pools:
        return Decision(pools[0].rule, pools[0].pool, None, _why_none(pools))
    why = f"no rule with a pool matches; {_why_none(inputs.steps)}" if inputs.steps else NO_RULE
    return Decision(None, "", None, why)


def outcomes(inputs: Inputs) -> Iterator[RuleResult]:
    """Yield the result of each rule that matches, up to the first that finds a rep."""
    for step in inputs.steps:
        turn = next_turn(step.seats)
        why = _why(step) if turn else _summary(step)
        yield RuleResult(step.rule, step.pool, turn.rep if turn else None, why)
        if turn is not None:
            return


def considered(inputs: Inputs) -> Iterator[Considered]:
    """Yield each rep that the decision considered, up to the rule that finds a rep. Computed when a decision is read."""
    for step in inputs.steps:
        weights = sum(candidate.weight for candidate in step.seats) or 1
        for candidate in step.seats:
            share = round(candidate.weight / weights, 4)
            yield Considered(candidate.rep, candidate.ruled_out_by is None, candidate.ruled_out_by, share, step.rule)
        if any(candidate.ruled_out_by is None for candidate in step.seats):
            return


def replay(inputs: Inputs) -> str | None:
    """Return the rep that follows from `inputs`. None: the lead waits."""
    return decide(inputs).chosen


def _why(step: MatchedRule) -> str:
    if step.pool is None:
        return step.rule
    eligible = [candidate.ruled_out_by for candidate in step.seats].count(None)
    return f"next in turn in {step.pool}: {eligible} of {len(step.seats)} could take the lead"


def _why_none(steps: Sequence[MatchedRule]) -> str:
    if len(steps) == 1 and steps[0].pool is not None:
        return _summary(steps[0])
    return "; ".join(f"{step.pool or step.rule}: {_summary(step)}" for step in steps)


def is_behind(inputs: Inputs) -> bool:
    """Return whether the lead, if it waits, waits behind all others: its source has its share of a pool."""
    return any(step.closed is not None for step in inputs.steps)


def _summary(step: MatchedRule) -> str:
    return step.closed or summary(step.seats)


def summary(candidates: Sequence[Candidate]) -> str:
    """Return why no candidate can take the lead, as `all 3 at capacity` or `2 at capacity, 1 away`."""
    if not candidates:
        return "names no rep"
    kinds = Counter((candidate.ruled_out_by or "").partition(":")[0] for candidate in candidates)
    if len(kinds) == 1:
        kind, count = next(iter(kinds.items()))
        return f"all {count} {kind}" if count > 1 else f"the only rep: {kind}"
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())


# --- the inputs ---------------------------------------------------------------------------------------------------


def gather_inputs(rules: RoutingRules, lead: Lead, team: TeamState, now: datetime) -> Inputs:
    """Return everything that the choice for `lead` depends on: the rules that match, up to the first that finds a rep."""
    case = _Case(rules, lead, team, micros(now))
    facts = context(rules, lead) | {NOW: case.now}
    steps: list[MatchedRule] = []
    for index in rules.matched(facts):
        rule = rules.routing[index]
        if rule.pool is not None and (why := closed(rules, lead, team, rule.pool, rules.candidates[index], case.now)):
            steps.append(MatchedRule(rule.name, (), rule.pool, why))
            continue
        if rule.pool is not None:
            lags = team.pools.get(rule.pool, INITIAL_ROTATION).lags
            steps.append(MatchedRule(rule.name, _members(case, rule.pool, rules.candidates[index], lags), rule.pool))
        else:
            steps.append(MatchedRule(rule.name, _named_rep(case, rule, facts)))
        if any(candidate.ruled_out_by is None for candidate in steps[-1].seats):
            break
    rule_facts = {name: facts[name] for name in rules.read if name in facts}
    not_again = lead.state.not_again
    return Inputs(now, lead.urgency, tuple(steps), rule_facts, (not_again,) if not_again else ())


def manual_inputs(lead: Lead, now: datetime, rule: str, rep: str) -> Inputs:
    """Return the inputs of a choice of one rep: by hand, or because the manager gets the lead."""
    return Inputs(now, lead.urgency, (MatchedRule(rule, (Candidate(rep),)),))


def context(rules: RoutingRules, lead: Lead) -> Facts:
    """Return the facts of a lead that routing rules can read."""
    state = lead.state
    facts: Facts = {**state.facts}
    if state.trigger is not None:
        facts |= {name: value for name, value in state.trigger.fields.items() if not is_product_fact(name)}
    facts |= {"status": lead.status, "urgency": lead.urgency, "grade": state.score.grade}
    facts |= {"fit": state.score.fit, "engagement": state.score.engagement, "total": state.score.total}
    facts |= {"touches": state.attempts, "attempts.total": state.attempts - state.conversations}
    facts["attempts.unanswered"] = state.unanswered
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
    """The lead to route, the team and the time."""

    rules: RoutingRules
    lead: Lead
    team: TeamState
    now: int


def _named_rep(case: _Case, rule: RoutingRule, facts: Facts) -> tuple[Candidate, ...]:
    rep = str(facts.get(rule.to or "", ""))
    if not rep:
        return ()
    expired = too_long_ago(rule, case.lead, case.now)
    absent = unavailability(case.rules, case.team.reps, rep, case.now)
    return (Candidate(rep, ruled_out_by=expired or absent or declined_before(case.rules, case.lead, rep, case.now)),)


def _members(case: _Case, pool: str, options: Sequence[RuleOption], lags: Lags) -> tuple[Candidate, ...]:
    rules, lead, reps, now = case.rules, case.lead, case.team.reps, case.now
    has_history = lead.state.not_again is not None or bool(lead.state.declined)  # rare, and needed for every member
    absent = {
        option.rep: unavailability(rules, reps, option.rep, now)
        for option in options
        if (presence := reps.get(option.rep, INITIAL_PRESENCE)).open >= option.simple_below
        or presence.state != "available"
    }
    members = rules.weights[pool]
    if not LEFT.isdisjoint(absent.values()):  # an absent member keeps the lag, a member who left does not
        members = {rep: weight for rep, weight in members.items() if absent.get(rep) not in LEFT}
    lag_of, absence_of = settle(lags, members).get, absent.get
    if not absent and not has_history:
        return tuple([Candidate(o.rep, o.weight, lag_of(o.rep, 0), o.speechless) for o in options])
    return tuple(
        [
            Candidate(
                option.rep,
                option.weight,
                lag_of(option.rep, 0),
                absence_of(option.rep)
                or (declined_before(rules, lead, option.rep, now) if has_history else None)
                or option.speechless,
            )
            for option in options
        ]
    )

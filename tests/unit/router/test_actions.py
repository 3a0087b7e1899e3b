"""Actions on a lead: tables of lead, actor and rules with the expected outcome or refusal."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from firsthour.kernel.config import Config
from firsthour.kernel.time_units import micros
from schemas.agreement.agreement import Agreement
from schemas.events.routes import LeadAccepted, LeadEvent, LeadOptedOut, LeadRecycled, LeadReleased, LeadSnoozed
from schemas.sources import Sources
from schemas.team import Team
from services.router.domain import actions, ownership
from services.router.domain.lead import Lead, LeadState
from services.router.domain.lifecycle import SYSTEM, Actor, Refused
from services.router.domain.outcome import BY_RULES, AssignmentEnd, Outcome, OwnerRequest
from services.router.domain.rules import RoutingRules, rules_of
from services.router.domain.team_state import Presence, TeamState
from tests.unit.router.harness import AGREEMENT, TEAM

NOW = 1_700_000_000_000_000
HOUR = 3_600_000_000
OWNER = Actor("rep:ana", frozenset({"owner", "sales"}), frozenset({"sales"}), "ana")
OTHER = Actor("rep:bo", frozenset({"sales"}), frozenset({"sales"}), "bo")
MANAGER = Actor("rep:max", frozenset({"owner", "manager", "sales"}), frozenset({"sales"}), "max")
MARKETER = Actor("key:dana", frozenset({"marketing"}), frozenset({"marketing"}))

Decide = Callable[[Lead, RoutingRules], Outcome | Refused]


def rules(people: dict[str, Any] = TEAM, **agreement: Any) -> RoutingRules:
    """Return the rules of an agreement and a team."""
    document = Agreement.model_validate({**AGREEMENT, **agreement})
    sources = Sources.model_validate({"sources": []})
    return rules_of(Config(document, Team.model_validate(people), sources, f"{people}{agreement}"))


RULES = rules()


def lead(status: str = "assigned", **more: Any) -> Lead:
    """Return a lead of ana, or a lead without an owner, by its status."""
    owned = {"owner": "ana", "epoch": 1, "pool": "all"} if status in {"assigned", "accepted", "working"} else {}
    return Lead("l1", status, **{"version": 5, "submit_at": NOW - HOUR, "urgency": "hot", **owned, **more})


def team_state(**presences: Presence) -> TeamState:
    return TeamState(dict(presences), {})


def applied(outcome: Outcome | Refused) -> Outcome:
    assert isinstance(outcome, Outcome), outcome
    return outcome


def refused(outcome: Outcome | Refused) -> Refused:
    assert isinstance(outcome, Refused), outcome
    return outcome


OUTCOMES: dict[str, tuple[Lead, Decide, str, str | None, type[LeadEvent], OwnerRequest | None]] = {
    "an owner accepts": (
        lead(),
        lambda one, by: actions.accept(one, OWNER, by, NOW),
        "accepted",
        "ana",
        LeadAccepted,
        None,
    ),
    "a manager accepts for the owner": (
        lead(),
        lambda one, by: actions.accept(one, MANAGER, by, NOW),
        "accepted",
        "ana",
        LeadAccepted,
        None,
    ),
    "a rejection sends the lead to another rep": (
        lead(),
        lambda one, by: actions.reject(one, OWNER, by, NOW, "no-time"),
        "qualified",
        None,
        LeadReleased,
        BY_RULES,
    ),
    "a rejection returns the lead to Marketing": (
        lead(),
        lambda one, by: actions.reject(one, OWNER, by, NOW, "not-now", NOW + HOUR),
        "nurturing",
        None,
        LeadRecycled,
        None,
    ),
    "an owner recycles a lead": (
        lead("accepted"),
        lambda one, by: actions.recycle(one, OWNER, by, NOW, "stalled"),
        "nurturing",
        None,
        LeadRecycled,
        None,
    ),
    "the person opts out": (
        lead(),
        lambda one, by: actions.opt_out(one, MARKETER, by, NOW, "asked"),
        "opted-out",
        None,
        LeadOptedOut,
        None,
    ),
    "an untouched lead is reassigned": (
        lead(),
        lambda one, by: ownership.reassign(one, SYSTEM, by, NOW, team_state(), "late"),
        "qualified",
        None,
        LeadReleased,
        BY_RULES,
    ),
    "the manager takes a lead that was reassigned often enough": (
        lead(state=LeadState(reassignments=1)),
        lambda one, by: ownership.reassign(one, SYSTEM, by, NOW, team_state(), "late"),
        "qualified",
        None,
        LeadReleased,
        OwnerRequest("max", ownership.TO_MANAGER),
    ),
    "an owner hands a lead over": (
        lead(),
        lambda one, by: ownership.assign(one, OWNER, by, NOW, "bo", "on holiday"),
        "qualified",
        None,
        LeadReleased,
        OwnerRequest("bo", ownership.BY_HAND, "on holiday"),
    ),
    "the lead of a deactivated rep is routed again": (
        lead("working"),
        lambda one, by: ownership.reroute(one, by, NOW),
        "qualified",
        None,
        LeadReleased,
        BY_RULES,
    ),
}


@pytest.mark.parametrize("case", OUTCOMES)
def test_action_has_the_expected_status_owner_event_and_request(case: str) -> None:
    before, decide, status, owner, kind, request = OUTCOMES[case]
    stored = msgspec.json.encode(before)
    outcome = applied(decide(before, RULES))
    after = outcome.lead
    assert (after.status, after.owner, outcome.next_owner) == (status, owner, request)
    [event] = outcome.events
    assert (type(event), event.was, event.status) == (kind, before.status, status)
    assert (event.version, after.version, event.epoch) == (6, 6, before.epoch)
    assert (outcome.ended is None) == (owner is not None)
    assert msgspec.json.encode(before) == stored  # an action never changes its argument


PAUSING = {"response": {**AGREEMENT["response"], "pauses": {"snooze": {"at_most": "2h"}}}}


@pytest.mark.parametrize("status", ["assigned", "accepted"])
@pytest.mark.parametrize("actor", [OWNER, MANAGER])
def test_snooze_is_published_and_changes_nothing_else(status: str, actor: Actor) -> None:
    before = lead(status)
    outcome = applied(actions.snooze(before, actor, rules(**PAUSING), NOW, NOW + 2 * HOUR))
    (event,) = outcome.events
    assert isinstance(event, LeadSnoozed)
    assert (event.rep, micros(event.until), event.version) == ("ana", NOW + 2 * HOUR, 6)
    assert (outcome.lead.status, outcome.lead.owner, outcome.ended, outcome.next_owner) == (status, "ana", None, None)


REFUSALS: dict[str, tuple[Lead, Decide, str, str]] = {
    "another rep accepts": (
        lead(),
        lambda one, by: actions.accept(one, OTHER, by, NOW),
        "actor",
        "only its owner can do this",
    ),
    "another rep snoozes": (
        lead(),
        lambda one, by: actions.snooze(one, OTHER, by, NOW, NOW + HOUR),
        "actor",
        "only its owner or a manager",
    ),
    "snoozing a touched lead": (
        lead("working"),
        lambda one, by: actions.snooze(one, OWNER, by, NOW, NOW + HOUR),
        "status",
        "cannot be snoozed",
    ),
    "a snooze longer than the agreement allows": (
        lead(),
        lambda one, by: actions.snooze(one, OWNER, rules(**PAUSING), NOW, NOW + 2 * HOUR + 1),
        "until",
        "longer than the agreement allows",
    ),
    "accepting a lead of Marketing": (
        lead("nurturing"),
        lambda one, by: actions.accept(one, OWNER, by, NOW),
        "status",
        "cannot become accepted",
    ),
    "rejecting an accepted lead": (
        lead("accepted"),
        lambda one, by: actions.reject(one, OWNER, by, NOW, "not-now"),
        "status",
        "cannot be rejected",
    ),
    "an unknown reason": (
        lead(),
        lambda one, by: actions.reject(one, OWNER, by, NOW, "bored"),
        "reason",
        "no reason 'bored'",
    ),
    "a rest for a lead that goes on": (
        lead(),
        lambda one, by: actions.reject(one, OWNER, by, NOW, "no-time", NOW + HOUR),
        "until",
        "to the next rep at once",
    ),
    "recycling a lead of Sales by Marketing": (
        lead("accepted"),
        lambda one, by: actions.recycle(one, MARKETER, by, NOW, "stalled"),
        "actor",
        "its owner or FirstHour can do this",
    ),
    "reassigning a touched lead": (
        lead(touched_at=NOW),
        lambda one, by: ownership.reassign(one, SYSTEM, by, NOW, team_state(), "late"),
        "status",
        "has been touched",
    ),
    "assigning to an unknown rep": (
        lead(),
        lambda one, by: ownership.assign(one, OWNER, by, NOW, "zoe", None),
        "rep",
        "no rep 'zoe'",
    ),
    "assigning a waiting lead as a rep": (
        lead("qualified"),
        lambda one, by: ownership.assign(one, OTHER, by, NOW, "bo", None),
        "actor",
        "only a manager can assign",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_action_is_refused_with_reason_and_remedy(case: str) -> None:
    before, decide, kind, why = REFUSALS[case]
    stored = msgspec.json.encode(before)
    refusal = refused(decide(before, RULES))
    assert refusal.kind == kind
    assert why in refusal.why
    assert refusal.remedy
    assert msgspec.json.encode(before) == stored


IN_EFFECT: dict[str, tuple[Lead, Decide]] = {
    "accepted": (lead("accepted"), lambda one, by: actions.accept(one, OWNER, by, NOW)),
    "rejected to Marketing": (
        lead("nurturing", state=LeadState(back="reject:not-now")),
        lambda one, by: actions.reject(one, OWNER, by, NOW, "not-now"),
    ),
    "rejected to another rep": (
        lead(owner="bo", state=LeadState(declined={"ana": NOW})),
        lambda one, by: actions.reject(one, Actor("rep:ana", frozenset({"sales"}), rep="ana"), by, NOW, "no-time"),
    ),
    "recycled": (
        lead("nurturing", state=LeadState(back="recycle:stalled")),
        lambda one, by: actions.recycle(one, OWNER, by, NOW, "stalled"),
    ),
    "assigned to the rep": (lead(), lambda one, by: ownership.assign(one, OTHER, by, NOW, "ana", None)),
}


@pytest.mark.parametrize("case", IN_EFFECT)
def test_action_in_effect_changes_nothing(case: str) -> None:
    before, decide = IN_EFFECT[case]
    outcome = applied(decide(before, RULES))
    assert outcome.lead is before
    assert (outcome.events, outcome.ended, outcome.next_owner) == ((), None, None)


# --- the state of the outcome ------------------------------------------------------------------------------------


def test_rejecting_rep_is_not_the_next_owner() -> None:
    before = lead(state=LeadState(declined={"cy": 1}))
    outcome = applied(actions.reject(before, OWNER, RULES, NOW, "no-time"))
    state = outcome.lead.state
    assert (state.declined, state.not_again) == ({"cy": 1, "ana": NOW}, "ana")
    assert (state.previous_owner, state.previous_left_at) == ("ana", NOW)
    assert outcome.ended == AssignmentEnd("rep:ana", "reject: no-time")


def test_return_to_marketing_leaves_queue_and_pool_and_rests() -> None:
    outcome = applied(actions.reject(lead(), OWNER, RULES, NOW, "not-now", NOW + HOUR))
    after = outcome.lead
    assert (after.pool, after.queue_pool) == (None, None)
    assert (after.state.back, after.state.rests_until, after.state.back_at) == ("reject:not-now", NOW + HOUR, NOW)


def test_opt_out_older_than_consent_is_only_noted() -> None:
    before = lead(state=LeadState(consented_at=NOW))
    outcome = applied(actions.opt_out(before, SYSTEM, RULES, NOW, "asked", NOW - 1))
    assert (outcome.lead.status, outcome.lead.owner, outcome.events) == ("assigned", "ana", ())
    assert outcome.lead.state.opted_out_at == NOW - 1


def test_second_opt_out_notes_the_later_time() -> None:
    before = lead("opted-out", state=LeadState(opted_out_at=NOW - HOUR))
    outcome = applied(actions.opt_out(before, SYSTEM, RULES, NOW, "asked"))
    assert (outcome.lead.state.opted_out_at, outcome.events) == (NOW, ())


@pytest.mark.parametrize(
    ("by", "roles"),
    [
        ("system", {"system"}),
        ("rep:ana", {"sales", "owner"}),
        ("rep:bo", {"sales"}),
        ("rep:max", {"sales", "owner", "manager"}),
        ("key:x", {"sales"}),
    ],
)
def test_actor_has_the_roles_of_rep_and_manager(by: str, roles: set[str]) -> None:
    assert actions.actor_of(RULES, lead(), by).roles == roles

"""A lead from its score to its owner, and the actions of owner and person afterwards."""

from datetime import timedelta

import msgspec
import pytest
import sqlalchemy as sa

from firsthour.runtime.http.problem import Problem
from schemas.events.base import Facts
from schemas.events.leads import LeadBackground, LeadRequest, OpportunityMoved, ScoreReason
from schemas.events.routes import (
    LeadAccepted,
    LeadAssigned,
    LeadEvent,
    LeadOptedOut,
    LeadQualified,
    LeadQueued,
    LeadRecycled,
    LeadReleased,
    LeadStatusChanged,
    TouchApplied,
)
from services.router import commands
from services.router.domain.decision import context
from services.router.domain.rules import rules_of
from services.router.store.changes import RoutingChanges, store_changes
from services.router.store.decisions import Assignment
from tests.unit.router.harness import BY_SCORE, HAND_RAISER, MANAGER, MARKETER, RouterHarness, rep, sales, team


def test_lead_that_meets_no_line_stays_with_marketing(harness: RouterHarness) -> None:
    harness.hear(harness.score_event("l1"))
    assert harness.lead("l1").status == "new"
    assert harness.events == []


def test_lead_is_qualified_once_and_assigned_in_the_same_unit(harness: RouterHarness) -> None:
    harness.hear(
        harness.score_event("l1", HAND_RAISER),
        harness.score_event("l1", HAND_RAISER),
        harness.score_event("l1", BY_SCORE),
    )
    assert [type(event) for event in harness.events] == [LeadQualified, LeadAssigned]
    assert (harness.lead("l1").status, harness.lead("l1").owner, harness.lead("l1").epoch) == ("assigned", "ana", 1)
    assigned = harness.events_of(LeadAssigned)[0]
    assert (assigned.card.name, assigned.card.because) == ("Name l1", "hand-raiser: form.submitted demo-request")


def test_card_has_the_background_of_the_newest_hand_over_and_the_place_of_the_person(harness: RouterHarness) -> None:
    at = harness.clock.now
    asked = LeadBackground(LeadRequest(at, "Call me", "demo-request"), (), (ScoreReason("Asked for a demo"),))
    facts: Facts = {"country": "US", "custom.timezone": "America/Chicago", "company.employees": 40, "title": "CTO"}
    scored = harness.score_event("l1", HAND_RAISER, facts=facts)
    harness.hear(msgspec.structs.replace(scored, background=asked))
    harness.hear(harness.score_event("l1", facts=facts))  # a visit that meets no line keeps the background
    card = harness.events_of(LeadAssigned)[0].card
    assert (card.request, card.reasons) == (asked.request, asked.reasons)
    assert (card.country, card.zone, card.employees, card.title) == ("US", "America/Chicago", 40, "CTO")
    assert harness.lead("l1").state.background == asked


def test_second_request_of_an_owned_lead_restarts_the_response_clock(harness: RouterHarness) -> None:
    harness.submit_form("l1")
    submitted = harness.lead("l1").submit_at
    harness.wait(minutes=5)
    harness.submit_form("l1")
    assert (harness.lead("l1").submit_at or 0) - (submitted or 0) == 300_000_000


def test_score_qualifies_again_after_a_fall_and_a_form_always(harness: RouterHarness) -> None:
    harness.hear(harness.score_event("l1", BY_SCORE, total=70))
    harness.run_command(commands.reject, "l1", "not-now", sales("ana"))
    harness.hear(harness.score_event("l1", BY_SCORE, total=70))
    assert harness.lead("l1").status == "nurturing"
    harness.hear(harness.score_event("l1", total=30))
    harness.hear(harness.score_event("l1", BY_SCORE, total=70))
    assert (harness.lead("l1").status, harness.lead("l1").epoch) == ("assigned", 2)
    harness.run_command(commands.reject, "l1", "not-now", sales(harness.lead("l1").owner))
    harness.submit_form("l1")
    assert (harness.lead("l1").status, harness.lead("l1").urgency, harness.lead("l1").epoch) == ("assigned", "hot", 3)


def test_older_score_record_changes_neither_facts_nor_score(harness: RouterHarness) -> None:
    older = harness.score_event("l1", BY_SCORE, total=90, facts={"title": "CTO", "country": "DE"})
    harness.hear(harness.score_event("l1", total=10, facts={"country": "FR"}))
    harness.hear(older)
    facts = harness.lead("l1").state.facts
    assert (facts["country"], "title" in facts) == ("FR", False)  # every record contains all facts of the person
    assert (harness.lead("l1").state.score.total, harness.lead("l1").status) == (10, "new")


def test_suppressed_person_is_never_routed(harness: RouterHarness) -> None:
    harness.hear(harness.score_event("l1", HAND_RAISER, suppressed="Competitor"))
    assert (harness.lead("l1").status, harness.events) == ("new", [])


def test_turns_follow_the_weights(harness: RouterHarness) -> None:
    harness.configure(team(rep("ana"), rep("bo"), pools={"all": {"ana": 2, "bo": 1}}))
    harness.submit_form(*(f"l{n}" for n in range(6)))
    harness.submit_form(*(f"m{n}" for n in range(6)))
    assert (harness.open_leads("ana"), harness.open_leads("bo")) == (8, 4)


def test_repeated_accept_changes_nothing(harness: RouterHarness) -> None:
    harness.submit_form("l1")
    for _ in range(2):
        assert harness.run_command(commands.accept, "l1", sales("ana"))["status"] == "accepted"
    assert len(harness.events_of(LeadAccepted)) == 1


def test_accept_is_for_the_owner_and_managers(harness: RouterHarness) -> None:
    harness.submit_form("l1")
    with pytest.raises(Problem) as refused:
        harness.run_command(commands.accept, "l1", sales("bo"))
    assert refused.value.status == 403
    assert harness.run_command(commands.accept, "l1", MANAGER)["status"] == "accepted"


def test_command_on_an_unknown_lead_is_not_found(harness: RouterHarness) -> None:
    with pytest.raises(Problem) as refused:
        harness.run_command(commands.accept, "unknown", MANAGER)
    assert refused.value.status == 404


def test_impossible_transition_is_refused_with_the_possible_ones(harness: RouterHarness) -> None:
    harness.submit_form("l1")
    harness.run_command(commands.accept, "l1", sales("ana"))
    with pytest.raises(Problem) as refused:
        harness.run_command(commands.reject, "l1", "not-now", sales("ana"))
    assert refused.value.status == 409
    assert "recycle to nurturing" in refused.value.detail
    assert refused.value.extensions["lead"]["owner"] == "ana"


def test_unknown_reason_is_refused_with_the_reasons_of_the_agreement(harness: RouterHarness) -> None:
    harness.submit_form("l1")
    with pytest.raises(Problem) as refused:
        harness.run_command(commands.reject, "l1", "bored", sales("ana"))
    assert refused.value.status == 422
    assert "no-time" in refused.value.errors[0]["detail"]


def test_rejected_lead_never_returns_to_a_rep_who_rejected_it(harness: RouterHarness) -> None:
    harness.submit_form("l1")
    for owner, successor in (("ana", "bo"), ("bo", "cy"), ("cy", None)):
        assert harness.run_command(commands.reject, "l1", "no-time", sales(owner))["owner"] == successor
    lead = harness.lead("l1")
    assert (lead.status, lead.queue_pool, lead.epoch) == ("qualified", "all", 3)
    assert lead.queue_reason == "all 3 had the lead before and did not take it"
    assert [event.kind for event in harness.events_of(LeadReleased)] == ["reject"] * 3
    harness.serve_queue()
    assert harness.lead("l1").owner is None
    harness.wait(days=31)
    harness.serve_queue()
    assert harness.lead("l1").owner in {"ana", "bo"}


def test_rejecting_rep_is_not_the_next_owner_without_a_pause(harness: RouterHarness) -> None:
    harness.configure(
        team(rep("ana"), pools={"all": {"ana": 1}}),
        routing={"rules": [{"name": "everyone", "pool": "all"}], "never_back_to_same_rep_for": "0m"},
    )
    harness.submit_form("l1")
    harness.run_command(commands.reject, "l1", "no-time", sales("ana"))
    harness.serve_queue()
    assert harness.lead("l1").owner is None


def test_repeated_rejection_counts_once(harness: RouterHarness) -> None:
    harness.submit_form("l1", "l2")
    harness.run_command(commands.reject, "l1", "no-time", sales("ana"))
    again = harness.run_command(commands.reject, "l1", "no-time", sales("ana"))
    assert (again["status"], again["epoch"]) == ("assigned", 2)
    harness.run_command(commands.reject, "l2", "not-now", sales("bo"))
    assert harness.run_command(commands.reject, "l2", "not-now", sales("bo"))["status"] == "nurturing"
    assert len(harness.events_of(LeadReleased)) == len(harness.events_of(LeadRecycled)) == 1


def test_reason_of_marketing_returns_the_lead_to_marketing(harness: RouterHarness) -> None:
    harness.submit_form("l1")
    answer = harness.run_command(commands.reject, "l1", "not-now", sales("ana"))
    assert (answer["status"], answer["owner"]) == ("nurturing", None)
    assert [(event.kind, event.rep) for event in harness.events_of(LeadRecycled)] == [("reject", "ana")]
    assert harness.open_leads("ana") == 0


def test_touch_moves_the_lead_to_working_and_is_always_published(harness: RouterHarness) -> None:
    harness.submit_form("l1")
    harness.wait(minutes=3)
    first = harness.clock.now
    harness.record_touch("l1", by="ana")
    harness.wait(minutes=3)
    answer = harness.run_command(commands.touch, "l1", "email", True, None, sales("ana"))
    assert (answer["status"], answer["touched_at"]) == ("working", first)
    assert [(e.status, e.was, e.by) for e in harness.events_of(TouchApplied)] == [
        ("working", "assigned", "system"),
        ("working", "working", "rep:ana"),
    ]
    assert (harness.lead("l1").state.attempts, harness.lead("l1").state.unanswered) == (2, 0)


def test_touch_from_before_the_submit_does_not_count(harness: RouterHarness) -> None:
    harness.submit_form("l1")
    harness.record_touch("l1", at=harness.clock.now - timedelta(days=1))
    assert (harness.lead("l1").status, harness.lead("l1").touched_at) == ("assigned", None)


def test_touch_of_an_unknown_lead_creates_it(harness: RouterHarness) -> None:
    harness.record_touch("l9")
    assert harness.lead("l9").status == "new"


def test_opt_out_ends_assignment_and_open_load(harness: RouterHarness) -> None:
    harness.submit_form("l1")
    harness.set_consent("l1", False)
    harness.set_consent("l1", False)
    lead = harness.lead("l1")
    assert (lead.status, lead.owner, harness.open_leads("ana")) == ("opted-out", None, 0)
    assert len(harness.events_of(LeadOptedOut)) == 1
    assert "router.queue" in harness.woken or harness.events_of(LeadOptedOut)
    harness.submit_form("l1")
    assert harness.lead("l1").status == "opted-out"
    harness.set_consent("l1", True)
    assert harness.lead("l1").status == "opted-out"  # of equal times, the opt-out is in force
    harness.wait(minutes=1)
    harness.set_consent("l1", True)
    assert harness.lead("l1").status == "nurturing"
    assert harness.events_of(LeadStatusChanged)[0].was == "opted-out"


def test_marketing_may_opt_a_lead_of_sales_out_but_not_recycle_it(harness: RouterHarness) -> None:
    harness.submit_form("l1")
    harness.run_command(commands.accept, "l1", sales("ana"))
    with pytest.raises(Problem) as refused:
        harness.run_command(commands.recycle, "l1", "stalled", MARKETER)
    assert refused.value.status == 403
    assert harness.run_command(commands.opt_out, "l1", "asked", MARKETER)["status"] == "opted-out"


def test_repeated_recycle_returns_the_lead_to_marketing_once(harness: RouterHarness) -> None:
    harness.submit_form("l1")
    harness.run_command(commands.accept, "l1", sales("ana"))
    for _ in range(2):
        assert harness.run_command(commands.recycle, "l1", "stalled", sales("ana"))["status"] == "nurturing"
    assert [event.kind for event in harness.events_of(LeadRecycled)] == ["recycle"]


@pytest.mark.parametrize(
    ("stages", "status"),
    [
        (("open",), "opportunity"),
        (("won",), "customer"),
        (("open", "won"), "customer"),
        (("open", "lost"), "nurturing"),
        (("lost",), "assigned"),
    ],
)
def test_deal_moves_the_lead_to_the_statuses_of_the_agreement(
    harness: RouterHarness, stages: tuple[str, ...], status: str
) -> None:
    harness.submit_form("l1")
    for stage in stages:
        harness.move_deal("l1", stage)
    assert harness.lead("l1").status == status
    assert harness.open_leads("ana") == (1 if status == "assigned" else 0)


def test_waiting_lead_does_not_become_an_opportunity(harness: RouterHarness) -> None:
    harness.configure(team(rep("ana", capacity={"open": 0}), pools={"all": {"ana": 1}}))
    harness.submit_form("l1")
    harness.move_deal("l1", "open")
    assert harness.lead("l1").status == "qualified"


def events_by_lead(harness: RouterHarness) -> dict[str, list[type[LeadEvent]]]:
    """Return the types of the events of each lead, in order. The order among leads is not fixed."""
    types: dict[str, list[type[LeadEvent]]] = {}
    for event in harness.events_of(LeadEvent):
        types.setdefault(event.lead_id, []).append(type(event))
    return types


def test_batch_and_single_events_give_the_same_state(
    harness: RouterHarness, tmp_path_factory: pytest.TempPathFactory
) -> None:
    events = [harness.score_event(f"l{n % 7}", *((HAND_RAISER,) if n % 3 else (BY_SCORE,))) for n in range(40)]
    other = RouterHarness(tmp_path_factory.mktemp("other") / "x.db")
    harness.hear(*events)
    for event in events:
        other.hear(event)
    columns = "lead_id, status, version, epoch, owner"
    assert harness.rows(f"SELECT {columns} FROM router_leads ORDER BY 1") == other.rows(
        f"SELECT {columns} FROM router_leads ORDER BY 1"
    )
    assert events_by_lead(harness) == events_by_lead(other)
    other.close()


def test_capacity_freed_within_a_batch_serves_later_records_only(harness: RouterHarness) -> None:
    harness.configure(team(rep("ana", capacity={"open": 1}), pools={"all": {"ana": 1}}))
    harness.submit_form("l1")
    harness.hear(
        harness.score_event("l2", HAND_RAISER),
        OpportunityMoved(lead_id="l1", at=harness.clock.now, stage="won", event_id="won"),
        harness.score_event("l3", HAND_RAISER),
    )
    assert [type(event) for event in harness.events_of(LeadEvent) if event.lead_id == "l2"][:2] == [
        LeadQualified,
        LeadQueued,
    ]
    assert harness.owners("l2", "l3") == ["ana", None]


def test_batch_needs_as_many_statements_as_one_event(harness: RouterHarness) -> None:
    statements: list[object] = []
    sa.event.listen(harness.engine, "before_cursor_execute", lambda *call: statements.append(call))
    harness.submit_form("first")  # it creates the rows of pools and reps
    counts = []
    for size in (1, 100):
        statements.clear()
        harness.hear(*(harness.score_event(f"s{size}-{n}", HAND_RAISER) for n in range(size)))
        counts.append(len(statements))
    assert 0 < counts[0] == counts[1]


def test_lead_state_survives_storing(harness: RouterHarness) -> None:
    harness.submit_form("l1")
    harness.run_command(commands.reject, "l1", "no-time", sales("ana"))
    state = harness.lead("l1").state
    assert msgspec.json.decode(msgspec.json.encode(state), type=type(state)) == state
    assert set(state.declined) == {"ana"}


def test_database_rejects_a_second_open_assignment(harness: RouterHarness) -> None:
    harness.submit_form("l1")
    second = Assignment("l1", 2, "bo", "all", "everyone", "d", 1)
    with pytest.raises(sa.exc.IntegrityError):
        harness.run_unit(lambda unit: store_changes(unit, RoutingChanges(assignments=[second])))


def test_repeated_record_hands_over_once(harness: RouterHarness) -> None:
    record = harness.score_event("l1", HAND_RAISER)
    harness.hear(record)
    harness.run_command(commands.reject, "l1", "not-now", sales("ana"))
    harness.hear(record)
    assert harness.lead("l1").status == "nurturing"


def test_event_cannot_set_account_owner_or_previous_owner(harness: RouterHarness) -> None:
    event = harness.score_event("l1", HAND_RAISER)
    fields = {**event.trigger.fields, "account.owner": "bo", "previous_owner": "bo"}
    harness.hear(msgspec.structs.replace(event, trigger=msgspec.structs.replace(event.trigger, fields=fields)))
    facts = context(rules_of(harness.config), harness.lead("l1"))
    assert facts.keys().isdisjoint({"account.owner", "previous_owner"})

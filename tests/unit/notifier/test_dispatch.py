"""Dispatches after each outcome, and the webhooks that a record of the router makes."""

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from firsthour.kernel.time_units import moment
from schemas.agreement.ways_out import WebhookWay
from schemas.events.routes import LeadAssigned, LeadCard, LeadEvent, LeadRecycled, LeadStatusChanged, TouchApplied
from services.notifier.domain.dispatch import Dispatch, State, claimed, refused, resent
from services.notifier.domain.page import LEASE
from services.notifier.domain.webhook_event import dispatches, types
from services.notifier.store.dispatches import add_dispatches, hurry_dispatches
from tests.unit.notifier.harness import CONFIG, NotifierHarness
from tests.unit.notifier.router_records import NINE

WEBHOOK = Dispatch(
    id="d",
    kind="webhook",
    channel="crm",
    channels=("crm",),
    type="lead.moved",
    lead_id="l1",
    body="{}",
    created_at=NINE,
    next_at=NINE,
)
NOTICE = Dispatch(
    id="n",
    kind="notice",
    channel="slack",
    channels=("slack", "email"),
    type="operator",
    lead_id="",
    body="{}",
    created_at=NINE,
    next_at=NINE,
)


def seconds(dispatch: Dispatch) -> float | None:
    return None if dispatch.next_at is None else (dispatch.next_at - NINE).total_seconds()


def test_webhook_waits_by_the_published_schedule_and_fails_after_ten_tries() -> None:
    dispatch, waits = WEBHOOK, []
    while dispatch.state != "failed":
        dispatch = refused(dispatch, "crm answered 500", None, 0.0, NINE)
        waits.append(seconds(dispatch))
    assert waits == [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400, None]
    assert (dispatch.error, dispatch.ended_at) == ("crm answered 500", NINE)


@pytest.mark.parametrize(("asked", "jitter", "wait"), [(None, 1.0, 5.5), (60.0, 0.0, 60.0), (2.0, 0.0, 5.0)])
def test_webhook_waits_at_least_as_long_as_the_receiver_asked_for(
    asked: float | None, jitter: float, wait: float
) -> None:
    assert seconds(refused(WEBHOOK, "", asked, jitter, NINE)) == wait


def test_webhook_that_is_refused_for_good_is_tried_again() -> None:
    assert refused(WEBHOOK, "", None, 0.0, NINE, lasting=True).state == "pending"


def test_resent_webhook_has_its_whole_schedule_and_its_id() -> None:
    failed = replace_failures(WEBHOOK, 9)
    again = resent(refused(failed, "x", None, 0.0, NINE), NINE)
    assert (again.id, again.state, again.failures, again.error) == ("d", "pending", 0, None)
    assert seconds(refused(again, "", None, 0.0, NINE)) == 5


def test_notice_goes_over_its_next_channel_at_once_then_waits() -> None:
    second = refused(NOTICE, "down", 60.0, 1.0, NINE)
    assert (second.channel, seconds(second)) == ("email", 0)
    third = refused(second, "down", None, 1.0, NINE)
    assert (third.channel, seconds(third)) == ("slack", 4)


@pytest.mark.parametrize(
    ("hours", "failures", "lasting", "state"),
    [(23, 5, False, "pending"), (24, 5, False, "failed"), (0, 0, True, "pending"), (0, 1, True, "failed")],
)
def test_notice_ends_after_a_day_or_when_every_channel_refuses_it_for_good(
    hours: int, failures: int, lasting: bool, state: State
) -> None:
    late = NINE + timedelta(hours=hours)
    assert refused(replace_failures(NOTICE, failures), "x", None, 1.0, late, lasting=lasting).state == state


def test_claim_counts_the_try_and_is_a_lease() -> None:
    claim = claimed(WEBHOOK, NINE)
    assert (claim.state, claim.tries, seconds(claim)) == ("sending", 1, 10)


def replace_failures(dispatch: Dispatch, failures: int) -> Dispatch:
    return Dispatch(**{**{name: getattr(dispatch, name) for name in dispatch.__struct_fields__}, "failures": failures})


COMMON: dict[str, Any] = {"lead_id": "l1", "version": 3, "at": NINE, "epoch": 1, "by": "system"}
ASSIGNED = LeadAssigned(
    **COMMON, status="assigned", was="qualified", rep="ana", owner="ana", decision_id="x", urgency="hot",
    submit_at=NINE, assigned_at=NINE,
)  # fmt: skip


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (ASSIGNED, ["lead.assigned", "lead.moved"]),
        (LeadStatusChanged(**COMMON, status="working", was="working"), []),
        (LeadStatusChanged(**COMMON, status="customer", was="working"), ["lead.moved"]),
        (
            LeadRecycled(**COMMON, status="nurturing", was="working", kind="recycle", reason="stalled", rep="ana"),
            ["lead.released", "lead.moved"],
        ),
        (
            TouchApplied(**COMMON, status="working", was="working", channel="phone", answered=True, touched_at=NINE),
            ["touch.applied"],
        ),
    ],
)
def test_record_makes_one_webhook_for_each_change(event: LeadEvent, expected: list[str]) -> None:
    assert list(types(event)) == expected


def test_webhook_goes_only_to_endpoints_that_name_its_type_and_cuts_long_text() -> None:
    way = {"kind": "webhook", "url": "https://a.example/", "secret": {"env": "A"}}
    ways = {
        "all": WebhookWay.model_validate({**way, "events": ["lead.assigned", "lead.moved"]}),
        "owners": WebhookWay.model_validate({**way, "events": ["lead.assigned"]}),
    }
    card = LeadCard(name="\ud800" + "x" * 100_000, email="ann@acme.example")
    made = list(dispatches(ways, [("e1", ASSIGNED)], {"l1": card}, CONFIG.team, NINE))
    assert [(one.channel, one.type) for one in made] == [
        ("all", "lead.assigned"),
        ("owners", "lead.assigned"),
        ("all", "lead.moved"),
    ]
    assert len({one.id for one in made}) == 3
    assert max(len(one.body) for one in made) < 5_000
    again = list(dispatches(ways, [("e1", ASSIGNED)], {"l1": card}, CONFIG.team, NINE))
    assert [one.id for one in again] == [one.id for one in made], "the same record never makes another webhook"


def test_dispatch_of_a_clock_that_was_ahead_waits_no_longer(harness: NotifierHarness) -> None:
    """One that is being sent keeps a lease from now on. One of the past keeps its schedule."""
    ahead, later = NINE + timedelta(hours=5), NINE + timedelta(hours=2)
    waiting = replace(WEBHOOK, id="waiting", created_at=ahead, next_at=ahead)
    sent_now = replace(waiting, id="sending", state="sending")
    harness.units.now(lambda unit: add_dispatches(unit, [waiting, sent_now, replace(WEBHOOK, next_at=later)]))
    assert harness.units.now(lambda unit: hurry_dispatches(unit, NINE, NINE + LEASE)) == 2
    rows = harness.rows("SELECT id, next_at FROM notifier_dispatches")
    assert {row["id"]: moment(row["next_at"]) for row in rows} == {"waiting": NINE, "sending": NINE + LEASE, "d": later}

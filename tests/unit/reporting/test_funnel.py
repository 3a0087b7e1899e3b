"""The passes of a lead through the funnel: merges, records in another order, and the order of the steps."""

import dataclasses
from datetime import timedelta

import pytest
from msgspec.structs import replace

from firsthour.kernel.time_units import micros
from schemas.agreement.lifecycle import Lifecycle
from schemas.events.base import Event
from schemas.events.leads import OpportunityMoved, Trigger
from services.reporting import funnel_tallies
from services.reporting.domain.funnel_steps import is_lost, statuses_in_order, steps_of
from services.reporting.funnel_passes import DAY_US
from services.reporting.reports.funnel_counting import bucket_end, bucket_of, packed_day
from tests.unit.notifier.harness import CONFIG
from tests.unit.reporting.funnel_harness import FunnelHarness, at_minute, heard
from tests.unit.reporting.funnel_histories import START, merge, moved, scored, touched

ONE, TWO = "lead1", "lead2"


def life(lead: str, start: int, *statuses: str) -> list[Event]:
    """Return the records of a lead that takes these statuses, a minute after each other."""
    records: list[Event] = [scored(lead, at_minute(start))]
    for n, (was, status) in enumerate(zip(("new", *statuses), statuses, strict=False), start=1):
        records.append(moved(lead, n, at_minute(start + n), was, status))
    return records


def reached(harness: FunnelHarness, **parameters: str) -> dict[str, int]:
    steps = harness.report(**parameters)["total"]["steps"]
    return {step["step"]: step["reached"] for step in steps if step["reached"]}


def test_merged_leads_are_one_person_with_the_earlier_time_of_each_step() -> None:
    harness = heard([*life(ONE, 10, "qualified", "assigned"), *life(TWO, 0, "qualified")])
    harness.hear(merge(ONE, TWO, at_minute(20)))
    harness.hear(merge(ONE, TWO, at_minute(20)))  # under the other id
    harness.hear(moved(ONE, 9, at_minute(30), "assigned", "accepted"))
    assert reached(harness) == {"new": 1, "qualified": 1, "assigned": 1, "accepted": 1}
    [(lead, _, start, *_)] = harness.passes()
    assert (lead, start) == (ONE, micros(at_minute(0)))
    before = harness.passes()
    harness.rebuild()
    assert harness.passes() == before


def test_records_of_both_leads_and_their_merge_in_one_batch() -> None:
    records = [*life(ONE, 0, "qualified"), *life(TWO, 5, "qualified", "assigned", "nurturing")]
    after = [merge(TWO, ONE, at_minute(20)), moved(TWO, 9, at_minute(30), "nurturing", "qualified")]
    together, apart = heard([*records, *after]), heard(records)
    for record in after:
        apart.hear(record)
    assert together.passes() == apart.passes()
    assert [row[1] for row in together.passes()] == [1, 2]
    assert {row[0] for row in together.passes()} == {TWO}


def test_hand_over_that_is_read_before_the_first_score_gives_the_same_pass() -> None:
    records = life(ONE, 0, "qualified", "assigned")
    first, *routes = records
    assert heard([*routes, first], [2]).passes() == heard(records).passes()


def test_stage_in_the_first_event_of_a_person_counts() -> None:
    first = scored(ONE, START)
    stage = OpportunityMoved(lead_id=ONE, at=START, stage="offer", event_id="e-1")
    trigger = Trigger("e-1", "opportunity.changed", START, "crm", {"stage": "offer"})
    assert reached(heard([stage, replace(first, trigger=trigger)])) == {"new": 1, "stage:offer": 1}


def test_lead_that_is_older_than_the_model_counts_from_its_return() -> None:
    harness = heard([moved(ONE, 7, at_minute(0), "assigned", "accepted")])
    assert harness.passes() == []
    harness.hear(moved(ONE, 8, at_minute(1), "accepted", "nurturing"))
    harness.hear(moved(ONE, 9, at_minute(2), "nurturing", "qualified"))
    assert reached(harness) == {}
    assert reached(harness, passes="later") == {"nurturing": 1, "qualified": 1}


def test_late_touch_counts_for_the_pass_of_its_own_time() -> None:
    records = life(ONE, 0, "qualified", "assigned", "nurturing", "qualified", "assigned")
    late = touched(ONE, 9, at_minute(20), "assigned", "working", answered=True, late=timedelta(minutes=17.5))
    harness = heard([*records, late])
    assert reached(harness)["touch:conversation"] == 1
    assert "touch:conversation" not in reached(harness, passes="later")
    assert reached(harness, passes="later")["working"] == 1


def test_tally_of_a_day_that_has_changed_meanwhile_is_not_stored() -> None:
    harness = heard(life(ONE, 0, "qualified"))
    day, steps, layout = micros(START) // DAY_US, steps_of(harness.config), harness.query().layout
    state = harness.unit(lambda unit: funnel_tallies.state_of(unit.connection, day))
    body = harness.unit(lambda unit: packed_day(unit.connection, steps, day))
    harness.hear(moved(ONE, 2, at_minute(9), "qualified", "assigned"))
    assert not harness.unit(lambda unit: funnel_tallies.replace_day(unit, day, state, layout, body))
    assert harness.count_days() == 1
    assert not harness.unit(lambda unit: funnel_tallies.replace_day(unit, day, state, layout, body))
    assert reached(harness) == {"new": 1, "qualified": 1, "assigned": 1}


def test_other_steps_make_stored_tallies_void() -> None:
    harness = heard(
        [*life(ONE, 0, "qualified"), OpportunityMoved(lead_id=ONE, at=START, stage="visit", event_id="e-1")]
    )
    harness.count_days()
    lifecycle = Lifecycle.model_validate({"stages": ["visit"]})
    agreement = harness.config.agreement.model_copy(update={"lifecycle": lifecycle})
    harness.config = dataclasses.replace(harness.config, agreement=agreement, version="visits")
    assert reached(harness) == {"new": 1, "qualified": 1, "stage:visit": 1}
    layout = harness.query().layout
    other = harness.unit(lambda unit: funnel_tallies.day_of_another_layout(unit.connection, layout))
    assert other == micros(START) // DAY_US


def test_groups_beyond_the_largest_are_one_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.reporting.reports.funnel_counting.GROUPS_MAX", 1)
    harness = heard([scored("a", START, "big"), scored("b", START, "big"), scored("c", START, "x"), scored("d", START)])
    items = harness.report(by="source")["items"]
    assert [(item["key"], item["other"], item["entered"]) for item in items] == [("big", False, 2), (None, True, 2)]
    assert items[1]["leads"] is None


def test_statuses_of_the_agreement_are_steps_in_its_order() -> None:
    statuses = {
        **dict.fromkeys(("new", "nurturing"), "marketing"),
        **dict.fromkeys(("qualified", "booked", "assigned", "accepted", "working", "customer"), "sales"),
        "churned": "sales",
        "disqualified": "marketing",
        "opted-out": "nobody",
    }
    lifecycle = Lifecycle.model_validate({"statuses": statuses})
    ordered = ["new", "nurturing", "qualified", "booked", "assigned", "accepted", "working", "customer"]
    assert statuses_in_order(lifecycle) == ordered
    assert [name for name in statuses if is_lost(lifecycle, name)] == ["churned", "disqualified", "opted-out"]
    assert [step.name for step in steps_of(CONFIG)][4:8] == ["accepted", "first attempt", "conversation", "working"]


@pytest.mark.parametrize(
    ("stages", "mistake"),
    [
        (["offer", "won"], "`won` is no stage"),
        (["offer", "offer"], "`offer` stands here twice"),
        (["x" * 201], "is no stage"),
        ([f"stage {n}" for n in range(21)], "at most 20"),
    ],
    ids=["outcome", "twice", "long", "many"],
)
def test_stages_that_cannot_be_counted_are_refused(stages: list[str], mistake: str) -> None:
    with pytest.raises(ValueError, match=mistake):
        Lifecycle.model_validate({"stages": stages})


@pytest.mark.parametrize(("per", "days"), [("day", 1), ("week", 7), ("month", 31)], ids=["day", "week", "month"])
def test_buckets_hold_their_times(per: str, days: int) -> None:
    for day in range(0, 800, 3):
        at = (20_000 + day) * DAY_US + 5
        begin = bucket_of(at, per)  # type: ignore[arg-type]
        assert begin <= at < bucket_end(begin, per)  # type: ignore[arg-type]
        assert bucket_end(begin, per) - begin <= days * DAY_US  # type: ignore[arg-type]
        assert bucket_of(bucket_end(begin, per), per) == bucket_end(begin, per)  # type: ignore[arg-type]

"""The funnel of random histories equals a count by hand, also from stored tallies and after a rebuild."""

from datetime import timedelta
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from schemas.events.base import Event
from tests.unit.reporting.funnel_by_hand import STEPS, count, pieces, standing
from tests.unit.reporting.funnel_harness import heard
from tests.unit.reporting.funnel_histories import START, histories

FIGURES = ("step", "reached", "converted", "skipped", "ended_by", "there", "median_seconds", "p90_seconds")
SIZES = st.lists(st.integers(1, 12), max_size=4)


def of(group: dict[str, Any]) -> list[dict[str, Any]]:
    return [{name: step[name] for name in FIGURES} for step in group["steps"][:-1]]


@given(histories(), SIZES)
def test_figures_equal_a_count_by_hand(records: list[Event], sizes: list[int]) -> None:
    parts = pieces(records)
    firsts, later = [one for one in parts if one.number == 1], [one for one in parts if one.number > 1]
    harness = heard(records, sizes)
    for _ in ("from the passes", "from the tallies of days"):
        report = harness.report()
        assert of(report["total"]) == count(firsts)
        assert report["total"]["entered"] == len(firsts)
        assert of(harness.report(passes="later")["total"]) == count(later)
        assert of(harness.report(passes="all")["total"]) == count(parts)
        assert {row["status"]: row["count"] for row in report["standing"]} == standing(parts)
        assert report["cycles"]["reached"] == {step: sum(step in one.first for one in later) for step in STEPS}
        assert report["cycles"]["passes"] == len(later)
        harness.count_days()
    harness.close()


@given(histories(), st.integers(0, 30), st.integers(1, 30))
def test_figures_of_a_period_equal_a_count_by_hand(records: list[Event], first: int, days: int) -> None:
    start = START + timedelta(days=first, hours=3)
    end = start + timedelta(days=days)
    period = {"from": start.isoformat(), "to": end.isoformat()}
    firsts = [one for one in pieces(records) if one.number == 1]
    began = [one for one in firsts if start <= one.begin < end]
    harness = heard(records)
    for _ in range(2):
        assert of(harness.report(**period)["total"]) == count(began)
        active = harness.report(**period, basis="activity", per="day")
        assert of(active["total"]) == count(firsts, start, end)
        in_trend = [sum(bucket["reached"][step] for bucket in active["trend"]) for step in STEPS]
        assert in_trend == [sum(start <= one.first.get(step, end) < end for one in firsts) for step in STEPS]
        harness.count_days()
    harness.close()


@given(histories())
def test_groups_and_filters_equal_a_count_by_hand(records: list[Event]) -> None:
    firsts = [one for one in pieces(records) if one.number == 1]
    harness = heard(records)
    for by in ("source", "rep"):
        groups = {item["key"]: of(item) for item in harness.report(by=by)["items"]}
        values = {getattr(one, by) for one in firsts}
        assert groups == {value: count([one for one in firsts if getattr(one, by) == value]) for value in values}
        for value in values:
            filtered = harness.report(**{by: value or ""})["total"]
            assert of(filtered) == groups[value]
    weeks = harness.report(by="cohort", per="week")
    assert sum(item["entered"] for item in weeks["items"]) == len(firsts)
    assigned = {bucket["from"].date().isoformat(): bucket["reached"]["assigned"] for bucket in weeks["trend"]}
    assert all(item["steps"][3]["reached"] == assigned[item["key"]] for item in weeks["items"])
    assert sum(assigned.values()) == sum("assigned" in one.first for one in firsts)
    assert all(one["to"] == other["from"] for one, other in pairwise(harness.report(per="day")["trend"]))
    harness.close()


@given(histories())
def test_each_figure_opens_its_leads(records: list[Event]) -> None:
    harness = heard(records)
    for basis in ("cohort", "activity"):
        report = harness.report(basis=basis, by="source")
        for group in (report["total"], *report["items"]):
            for step in group["steps"][:-1]:
                for figure in ("reached", "converted", "skipped", "ended", "there"):
                    items = harness.leads(group["leads"], step=step["step"], figure=figure)
                    assert len(items) == step[figure], (basis, step["step"], figure)
                    assert len({item["lead"] for item in items}) == len(items)
        for row in report["standing"] if basis == "cohort" else ():
            assert len(harness.leads(row["leads"])) == row["count"]
        assert len(harness.leads(report["cycles"]["leads"])) == report["cycles"]["passes"]
    harness.close()


@given(histories(), SIZES)
def test_rebuilt_passes_equal_the_passes_as_they_were(records: list[Event], sizes: list[int]) -> None:
    harness = heard(records, sizes)
    before = harness.passes()
    harness.count_days()
    report = harness.report(by="cohort")
    harness.rebuild()
    assert harness.passes() == before
    assert harness.count_days()
    assert harness.report(by="cohort") == report
    harness.close()

"""The funnel as marketing and sales see it: its figures equal a hand count, and each opens its leads."""

from typing import Any

import pytest
import sqlalchemy as sa

from firsthour.runtime.storage import statements
from firsthour.runtime.storage.unit import Unit
from services.reporting.funnel_passes import passes
from services.reporting.rebuilding import models
from services.reporting.reports.funnel_days import FUNNEL_DAYS
from tests.story.conftest import OpenWorld
from tests.story.test_console import signed_in
from tests.story.world import World

FORGET = (statements.Sql(lambda _: sa.delete(passes)), statements.Sql(lambda _: sa.delete(models)))
ANN, BEN, CID, DAN, EVE = (f"{name}@prospect.example" for name in ("ann", "ben", "cid", "dan", "eve"))


async def report(world: World, query: str = "") -> dict[str, Any]:
    return dict(await world.get(f"/v1/reports/funnel{query}"))


async def five_leads(world: World) -> None:
    """Five people ask on a Tuesday at 9:00.

    ann: called at 9:10 without an answer, reached at 9:20, an opportunity with an offer, then a customer. ben: reached at
    10:00. cid: rejected. dan: never touched. eve: reached, recycled, and asks again.
    """
    for email in (ANN, BEN, CID, DAN, EVE):
        await world.submit_form(email=email)
    await world.wait(minutes=10)
    await world.touch(ANN, by="ana", answered=False)
    await world.reject(CID, by="cy", reason="not-now")
    await world.wait(minutes=10)
    await world.touch(ANN, by="ana")
    await world.touch(EVE, by="bo")
    for stage in ("open", "offer", "won"):
        await world.wait(minutes=10)
        await world.event("opportunity.changed", email=ANN, stage=stage)
    await world.wait(minutes=10)
    await world.touch(BEN, by="bo")
    await world.recycle(EVE, by="max")
    await world.wait(minutes=30)
    await world.submit_form(email=EVE)
    await world.wait(minutes=1)


def reached(group: dict[str, Any]) -> dict[str, int]:
    return {step["step"]: step["reached"] for step in group["steps"]}


@pytest.mark.both_profiles
async def test_funnel_equals_a_hand_count(open_world: OpenWorld) -> None:
    world = await open_world(agreement={"lifecycle": {"stages": ["offer", "contract"]}})
    await five_leads(world)

    answer = await report(world, "?from=2d")
    assert reached(answer["total"]) == {
        "new": 5,
        "nurturing": 0,
        "qualified": 5,
        "assigned": 5,
        "accepted": 0,
        "touch:attempt": 3,
        "touch:conversation": 3,
        "working": 3,
        "opportunity": 1,
        "stage:offer": 1,
        "stage:contract": 0,
        "customer": 1,
    }
    step = {row["step"]: row for row in answer["total"]["steps"]}
    assert (step["new"]["skipped"], step["new"]["conversion"]) == (5, 1.0)
    assert (step["assigned"]["skipped"], step["assigned"]["ended_by"], step["assigned"]["there"]) == (
        3,
        {"rejected": 1},
        1,
    )
    assert (step["touch:attempt"]["median_seconds"], step["touch:attempt"]["p90_seconds"]) == (0, 600)
    assert (step["working"]["ended_by"], step["working"]["there"]) == ({"recycled": 1}, 1)
    assert answer["total"]["end_to_end"]["converted"] == 1
    assert answer["cycles"]["ended_by"] == {"recycled": 1, "rejected": 1}
    assert (answer["cycles"]["passes"], answer["cycles"]["reached"]["qualified"]) == (2, 1)
    standing = {row["status"]: row["count"] for row in answer["standing"]}
    assert standing == {"nurturing": 1, "assigned": 2, "working": 1, "customer": 1}
    assert answer["complete"]

    leads = await world.get(f"{answer['total']['leads']}&step=assigned&figure=ended")
    assert [item["lead"] for item in leads["items"]] == [(await world.lead(CID))["id"]]


@pytest.mark.slow
@pytest.mark.both_profiles
async def test_stored_tallies_and_rebuilt_passes_give_the_same_report(world: World) -> None:
    await five_leads(world)
    await world.wait(days=2)
    before = await report(world, "?from=5d&by=rep")

    days = world.system.runners[FUNNEL_DAYS]
    while await days.step():
        pass
    assert await report(world, "?from=5d&by=rep") == before

    def forget(unit: Unit) -> None:
        for statement in FORGET:
            statement.run(unit.connection)

    await world.system.units.run(forget)
    assert not (await report(world, "?from=5d"))["complete"]
    await world.settle()
    assert await report(world, "?from=5d&by=rep") == before


async def test_rebuild_counts_the_models_anew(world: World) -> None:
    await five_leads(world)
    before = await report(world, "?from=2d&by=rep"), await world.get("/v1/reports/response?since=1d")

    answer = (await world.ask("POST", "/v1/reports/rebuild?restart=true")).json()
    assert {item["model"] for item in answer["items"]} == {"responses", "funnel", "search"}
    while not answer["complete"]:
        answer = (await world.ask("POST", "/v1/reports/rebuild")).json()
    assert [item["leads"] for item in answer["items"]] == [5, 5, 5]
    assert (await report(world, "?from=2d&by=rep"), await world.get("/v1/reports/response?since=1d")) == before


async def test_funnel_as_csv(world: World) -> None:
    await world.submit_form(email=ANN)
    for path in ("/v1/reports/funnel.csv?by=source", "/v1/reports/funnel?by=source&format=csv"):
        answer = await world.ask("GET", path, "marketing")
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        lines = answer.text.splitlines()
        assert lines[0].startswith("source,step,reached,share,next,converted,skipped,ended,there,conversion")
        assert lines[1].startswith(",new,1,1.0,nurturing,0,1,0,0,1.0,,")
        assert [line for line in lines if line.startswith("website,assigned,1,")]


async def test_funnel_marks_the_versions_of_the_agreement(world: World) -> None:
    await world.submit_form(email=ANN)
    answer = await report(world, "?from=30d&per=day")
    assert [set(row) for row in answer["versions"]] == [{"version", "at"}]
    assert [bucket["reached"]["new"] for bucket in answer["trend"]] == [1]


async def test_funnel_rejects_what_it_cannot_count(world: World) -> None:
    for query, text in (
        ("from=500d", "too long ago"),
        ("from=yesterday", "no span such as 90d"),
        ("from=2d&to=3d", "give a later time"),
        ("by=lead", "by"),
        ("frm=3d", "frm"),
    ):
        answer = await world.ask("GET", f"/v1/reports/funnel?{query}")
        assert answer.status_code == 422, query
        assert text in answer.text, query
    answer = await world.ask("GET", "/v1/reports/funnel/leads?step=winning")
    assert answer.status_code == 422
    assert "use one of: new, nurturing" in answer.text
    assert (await world.ask("GET", "/v1/reports/funnel", "ingest")).status_code == 403


async def test_parts_of_the_period_that_cannot_be_compared_are_marked(world: World) -> None:
    await world.submit_form(email=ANN)
    await world.wait(hours=30)
    await world.accept(ANN, by=str(await world.owner_of(ANN)))
    await world.wait(days=3)
    query = "?from=30d&per=day&by=cohort"
    answer = await report(world, query)
    marks = [(bucket["partial"], bucket["young"]) for bucket in answer["trend"]]
    assert marks == [(False, False), (False, False), (False, False), (False, True), (True, True)]
    assert [(item["partial"], item["young"]) for item in answer["items"]] == [(False, False)]
    assert not any(bucket["young"] for bucket in (await report(world, f"{query}&basis=activity"))["trend"])
    (first, *_) = (await report(world, "?from=104h&per=month"))["trend"]
    assert first["partial"]
    page = (await (await signed_in(world, "marketing")).get("/console/funnel?since=30d&per=day&by=cohort")).text
    assert page.count('class="shade"') == 2
    assert "a part only" in page
    lines = (await world.ask("GET", f"/v1/reports/funnel.csv{query}")).text.splitlines()
    assert lines[0].endswith(",partial,young")
    assert lines[-1].endswith(",False,False")

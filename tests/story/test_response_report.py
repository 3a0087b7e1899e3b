"""The report on the first hour: its figures equal a hand count."""

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa

from firsthour.runtime.storage import statements
from firsthour.runtime.storage.unit import Unit
from services.reporting.rebuilding import models
from services.reporting.responses import responses
from tests.story.conftest import OpenWorld
from tests.story.world import World

FORGET = (statements.Sql(lambda _: sa.delete(responses)), statements.Sql(lambda _: sa.delete(models)))
ANN, BEN, CID, DAN, EVE = (f"{name}@prospect.example" for name in ("ann", "ben", "cid", "dan", "eve"))


async def report(world: World, query: str = "") -> dict[str, Any]:
    return dict(await world.get(f"/v1/reports/response{query}"))


async def five_requests(world: World) -> None:
    """Five people ask on a Tuesday at 9:00; at 14:00 a sixth request is half an hour old.

    ann: called at 9:10 without an answer, and reached at 9:20. ben: reached at 10:30, reported at 12:00. cid: rejected at
    9:05. dan: never touched. eve: reached at 9:40, and asks again at 13:30.
    """
    for email in (ANN, BEN, CID, DAN, EVE):
        await world.submit_form(email=email)
    await world.wait(minutes=5)
    await world.reject(CID, by="cy", reason="not-now")
    await world.wait(minutes=5)
    await world.touch(ANN, by="ana", answered=False)
    await world.wait(minutes=10)
    await world.touch(ANN, by="ana")
    await world.wait(minutes=20)
    await world.touch(EVE, by="bo")
    await world.wait(hours=2, minutes=20)
    await world.touch(BEN, by="bo", at="2026-12-01T10:30:00Z")
    await world.touch(BEN, by="bo", at="2026-12-01T11:30:00Z", answered=False)
    await world.recycle(EVE, by="max")
    await world.wait(hours=1, minutes=30)
    await world.submit_form(email=EVE)
    await world.wait(minutes=30)


@pytest.mark.both_profiles
async def test_report_equals_a_hand_count(world: World) -> None:
    await five_requests(world)

    answer = await report(world, "?since=1d&by=rep")
    total = answer["total"]
    counts = ("requests", "pending", "touched", "never_touched", "left_untouched")
    assert [total[name] for name in counts] == [6, 1, 3, 2, 1]
    assert (total["attempts"], total["conversations"], total["reached"]) == (2, 3, 3)
    minutes = [10, 40, 90]  # ann, eve, ben
    assert total["raw"] == {
        "within_hour": 2,
        "share": 0.4,
        "average_seconds": sum(minutes) * 60 / 3,
        "median_seconds": 40 * 60,
        "p90_seconds": 90 * 60,
    }
    assert total["working"] == total["raw"], "no rep has a calendar"
    assert answer["complete"]
    assert sum(item["requests"] for item in answer["items"]) == 6
    assert {item["key"]: item["touched"] for item in answer["items"] if item["touched"]} == {"ana": 1, "bo": 2}


@pytest.mark.both_profiles
async def test_metrics_have_the_figures_of_the_report(world: World) -> None:
    await world.submit_form(email=ANN)
    await world.submit_form(email=BEN)
    await world.wait(minutes=40)
    await world.touch(ANN, by="ana")
    await world.wait(minutes=40)

    text = (await world.ask("GET", "/metrics")).text
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    hot = (await report(world, "?by=urgency"))["items"][0]
    assert float(lines['first_hour_requests{state="never_touched",urgency="hot"}']) == hot["never_touched"] == 1
    assert float(lines['first_hour_share{time="raw",urgency="hot"}']) == hot["raw"]["share"] == 0.5
    seconds = float(lines['first_touch_seconds{figure="median",time="working",urgency="hot"}'])
    assert seconds == hot["working"]["median_seconds"] == 2400
    assert float(lines['touches{kind="conversation",urgency="hot"}']) == 1


@pytest.mark.both_profiles
async def test_report_is_grouped_by_local_time(open_world: OpenWorld) -> None:
    calendar = {"sydney": {"timezone": "Australia/Sydney", "hours": {"mon-fri": ["09:00-17:00"]}}}
    world = await open_world(agreement={"calendars": calendar})
    await world.submit_form(email=ANN)
    await world.wait(hours=5)
    await world.submit_form(email=BEN)

    async def keys(by: str, more: str = "") -> list[Any]:
        return [item["key"] for item in (await report(world, f"?by={by}{more}"))["items"]]

    assert await keys("hour") == [9, 14]
    assert await keys("hour", "&calendar=sydney") == [1, 20]
    assert await keys("day", "&calendar=sydney") == ["2026-12-01", "2026-12-02"]
    assert await keys("weekday", "&calendar=sydney") == ["tue", "wed"]
    assert await keys("hour", "&timezone=Australia/Sydney") == [1, 20]
    assert await keys("day", "&timezone=Australia/Sydney") == ["2026-12-01", "2026-12-02"]
    assert await keys("source") == ["website"]
    assert await keys("urgency") == ["hot"]


async def test_report_rejects_what_it_cannot_count(world: World) -> None:
    for query, text in (
        ("since=500d", "too long ago"),
        ("since=999999999d", "neither a span"),
        ("since=2031-01-01T00:00:00Z", "in the future"),
        ("since=yesterday", "neither a span"),
        ("calendar=mars", "is not in the agreement"),
        ("timezone=Mars/North", "is not a time zone"),
        ("timezone=UTC&calendar=sydney", "give one of the two"),
        ("by=lead", "by"),
    ):
        answer = await world.ask("GET", f"/v1/reports/response?{query}")
        assert answer.status_code == 422, query
        assert text in answer.text, query
    assert (await world.ask("GET", "/v1/reports/response", "marketing")).status_code == 403


@pytest.mark.both_profiles
async def test_reports_are_computed_one_by_one_and_few_wait(world: World) -> None:
    await world.submit_form(email=ANN)
    key = await world.key("sales")
    headers = {"Authorization": f"Bearer {key}"}
    requests = [world.http.get("/v1/reports/response?since=400d", headers=headers) for _ in range(12)]
    statuses = [answer.status_code for answer in await asyncio.gather(*requests)]
    assert set(statuses) == {200, 429}
    assert statuses.count(200) >= 5
    assert (await report(world))["total"]["requests"] == 1


@pytest.mark.both_profiles
async def test_rebuilt_report_equals_the_report_as_it_was(world: World) -> None:
    await five_requests(world)
    before = await report(world, "?since=1d&by=rep")

    def forget(unit: Unit) -> None:
        for statement in FORGET:
            statement.run(unit.connection)

    await world.system.units.run(forget)
    assert (await report(world))["total"]["requests"] == 0
    assert not (await report(world))["complete"]
    await world.settle()
    assert await report(world, "?since=1d&by=rep") == before


@pytest.mark.both_profiles
async def test_hour_is_divided_into_hops(world: World) -> None:
    await world.submit_form(email="hops@prospect.example")
    owner = str(await world.owner_of("hops@prospect.example"))
    await world.wait(minutes=9)
    await world.accept("hops@prospect.example", by=owner)
    await world.wait(minutes=6)
    await world.touch("hops@prospect.example", by=owner)
    report = await world.get("/v1/reports/response/hops?since=7d")
    spans = {(hop["from"], hop["to"]): (hop["requests"], hop["median_seconds"]) for hop in report["items"]}
    assert report["requests"] == 1
    assert {hop[0] for hop in spans.values()} == {1}
    assert spans["told", "accepted"][1] == pytest.approx(540, abs=5)
    assert spans["accepted", "touched"][1] == pytest.approx(360, abs=5)
    assert spans["submit", "touched"][1] == pytest.approx(900, abs=5)
    assert spans["submit", "received"][1] == pytest.approx(0, abs=5)

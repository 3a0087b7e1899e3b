"""The views of leads, reps, pools and reports."""

from datetime import UTC, datetime
from itertools import groupby, pairwise
from operator import itemgetter
from typing import Any

import pytest

from tests.backends import Backends
from tests.story.world import World

CTO = "cto@prospect.example"


@pytest.mark.both_profiles
async def test_lead_has_its_documented_fields(world: World) -> None:
    await world.submit_form(email=CTO, name="Ann Lee", company="Prospect", employees=400, title="CTO")
    lead = await world.lead(CTO)

    assert lead == {
        "id": lead["id"],
        "email": CTO,
        "name": "Ann Lee",
        "company": "Prospect",
        "status": "assigned",
        "status_team": "sales",
        "score": {"fit": 70.0, "engagement": 60.0, "total": 65.0, "grade": "A"},
        "owner": {"id": "ana", "name": "Ana Gomez", "email": "ana@acme.example"},
        "queue": None,
        "clock": {
            "due_at": "2026-12-01T10:00:00Z",
            "state": "live",
            "rung": 0,
            "paused_until": None,
            "snoozed_until": None,
        },
        "touches": {"attempts": 0, "conversations": 0},
        "epoch": 1,
        "created_at": "2026-12-01T09:00:00Z",
        "rests_until": None,
        "updated_at": "2026-12-01T09:00:00Z",
    }
    assert await world.get(f"/v1/leads/{lead['id']}") == lead


@pytest.mark.both_profiles
async def test_timeline_lists_events_in_order(world: World, profile: Backends | None) -> None:
    await world.event("page.viewed", email=CTO, path="/pricing/eu")
    await world.wait(minutes=5)
    await world.submit_form(email=CTO)
    await world.wait(minutes=30)
    await world.accept(CTO, by="bo")
    await world.touch(CTO, by="bo")
    await world.wait(minutes=1)
    await world.recycle(CTO, by="bo", reason="no-answer")

    timeline = await world.lead_items(CTO, "timeline")
    expected = [
        ["page.viewed", "lead.scored"],
        ["form.submitted", "lead.scored", "lead.qualified", "lead.assigned", "page.sent"],
        ["page.sent"],
        ["page.sent"],
        [
            *("action.requested", "lead.released", "lead.assigned", "action.resolved", "page.sent", "page.sent"),
            *("lead.accepted", "touch.applied", "promise.kept"),
        ],
        ["lead.recycled", "lead.scored"],
    ]
    moments = [[item["type"] for item in items] for _, items in groupby(timeline, key=itemgetter("at"))]
    if profile is None:
        assert moments == expected
    else:  # records of different services with the same time have no fixed order
        assert [sorted(types) for types in moments] == [sorted(types) for types in expected]
        return
    assert all(datetime.fromisoformat(a["at"]) <= datetime.fromisoformat(b["at"]) for a, b in pairwise(timeline))
    lines = [item["line"] for item in timeline]
    assert lines[0] == "page.viewed /pricing/eu (from ingest of no rep)"
    assert lines[4:7] == [
        "qualified by `hand-raiser` (hot)",
        "assigned to ana",
        "ana paged by slack (owner)",
    ]
    assert lines[-2] == "back with Marketing (recycle): no-answer"


@pytest.mark.both_profiles
async def test_lead_list_is_newest_first_and_continues_at_its_cursor(world: World) -> None:
    for n in range(7):
        await world.submit_form(email=f"person{n}@prospect.example")
    emails: list[str] = []
    cursor = ""
    while True:
        answer = await world.get(f"/v1/leads?limit=3{cursor}")
        emails += [lead["email"] for lead in answer["items"]]
        if answer["next"] is None:
            break
        cursor = f"&cursor={answer['next']}"
    assert emails == [f"person{n}@prospect.example" for n in reversed(range(7))]


@pytest.mark.both_profiles
async def test_leads_are_filtered_by_status_and_owner(world: World) -> None:
    for n in range(3):
        await world.submit_form(email=f"person{n}@prospect.example")
    await world.event("page.viewed", email=CTO, path="/")

    assert [lead["email"] for lead in await world.leads(status="new")] == [CTO]
    assert [lead["email"] for lead in await world.leads(status="assigned", owner="bo")] == ["person1@prospect.example"]
    assert await world.leads(email="nobody@prospect.example") == []
    assert await world.leads(email="not an address") == []


@pytest.mark.both_profiles
async def test_report_counts_leads_by_status(world: World) -> None:
    for n in range(3):
        await world.submit_form(email=f"person{n}@prospect.example")
    await world.event("page.viewed", email=CTO, path="/")
    await world.touch("person1@prospect.example", by="bo")

    report = await world.get("/v1/reports/statuses")
    assert report["total"] == 4
    counts = {item["status"]: (item["team"], item["leads"]) for item in report["items"] if item["leads"]}
    assert counts == {"new": ("marketing", 1), "assigned": ("sales", 2), "working": ("sales", 1)}


@pytest.mark.both_profiles
async def test_reps_and_pools_show_state_and_load(world: World) -> None:
    for n in range(4):
        await world.submit_form(email=f"person{n}@prospect.example")
    await world.is_away("cy", hours=1)

    reps = {rep["id"]: (rep["state"], rep["open"]) for rep in (await world.get("/v1/reps"))["items"]}
    assert reps == {"ana": ("available", 2), "bo": ("available", 1), "cy": ("away", 1), "max": ("available", 0)}
    [pool] = (await world.get("/v1/pools"))["items"]
    assert (pool["id"], pool["waiting"], len(pool["members"])) == ("everyone", 0, 3)


@pytest.mark.parametrize("listing", ["timeline", "decisions"])
@pytest.mark.both_profiles
async def test_timeline_and_decisions_are_listed_completely_page_by_page(world: World, listing: str) -> None:
    await world.submit_form(email=CTO)
    for _ in range(3):
        await world.wait(minutes=1)
        await world.event("page.viewed", email=CTO, path="/pricing")
    for rep in ("ana", "bo", "cy"):
        await world.wait(minutes=1)
        await world.reject(CTO, by=rep, reason="no-time")
    path = f"/v1/leads/{(await world.lead(CTO))['id']}/{listing}"
    whole = (await world.get(path))["items"]
    assert [item["at"] for item in whole] == sorted((item["at"] for item in whole), reverse=True)
    assert len(whole) >= 4
    for limit in (1, 2, 3, len(whole)):
        paged: list[Any] = []
        cursor = ""
        while True:
            page = await world.get(f"{path}?limit={limit}{cursor}")
            paged += page["items"]
            if page["next"] is None:
                break
            assert len(page["items"]) == limit
            cursor = f"&cursor={page['next']}"
        assert paged == whole


@pytest.mark.both_profiles
async def test_invalid_cursor_is_rejected(world: World) -> None:
    await world.submit_form(email=CTO)
    lead = (await world.lead(CTO))["id"]
    for path in ("/v1/leads", f"/v1/leads/{lead}/timeline", f"/v1/leads/{lead}/decisions", "/v1/pages"):
        for cursor in ("", "x", "1.2", f"{'9' * 30}.1.a", "1.1.", "%00.1.a"):
            answer = await world.ask("GET", f"{path}?cursor={cursor}")
            assert (answer.status_code, answer.json()["title"]) == (422, "Invalid cursor"), (path, cursor)


async def test_stored_decision_has_no_personal_data(world: World) -> None:
    await world.submit_form(email=CTO, name="Ann Lee", phone="+493012345678")
    decision = str(await world.lead_items(CTO, "decisions"))
    assert not [word for word in ("Ann", "Lee", "cto@", "+4930") if word in decision]


async def test_old_event_received_today_stays_in_the_timeline(world: World) -> None:
    await world.event("webinar.attended", email=CTO, time=datetime(2019, 5, 1, tzinfo=UTC))
    assert (await world.event_types_of(CTO))[0] == "webinar.attended"
    await world.wait(days=8)
    await world.wait(days=8)
    assert "webinar.attended" in await world.event_types_of(CTO), "the retention counts from the time of receipt"

"""The view of sources: last seen, accepted, refused by reason, lag, silence."""

from datetime import timedelta
from typing import Any

import pytest

from firsthour.kernel.time_units import micros, moment
from firsthour.operations.audit.silence import WEEK
from firsthour.runtime.storage.unit import Unit
from schemas.events.outside import ExternalEvent
from services.gateway.source_counts import _ADD
from services.reporting.sources import HOUR, count_sources
from tests.story.conftest import OpenWorld
from tests.story.world import World

pytestmark = pytest.mark.both_profiles


async def source(world: World, id: str, hours: int = 24) -> dict[str, Any]:
    await world.settle()
    items = (await world.get(f"/v1/sources?hours={hours}"))["items"]
    [item] = [item for item in items if item["id"] == id]
    return dict(item)


async def test_source_shows_what_it_sent_and_why_the_rest_was_refused(world: World) -> None:
    await world.submit_form(email="ann@one.example")
    await world.submit_form(email="ben@two.example")
    await world.post_form("demo-request", email="nobody")
    await world.post_form("demo-request", headers={"Origin": "https://evil.example"}, email="eve@three.example")
    await world.hook("phone", b"{}", secret="another secret")

    website, phone = await source(world, "website"), await source(world, "phone")
    assert (website["kind"], website["accepted"]) == ("form", 2)
    assert website["refused"] == {"unmapped": 1, "forbidden": 1}
    assert website["last_seen_at"] == world.clock.now.isoformat().replace("+00:00", "Z")
    assert website["silent"] is None
    assert (phone["accepted"], phone["refused"], phone["last_seen_at"]) == (0, {"unverified": 1}, None)


async def test_source_that_is_removed_is_not_shown_as_a_key(world: World) -> None:
    await world.hook("phone", b"{}", secret="another secret")
    await world.post_events(world.event_body("page.viewed", email="ann@one.example"), role="ingest")
    await source(world, "phone")
    await world.change("sources", {"sources": [{"id": "website", "kind": "form", "forms": ["demo-request"]}]})

    assert (await source(world, "phone"))["kind"] == "removed"
    assert (await source(world, "website"))["kind"] == "form"


async def test_counts_outlive_a_restart_and_leave_the_window(world: World) -> None:
    await world.submit_form(email="ann@one.example")
    await world.restart()
    await world.wait(hours=2)

    assert (await source(world, "website", hours=3))["accepted"] == 1
    late = await source(world, "website", hours=1)
    assert (late["accepted"], late["last_seen_at"] is None) == (0, False)


async def test_lag_is_the_time_from_the_last_event_to_its_arrival(world: World) -> None:
    await world.event("page.viewed", email="ann@one.example", time=world.clock.now - timedelta(minutes=7))

    key = await source(world, "ingest of no rep")
    assert (key["kind"], key["lag_seconds"]) == ("key", 420.0)


async def test_silent_source_shows_the_alarm_that_marketing_was_told(world: World) -> None:
    hour = micros(world.clock.now) // HOUR
    hours = [hour - 7, *(hour - week * WEEK + at for week in (1, 2) for at in range(-6, 0))]
    sent = [
        ExternalEvent(source="website", source_id="", received_at=moment(at * HOUR)) for at in hours for _ in range(9)
    ]
    await world.system.units.run(lambda unit: count_sources(unit, sent))

    assert (await source(world, "website"))["silent"] is None
    await world.wait(minutes=2)
    assert "has sent nothing since" in (await source(world, "website"))["silent"]["text"]


TELL: Any = {"tell": {team: {"by": ["email"], "email": f"{team}@acme.example"} for team in ("marketing", "sales")}}


def told(world: World, word: str) -> list[str]:
    """Return the recipients of mails about this."""
    return sorted(str(mail.message["To"]) for mail in world.smtp.mails if word in str(mail.message["Subject"]))


async def test_both_teams_are_told_once_of_a_surge_beyond_twice_the_quota(open_world: OpenWorld) -> None:
    website = {"id": "website", "kind": "form", "forms": ["demo-request"], "quota": {"leads_per_hour": 2}}
    world = await open_world(agreement=TELL, sources={"sources": [website]})
    for n in range(4):
        await world.submit_form(email=f"ann{n}@customer{n}.example")
    await world.wait(minutes=2)
    assert told(world, "quota") == []

    for n in range(4, 9):
        await world.submit_form(email=f"ann{n}@customer{n}.example")
        await world.wait(minutes=2)
    assert told(world, "more than twice its quota") == ["marketing@acme.example", "sales@acme.example"]
    assert "more than twice its quota" in (await source(world, "website"))["surge"]["text"]

    await world.wait(minutes=30)
    assert (await source(world, "website"))["surge"] is None


async def test_both_teams_are_told_of_ten_times_the_usual_number_of_that_hour(open_world: OpenWorld) -> None:
    world = await open_world(agreement=TELL)
    hour = micros(world.clock.now) // HOUR
    usual = {"source": "website", "outcome": "accepted", "number": 6, "last_at": 0, "lag": None}

    def history(unit: Unit) -> None:
        unit.store(_ADD.work(unit.connection, [{**usual, "hour": hour - week * WEEK} for week in (1, 2, 3)]))

    await world.system.units.run(history)
    many = {**usual, "hour": hour, "number": 60}
    await world.system.units.run(lambda unit: unit.store(_ADD.work(unit.connection, [many])))
    await world.wait(minutes=2)
    assert told(world, "events since 09:00") == []  # sixty is ten times six, and not more

    await world.submit_form(email="ann@one.example")
    await world.wait(minutes=3)
    await world.wait(minutes=1)
    assert told(world, "the source website sent 61 events since 09:00") == [
        "marketing@acme.example",
        "sales@acme.example",
    ]

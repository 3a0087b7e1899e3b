"""Whatever happens to the process, its files and its disk: nothing acknowledged is lost, and nothing happens twice."""

import pytest

from firsthour.bootstrap import embedded as compose
from firsthour.runtime.storage.data_directory import AlreadyRunningError
from firsthour.runtime.storage.unit import StorageError
from tests.backends import Backends, embedded
from tests.story.conftest import OpenWorld
from tests.story.sample_config import reps
from tests.story.world import World

CTO = "cto@prospect.example"
LONG = "x" * 10_000


async def test_a_restart_in_the_middle_changes_nothing(open_world: OpenWorld, profile: Backends | None) -> None:
    emails = [f"person{n}@prospect.example" for n in range(4 if profile is None else 2)]

    async def live(world: World, *, restarting: bool) -> tuple[list[str], list[str], str | None]:
        for email in emails:
            await world.submit_form(email=email)
            if restarting:
                await world.restart()
        for _ in range(6):
            await world.wait(minutes=9)
            if restarting:
                await world.restart()
        told, statuses = sorted(world.slack_recipients), [await world.status_of(email) for email in emails]
        return told, statuses, await world.owner_of(emails[0])

    restarted, went_on = (
        await live(await open_world(), restarting=True),
        await live(await open_world(), restarting=False),
    )
    if profile is None:
        assert restarted == went_on
    else:  # two leads that change hands at the same moment do so in any order, so their new owners may be the other's
        assert (len(restarted[0]), restarted[1]) == (len(went_on[0]), went_on[1])


async def test_what_was_acknowledged_and_not_yet_handled_is_handled_after_a_restart(world: World) -> None:
    assert (await world.post_form("demo-request", email=CTO)).status_code == 202
    await world.restart()
    assert await world.owner_of(CTO) == "ana"
    assert world.slack_recipients == ["ana"]


async def test_what_fell_due_while_nobody_ran_is_told_in_order(world: World) -> None:
    await world.submit_form(email=CTO)
    world.clock.advance(minutes=25)
    await world.restart()
    assert world.slack_recipients == ["ana", "ana"]
    world.clock.advance(hours=3)
    await world.restart()
    await world.wait(seconds=5)
    assert world.slack_recipients == ["ana", "ana", "max"]
    assert await world.owner_of(CTO) == "ana", "the manager was told just now"
    await world.wait(minutes=10)
    assert await world.owner_of(CTO) == "bo"
    assert world.slack_recipients[3:] == ["bo"]


async def test_a_page_that_waits_when_the_hosts_clock_is_set_back_goes_out_at_once(world: World) -> None:
    world.slack.respond(503)
    await world.submit_form(email=CTO)
    assert world.slack_recipients == []
    world.clock.advance(hours=-5)
    await world.settle()
    assert world.slack_recipients == ["ana"]


async def test_a_channel_that_is_back_after_the_hosts_clock_was_set_back_is_tried(world: World) -> None:
    world.slack.respond(503, times=None)
    world.smtp.refuse(451, times=None)
    for n in range(6):
        await world.submit_form(email=f"person{n}@prospect.example")
    await world.wait(minutes=5)
    world.clock.advance(hours=-5)
    world.slack.recover()
    world.smtp.recover()
    await world.wait(minutes=1)
    assert len({*world.slack_recipients, *world.mail_recipients}) == 3


@embedded
async def test_two_processes_cannot_use_one_directory(world: World) -> None:
    with pytest.raises(AlreadyRunningError, match="another FirstHour process"):
        compose.open_clock(world.data, 1.0)


# --- configuration ------------------------------------------------------------------------------------------------------


@embedded
async def test_a_bad_file_keeps_the_version_in_force_and_readiness_says_so(world: World) -> None:
    version = world.system.resources.config.current.version
    good = (world.config / "agreement.yaml").read_text()
    (world.config / "agreement.yaml").write_text(good.replace('"points": 40', '"points": "many"'))
    await world.settle()

    answer = await world.ask("GET", "/readyz")
    assert answer.status_code == 200
    [warning] = [said for said in answer.json()["warnings"] if "refused" in said]
    assert version in warning
    assert "agreement.yaml:" in warning
    await world.submit_form(email=CTO, employees=400)
    assert (await world.lead(CTO))["score"]["fit"] == 40

    (world.config / "agreement.yaml").write_text(good)
    await world.settle()
    assert not [said for said in (await world.get("/readyz"))["warnings"] if "refused" in said]


async def test_a_good_file_is_taken_up_and_decisions_name_its_version(world: World) -> None:
    await world.submit_form(email="before@prospect.example")
    await world.change("agreement", {"response": {"ladder": [{"at": "1m", "page": "owner", "by": "slack"}]}})
    await world.submit_form(email="after@prospect.example")
    assert world.slack_recipients == ["ana"]
    await world.wait(minutes=1)
    assert world.slack_recipients == ["ana", "bo"]

    before = (await world.lead_items("before@prospect.example", "decisions"))[0]["agreement"]
    after = (await world.lead_items("after@prospect.example", "decisions"))[0]["agreement"]
    assert before != after == world.system.resources.config.current.version


async def test_a_rep_taken_out_of_the_team_file_has_no_leads_any_more(world: World) -> None:
    await world.submit_form(email=CTO)
    team = reps(pool=["bo", "cy"])
    await world.change("team", {**team, "reps": [rep for rep in team["reps"] if rep["id"] != "ana"]})
    assert await world.owner_of(CTO) == "bo"


# --- poison -------------------------------------------------------------------------------------------------------------


async def test_an_event_nobody_can_read_is_parked_and_the_rest_goes_on(world: World) -> None:
    await world.append_garbage("garbage-1")
    await world.submit_form(email=CTO)

    assert await world.owner_of(CTO) == "ana"
    letters = (await world.get("/v1/deadletters"))["items"]
    assert {letter["consumer"] for letter in letters} == {"scoring", "reporting"}
    assert (await world.get("/readyz"))["status"] == "ready"


async def test_garbage_without_end_stops_the_reader_instead_of_the_stream(world: World) -> None:
    for n in range(10):
        await world.append_garbage(f"garbage-{n}")
    await world.submit_form(email=CTO)
    assert await world.owner_of(CTO) == "ana", "ten in a row are borne"
    assert (await world.rows("SELECT count(*) FROM dead_letters"))[0][0] == 20


# --- a full disk --------------------------------------------------------------------------------------------------------


@embedded
async def test_a_full_disk_is_said_and_nothing_acknowledged_is_lost(open_world: OpenWorld) -> None:
    world = await open_world(pages_max=220)
    acknowledged = await fill_the_disk(world)
    assert acknowledged
    refused = await world.post_form("demo-request", email=CTO, note=LONG)
    assert (refused.status_code, refused.headers["content-type"]) == (503, "application/problem+json")
    assert refused.json()["type"] == "urn:firsthour:problem:storage-unavailable"
    assert int(refused.headers["retry-after"]) > 0
    with pytest.raises(StorageError):
        await world.settle()

    world.pages_max = None
    await world.restart()
    await world.submit_form(email="late@prospect.example")
    for email in [*acknowledged, "late@prospect.example"]:
        assert await world.owner_of(email) is not None
    assert len(await world.leads()) == len(acknowledged) + 1


@embedded
async def test_room_on_the_disk_is_used_again_without_a_restart(open_world: OpenWorld) -> None:
    world = await open_world(pages_max=220)
    acknowledged = await fill_the_disk(world)
    await world.free_disk()
    await world.submit_form(email="late@prospect.example")
    for email in [*acknowledged, "late@prospect.example"]:
        assert await world.owner_of(email) is not None


async def fill_the_disk(world: World) -> list[str]:
    """Post until it is refused; who was acknowledged."""
    acknowledged: list[str] = []
    for n in range(1_000):
        email = f"person{n}@prospect.example"
        answer = await world.post_form("demo-request", email=email, note=LONG)
        if answer.status_code != 202:
            return acknowledged
        acknowledged.append(email)
    raise AssertionError("the disk is not full")

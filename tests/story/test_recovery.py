"""Restarts, invalid files and full disks: no acknowledged event is lost, and none takes effect twice."""

import pytest

from firsthour.bootstrap import embedded as compose
from firsthour.runtime.storage.data_directory import AlreadyRunningError
from firsthour.runtime.storage.unit import StorageError
from tests.backends import Backends, embedded
from tests.bulk import bulk
from tests.story.conftest import OpenWorld
from tests.story.sample_config import reps
from tests.story.world import World

CTO = "cto@prospect.example"
LONG = bulk(10_000).decode()


@pytest.mark.both_profiles
@pytest.mark.slow
async def test_restarts_do_not_change_the_result(open_world: OpenWorld, profile: Backends | None) -> None:
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
        recipients, statuses = list(world.slack_recipients), [await world.status_of(email) for email in emails]
        return recipients, statuses, await world.owner_of(emails[0])

    with_restarts, without = (
        await live(await open_world(), restarting=True),
        await live(await open_world(), restarting=False),
    )
    if profile is None:
        assert with_restarts == without
    else:  # two leads whose owners change at the same time do so in any order, so that their new owners may be swapped
        assert (len(with_restarts[0]), with_restarts[1]) == (len(without[0]), without[1])


@pytest.mark.both_profiles
async def test_acknowledged_event_is_handled_after_a_restart(world: World) -> None:
    assert (await world.post_form("demo-request", email=CTO)).status_code == 202
    await world.restart()
    assert await world.owner_of(CTO) == "ana"
    assert world.slack_recipients == ["ana"]


@pytest.mark.both_profiles
async def test_rungs_due_during_downtime_are_paged_in_order(world: World) -> None:
    await world.submit_form(email=CTO)
    world.clock.advance(minutes=25)
    await world.restart()
    assert world.slack_recipients == ["ana", "ana"]
    world.clock.advance(hours=3)
    await world.restart()
    await world.wait(seconds=5)
    assert world.slack_recipients == ["ana", "ana", "max"]
    assert await world.owner_of(CTO) == "ana", "the manager has only now been paged"
    await world.wait(minutes=10)
    assert await world.owner_of(CTO) == "bo"
    assert world.slack_recipients[3:] == ["ana", "bo"], "ana is told that bo has the lead"


@pytest.mark.both_profiles
async def test_waiting_page_is_sent_when_the_host_clock_is_set_back(world: World) -> None:
    world.slack.respond(503)
    await world.submit_form(email=CTO)
    assert world.slack_recipients == []
    world.clock.advance(hours=-5)
    await world.settle()
    assert world.slack_recipients == ["ana"]


async def test_waiting_page_is_sent_if_the_host_clock_was_set_back_while_nothing_ran(world: World) -> None:
    world.slack.respond(503)
    await world.submit_form(email=CTO)
    world.clock.advance(hours=-5)
    await world.restart()
    await world.wait(seconds=5)
    assert world.slack_recipients == ["ana"]


@pytest.mark.slow
async def test_recovered_channel_is_used_after_the_host_clock_was_set_back(world: World) -> None:
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
async def test_second_process_on_one_directory_is_rejected(world: World) -> None:
    with pytest.raises(AlreadyRunningError, match="another FirstHour process"):
        compose.open_clock(world.data, 1.0)


# --- configuration ------------------------------------------------------------------------------------------------------


@embedded
async def test_invalid_file_keeps_the_current_version_with_a_warning(world: World) -> None:
    version = world.system.resources.config.current.version
    good = (world.config / "agreement.yaml").read_text()
    (world.config / "agreement.yaml").write_text(good.replace('"points": 40', '"points": "many"'))
    await world.settle()

    answer = await world.ask("GET", "/readyz")
    assert answer.status_code == 200
    [warning] = [line for line in answer.json()["warnings"] if "refused" in line]
    assert version in warning
    assert "agreement.yaml:" in warning
    await world.submit_form(email=CTO, employees=400)
    assert (await world.lead(CTO))["score"]["fit"] == 40

    (world.config / "agreement.yaml").write_text(good)
    await world.settle()
    assert not [line for line in (await world.get("/readyz"))["warnings"] if "refused" in line]


@pytest.mark.both_profiles
async def test_changed_file_is_applied_and_decisions_name_its_version(world: World) -> None:
    await world.submit_form(email="before@prospect.example")
    await world.change("agreement", {"response": {"ladder": [{"at": "1m", "page": "owner", "by": "slack"}]}})
    await world.submit_form(email="after@prospect.example")
    assert world.slack_recipients == ["ana"]
    await world.wait(minutes=1)
    assert world.slack_recipients == ["ana", "bo"]

    before = (await world.lead_items("before@prospect.example", "decisions"))[0]["agreement"]
    after = (await world.lead_items("after@prospect.example", "decisions"))[0]["agreement"]
    assert before != after == world.system.resources.config.current.version


async def test_rep_removed_from_the_team_file_loses_their_leads(world: World) -> None:
    await world.submit_form(email=CTO)
    team = reps(pool=["bo", "cy"])
    await world.change("team", {**team, "reps": [rep for rep in team["reps"] if rep["id"] != "ana"]})
    assert await world.owner_of(CTO) == "bo"


# --- unreadable events -------------------------------------------------------------------------------------------------------------


@pytest.mark.both_profiles
async def test_unreadable_event_becomes_a_dead_letter_and_others_are_handled(world: World) -> None:
    await world.append_garbage("garbage-1")
    await world.submit_form(email=CTO)

    assert await world.owner_of(CTO) == "ana"
    letters = (await world.get("/v1/deadletters"))["items"]
    assert {letter["consumer"] for letter in letters} == {"scoring", "reporting"}
    assert (await world.get("/readyz"))["status"] == "ready"


@pytest.mark.both_profiles
async def test_ten_unreadable_records_in_a_row_do_not_stop_the_reader(world: World) -> None:
    for n in range(10):
        await world.append_garbage(f"garbage-{n}")
    await world.submit_form(email=CTO)
    assert await world.owner_of(CTO) == "ana", "ten unreadable records in a row are tolerated"
    assert (await world.rows("SELECT count(*) FROM dead_letters"))[0][0] == 20


# --- a full disk --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@embedded
async def test_full_disk_is_answered_503_and_loses_no_acknowledged_event(open_world: OpenWorld) -> None:
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


@pytest.mark.slow
@embedded
async def test_freed_disk_space_is_used_without_a_restart(open_world: OpenWorld) -> None:
    world = await open_world(pages_max=220)
    acknowledged = await fill_the_disk(world)
    await world.free_disk()
    await world.submit_form(email="late@prospect.example")
    for email in [*acknowledged, "late@prospect.example"]:
        assert await world.owner_of(email) is not None


async def fill_the_disk(world: World) -> list[str]:
    """Post forms until one is rejected. Return the addresses of the acknowledged forms."""
    acknowledged: list[str] = []
    for n in range(1_000):
        email = f"person@prospect{n}.example"  # of one domain they would be a burst
        answer = await world.post_form("demo-request", email=email, note=LONG)
        if answer.status_code != 202:
            return acknowledged
        acknowledged.append(email)
    raise AssertionError("the disk is not full")

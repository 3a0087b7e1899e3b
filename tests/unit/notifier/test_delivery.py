"""How pages reach people: claim, send, record, whatever the channels and the disk do."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from firsthour.runtime.storage.unit import StorageError
from schemas.events import PageFailed, PageSent
from services.notifier.channels.base import GiveUp, Outcome, Sent, TryAgain, Unusable
from services.notifier.domain.health import PROBE_SECONDS_MAX
from services.notifier.domain.message import Message
from services.notifier.domain.page import FAILOVER, LEASE, backoff_seconds
from services.notifier.sending import ATTEMPTS_KEPT_MAX, DELIVERY, claim
from tests.unit.notifier.harness import FakeChannel, NotifierHarness, with_ladder, without_slack

NOT_NOW = TryAgain(None, "busy")


def nobody_delivers(room: NotifierHarness) -> None:
    room.desk.room = lambda: 0


async def pass_seconds(room: NotifierHarness, seconds: int) -> None:
    for _ in range(seconds):
        room.clock.advance(seconds=1)
        await room.settle()


async def test_without_room_a_page_waits_as_a_row_and_wakes_the_delivery(room: NotifierHarness) -> None:
    nobody_delivers(room)
    room.hear(room.qualified(), room.assigned())
    assert room.page(0)["state"] == "pending"
    assert DELIVERY in room.units.woken
    room.restart()
    await room.settle()
    assert room.slack.people == ["Ana"]
    assert room.page(0)["state"] == "sent"


async def test_a_claim_takes_four_statements_however_many_pages_are_due(room: NotifierHarness) -> None:
    nobody_delivers(room)
    for n in range(15):
        room.hear(room.qualified(f"l{n}"), room.assigned(f"l{n}", rep=["ana", "bo"][n % 2]))
    room.restart()
    with room.units.counting() as statements:
        found = room.units.now(lambda unit: claim(unit, room.desk, 20))
    assert len(found.claims) == 2  # the others wait for their turn
    assert len(statements) == 4


async def test_a_channel_that_refuses_for_good_is_left_at_once(room: NotifierHarness) -> None:
    room.slack.answers = [GiveUp("no such user")]
    room.hear(room.qualified(), room.assigned())
    await room.settle()
    assert (room.slack.people, room.email.people) == (["Ana"], ["Ana"])
    (sent,) = room.said(PageSent)
    assert (sent.channel, sent.tries) == ("email", 2)
    tried = room.rows("SELECT n, channel, outcome, detail FROM notifier_attempts ORDER BY n")
    assert [(row["n"], row["channel"], row["outcome"]) for row in tried] == [
        (1, "slack", "gave_up"),
        (2, "email", "sent"),
    ]


async def test_a_channel_that_does_not_accept_within_thirty_seconds_is_left(room: NotifierHarness) -> None:
    room.slack.always = NOT_NOW
    room.hear(room.qualified(), room.assigned())
    await room.settle()
    before = room.clock.now
    while not room.email.told:
        await pass_seconds(room, 1)
    assert room.clock.now - before <= FAILOVER
    assert len(room.slack.told) >= 2
    assert room.page(0)["state"] == "sent"


async def test_a_channel_that_asks_to_wait_longer_than_that_is_left_at_once(room: NotifierHarness) -> None:
    room.slack.answers = [TryAgain(31.0, "ratelimited")]
    room.hear(room.qualified(), room.assigned())
    await room.settle()
    assert room.email.people == ["Ana"]


async def test_a_channel_that_asks_to_wait_is_not_tried_sooner(room: NotifierHarness) -> None:
    room.slack.answers = [TryAgain(10.0, "ratelimited")]
    room.hear(room.qualified(), room.assigned())
    await room.settle()
    await pass_seconds(room, 9)
    assert len(room.slack.told) == 1
    await pass_seconds(room, 1)
    assert len(room.slack.told) == 2
    assert room.email.told == []


async def test_a_page_is_tried_over_every_channel_in_turn_until_one_accepts_it(room: NotifierHarness) -> None:
    room.slack.always = room.email.always = NOT_NOW
    room.hear(room.qualified(), room.assigned())
    await room.wait(minutes=50)
    assert room.page(0)["state"] == "pending"
    assert room.said(PageFailed) == []
    before = len(room.slack.told), len(room.email.told)
    await room.wait(minutes=5)
    assert len(room.slack.told) > before[0]
    assert len(room.email.told) > before[1]
    room.email.always = None
    await room.wait(minutes=3)
    assert (room.page(0)["state"], room.page(0)["channel_index"] % 2) == ("sent", 1)


@pytest.mark.parametrize("jitter", [0.0, 0.999])
@pytest.mark.parametrize("well", ["slack", "email"])
@pytest.mark.parametrize("after_seconds", [250, 270, 290])
async def test_a_page_that_waits_goes_out_within_a_minute_of_a_recovery(
    room: NotifierHarness, jitter: float, well: str, after_seconds: int
) -> None:
    room.jitter = lambda: jitter
    room.slack.always = room.email.always = NOT_NOW
    room.hear(room.qualified(), room.assigned())
    await pass_seconds(room, after_seconds)
    room.channels[well].always = None
    await pass_seconds(room, 60)
    assert room.page(0)["state"] == "sent"


async def test_a_person_whom_every_channel_refuses_is_said_once_and_tried_on(room: NotifierHarness) -> None:
    room.slack.always = room.email.always = GiveUp("unknown to us")
    room.hear(room.qualified(), room.assigned())
    await room.wait(minutes=9)
    assert (len(room.slack.told), len(room.email.told)) == (1, 1)
    (failed,) = room.said(PageFailed)
    assert (failed.tried, failed.why, failed.person) == (("slack", "email"), "unknown to us", "ana")
    assert room.page(0)["state"] == "pending"

    room.slack.always = room.email.always = None
    await room.wait(minutes=20)
    assert len(room.said(PageFailed)) == 1
    assert room.rows("SELECT told_at IS NOT NULL AS told FROM notifier_clocks") == [{"told": 1}]


async def test_a_channel_that_refuses_us_is_left_at_once_and_said_while_it_does(room: NotifierHarness) -> None:
    room.slack.always = Unusable("Slack refuses us: invalid_auth")
    room.hear(room.qualified(), room.assigned())
    await room.settle()
    assert (room.slack.people, room.email.people) == (["Ana"], ["Ana"])
    assert room.delivery.warnings() == [
        "slack accepts no pages since 2026-12-01 09:00 UTC: Slack refuses us: invalid_auth"
    ]
    await room.wait(minutes=11)
    assert room.page(1)["state"] == "pending", "slack is its only channel"

    room.slack.always = None
    await room.wait(minutes=2)
    assert room.page(1)["state"] == "sent"
    assert room.delivery.warnings() == []


async def test_a_recovered_channel_delivers_every_waiting_page_at_once(room: NotifierHarness) -> None:
    room.slack.always = room.email.always = NOT_NOW
    for n in range(300):
        room.hear(room.qualified(f"l{n}"), room.assigned(f"l{n}", rep=("ana", "bo")[n % 2]))
    await room.wait(minutes=20)
    room.email.always = None
    room.email.told.clear()
    for _ in range(60):
        await pass_seconds(room, 1)
        if room.email.told:
            break
    await pass_seconds(room, 3)
    waiting = room.rows("SELECT count(*) AS n FROM notifier_pages WHERE state = 'pending'")
    assert waiting == [{"n": 0}]


async def test_an_outage_costs_so_many_tries_however_many_pages_wait(room: NotifierHarness) -> None:
    room.slack.always = room.email.always = NOT_NOW
    for n in range(300):
        room.hear(room.qualified(f"l{n}"), room.assigned(f"l{n}", rep=("ana", "bo")[n % 2]))
    await pass_seconds(room, 60)
    before = len(room.slack.told) + len(room.email.told)
    await pass_seconds(room, 60)
    assert len(room.slack.told) + len(room.email.told) - before <= 2 * 60 / PROBE_SECONDS_MAX + 2


async def test_attempts_of_a_page_are_kept_up_to_a_number(room: NotifierHarness) -> None:
    room.slack.always = room.email.always = NOT_NOW
    room.hear(room.qualified(), room.assigned())
    await room.wait(hours=2)
    tried = room.rows("SELECT count(*) AS n FROM notifier_attempts GROUP BY page_id ORDER BY 1 DESC")
    assert tried[0]["n"] <= ATTEMPTS_KEPT_MAX < room.page(1)["deliveries"]


async def test_a_page_is_not_cancelled_on_older_knowledge_of_a_rep_who_just_came_back(room: NotifierHarness) -> None:
    room.hear(room.rep("ana", "away", version=1))
    room.hear(room.qualified(), room.assigned(rep_version=2))
    await room.settle()
    assert room.slack.people == ["Ana"]
    room.hear(room.rep("ana", "available", version=2))
    room.hear(room.rep("ana", "away", version=3))
    await room.wait(minutes=10)
    assert room.page(1)["error"] == "ana is away"


async def test_availability_told_by_a_fast_clock_loses_against_a_newer_version(room: NotifierHarness) -> None:
    room.clock.advance(hours=5)
    away = room.rep("ana", "away", version=1)
    room.clock.advance(hours=-5)
    room.hear(away)
    room.hear(room.rep("ana", "available", version=2))
    room.hear(room.qualified(), room.assigned(rep_version=2))
    await room.settle()
    assert room.slack.people == ["Ana"]


async def test_a_person_without_an_address_on_any_channel_of_the_rung_is_named(room: NotifierHarness) -> None:
    room.units.config = without_slack("ana")
    room.hear(room.qualified(), room.assigned())
    await room.wait(minutes=10)
    assert (room.slack.people, room.email.people) == ([], ["Ana"])
    assert room.page(1)["error"] == "ana has no address in team.yaml for slack"


def test_retries_outlast_a_minute_without_the_other_side() -> None:
    waits = [backoff_seconds(tries) for tries in range(1, 6)]
    assert waits == [1.0, 4.0, 16.0, 60.0, 60.0]
    assert backoff_seconds(10_000) == 60.0


async def test_a_channel_that_raises_is_one_that_did_not_accept(room: NotifierHarness) -> None:
    room.slack.answers = [RuntimeError("bug")]
    room.hear(room.qualified(), room.assigned())
    await room.settle()
    await pass_seconds(room, 2)
    assert len(room.slack.told) == 2
    assert room.page(0)["state"] == "sent"


async def test_a_page_whose_channels_are_not_set_up_waits_and_is_not_sent(tmp_path: Path) -> None:
    inbox = FakeChannel("inbox")
    room = NotifierHarness(tmp_path / "y.db", [inbox])
    room.hear(room.qualified(), room.assigned())
    await room.wait(minutes=5)
    assert inbox.people == []
    assert (room.page(0)["state"], room.page(0)["deliveries"]) == ("pending", 0)
    assert room.page(0)["error"] == "slack, email is not set up here; see `firsthour doctor`"
    room.units.close()


async def test_an_inbox_that_the_rung_names_is_where_the_page_arrives(tmp_path: Path) -> None:
    inbox = FakeChannel("inbox")
    room = NotifierHarness(tmp_path / "z.db", [inbox])
    room.units.config = with_ladder({"at": "0m", "page": "owner"})
    room.hear(room.qualified(), room.assigned())
    await room.settle()
    assert inbox.people == ["Ana"]
    room.units.close()


async def test_dying_after_the_claim_sends_when_the_lease_ends(room: NotifierHarness) -> None:
    nobody_delivers(room)
    room.hear(room.qualified(), room.assigned())
    room.restart()
    assert len(room.units.now(lambda unit: claim(unit, room.desk, 20)).claims) == 1
    room.restart()  # killed before anything was sent
    await room.settle()
    assert room.slack.told == []
    room.clock.advance(seconds=LEASE.total_seconds() + 1)
    await room.settle()
    assert room.slack.people == ["Ana"]
    tried = room.rows("SELECT n, outcome FROM notifier_attempts ORDER BY n")
    assert [(row["n"], row["outcome"]) for row in tried] == [(1, "unknown"), (2, "sent")]


async def test_a_page_that_is_being_sent_is_not_claimed_again(room: NotifierHarness) -> None:
    nobody_delivers(room)
    room.hear(room.qualified(), room.assigned())
    room.restart()
    room.units.now(lambda unit: claim(unit, room.desk, 20))
    room.clock.advance(seconds=LEASE.total_seconds() - 1)
    assert room.units.now(lambda unit: claim(unit, room.desk, 20)).claims == ()


async def test_a_full_disk_after_the_sending_is_recorded_later_and_sends_nothing_twice(room: NotifierHarness) -> None:
    room.hear(room.qualified(), room.assigned())
    await asyncio.sleep(0)  # it is sent
    room.units.failing = 1
    with pytest.raises(StorageError):
        await room.delivery._record()
    assert room.page(0)["state"] == "sending"
    await room.settle()
    assert room.slack.people == ["Ana"]
    assert room.page(0)["state"] == "sent"
    assert len(room.said(PageSent)) == 1


async def test_dying_between_send_and_record_tells_the_rep_twice(room: NotifierHarness) -> None:
    room.hear(room.qualified(), room.assigned())
    await asyncio.sleep(0)
    room.restart()
    await pass_seconds(room, 12)
    assert room.slack.people == ["Ana", "Ana"]
    assert room.slack.told[0].page_id == room.slack.told[1].page_id
    assert len(room.said(PageSent)) == 1


async def test_whoever_lost_the_claim_records_nothing(room: NotifierHarness) -> None:
    room.hear(room.qualified(), room.assigned())
    await asyncio.sleep(0)
    stale = room.delivery
    room.restart()
    await pass_seconds(room, 12)
    await stale._record()
    assert len(room.said(PageSent)) == 1
    assert room.page(0)["deliveries"] == 2


async def test_whoever_lost_the_claim_does_not_end_the_sending_of_another(room: NotifierHarness) -> None:
    room.hear(room.qualified(), room.assigned())
    await asyncio.sleep(0)
    stale = room.delivery
    room.restart()
    room.clock.advance(seconds=LEASE.total_seconds() + 1)
    room.units.now(lambda unit: claim(unit, room.desk, 20))
    await stale._record()
    assert (room.page(0)["state"], room.said(PageSent)) == ("sending", [])


@pytest.mark.parametrize("fact", ["touched", "opted_out", "recycled", "released", "accepted"])
async def test_no_page_is_claimed_after_the_fact_that_ends_it(room: NotifierHarness, fact: str) -> None:
    nobody_delivers(room)
    room.hear(room.qualified(), room.assigned())
    room.hear(getattr(room, fact)())
    room.restart()
    await pass_seconds(room, 60)
    assert room.slack.told + room.email.told == []
    assert room.page(0)["state"] == "cancelled"


@pytest.mark.parametrize("fact", ["touched", "opted_out", "recycled", "released", "accepted"])
async def test_a_page_on_its_way_is_not_tried_again_after_that_fact(room: NotifierHarness, fact: str) -> None:
    room.slack.answers = [NOT_NOW]
    room.hear(room.qualified(), room.assigned())  # claimed, and on its way
    room.hear(getattr(room, fact)())
    await pass_seconds(room, 60)
    assert len(room.slack.told) == 1
    assert room.page(0)["state"] == "cancelled"
    assert room.page(0)["error"]


async def test_a_deactivated_rep_is_not_paged(room: NotifierHarness) -> None:
    room.hear(room.qualified(), room.assigned(rep="gone"))
    await room.settle()
    assert room.slack.told == []
    assert room.page(0)["error"] == "gone is deactivated"


async def test_a_rep_who_went_away_is_not_paged_until_they_are_back(room: NotifierHarness) -> None:
    room.hear(room.rep("ana", "away", room.clock.now + timedelta(minutes=5)))
    room.hear(room.qualified(), room.assigned())
    await room.settle()
    assert room.page(0)["error"] == "ana is away"
    await room.wait(minutes=10)
    assert [m.rung for m in room.slack.told] == [1]


async def test_older_news_of_a_rep_do_not_overwrite_newer(room: NotifierHarness) -> None:
    here = room.rep("ana", "available")
    room.clock.advance(seconds=1)
    room.hear(room.rep("ana", "deactivated"))
    room.hear(here)
    room.hear(room.qualified(), room.assigned())
    await room.settle()
    assert room.slack.told == []


async def test_a_manager_page_goes_on_after_the_owner_accepted_and_is_for_the_manager(room: NotifierHarness) -> None:
    room.hear(room.qualified(), room.assigned(), room.accepted())
    await room.wait(minutes=20)
    (page,) = room.slack.told
    assert (page.person_name, page.kind, page.owner_name, page.rung) == ("Max", "manager", "Ana", 2)


async def test_a_reminder_belongs_to_the_thread_of_the_first_page(room: NotifierHarness) -> None:
    room.hear(room.qualified(), room.assigned())
    await room.wait(minutes=20)
    first, second, manager = room.slack.told
    assert (first.thread_id, second.thread_id, manager.thread_id) == (None, first.page_id, None)
    assert first.lead_url == "https://firsthour.example/v1/leads/l1"


async def test_slack_tells_one_person_one_thing_a_second(room: NotifierHarness) -> None:
    for n in range(3):
        room.hear(room.qualified(f"l{n}"), room.assigned(f"l{n}"))
    room.hear(room.qualified("other"), room.assigned("other", rep="bo"))
    await room.settle()
    assert sorted(room.slack.people) == ["Ana", "Bo"]
    await pass_seconds(room, 1)
    assert len(room.slack.told) == 3
    await pass_seconds(room, 1)
    assert len(room.slack.told) == 4
    assert room.email.told == []


async def test_whom_slack_cannot_tell_in_half_a_minute_is_told_by_mail(room: NotifierHarness) -> None:
    for n in range(40):
        room.hear(room.qualified(f"l{n}"), room.assigned(f"l{n}"))
    await room.settle()
    assert (len(room.slack.told), len(room.email.told)) == (1, 10)
    await pass_seconds(room, 30)
    assert (len(room.slack.told), len(room.email.told)) == (30, 10)


async def test_metrics_count_attempts_lateness_and_promises(room: NotifierHarness) -> None:
    room.slack.answers = [GiveUp("no")]
    room.hear(room.qualified(), room.assigned())
    await room.settle()
    room.hear(room.touched())
    room.hear(room.qualified("l2"))
    await room.wait(minutes=61)
    shown = room.telemetry.text().decode()
    assert 'pages_total{channel="slack",outcome="gave_up"} 1.0' in shown
    assert 'pages_total{channel="email",outcome="sent"} 1.0' in shown
    assert "page_lateness_seconds_count 1.0" in shown
    assert 'promises_total{outcome="met"} 1.0' in shown
    assert 'promises_total{outcome="missed"} 1.0' in shown


class Gate:
    """A channel that answers when it is let."""

    name = "slack"

    def __init__(self) -> None:
        self.waiting = asyncio.Event()
        self.open = asyncio.Event()

    async def send(self, message: Message) -> Outcome:
        self.waiting.set()
        await self.open.wait()
        return Sent("late")

    async def close(self) -> None:
        pass


async def until(room: NotifierHarness, state: str, lead: str) -> None:
    async with asyncio.timeout(5):
        while room.page(0, lead=lead)["state"] != state:
            await asyncio.sleep(0)


async def test_a_slow_channel_holds_back_nobody(room: NotifierHarness) -> None:
    gate = Gate()
    room.delivery._channels = {"slack": gate, "email": room.email}
    running = asyncio.create_task(room.delivery.run())
    room.hear(room.qualified(), room.assigned())
    await gate.waiting.wait()
    room.delivery._channels = {"email": room.email}
    room.hear(room.qualified("l2"), room.assigned("l2", rep="bo"))
    await until(room, "sent", "l2")
    assert room.page(0)["state"] == "sending"
    gate.open.set()
    await until(room, "sent", "l1")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_stopping_lets_what_is_on_its_way_arrive_and_records_it(room: NotifierHarness) -> None:
    gate = Gate()
    room.delivery._channels = {"slack": gate}
    running = asyncio.create_task(room.delivery.run())
    room.hear(room.qualified(), room.assigned())
    await gate.waiting.wait()
    running.cancel()
    await asyncio.sleep(0)
    assert room.delivery.room() == 0  # nothing new is taken
    gate.open.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert room.page(0)["state"] == "sent"


async def test_a_full_disk_at_the_claim_delays_a_page_and_loses_none(room: NotifierHarness) -> None:
    nobody_delivers(room)
    room.hear(room.qualified(), room.assigned())
    room.restart()
    room.units.failing = 1
    with pytest.raises(StorageError):
        await room.delivery.step()
    await pass_seconds(room, 1)
    assert room.slack.people == ["Ana"]

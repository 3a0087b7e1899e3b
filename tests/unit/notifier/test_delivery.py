"""How pages reach people: claim, send, record, whatever the channels and the disk do."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from firsthour.runtime.storage.unit import StorageError
from schemas.events.pages import PageFailed, PageSent
from services.notifier.channels.base import GiveUp, Outcome, Sent, TryAgain, Unusable
from services.notifier.claiming import claim
from services.notifier.context import DELIVERY
from services.notifier.domain.health import PROBE_SECONDS_MAX
from services.notifier.domain.message import Message
from services.notifier.domain.page import FAILOVER, LEASE, backoff_seconds
from services.notifier.recording import ATTEMPTS_KEPT_MAX
from tests.unit.notifier.harness import FakeChannel, NotifierHarness, with_ladder, without_slack

NOT_NOW = TryAgain(None, "busy")


def nobody_delivers(harness: NotifierHarness) -> None:
    harness.context.room = lambda: 0


async def pass_seconds(harness: NotifierHarness, seconds: int) -> None:
    for _ in range(seconds):
        harness.clock.advance(seconds=1)
        await harness.settle()


async def test_without_room_a_page_waits_as_a_row_and_wakes_the_delivery(harness: NotifierHarness) -> None:
    nobody_delivers(harness)
    harness.hear(harness.qualified(), harness.assigned())
    assert harness.page(0)["state"] == "pending"
    assert DELIVERY in harness.units.woken
    harness.restart()
    await harness.settle()
    assert harness.slack.recipients == ["Ana"]
    assert harness.page(0)["state"] == "sent"


async def test_a_claim_takes_four_statements_however_many_pages_are_due(harness: NotifierHarness) -> None:
    nobody_delivers(harness)
    for n in range(15):
        harness.hear(harness.qualified(f"l{n}"), harness.assigned(f"l{n}", rep=["ana", "bo"][n % 2]))
    harness.restart()
    with harness.units.counting() as statements:
        found = harness.units.now(lambda unit: claim(unit, harness.context, 20))
    assert len(found.claims) == 2  # the others wait for their turn
    assert len(statements) == 4


async def test_a_channel_that_refuses_for_good_is_left_at_once(harness: NotifierHarness) -> None:
    harness.slack.answers = [GiveUp("no such user")]
    harness.hear(harness.qualified(), harness.assigned())
    await harness.settle()
    assert (harness.slack.recipients, harness.email.recipients) == (["Ana"], ["Ana"])
    (sent,) = harness.events(PageSent)
    assert (sent.channel, sent.tries) == ("email", 2)
    tried = harness.rows("SELECT n, channel, outcome, detail FROM notifier_attempts ORDER BY n")
    assert [(row["n"], row["channel"], row["outcome"]) for row in tried] == [
        (1, "slack", "gave_up"),
        (2, "email", "sent"),
    ]


async def test_a_channel_that_does_not_accept_within_thirty_seconds_is_left(harness: NotifierHarness) -> None:
    harness.slack.always = NOT_NOW
    harness.hear(harness.qualified(), harness.assigned())
    await harness.settle()
    before = harness.clock.now
    while not harness.email.messages:
        await pass_seconds(harness, 1)
    assert harness.clock.now - before <= FAILOVER
    assert len(harness.slack.messages) >= 2
    assert harness.page(0)["state"] == "sent"


async def test_a_channel_that_asks_to_wait_longer_than_that_is_left_at_once(harness: NotifierHarness) -> None:
    harness.slack.answers = [TryAgain(31.0, "ratelimited")]
    harness.hear(harness.qualified(), harness.assigned())
    await harness.settle()
    assert harness.email.recipients == ["Ana"]


async def test_a_channel_that_asks_to_wait_is_not_tried_sooner(harness: NotifierHarness) -> None:
    harness.slack.answers = [TryAgain(10.0, "ratelimited")]
    harness.hear(harness.qualified(), harness.assigned())
    await harness.settle()
    await pass_seconds(harness, 9)
    assert len(harness.slack.messages) == 1
    await pass_seconds(harness, 1)
    assert len(harness.slack.messages) == 2
    assert harness.email.messages == []


async def test_a_page_is_tried_over_every_channel_in_turn_until_one_accepts_it(harness: NotifierHarness) -> None:
    harness.slack.always = harness.email.always = NOT_NOW
    harness.hear(harness.qualified(), harness.assigned())
    await harness.wait(minutes=50)
    assert harness.page(0)["state"] == "pending"
    assert harness.events(PageFailed) == []
    before = len(harness.slack.messages), len(harness.email.messages)
    await harness.wait(minutes=5)
    assert len(harness.slack.messages) > before[0]
    assert len(harness.email.messages) > before[1]
    harness.email.always = None
    await harness.wait(minutes=3)
    assert (harness.page(0)["state"], harness.page(0)["channel_index"] % 2) == ("sent", 1)


@pytest.mark.parametrize("jitter", [0.0, 0.999])
@pytest.mark.parametrize("well", ["slack", "email"])
@pytest.mark.parametrize("after_seconds", [250, 270, 290])
async def test_a_page_that_waits_goes_out_within_a_minute_of_a_recovery(
    harness: NotifierHarness, jitter: float, well: str, after_seconds: int
) -> None:
    harness.jitter = lambda: jitter
    harness.slack.always = harness.email.always = NOT_NOW
    harness.hear(harness.qualified(), harness.assigned())
    await pass_seconds(harness, after_seconds)
    harness.channels[well].always = None
    await pass_seconds(harness, 60)
    assert harness.page(0)["state"] == "sent"


async def test_a_person_whom_every_channel_refuses_is_said_once_and_tried_on(harness: NotifierHarness) -> None:
    harness.slack.always = harness.email.always = GiveUp("unknown to us")
    harness.hear(harness.qualified(), harness.assigned())
    await harness.wait(minutes=9)
    assert (len(harness.slack.messages), len(harness.email.messages)) == (1, 1)
    (failed,) = harness.events(PageFailed)
    assert (failed.tried, failed.why, failed.person) == (("slack", "email"), "unknown to us", "ana")
    assert harness.page(0)["state"] == "pending"

    harness.slack.always = harness.email.always = None
    await harness.wait(minutes=20)
    assert len(harness.events(PageFailed)) == 1
    assert harness.rows("SELECT told_at IS NOT NULL AS told FROM notifier_clocks") == [{"told": 1}]


async def test_a_channel_that_refuses_us_is_left_at_once_and_said_while_it_does(harness: NotifierHarness) -> None:
    harness.slack.always = Unusable("Slack refuses us: invalid_auth")
    harness.hear(harness.qualified(), harness.assigned())
    await harness.settle()
    assert (harness.slack.recipients, harness.email.recipients) == (["Ana"], ["Ana"])
    assert harness.delivery.warnings() == [
        "slack accepts no pages since 2026-12-01 09:00 UTC: Slack refuses us: invalid_auth"
    ]
    await harness.wait(minutes=11)
    assert harness.page(1)["state"] == "pending", "slack is its only channel"

    harness.slack.always = None
    await harness.wait(minutes=2)
    assert harness.page(1)["state"] == "sent"
    assert harness.delivery.warnings() == []


async def test_a_recovered_channel_delivers_every_waiting_page_at_once(harness: NotifierHarness) -> None:
    harness.slack.always = harness.email.always = NOT_NOW
    for n in range(300):
        harness.hear(harness.qualified(f"l{n}"), harness.assigned(f"l{n}", rep=("ana", "bo")[n % 2]))
    await harness.wait(minutes=20)
    harness.email.always = None
    harness.email.messages.clear()
    for _ in range(60):
        await pass_seconds(harness, 1)
        if harness.email.messages:
            break
    await pass_seconds(harness, 3)
    waiting = harness.rows("SELECT count(*) AS n FROM notifier_pages WHERE state = 'pending'")
    assert waiting == [{"n": 0}]


async def test_an_outage_costs_so_many_tries_however_many_pages_wait(harness: NotifierHarness) -> None:
    harness.slack.always = harness.email.always = NOT_NOW
    for n in range(300):
        harness.hear(harness.qualified(f"l{n}"), harness.assigned(f"l{n}", rep=("ana", "bo")[n % 2]))
    await pass_seconds(harness, 60)
    before = len(harness.slack.messages) + len(harness.email.messages)
    await pass_seconds(harness, 60)
    assert len(harness.slack.messages) + len(harness.email.messages) - before <= 2 * 60 / PROBE_SECONDS_MAX + 2


async def test_attempts_of_a_page_are_kept_up_to_a_number(harness: NotifierHarness) -> None:
    harness.slack.always = harness.email.always = NOT_NOW
    harness.hear(harness.qualified(), harness.assigned())
    await harness.wait(hours=2)
    tried = harness.rows("SELECT count(*) AS n FROM notifier_attempts GROUP BY page_id ORDER BY 1 DESC")
    assert tried[0]["n"] <= ATTEMPTS_KEPT_MAX < harness.page(1)["deliveries"]


async def test_a_page_is_not_cancelled_on_older_knowledge_of_a_rep_who_just_came_back(harness: NotifierHarness) -> None:
    harness.hear(harness.rep("ana", "away", version=1))
    harness.hear(harness.qualified(), harness.assigned(rep_version=2))
    await harness.settle()
    assert harness.slack.recipients == ["Ana"]
    harness.hear(harness.rep("ana", "available", version=2))
    harness.hear(harness.rep("ana", "away", version=3))
    await harness.wait(minutes=10)
    assert harness.page(1)["error"] == "ana is away"


async def test_availability_told_by_a_fast_clock_loses_against_a_newer_version(harness: NotifierHarness) -> None:
    harness.clock.advance(hours=5)
    away = harness.rep("ana", "away", version=1)
    harness.clock.advance(hours=-5)
    harness.hear(away)
    harness.hear(harness.rep("ana", "available", version=2))
    harness.hear(harness.qualified(), harness.assigned(rep_version=2))
    await harness.settle()
    assert harness.slack.recipients == ["Ana"]


async def test_a_person_without_an_address_on_any_channel_of_the_rung_is_named(harness: NotifierHarness) -> None:
    harness.units.config = without_slack("ana")
    harness.hear(harness.qualified(), harness.assigned())
    await harness.wait(minutes=10)
    assert (harness.slack.recipients, harness.email.recipients) == ([], ["Ana"])
    assert harness.page(1)["error"] == "ana has no address in team.yaml for slack"


def test_retries_outlast_a_minute_without_the_other_side() -> None:
    waits = [backoff_seconds(tries) for tries in range(1, 6)]
    assert waits == [1.0, 4.0, 16.0, 60.0, 60.0]
    assert backoff_seconds(10_000) == 60.0


async def test_a_channel_that_raises_is_one_that_did_not_accept(harness: NotifierHarness) -> None:
    harness.slack.answers = [RuntimeError("bug")]
    harness.hear(harness.qualified(), harness.assigned())
    await harness.settle()
    await pass_seconds(harness, 2)
    assert len(harness.slack.messages) == 2
    assert harness.page(0)["state"] == "sent"


async def test_a_page_whose_channels_are_not_set_up_waits_and_is_not_sent(tmp_path: Path) -> None:
    inbox = FakeChannel("inbox")
    harness = NotifierHarness(tmp_path / "y.db", [inbox])
    harness.hear(harness.qualified(), harness.assigned())
    await harness.wait(minutes=5)
    assert inbox.recipients == []
    assert (harness.page(0)["state"], harness.page(0)["deliveries"]) == ("pending", 0)
    assert harness.page(0)["error"] == "channel not set up here: slack, email; see `firsthour doctor`"
    harness.units.close()


async def test_an_inbox_that_the_rung_names_is_where_the_page_arrives(tmp_path: Path) -> None:
    inbox = FakeChannel("inbox")
    harness = NotifierHarness(tmp_path / "z.db", [inbox])
    harness.units.config = with_ladder({"at": "0m", "page": "owner"})
    harness.hear(harness.qualified(), harness.assigned())
    await harness.settle()
    assert inbox.recipients == ["Ana"]
    harness.units.close()


async def test_dying_after_the_claim_sends_when_the_lease_ends(harness: NotifierHarness) -> None:
    nobody_delivers(harness)
    harness.hear(harness.qualified(), harness.assigned())
    harness.restart()
    assert len(harness.units.now(lambda unit: claim(unit, harness.context, 20)).claims) == 1
    harness.restart()  # killed before anything was sent
    await harness.settle()
    assert harness.slack.messages == []
    harness.clock.advance(seconds=LEASE.total_seconds() + 1)
    await harness.settle()
    assert harness.slack.recipients == ["Ana"]
    tried = harness.rows("SELECT n, outcome FROM notifier_attempts ORDER BY n")
    assert [(row["n"], row["outcome"]) for row in tried] == [(1, "unknown"), (2, "sent")]


async def test_a_page_that_is_being_sent_is_not_claimed_again(harness: NotifierHarness) -> None:
    nobody_delivers(harness)
    harness.hear(harness.qualified(), harness.assigned())
    harness.restart()
    harness.units.now(lambda unit: claim(unit, harness.context, 20))
    harness.clock.advance(seconds=LEASE.total_seconds() - 1)
    assert harness.units.now(lambda unit: claim(unit, harness.context, 20)).claims == ()


async def test_a_full_disk_after_the_sending_is_recorded_later_and_sends_nothing_twice(
    harness: NotifierHarness,
) -> None:
    harness.hear(harness.qualified(), harness.assigned())
    await asyncio.sleep(0)  # it is sent
    harness.units.failing = 1
    with pytest.raises(StorageError):
        await harness.delivery._record()
    assert harness.page(0)["state"] == "sending"
    await harness.settle()
    assert harness.slack.recipients == ["Ana"]
    assert harness.page(0)["state"] == "sent"
    assert len(harness.events(PageSent)) == 1


async def test_dying_between_send_and_record_tells_the_rep_twice(harness: NotifierHarness) -> None:
    harness.hear(harness.qualified(), harness.assigned())
    await asyncio.sleep(0)
    harness.restart()
    await pass_seconds(harness, 12)
    assert harness.slack.recipients == ["Ana", "Ana"]
    assert harness.slack.messages[0].page_id == harness.slack.messages[1].page_id
    assert len(harness.events(PageSent)) == 1


async def test_whoever_lost_the_claim_records_nothing(harness: NotifierHarness) -> None:
    harness.hear(harness.qualified(), harness.assigned())
    await asyncio.sleep(0)
    stale = harness.delivery
    harness.restart()
    await pass_seconds(harness, 12)
    await stale._record()
    assert len(harness.events(PageSent)) == 1
    assert harness.page(0)["deliveries"] == 2


async def test_whoever_lost_the_claim_does_not_end_the_sending_of_another(harness: NotifierHarness) -> None:
    harness.hear(harness.qualified(), harness.assigned())
    await asyncio.sleep(0)
    stale = harness.delivery
    harness.restart()
    harness.clock.advance(seconds=LEASE.total_seconds() + 1)
    harness.units.now(lambda unit: claim(unit, harness.context, 20))
    await stale._record()
    assert (harness.page(0)["state"], harness.events(PageSent)) == ("sending", [])


@pytest.mark.parametrize("fact", ["touched", "opted_out", "recycled", "released", "accepted"])
async def test_no_page_is_claimed_after_the_fact_that_ends_it(harness: NotifierHarness, fact: str) -> None:
    nobody_delivers(harness)
    harness.hear(harness.qualified(), harness.assigned())
    harness.hear(getattr(harness, fact)())
    harness.restart()
    await pass_seconds(harness, 60)
    assert harness.slack.messages + harness.email.messages == []
    assert harness.page(0)["state"] == "cancelled"


@pytest.mark.parametrize("fact", ["touched", "opted_out", "recycled", "released", "accepted"])
async def test_a_page_on_its_way_is_not_tried_again_after_that_fact(harness: NotifierHarness, fact: str) -> None:
    harness.slack.answers = [NOT_NOW]
    harness.hear(harness.qualified(), harness.assigned())  # claimed, and on its way
    harness.hear(getattr(harness, fact)())
    await pass_seconds(harness, 60)
    assert len(harness.slack.messages) == 1
    assert harness.page(0)["state"] == "cancelled"
    assert harness.page(0)["error"]


async def test_a_deactivated_rep_is_not_paged(harness: NotifierHarness) -> None:
    harness.hear(harness.qualified(), harness.assigned(rep="gone"))
    await harness.settle()
    assert harness.slack.messages == []
    assert harness.page(0)["error"] == "gone is deactivated"


async def test_a_rep_who_went_away_is_not_paged_until_they_are_back(harness: NotifierHarness) -> None:
    harness.hear(harness.rep("ana", "away", harness.clock.now + timedelta(minutes=5)))
    harness.hear(harness.qualified(), harness.assigned())
    await harness.settle()
    assert harness.page(0)["error"] == "ana is away"
    await harness.wait(minutes=10)
    assert [m.rung for m in harness.slack.messages] == [1]


async def test_older_news_of_a_rep_do_not_overwrite_newer(harness: NotifierHarness) -> None:
    here = harness.rep("ana", "available")
    harness.clock.advance(seconds=1)
    harness.hear(harness.rep("ana", "deactivated"))
    harness.hear(here)
    harness.hear(harness.qualified(), harness.assigned())
    await harness.settle()
    assert harness.slack.messages == []


async def test_a_manager_page_goes_on_after_the_owner_accepted_and_is_for_the_manager(harness: NotifierHarness) -> None:
    harness.hear(harness.qualified(), harness.assigned(), harness.accepted())
    await harness.wait(minutes=20)
    (page,) = harness.slack.messages
    assert (page.person_name, page.kind, page.owner_name, page.rung) == ("Max", "manager", "Ana", 2)


async def test_a_reminder_belongs_to_the_thread_of_the_first_page(harness: NotifierHarness) -> None:
    harness.hear(harness.qualified(), harness.assigned())
    await harness.wait(minutes=20)
    first, second, manager = harness.slack.messages
    assert (first.thread_id, second.thread_id, manager.thread_id) == (None, first.page_id, None)
    assert first.lead_url == "https://firsthour.example/v1/leads/l1"


async def test_slack_tells_one_person_one_thing_a_second(harness: NotifierHarness) -> None:
    for n in range(3):
        harness.hear(harness.qualified(f"l{n}"), harness.assigned(f"l{n}"))
    harness.hear(harness.qualified("other"), harness.assigned("other", rep="bo"))
    await harness.settle()
    assert sorted(harness.slack.recipients) == ["Ana", "Bo"]
    await pass_seconds(harness, 1)
    assert len(harness.slack.messages) == 3
    await pass_seconds(harness, 1)
    assert len(harness.slack.messages) == 4
    assert harness.email.messages == []


async def test_whom_slack_cannot_tell_in_half_a_minute_is_told_by_mail(harness: NotifierHarness) -> None:
    for n in range(40):
        harness.hear(harness.qualified(f"l{n}"), harness.assigned(f"l{n}"))
    await harness.settle()
    assert (len(harness.slack.messages), len(harness.email.messages)) == (1, 10)
    await pass_seconds(harness, 30)
    assert (len(harness.slack.messages), len(harness.email.messages)) == (30, 10)


async def test_metrics_count_attempts_lateness_and_promises(harness: NotifierHarness) -> None:
    harness.slack.answers = [GiveUp("no")]
    harness.hear(harness.qualified(), harness.assigned())
    await harness.settle()
    harness.hear(harness.touched())
    harness.hear(harness.qualified("l2"))
    await harness.wait(minutes=61)
    shown = harness.telemetry.text().decode()
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


async def until(harness: NotifierHarness, state: str, lead: str) -> None:
    async with asyncio.timeout(5):
        while harness.page(0, lead=lead)["state"] != state:
            await asyncio.sleep(0)


async def test_a_slow_channel_holds_back_nobody(harness: NotifierHarness) -> None:
    gate = Gate()
    harness.delivery._channels = {"slack": gate, "email": harness.email}
    running = asyncio.create_task(harness.delivery.run())
    harness.hear(harness.qualified(), harness.assigned())
    await gate.waiting.wait()
    harness.delivery._channels = {"email": harness.email}
    harness.hear(harness.qualified("l2"), harness.assigned("l2", rep="bo"))
    await until(harness, "sent", "l2")
    assert harness.page(0)["state"] == "sending"
    gate.open.set()
    await until(harness, "sent", "l1")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_stopping_lets_what_is_on_its_way_arrive_and_records_it(harness: NotifierHarness) -> None:
    gate = Gate()
    harness.delivery._channels = {"slack": gate}
    running = asyncio.create_task(harness.delivery.run())
    harness.hear(harness.qualified(), harness.assigned())
    await gate.waiting.wait()
    running.cancel()
    await asyncio.sleep(0)
    assert harness.delivery.room() == 0  # nothing new is taken
    gate.open.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert harness.page(0)["state"] == "sent"


async def test_a_full_disk_at_the_claim_delays_a_page_and_loses_none(harness: NotifierHarness) -> None:
    nobody_delivers(harness)
    harness.hear(harness.qualified(), harness.assigned())
    harness.restart()
    harness.units.failing = 1
    with pytest.raises(StorageError):
        await harness.delivery.step()
    await pass_seconds(harness, 1)
    assert harness.slack.recipients == ["Ana"]

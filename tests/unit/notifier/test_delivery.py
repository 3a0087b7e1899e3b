"""Delivery of pages: retries, the next channel, outages, and the stop of the runner."""

import asyncio
from pathlib import Path

import pytest

from schemas.events.pages import PageFailed, PageSent
from services.notifier.channels.base import GiveUp, Outcome, Sent, TryAgain, Unusable
from services.notifier.domain.health import PROBE_SECONDS_MAX
from services.notifier.domain.message import Message
from services.notifier.domain.page import FAILOVER, backoff_seconds
from tests.unit.notifier.harness import FakeChannel, NotifierHarness, with_ladder

NOT_NOW = TryAgain(None, "busy")


async def test_page_tries_the_next_channel_at_once_after_a_permanent_rejection(harness: NotifierHarness) -> None:
    harness.slack.answers = [GiveUp("no such user")]
    harness.hear(harness.qualified(), harness.assigned())
    await harness.settle()
    assert (harness.slack.recipients, harness.email.recipients) == (["Ana"], ["Ana"])
    (sent,) = harness.events(PageSent)
    assert (sent.channel, sent.tries) == ("email", 2)
    attempts = harness.rows("SELECT n, channel, outcome, detail FROM notifier_attempts ORDER BY n")
    assert [(row["n"], row["channel"], row["outcome"]) for row in attempts] == [
        (1, "slack", "gave_up"),
        (2, "email", "sent"),
    ]


async def test_page_tries_the_next_channel_after_30_seconds_of_failures(harness: NotifierHarness) -> None:
    harness.slack.always = NOT_NOW
    harness.hear(harness.qualified(), harness.assigned())
    await harness.settle()
    before = harness.clock.now
    while not harness.email.messages:
        await harness.pass_seconds(1)
    assert harness.clock.now - before <= FAILOVER
    assert len(harness.slack.messages) >= 2
    assert harness.page(0)["state"] == "sent"


async def test_page_tries_the_next_channel_at_once_instead_of_a_long_wait(harness: NotifierHarness) -> None:
    harness.slack.answers = [TryAgain(31.0, "ratelimited")]
    harness.hear(harness.qualified(), harness.assigned())
    await harness.settle()
    assert harness.email.recipients == ["Ana"]


async def test_channel_is_not_tried_again_before_its_requested_wait_ends(harness: NotifierHarness) -> None:
    harness.slack.answers = [TryAgain(10.0, "ratelimited")]
    harness.hear(harness.qualified(), harness.assigned())
    await harness.settle()
    await harness.pass_seconds(9)
    assert len(harness.slack.messages) == 1
    await harness.pass_seconds(1)
    assert len(harness.slack.messages) == 2
    assert harness.email.messages == []


async def test_page_is_tried_on_each_channel_in_turn_until_accepted(harness: NotifierHarness) -> None:
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("jitter", "channel", "after_seconds"),
    [(0.0, "slack", 290), (0.999, "email", 270), (0.999, "slack", 250)],
)
async def test_waiting_page_is_sent_within_a_minute_of_a_recovery(
    harness: NotifierHarness, jitter: float, channel: str, after_seconds: int
) -> None:
    harness.jitter = lambda: jitter
    harness.slack.always = harness.email.always = NOT_NOW
    harness.hear(harness.qualified(), harness.assigned())
    await harness.pass_seconds(after_seconds)
    harness.channels[channel].always = None
    await harness.pass_seconds(60)
    assert harness.page(0)["state"] == "sent"


async def test_page_rejected_by_every_channel_fails_once_and_is_retried(harness: NotifierHarness) -> None:
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


async def test_unusable_channel_is_skipped_with_a_warning_until_it_recovers(harness: NotifierHarness) -> None:
    harness.slack.always = Unusable("Slack rejects this installation: invalid_auth")
    harness.hear(harness.qualified(), harness.assigned())
    await harness.settle()
    assert (harness.slack.recipients, harness.email.recipients) == (["Ana"], ["Ana"])
    assert harness.delivery.warnings() == [
        "slack accepts no pages since 2026-12-01 09:00 UTC: Slack rejects this installation: invalid_auth"
    ]
    await harness.wait(minutes=11)
    assert harness.page(1)["state"] == "pending", "slack is its only channel"

    harness.slack.always = None
    await harness.wait(minutes=2)
    assert harness.page(1)["state"] == "sent"
    assert harness.delivery.warnings() == []


@pytest.mark.slow
async def test_recovered_channel_delivers_every_waiting_page_at_once(harness: NotifierHarness) -> None:
    harness.slack.always = harness.email.always = NOT_NOW
    for n in range(300):
        harness.hear(harness.qualified(f"l{n}"), harness.assigned(f"l{n}", rep=("ana", "bo")[n % 2]))
    await harness.wait(minutes=20)
    harness.email.always = None
    harness.email.messages.clear()
    for _ in range(60):
        await harness.pass_seconds(1)
        if harness.email.messages:
            break
    await harness.pass_seconds(3)
    waiting = harness.rows("SELECT count(*) AS n FROM notifier_pages WHERE state = 'pending'")
    assert waiting == [{"n": 0}]


@pytest.mark.slow
async def test_attempts_in_an_outage_do_not_depend_on_the_number_of_pages(harness: NotifierHarness) -> None:
    harness.slack.always = harness.email.always = NOT_NOW
    for n in range(300):
        harness.hear(harness.qualified(f"l{n}"), harness.assigned(f"l{n}", rep=("ana", "bo")[n % 2]))
    await harness.pass_seconds(60)
    before = len(harness.slack.messages) + len(harness.email.messages)
    await harness.pass_seconds(60)
    assert len(harness.slack.messages) + len(harness.email.messages) - before <= 2 * 60 / PROBE_SECONDS_MAX + 2


def test_retry_intervals_grow_to_a_minute() -> None:
    waits = [backoff_seconds(tries) for tries in range(1, 6)]
    assert waits == [1.0, 4.0, 16.0, 60.0, 60.0]
    assert backoff_seconds(10_000) == 60.0


async def test_exception_of_a_channel_is_a_temporary_failure(harness: NotifierHarness) -> None:
    harness.slack.answers = [RuntimeError("bug")]
    harness.hear(harness.qualified(), harness.assigned())
    await harness.settle()
    await harness.pass_seconds(2)
    assert len(harness.slack.messages) == 2
    assert harness.page(0)["state"] == "sent"


async def test_page_stays_pending_if_none_of_its_channels_is_configured(tmp_path: Path) -> None:
    inbox = FakeChannel("inbox")
    harness = NotifierHarness(tmp_path / "y.db", [inbox])
    harness.hear(harness.qualified(), harness.assigned())
    await harness.wait(minutes=5)
    assert inbox.recipients == []
    assert (harness.page(0)["state"], harness.page(0)["deliveries"]) == ("pending", 0)
    assert harness.page(0)["error"] == "channel not set up here: slack, email; see `firsthour doctor`"
    harness.units.close()


async def test_rung_without_channels_uses_the_inbox(tmp_path: Path) -> None:
    inbox = FakeChannel("inbox")
    harness = NotifierHarness(tmp_path / "z.db", [inbox])
    harness.units.config = with_ladder({"at": "0m", "page": "owner"})
    harness.hear(harness.qualified(), harness.assigned())
    await harness.settle()
    assert inbox.recipients == ["Ana"]
    harness.units.close()


class GatedChannel:
    """A channel that answers after `open` is set."""

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


async def test_slow_channel_does_not_delay_other_pages(harness: NotifierHarness) -> None:
    gate = GatedChannel()
    harness.delivery._ways.built_in = {"slack": gate, "email": harness.email}
    runner = asyncio.create_task(harness.delivery.run())
    harness.hear(harness.qualified(), harness.assigned())
    await gate.waiting.wait()
    harness.delivery._ways.built_in = {"email": harness.email}
    harness.hear(harness.qualified("l2"), harness.assigned("l2", rep="bo"))
    await until(harness, "sent", "l2")
    assert harness.page(0)["state"] == "sending"
    gate.open.set()
    await until(harness, "sent", "l1")
    runner.cancel()
    with pytest.raises(asyncio.CancelledError):
        await runner


async def test_stop_waits_for_pages_being_sent_and_records_them(harness: NotifierHarness) -> None:
    gate = GatedChannel()
    harness.delivery._ways.built_in = {"slack": gate}
    runner = asyncio.create_task(harness.delivery.run())
    harness.hear(harness.qualified(), harness.assigned())
    await gate.waiting.wait()
    runner.cancel()
    await asyncio.sleep(0)
    assert harness.context.bulkhead.closed  # no more pages are claimed
    gate.open.set()
    with pytest.raises(asyncio.CancelledError):
        await runner
    assert harness.page(0)["state"] == "sent"

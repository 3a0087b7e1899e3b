"""Recording of outcomes: crashes, lost claims, attempts and metrics."""

import asyncio

import pytest

from firsthour.runtime.storage.unit import StorageError
from schemas.events.leads import Trigger
from schemas.events.pages import PageSent
from schemas.events.routes import LeadAskedAgain
from services.notifier.channels.base import GiveUp, TryAgain
from services.notifier.claiming import claim
from services.notifier.domain.page import LEASE
from services.notifier.recording import ATTEMPTS_KEPT_MAX
from tests.unit.notifier.harness import NotifierHarness

NOT_NOW = TryAgain(None, "busy")


async def test_stored_attempts_of_a_page_are_limited(harness: NotifierHarness) -> None:
    harness.slack.always = harness.email.always = NOT_NOW
    harness.hear(harness.qualified(), harness.assigned())
    await harness.wait(hours=2)
    tried = harness.rows("SELECT count(*) AS n FROM notifier_attempts GROUP BY page_id ORDER BY 1 DESC")
    assert tried[0]["n"] <= ATTEMPTS_KEPT_MAX < harness.page(1)["deliveries"]


async def test_failed_recording_is_repeated_without_sending_again(
    harness: NotifierHarness,
) -> None:
    harness.hear(harness.qualified(), harness.assigned())
    await asyncio.sleep(0)  # it is sent
    harness.units.failing = 1
    with pytest.raises(StorageError):
        await harness.delivery._loop.record()
    assert harness.page(0)["state"] == "sending"
    await harness.settle()
    assert harness.slack.recipients == ["Ana"]
    assert harness.page(0)["state"] == "sent"
    assert len(harness.events(PageSent)) == 1


async def test_crash_between_send_and_record_sends_the_page_twice(harness: NotifierHarness) -> None:
    harness.hear(harness.qualified(), harness.assigned())
    await asyncio.sleep(0)
    harness.restart()
    await harness.pass_seconds(12)
    assert harness.slack.recipients == ["Ana", "Ana"]
    assert harness.slack.messages[0].page_id == harness.slack.messages[1].page_id
    assert len(harness.events(PageSent)) == 1


async def test_outcome_of_a_lost_claim_is_not_recorded(harness: NotifierHarness) -> None:
    harness.hear(harness.qualified(), harness.assigned())
    await asyncio.sleep(0)
    stale = harness.delivery
    harness.restart()
    await harness.pass_seconds(12)
    await stale._loop.record()
    assert len(harness.events(PageSent)) == 1
    assert harness.page(0)["deliveries"] == 2


async def test_outcome_of_a_lost_claim_leaves_the_newer_claim_unchanged(harness: NotifierHarness) -> None:
    harness.hear(harness.qualified(), harness.assigned())
    await asyncio.sleep(0)
    stale = harness.delivery
    harness.restart()
    harness.clock.advance(seconds=LEASE.total_seconds() + 1)
    harness.units.now(lambda unit: claim(unit, harness.context, 20))
    await stale._loop.record()
    assert (harness.page(0)["state"], harness.events(PageSent)) == ("sending", [])


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
    assert "page_lateness_seconds_count 3.0" in shown, (
        "the manager is told of the lead that waits, and of its missed promise"
    )
    assert 'promises_total{outcome="met"} 1.0' in shown
    assert 'promises_total{outcome="missed"} 1.0' in shown


async def test_page_of_an_earlier_request_does_not_count_for_the_next_one(harness: NotifierHarness) -> None:
    harness.hear(harness.qualified(), harness.assigned())
    await asyncio.sleep(0)  # the page is being sent
    routed = harness._routed("l1", "assigned", 1, "assigned")
    trigger = Trigger("e2", "form.submitted", harness.clock.business(), "web")
    harness.clock.advance(minutes=2)
    event = harness.clock.business()
    harness.hear(
        LeadAskedAgain(**routed, rep="ana", line="all", urgency="hot", submit_at=event, trigger=trigger, pool="all")
    )
    told = harness.rows("SELECT told_at, request FROM notifier_clocks")
    await harness.delivery._loop.record()
    assert harness.rows("SELECT told_at, request FROM notifier_clocks") == told
    assert (told[0]["told_at"], told[0]["request"]) == (None, 1)

"""A rep who loses a lead is told at once and why; the next owner is told who had it and what was tried."""

import msgspec
import pytest

from services.notifier.channels.base import TryAgain
from services.notifier.domain.message_text import words
from services.notifier.domain.page_words import text_of
from tests.unit.notifier.harness import NotifierHarness


def kinds(harness: NotifierHarness) -> list[tuple[str, str]]:
    """Return the messages of both channels: a page to a person who was just paged may go by mail."""
    messages = (*harness.slack.messages, *harness.email.messages)
    return [(message.kind, message.person_name) for message in messages]


async def test_rep_who_loses_a_lead_is_told_why_in_the_same_thread(harness: NotifierHarness) -> None:
    harness.hear(harness.qualified(), harness.assigned())
    await harness.wait(minutes=35)
    harness.slack.messages.clear()
    harness.hear(harness.released(), harness.assigned(rep="bo", epoch=2, reassignments=1))
    await harness.wait(minutes=1)
    assert sorted(kinds(harness)) == [("lost", "Ana"), ("reassigned", "Bo")]
    lost, new = sorted(harness.slack.messages, key=lambda message: message.kind)
    assert lost.thread_id == harness.page(0)["id"]
    text = words(lost)
    assert text.headline == "Moved on: Ada is now with Bo"
    assert text.todo[0] == "No touch was recorded within 35 minutes, so the lead was given to the next rep."
    assert [text_of(fact.line) for fact in words(new).facts if fact.label == "Before you"] == [
        "Ana for 35 minutes, did not answer the pages, no attempt recorded"
    ]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ("recycled", "The lead was rejected (not-now)."),
        ("opted_out", "The person does not want to be contacted any more."),
    ],
)
async def test_rep_is_told_that_the_lead_left_sales(harness: NotifierHarness, record: str, reason: str) -> None:
    harness.hear(harness.qualified(), harness.assigned())
    await harness.wait(minutes=5)
    harness.hear(getattr(harness, record)())
    await harness.wait(minutes=60)
    assert kinds(harness) == [("owner", "Ana"), ("lost", "Ana")]
    text = words(harness.slack.messages[-1])
    assert (text.headline, text.todo[0]) == ("No longer yours: Ada", reason)


async def test_rep_who_gave_the_lead_away_is_not_told(harness: NotifierHarness) -> None:
    harness.hear(harness.qualified(), harness.assigned())
    await harness.settle()
    harness.hear(msgspec.structs.replace(harness.recycled(), by="rep:ana"))
    await harness.wait(minutes=5)
    assert kinds(harness) == [("owner", "Ana")]


async def test_rep_who_never_knew_of_the_lead_is_not_told(harness: NotifierHarness) -> None:
    harness.slack.always = harness.email.always = TryAgain(None, "no answer")
    harness.hear(harness.qualified(), harness.assigned())
    await harness.settle()
    harness.hear(harness.released(), harness.assigned(rep="bo", epoch=2))
    harness.slack.always = harness.email.always = None
    harness.slack.messages.clear()
    harness.email.messages.clear()
    await harness.wait(minutes=2)
    assert kinds(harness) == [("owner", "Bo")]


async def test_rep_whose_page_arrives_after_the_loss_is_told(harness: NotifierHarness) -> None:
    harness.hear(harness.qualified(), harness.assigned())  # the page is being sent
    harness.hear(harness.released(), harness.assigned(rep="bo", epoch=2))
    await harness.wait(minutes=1)
    assert sorted(kinds(harness)) == [("lost", "Ana"), ("owner", "Ana"), ("owner", "Bo")]


async def test_rep_who_has_the_lead_again_is_not_told_of_the_loss(harness: NotifierHarness) -> None:
    harness.hear(harness.qualified(), harness.assigned())
    await harness.settle()
    harness.slack.always = harness.email.always = TryAgain(None, "no answer")
    harness.hear(harness.released(), harness.queued(epoch=1))
    await harness.settle()
    harness.hear(harness.assigned(epoch=2))
    harness.slack.always = harness.email.always = None
    await harness.wait(minutes=5)
    assert harness.rows("SELECT error FROM notifier_pages WHERE kind = 'lost'") == [{"error": "ana has the lead again"}]

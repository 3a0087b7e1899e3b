"""A rep who loses a lead is told at once and why; the next owner is told who had it and what was tried."""

import msgspec
import pytest
from msgspec.structs import replace

from services.notifier.channels.base import TryAgain
from services.notifier.context import NotifierContext
from services.notifier.domain.clock_events import hear
from services.notifier.domain.loss import notice, previous_owner, told_too_late
from services.notifier.domain.message_text import words
from services.notifier.domain.page import page_number
from services.notifier.domain.page_words import Words, text_of
from tests.unit.notifier.harness import CONFIG, NotifierHarness
from tests.unit.notifier.router_records import NINE

CONTEXT = NotifierContext(("slack", "email", "inbox"))


def fact(page: Words, label: str) -> str:
    """Return the fact with this label."""
    return next(text_of(each.line) for each in page.facts if each.label == label)


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
    assert fact(text, "Why") == "No touch was recorded within 35 minutes, so the lead was given to the next rep."
    assert [text_of(fact.line) for fact in words(new).facts if fact.label == "Before you"] == [
        "Ana for 35 minutes, did not answer the pages, no attempt recorded"
    ]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ("recycled", "The lead was rejected (not now)."),
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
    assert (text.headline, fact(text, "Why")) == ("No longer yours: Ada", reason)


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


async def test_rep_who_touched_the_lead_before_the_page_arrived_is_told_of_the_loss(harness: NotifierHarness) -> None:
    harness.slack.always = harness.email.always = TryAgain(None, "no answer")
    harness.hear(harness.qualified(), harness.assigned())
    await harness.settle()
    harness.hear(msgspec.structs.replace(harness.touched(), answered=False))
    harness.slack.always = harness.email.always = None
    harness.hear(harness.released(), harness.assigned(rep="bo", epoch=2, touched_at=harness.clock.now))
    await harness.wait(minutes=2)
    assert ("lost", "Ana") in kinds(harness)


@pytest.mark.parametrize(("request_number", "told"), [(0, False), (1, True)])
def test_rep_whose_page_of_the_second_request_did_not_arrive_knows_of_the_lead(
    harness: NotifierHarness, request_number: int, told: bool
) -> None:
    clock = hear(None, harness.qualified(), CONTEXT.terms_of(CONFIG), NINE).clock
    assert clock is not None
    clock = hear(clock, harness.assigned(), CONTEXT.terms_of(CONFIG), NINE).clock
    assert clock is not None
    lost = previous_owner(replace(clock, request=request_number, told_at=None), harness.released())
    assert lost is not None
    assert lost.told is told


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


@pytest.mark.parametrize(
    ("answered", "tried"),
    [(True, "Ana for 9 minutes, talked to the person"), (False, "Ana for 9 minutes, attempts to reach the person: 1")],
)
async def test_next_owner_of_a_contacted_lead_is_told_once_and_told_of_its_loss(
    harness: NotifierHarness, answered: bool, tried: str
) -> None:
    harness.hear(harness.qualified(), harness.assigned())
    await harness.wait(minutes=5)
    harness.hear(msgspec.structs.replace(harness.touched(), answered=answered))
    await harness.wait(minutes=4)
    harness.hear(harness.released(), harness.assigned(rep="bo", epoch=2, touched_at=harness.clock.now))
    await harness.wait(hours=5)
    assert sorted(kinds(harness)) == [("handed_on", "Bo"), ("lost", "Ana"), ("owner", "Ana")]
    text = words(next(message for message in harness.slack.messages if message.kind == "handed_on"))
    assert text.headline == "Now yours: Ada"
    assert [text_of(fact.line) for fact in text.facts if fact.label == "Before you"] == [tried]
    assert not [fact for fact in text.facts if fact.label in ("Contact by", "Promised by")]
    harness.hear(harness.recycled(epoch=2))
    await harness.wait(minutes=1)
    assert kinds(harness)[-1] == ("lost", "Bo")


@pytest.mark.parametrize("record", ["opted_out", "recycled", "released"])
async def test_page_to_the_next_owner_that_waits_is_cancelled_when_the_assignment_ends(
    harness: NotifierHarness, record: str
) -> None:
    harness.stop_delivery()
    harness.hear(harness.assigned(rep="bo", touched_at=harness.clock.now))
    harness.hear(getattr(harness, record)())
    harness.restart()
    await harness.wait(minutes=5)
    assert kinds(harness) == []


async def test_touch_that_is_first_known_from_the_assignment_leaves_the_page_to_the_owner(
    harness: NotifierHarness,
) -> None:
    harness.hear(harness.qualified(), harness.assigned())
    await harness.settle()
    harness.hear(harness.assigned(rep="bo", epoch=2, touched_at=harness.clock.now))
    await harness.wait(minutes=30)
    assert sorted(kinds(harness)) == [("handed_on", "Bo"), ("lost", "Ana"), ("owner", "Ana")]


def test_notice_about_a_page_of_an_earlier_request_is_the_same_notice(harness: NotifierHarness) -> None:
    clock = hear(None, harness.assigned(), CONTEXT.terms_of(CONFIG), NINE).clock
    assert clock is not None
    lost = previous_owner(replace(clock, request=1), harness.released())
    assert lost is not None
    [at_once] = notice(replace(clock, request=1, told_at=NINE), replace(lost, told=True), NINE)
    page = replace(at_once, rung=page_number(1, 2), kind="owner")
    late = told_too_late(page, replace(clock, rep="bo", epoch=2, previous=lost), NINE)
    assert late is not None
    assert late.id == at_once.id


@pytest.mark.parametrize(("by", "told"), [("ana", []), ("bo", ["handed_on"]), (None, ["handed_on"])])
async def test_owner_whose_page_waits_is_told_of_a_lead_that_another_person_contacts(
    harness: NotifierHarness, by: str | None, told: list[str]
) -> None:
    harness.slack.always = harness.email.always = TryAgain(None, "no answer")
    harness.hear(harness.qualified(), harness.assigned())
    await harness.wait(minutes=5)
    harness.hear(replace(harness.touched(), rep=by))
    harness.slack.always = harness.email.always = None
    harness.slack.messages.clear()
    harness.email.messages.clear()
    await harness.wait(minutes=15)
    assert [kind for kind, _ in kinds(harness)] == told


async def test_page_that_waits_about_a_contacted_lead_is_cancelled_when_the_person_asks_again(
    harness: NotifierHarness,
) -> None:
    harness.stop_delivery()
    harness.hear(harness.assigned(rep="bo", touched_at=harness.clock.now))
    harness.clock.advance(minutes=5)
    harness.hear(
        harness.qualified(submit_at=harness.clock.now, epoch=1), harness.assigned(epoch=2, submit_at=harness.clock.now)
    )
    harness.restart()
    await harness.wait(minutes=1)
    assert kinds(harness) == [("owner", "Ana")]

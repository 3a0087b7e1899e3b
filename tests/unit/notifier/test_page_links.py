"""The parts of a message that are added when it is sent."""

from dataclasses import dataclass
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from firsthour.runtime.storage.unit import StorageError
from services.notifier.context import Claim
from services.notifier.domain.link import LIFETIME
from services.notifier.domain.message import Message
from services.notifier.domain.page import Page
from services.notifier.link_keys import LinkKeys
from services.notifier.page_links import PageLinks
from tests.fakes.pages import NINE, page_message
from tests.unit.notifier.harness import NotifierHarness

PAGE = Page(
    id=page_message().page_id,
    lead_id="lead-1",
    epoch=1,
    rung=0,
    kind="owner",
    person="bo",
    channels=("email",),
    due_at=NINE,
    created_at=NINE,
)


@dataclass
class LinkParts:
    """The resources of a process."""

    units: Any
    reads: Any
    clock: Any


def resources(harness: NotifierHarness, reads: Any = None) -> Any:
    return cast(Any, LinkParts(harness.units, reads or harness.units.read, harness.clock))


async def complete(harness: NotifierHarness, reads: Any = None, **changes: Any) -> Message:
    message = page_message(**{"lead_url": None, "public_url": "https://firsthour.example/base/", **changes})
    return await PageLinks(resources(harness, reads)).complete(Claim(PAGE, message))


async def test_links_are_signed_for_the_page_and_expire_after_seven_days(harness: NotifierHarness) -> None:
    message = await complete(harness)
    assert message.lead_url == message.links[0].url
    keys = LinkKeys(resources(harness))
    for action, url in message.links:
        base, _, token = url.rpartition("/a/")
        link = await keys.link(token)
        assert link is not None
        assert (base, link.action, link.page_id) == ("https://firsthour.example/base", action, PAGE.id)
        assert link.expires_at == harness.clock.now + LIFETIME
    assert len({url for _, url in message.links}) == len(message.links) == 7


async def test_page_without_a_public_url_has_no_links(harness: NotifierHarness) -> None:
    assert (await complete(harness, public_url=None)).links == ()


@pytest.mark.parametrize("failure", [StorageError("down"), TimeoutError()], ids=["storage", "timeout"])
async def test_page_does_not_wait_for_a_database_that_is_away(harness: NotifierHarness, failure: Exception) -> None:
    async def reads(work: Any) -> Any:
        raise failure

    with capture_logs() as lines:
        message = await complete(harness, reads)
    assert (message.links, message.card) == ((), page_message().card)
    assert [line["event"] for line in lines] == ["links left out"]


async def test_key_in_memory_signs_while_the_database_is_away(harness: NotifierHarness) -> None:
    away = False

    async def reads(work: Any) -> Any:
        if away:
            raise StorageError("down")
        return await harness.units.read(work)

    keys = LinkKeys(resources(harness, reads))
    key = await keys.signing()
    away = True
    harness.clock.advance(hours=1)
    assert await keys.signing() == key

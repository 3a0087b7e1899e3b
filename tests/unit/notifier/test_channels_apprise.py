"""Messages over the `apprise` library, over a real socket to a fake gateway."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Future
from typing import Any

import pytest
import pytest_asyncio

from services.notifier.channels import apprise
from services.notifier.channels.apprise import THREADS_MAX, AppriseChannel, filled, limited
from services.notifier.channels.base import GiveUp, Sent, TryAgain, Unusable
from services.notifier.domain.notice import Notice
from tests.fakes.pages import ATTACKS, hostile_message, page_message
from tests.fakes.services import FakeService

PHONE = "+49301234567"


@pytest.fixture(autouse=True)
def loaded() -> None:
    apprise.loading().result()


@pytest_asyncio.fixture
async def gateway() -> AsyncIterator[FakeService]:
    async with FakeService(200) as fake:
        yield fake


def channel(gateway: FakeService, path: str = "sms/{phone}", timeout_seconds: float = 60.0) -> AppriseChannel:
    return AppriseChannel("sms", f"json://127.0.0.1:{gateway.port}/{path}", "SMS_URL", timeout_seconds)


async def test_page_goes_to_the_phone_of_the_person(gateway: FakeService) -> None:
    outcome = await channel(gateway).send(page_message(person_phone=PHONE))
    assert outcome == Sent(f"sms:{page_message().page_id}")
    [call] = gateway.calls
    assert call.target.startswith("/sms/+49301234567")
    assert call.json["title"].startswith("Hot lead")
    assert "Phone: +49 30 12345678" in call.json["message"]
    assert call.json["message"].endswith("https://firsthour.example/leads/lead-1")


async def test_gateway_that_leads_elsewhere_is_not_followed(gateway: FakeService) -> None:
    async with FakeService(200) as elsewhere:
        gateway.respond(307, location=f"{elsewhere.url}/x")
        assert isinstance(await channel(gateway).send(page_message(person_phone=PHONE)), TryAgain)
        assert elsewhere.calls == []


@pytest.mark.parametrize("text", ATTACKS)
async def test_text_from_outside_has_no_markup_and_mentions_nobody(gateway: FakeService, text: str) -> None:
    await channel(gateway, "all").send(hostile_message(f"@everyone {text}"))
    body = gateway.calls[0].json
    shown = body["title"] + body["message"]
    assert "@everyone" not in shown
    assert "<" not in shown
    assert len(body["message"]) < 1_000


@pytest.mark.parametrize(
    ("url", "result"),
    [
        ("sms://{phone}/x", "sms://%2B1%2F..%3Fa%26b/x"),
        ("mail://{email}", "mail://a%2Fb%40c.example%3Fx"),
        ("sms://0/{phone}{phone}", "sms://0/%2B1%2F..%3Fa%26b%2B1%2F..%3Fa%26b"),
        ("sms://{name}/{0}", "sms://{name}/{0}"),
    ],
)
def test_what_is_filled_in_cannot_end_a_part_of_the_url(url: str, result: str) -> None:
    assert filled(url, "+1/..?a&b", "a/b@c.example?x") == result


def test_url_has_time_limits_unless_it_has_its_own() -> None:
    assert limited("json://h/x") == "json://h/x?cto=2&rto=2.5"
    assert limited("json://h/x?a=b&cto=1") == "json://h/x?a=b&cto=1&rto=2.5"


async def test_person_without_a_phone_is_refused_without_a_call(gateway: FakeService) -> None:
    outcome = await channel(gateway).send(page_message(person_phone=""))
    assert outcome == GiveUp("no phone for this person; add `phone` to the rep in team.yaml")
    notice = Notice(id="n", team="operator", subject="s", lines=(), email="ops@acme.example")
    assert isinstance(await channel(gateway).tell(notice), GiveUp)
    assert await channel(gateway, "mail?-who={email}").tell(notice) == Sent("sms:n")
    assert [call.target for call in gateway.calls] == ["/mail?who=ops%40acme.example"]


async def test_refusal_and_silence_are_temporary(gateway: FakeService) -> None:
    gateway.respond(500)
    outcome = await channel(gateway).send(page_message(person_phone=PHONE))
    assert outcome == TryAgain(None, "sms: the service did not accept it")
    gateway.hang()
    slow = await channel(gateway, timeout_seconds=0.1).send(page_message(person_phone=PHONE))
    assert slow == TryAgain(None, "sms: no answer within 0.1 s")


async def test_unknown_service_is_named_without_its_url(gateway: FakeService) -> None:
    broken = AppriseChannel("sms", "nonsense://user:secret@host", "SMS_URL", 60.0)
    outcome = await broken.send(page_message(person_phone=PHONE))
    assert isinstance(outcome, Unusable)
    assert "SMS_URL" in outcome.why
    assert "secret" not in outcome.why


async def test_page_before_the_library_is_loaded_is_sent_once(
    gateway: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, place = apprise.loading().result(), Future[Any]()
    monkeypatch.setattr(apprise, "loading", lambda: place)
    monkeypatch.setattr(apprise, "LOADING_SECONDS", 0.0)
    early = await channel(gateway).send(page_message(person_phone=PHONE))
    assert early == TryAgain(None, "sms: the apprise library is still being loaded; nothing was sent")
    place.set_result(library)
    assert isinstance(await channel(gateway).send(page_message(person_phone=PHONE)), Sent)
    assert len(gateway.calls) == 1


async def test_hanging_calls_are_bounded_and_delay_no_other_channel(gateway: FakeService) -> None:
    gateway.hang(times=THREADS_MAX)
    hung = channel(gateway, "hung?cto=60&rto=60")
    calls = [asyncio.create_task(hung.send(page_message())) for _ in range(THREADS_MAX)]
    async with asyncio.timeout(60):
        while len(gateway.calls) < THREADS_MAX:
            await asyncio.sleep(0.01)
    assert await hung.send(page_message()) == TryAgain(None, f"sms: {THREADS_MAX} calls have not ended yet")
    assert isinstance(await channel(gateway, "other").send(page_message()), Sent)
    for call in calls:
        call.cancel()


async def test_library_logs_nothing(gateway: FakeService, caplog: pytest.LogCaptureFixture) -> None:
    gateway.respond(500)
    await channel(gateway).send(page_message(person_phone=PHONE))
    assert "49301234567" not in caplog.text

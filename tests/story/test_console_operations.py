"""The pages of operations: what an operator sees, and what they mend."""

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from firsthour.runtime.http.client import Response
from tests.fakes.services import FakeService
from tests.story.conftest import OpenWorld
from tests.story.test_bulk_retry import PEOPLE, RIGHT, WRONG, send, waiting
from tests.story.test_console import CTO, Browser, csrf_in, signed_in
from tests.story.test_quarantine import beyond_the_quota
from tests.story.test_ways_out import SECRET, crm
from tests.story.world import World

OPERATIONS = "/console/operations"
TABS = ("", "/dead-letters", "/pages", "/webhooks", "/quarantine", "/doctor", "/keys", "/audit")


@pytest_asyncio.fixture
async def service() -> AsyncIterator[FakeService]:
    async with FakeService() as fake:
        yield fake


async def post(world: World, browser: Browser, path: str, page: Response, **fields: str) -> Response:
    answer = await browser.post(path, {"csrf": csrf_in(page), **fields})
    await world.settle()
    return answer


def forms_to(page: Response, action: str) -> list[str]:
    """Return the addresses of the forms with this action, in order."""
    return re.findall(rf'action="([^"]+/{action})"', page.text)


async def test_state_shows_readiness_lag_versions_and_sources(world: World) -> None:
    await world.submit_form(email=CTO)
    text = (await (await signed_in(world, "admin")).get(OPERATIONS)).text
    assert "<b>ready</b>" in text
    assert "FirstHour " in text
    assert "notifier" in text
    assert "website" in text
    assert "The audit finds nothing" in text


@pytest.mark.both_profiles
async def test_state_counts_the_records_that_a_service_has_not_handled(world: World) -> None:
    assert {one["records"] for one in (await world.get("/v1/state"))["lag"]} == {0}
    with world.down("reporting"):
        await world.submit_form(email=CTO)
        behind = [one for one in (await world.get("/v1/state"))["lag"] if one["records"]]
        assert {one["consumer"] for one in behind} == {"reporting"}
        assert "pages" in {one["topic"] for one in behind}
    await world.settle()
    assert {one["records"] for one in (await world.get("/v1/state"))["lag"]} == {0}


async def test_findings_of_the_audit_come_with_their_remedy(open_world: OpenWorld) -> None:
    world = await open_world()
    await world.submit_form(email=CTO)
    with world.down("notifier"):
        await world.wait(minutes=12)
        items = (await world.get("/v1/findings"))["items"]
        assert [item["check"] for item in items] == ["rung_overdue"]
        text = (await (await signed_in(world, "manager")).get(OPERATIONS)).text
        assert "a rung is overdue" in text
        assert "See whether a process of the notifier runs" in text
    await world.wait(minutes=2)
    assert (await world.get("/v1/findings"))["items"] == []


async def test_dead_letters_of_a_source_are_retried_with_progress(open_world: OpenWorld) -> None:
    world = await open_world(sources=WRONG)
    await send(world, *PEOPLE, "?")
    browser = await signed_in(world, "admin")
    page = await browser.get(f"{OPERATIONS}/dead-letters")
    assert "chat" in page.text
    await world.change("sources", RIGHT)
    answer = await post(world, browser, f"{OPERATIONS}/dead-letters/retry", page, source="chat", state="waiting")
    assert answer.status_code == 303, answer.text
    progress = (await browser.get(answer.headers["location"])).text
    assert re.search(r"<b>5</b><span>retried</span>", progress)
    assert re.search(r"<b>1</b><span>failed again</span>", progress)
    assert "All dead letters of the source were tried" in progress
    assert await waiting(world) == 1


async def test_retry_of_all_goes_on_where_it_stopped(open_world: OpenWorld) -> None:
    world = await open_world(sources=WRONG)
    await send(world, *PEOPLE)
    await world.change("sources", RIGHT)
    part = (await world.ask("POST", "/v1/deadletters/retry?source=chat&limit=2")).json()
    browser = await signed_in(world, "admin")
    where = f"{OPERATIONS}/dead-letters?source=chat&retried=2&failed=0&left={part['left']}&following={part['next']}"
    page = await browser.get(where)
    assert "data-continue" in page.text
    fields = dict(re.findall(r'name="(source|state|following|retried|failed)" value="([^"]*)"', page.text))
    answer = await post(world, browser, f"{OPERATIONS}/dead-letters/retry", page, **fields)
    assert "retried=5" in answer.headers["location"]
    assert await waiting(world) == 0


async def test_dead_letter_is_corrected_retried_or_dropped(open_world: OpenWorld) -> None:
    world = await open_world(sources=WRONG)
    await send(world, "ann", "ben")
    browser = await signed_in(world, "admin")
    page = await browser.get(f"{OPERATIONS}/dead-letters")
    first, second = forms_to(page, "retry")[-2:]
    refused = await post(world, browser, first, page)
    assert refused.status_code == 422
    assert 'role="alert"' in refused.text
    one = await browser.get(second.removesuffix("/retry"))
    assert "ben@prospect.example" in one.text
    dropped = await post(world, browser, forms_to(one, "drop")[0], one)
    assert dropped.headers["location"].endswith("?done=drop")
    await world.change("sources", RIGHT)
    assert (await post(world, browser, first, page)).headers["location"].endswith("?done=retry")
    assert await world.owner_of("ann@prospect.example") is not None
    assert await waiting(world) == 0


async def test_page_that_waits_is_tried_at_once(world: World) -> None:
    world.slack.error("user_not_found", times=None)
    world.smtp.refuse(550, times=None)
    await world.submit_form(email=CTO)
    await world.wait(seconds=40)
    browser = await signed_in(world, "manager")
    page = await browser.get(f"{OPERATIONS}/pages")
    (form,) = forms_to(page, "resend")
    world.slack.recover()
    world.smtp.recover()
    answer = await post(world, browser, form, page)
    assert answer.headers["location"].endswith("?done=resend"), answer.text
    assert (await world.pages(CTO))[0]["state"] == "sent"
    again = await post(world, browser, form, page)
    assert again.status_code == 409
    assert "only a page that waits" in again.text


async def test_failed_webhook_is_sent_again(
    open_world: OpenWorld, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRM_SECRET", SECRET)
    monkeypatch.setenv("FIRSTHOUR_WEBHOOK_PRIVATE_HOSTS", "127.0.0.1")
    service.status = 410
    world = await open_world(agreement={"channels": crm(service, "lead.assigned")})
    await world.submit_form(email=CTO)
    browser = await signed_in(world, "admin")
    page = await browser.get(f"{OPERATIONS}/webhooks")
    assert "Switched off since" in page.text
    service.status = 200
    assert (await post(world, browser, forms_to(page, "enable")[0], page)).status_code == 303
    deliveries = await browser.get(f"{OPERATIONS}/webhooks/crm")
    one = await browser.get(forms_to(deliveries, "resend")[0].removesuffix("/resend"))
    assert "Attempts" in one.text
    assert (await post(world, browser, forms_to(one, "resend")[0], one)).status_code == 303
    (delivery,) = (await world.get("/v1/webhooks/crm/deliveries"))["items"]
    assert delivery["state"] == "sent"


async def test_event_in_quarantine_is_released_by_marketing(world: World) -> None:
    await beyond_the_quota(world)
    await world.post_form("newsletter", email="late@two.example")
    await world.settle()
    browser = await signed_in(world, "marketing")
    page = await browser.get(f"{OPERATIONS}/quarantine")
    assert "late@two.example" in page.text
    (form,) = forms_to(page, "release")
    assert (await post(world, browser, form, page)).headers["location"].endswith("?done=release")
    assert (await world.lead("late@two.example"))["status"]
    assert "No event is in quarantine" in (await browser.get(f"{OPERATIONS}/quarantine")).text


async def test_doctor_examines_when_asked(world: World) -> None:
    browser = await signed_in(world, "admin")
    page = await browser.get(f"{OPERATIONS}/doctor")
    assert "Examined at" not in page.text
    text = (await post(world, browser, f"{OPERATIONS}/doctor", page)).text
    assert "Examined at" in text
    assert "configuration" in text
    assert "Examined at" in (await browser.get(f"{OPERATIONS}/doctor")).text


async def test_keys_are_shown_without_secrets_and_revoked(world: World) -> None:
    secret = await world.key("sales", "ana")
    browser = await signed_in(world, "admin")
    page = await browser.get(f"{OPERATIONS}/keys")
    assert secret not in page.text
    key = next(item for item in (await world.get("/v1/keys"))["items"] if item["rep"] == "ana")
    assert key["id"] in page.text
    assert (await post(world, browser, f"{OPERATIONS}/keys/{key['id']}/revoke", page)).status_code == 303
    state = {item["id"]: item["state"] for item in (await world.get("/v1/keys"))["items"]}
    assert state[key["id"]] == "revoked"


async def test_audit_log_names_actor_target_and_result(world: World) -> None:
    await world.submit_form(email=CTO)
    owner = str(await world.owner_of(CTO))
    await world.accept(CTO, by=owner)
    browser = await signed_in(world, "manager")
    text = (await browser.get(f"{OPERATIONS}/audit?since=1d")).text
    assert f"rep:{owner}" in text
    assert (await world.lead(CTO))["id"] in text
    nothing = (await browser.get(f"{OPERATIONS}/audit?actor=rep:none")).text
    assert "No action matches" in nothing
    assert "neither a span" in (await browser.get(f"{OPERATIONS}/audit?since=yesterday")).text


async def test_pages_of_operations_need_their_roles(world: World) -> None:
    allowed = {
        "sales": set(),
        "marketing": {"", "/quarantine"},
        "manager": {"", "/dead-letters", "/pages", "/webhooks", "/quarantine", "/audit"},
        "admin": set(TABS),
    }
    for role, paths in allowed.items():
        browser = await signed_in(world, role)
        answers = {tab: (await browser.get(OPERATIONS + tab)).status_code for tab in TABS}
        assert answers == {tab: 200 if tab in paths else 403 for tab in TABS}, role
    page = await (await signed_in(world, "admin")).get(OPERATIONS)
    manager = await signed_in(world, "manager")
    refused = await manager.post(f"{OPERATIONS}/doctor", {"csrf": csrf_in(page)})
    assert refused.status_code == 403

"""Pages and changes of leads over the channels of the agreement."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import pytest_asyncio
from standardwebhooks import Webhook

from services.notifier.channels import apprise
from services.notifier.context import NotifierContext
from services.notifier.dispatching import claim_dispatches
from tests.fakes.services import FakeService, ServiceCall
from tests.story.conftest import OpenWorld
from tests.story.sample_config import reps

CTO = "cto@prospect.example"
SECRET = "whsec_" + "c2VjcmV0IG9mIHRoZSBDUk0gYW5kIHVz"


@pytest_asyncio.fixture
async def service() -> AsyncIterator[FakeService]:
    async with FakeService() as fake:
        yield fake


async def test_page_leaves_over_a_channel_of_the_agreement(
    open_world: OpenWorld, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    ladder = [{"at": "0m", "page": "owner", "by": ["teams", "email"]}]
    channels = {"teams": {"kind": "teams", "url": {"env": "TEAMS_URL"}}}
    world = await open_world(agreement={"channels": channels, "response": {"ladder": ladder}})
    await world.submit_form(email="early@prospect.example")
    assert world.mail_recipients == ["ana"], "the variable is not set, so the page goes by mail"
    [warning] = [line for line in (await world.get("/readyz"))["warnings"] if "nothing is sent over teams" in line]
    assert "the environment variable TEAMS_URL is not set" in warning

    monkeypatch.setenv("TEAMS_URL", f"{service.url}/flow?sig=1")
    await world.restart()
    await world.submit_form(email=CTO)
    assert len(service.calls) == 1
    [page] = await world.pages(CTO)
    assert (page["channel"], page["state"]) == ("teams", "sent")


def crm(service: FakeService, *events: str) -> dict[str, Any]:
    return {
        "crm": {
            "kind": "webhook",
            "url": f"{service.url}/hooks",
            "secret": {"env": "CRM_SECRET"},
            "events": events or ["lead.assigned", "lead.released", "lead.moved", "touch.applied"],
        }
    }


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> str:
    """Set the secret of the CRM, and allow its address, which is on this machine."""
    monkeypatch.setenv("CRM_SECRET", SECRET)
    monkeypatch.setenv("FIRSTHOUR_WEBHOOK_PRIVATE_HOSTS", "127.0.0.1")
    return SECRET


@pytest.mark.both_profiles
async def test_crm_is_told_every_change_of_owner_status_and_touch(
    open_world: OpenWorld, service: FakeService, secret: str
) -> None:
    world = await open_world(agreement={"channels": crm(service)})
    await world.submit_form(email=CTO, name="Ann Lee", company="Prospect Inc")
    await world.wait(minutes=31)
    await world.touch(CTO, by="bo", note="left a message", answered=False)

    changes = [verified(call, secret) for call in service.calls]
    lead = (await world.lead(CTO))["id"]
    assert {change["data"]["lead"] for change in changes} == {lead}
    told = sorted(changes, key=lambda change: (change["data"]["version"], change["type"]))
    assert [(change["type"], change["data"]["status"], owner(change)) for change in told] == [
        ("lead.moved", "qualified", None),
        ("lead.assigned", "assigned", "ana"),
        ("lead.moved", "assigned", "ana"),
        ("lead.moved", "qualified", None),
        ("lead.released", "qualified", None),
        ("lead.assigned", "assigned", "bo"),
        ("lead.moved", "assigned", "bo"),
        ("lead.moved", "working", "bo"),
        ("touch.applied", "working", "bo"),
    ]
    assert told[1]["data"]["person"]["email"] == CTO
    assert told[1]["data"]["owner"] == {"id": "ana", "name": "Ana Gomez", "email": "ana@acme.example"}
    assert told[4]["data"]["previous_owner"]["id"] == "ana"
    touch = told[-1]["data"]["touch"]
    assert (touch["channel"], touch["answered"], touch["by"]["id"], touch["note"]) == (
        "phone",
        False,
        "bo",
        "left a message",
    )


@pytest.mark.both_profiles
async def test_webhook_is_retried_by_the_published_schedule_until_it_fails(
    open_world: OpenWorld, service: FakeService, secret: str
) -> None:
    service.status = 500
    world = await open_world(agreement={"channels": crm(service, "lead.assigned")})
    await world.submit_form(email=CTO)
    times = [world.clock.real()]
    await world.touch(CTO, by="ana")
    for _ in range(9):
        calls = len(service.calls)
        while len(service.calls) == calls:
            await world.wait_until_next()
        times.append(world.clock.real())
    waits = [(later - earlier).total_seconds() for earlier, later in pairwise(times)]
    published = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400]
    assert all(wait <= actual <= wait * 1.1 + 15 for wait, actual in zip(published, waits, strict=True)), waits
    assert len({call.headers["webhook-id"] for call in service.calls}) == 1
    assert len({call.headers["webhook-timestamp"] for call in service.calls}) == 10

    [failed] = (await world.get("/v1/webhooks/crm/deliveries?state=failed"))["items"]
    assert (failed["state"], failed["tries"], failed["error"]) == ("failed", 10, "crm answered 500")
    service.status = 200
    answer = await world.ask("POST", f"/v1/webhooks/crm/deliveries/{failed['id']}/resend")
    assert answer.status_code == 202, answer.text
    await world.wait(seconds=15)  # the longest time between two probes of a destination that is down
    shown = await world.get(f"/v1/webhooks/crm/deliveries/{failed['id']}")
    assert (shown["state"], shown["tries"], shown["error"]) == ("sent", 11, None)
    assert [attempt["outcome"] for attempt in shown["attempts"]] == ["try_again"] * 10 + ["sent"]


@pytest.mark.both_profiles
async def test_answer_410_switches_the_webhook_off_until_it_is_enabled(
    open_world: OpenWorld, service: FakeService, secret: str
) -> None:
    service.respond(410)
    world = await open_world(agreement={"channels": crm(service, "lead.assigned")})
    await world.submit_form(email=CTO)
    await world.submit_form(email="second@prospect.example")
    await world.wait(minutes=29)
    assert len(service.calls) == 1
    [endpoint] = (await world.get("/v1/webhooks"))["items"]
    assert (endpoint["name"], endpoint["waiting"]) == ("crm", 2)
    assert "410" in endpoint["disabled"]["why"]
    assert any("crm is switched off" in line for line in (await world.get("/readyz"))["warnings"])

    assert (await world.ask("POST", "/v1/webhooks/crm/enable")).status_code == 200
    await world.wait(seconds=30)
    assert len({call.headers["webhook-id"] for call in service.calls}) == 2
    assert [endpoint["waiting"] for endpoint in (await world.get("/v1/webhooks"))["items"]] == [0]


async def test_private_address_is_refused(
    open_world: OpenWorld, service: FakeService, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIRSTHOUR_WEBHOOK_PRIVATE_HOSTS", "")
    world = await open_world(agreement={"channels": crm(service, "lead.assigned")})
    await world.submit_form(email=CTO)
    [delivery] = (await world.get("/v1/webhooks/crm/deliveries"))["items"]
    assert delivery["error"].startswith(
        "crm: the host has a private address; name it in FIRSTHOUR_WEBHOOK_PRIVATE_HOSTS"
    )
    assert service.calls == []


@pytest.mark.both_profiles
async def test_hanging_webhook_delays_neither_pages_nor_another_webhook(
    open_world: OpenWorld, service: FakeService, secret: str
) -> None:
    async with FakeService() as slow:
        slow.respond(503, times=100)
        channels = {**crm(service, "lead.assigned"), "slow": {**crm(slow, "lead.assigned")["crm"]}}
        world = await open_world(agreement={"channels": channels})
        await world.submit_form(email=CTO)
        assert (len(slow.calls), len(service.calls), world.slack_recipients) == (1, 1, ["ana"])


async def test_rung_may_page_over_a_webhook(open_world: OpenWorld, service: FakeService, secret: str) -> None:
    ladder = [{"at": "0m", "page": "owner", "by": ["crm"]}]
    channels = {"crm": {**crm(service)["crm"], "events": []}}
    world = await open_world(agreement={"channels": channels, "response": {"ladder": ladder}})
    await world.submit_form(email=CTO)
    [page] = [verified(call, secret) for call in service.calls]
    assert (page["type"], page["data"]["recipient"]["name"], page["data"]["kind"]) == ("page", "Ana Gomez", "owner")


async def test_only_admins_resend_and_only_managers_read(
    open_world: OpenWorld, service: FakeService, secret: str
) -> None:
    world = await open_world(agreement={"channels": crm(service, "lead.assigned")})
    await world.submit_form(email=CTO)
    [delivery] = (await world.get("/v1/webhooks/crm/deliveries"))["items"]
    path = f"/v1/webhooks/crm/deliveries/{delivery['id']}"
    for role, readable, writable in (
        (None, 401, 401),
        ("ingest", 403, 403),
        ("sales", 403, 403),
        ("manager", 200, 403),
    ):
        for read in ("/v1/webhooks", "/v1/webhooks/crm/deliveries", path):
            assert (await world.ask("GET", read, role)).status_code == readable, (role, read)
        for write in (f"{path}/resend", "/v1/webhooks/crm/resend", "/v1/webhooks/crm/enable"):
            assert (await world.ask("POST", write, role)).status_code == writable, (role, write)
    for unknown, kind in (("nothing/deliveries", "webhook"), ("crm/deliveries/nothing", "delivery")):
        answer = await world.ask("GET", f"/v1/webhooks/{unknown}")
        assert answer.status_code == 404
        assert answer.json()["type"] == f"urn:firsthour:problem:unknown-{kind}"  # the command line explains `not-found`
    assert secret not in str(await world.get("/v1/webhooks"))


def owner(change: dict[str, Any]) -> str | None:
    return None if change["data"]["owner"] is None else change["data"]["owner"]["id"]


def verified(call: ServiceCall, secret: str) -> dict[str, Any]:
    """Return the body, after its signature was verified by the published library."""
    # The library compares with the host's clock, and the clock of a story stands elsewhere.
    stamp = datetime.fromtimestamp(int(call.headers["webhook-timestamp"]), UTC)
    expected = Webhook(secret).sign(call.headers["webhook-id"], stamp, call.body.decode())
    assert expected in call.headers["webhook-signature"].split(" ")
    return dict(call.json)


@pytest.mark.both_profiles
async def test_on_call_alert_is_raised_acknowledged_and_resolved(
    open_world: OpenWorld, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAGERDUTY_KEY", "R0UTINGKEY0000000000000000000000")
    monkeypatch.setenv("FIRSTHOUR_PAGERDUTY_URL", service.url)
    ladder = [
        {"at": "0m", "page": "owner", "by": ["oncall", "slack"]},
        {"at": "20m", "page": "manager", "by": ["oncall"]},
    ]
    channels = {"oncall": {"kind": "pagerduty", "routing_key": {"env": "PAGERDUTY_KEY"}}}
    world = await open_world(agreement={"channels": channels, "response": {"ladder": ladder}})
    await world.submit_form(email=CTO)
    await world.accept(CTO, by="ana")
    service.respond(503)
    await world.wait(minutes=20)
    await world.wait(minutes=5)
    await world.touch(CTO, by="ana")
    service.respond(429, retry_after="30")
    await world.submit_form(email="second@prospect.example")
    await world.opt_out("second@prospect.example")
    await world.wait(minutes=2)

    lead, second = [(await world.lead(email))["id"] for email in (CTO, "second@prospect.example")]
    events = [(event["event_action"], event["dedup_key"]) for event in service.accepted]
    assert events == [
        ("trigger", f"firsthour:{lead}"),
        ("acknowledge", f"firsthour:{lead}"),
        ("trigger", f"firsthour:{lead}"),  # 503
        ("trigger", f"firsthour:{lead}"),
        ("resolve", f"firsthour:{lead}"),
        ("trigger", f"firsthour:{second}"),  # 429, so the page goes by Slack
        ("resolve", f"firsthour:{second}"),
    ]


async def test_page_goes_as_a_text_message_to_the_phone_of_the_rep(
    open_world: OpenWorld, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.status = 200
    apprise.loading().result()
    monkeypatch.setenv("SMS_URL", f"json://127.0.0.1:{service.port}/sms/{{phone}}")
    ladder = [{"at": "0m", "page": "owner", "by": ["sms", "email"]}]
    channels = {"sms": {"kind": "apprise", "url": {"env": "SMS_URL"}}}
    team = reps({"id": "ana", "phone": "+49 30 1234567"})
    world = await open_world(agreement={"channels": channels, "response": {"ladder": ladder}}, team=team)
    await world.submit_form(email=CTO)
    await world.submit_form(email="second@prospect.example")
    assert [call.target.partition("?")[0] for call in service.calls] == ["/sms/+49301234567"]
    assert world.mail_recipients == ["bo"], "bo has no phone"
    assert any("sms cannot reach bo, cy, max: add `phone`" in line for line in (await world.get("/readyz"))["warnings"])


@pytest.mark.both_profiles
async def test_operator_is_told_of_a_webhook_that_was_switched_off(
    open_world: OpenWorld, service: FakeService, secret: str
) -> None:
    service.respond(410)
    world = await open_world(
        agreement={"channels": crm(service, "lead.assigned"), "tell": {"operator": {"by": "inbox"}}}
    )
    await world.submit_form(email=CTO)
    [notice] = (await world.get("/v1/notices"))["items"]
    assert notice["subject"] == "The webhook crm is switched off"


@pytest.mark.both_profiles
async def test_delivery_of_a_sender_that_crashed_is_sent_again_with_its_id(
    open_world: OpenWorld, service: FakeService, secret: str
) -> None:
    world = await open_world(agreement={"channels": crm(service, "lead.assigned")})
    context = NotifierContext(world.channel_names)
    await world.post_form("demo-request", email=CTO)
    dispatcher = world.system.runners.pop("notifier.dispatcher")
    await world.settle()
    work = partial(claim_dispatches, context=context, room={"crm": 8})
    assert len((await world.system.units.run(work)).claims) == 1
    world.system.runners["notifier.dispatcher"] = dispatcher
    await world.settle()
    assert service.calls == [], "another process may still be sending it"
    await world.wait(seconds=10)
    [call] = service.calls
    [delivery] = (await world.get("/v1/webhooks/crm/deliveries"))["items"]
    assert (delivery["state"], delivery["id"]) == ("sent", call.headers["webhook-id"])
    shown = await world.get(f"/v1/webhooks/crm/deliveries/{delivery['id']}")
    assert [attempt["outcome"] for attempt in shown["attempts"]] == ["unknown", "sent"]


async def test_webhook_that_leaves_the_agreement_keeps_its_deliveries(
    open_world: OpenWorld, service: FakeService, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEAMS_URL", f"{service.url}/flow")
    service.respond(500)
    world = await open_world(agreement={"channels": crm(service, "lead.assigned")})
    await world.submit_form(email=CTO)
    await world.touch(CTO, by="ana")
    await world.change("agreement", {"channels": {}})
    await world.wait(minutes=10)
    assert len(service.calls) == 1

    teams = {"kind": "teams", "url": {"env": "TEAMS_URL"}}
    await world.change("agreement", {"channels": {"crm": teams}})
    await world.wait(minutes=10)
    assert len(service.calls) == 1, "a webhook is never posted into a Teams channel"
    assert not any("crm accepts no pages" in line for line in (await world.get("/readyz"))["warnings"])

    await world.change("agreement", {"channels": crm(service, "lead.assigned")})
    await world.wait(hours=3)
    assert len(service.calls) == 2
    [delivery] = (await world.get("/v1/webhooks/crm/deliveries"))["items"]
    assert delivery["state"] == "sent"


@pytest.mark.both_profiles
async def test_hostile_paths_of_webhooks_are_not_found(
    open_world: OpenWorld, service: FakeService, secret: str
) -> None:
    world = await open_world(agreement={"channels": crm(service, "lead.assigned")})
    for path in ("crm/deliveries/%00", "crm/deliveries/' OR 1=1", "%00/deliveries", "x" * 3_000 + "/deliveries"):
        assert (await world.ask("GET", f"/v1/webhooks/{path}")).status_code in (400, 404), path
    for query in ("cursor=x", "cursor=9999999999999999999-" + "0" * 36, "limit=0", "limit=1000000", "state=none"):
        assert (await world.ask("GET", f"/v1/webhooks/crm/deliveries?{query}")).status_code == 422, query
    for since in ("yesterday", "99999-01-01", "2026-11-30T00:00:00"):
        answer = await world.ask("POST", f"/v1/webhooks/crm/resend?since={since}")
        assert answer.status_code == (202 if since.startswith("2026") else 422), since

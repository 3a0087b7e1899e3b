"""Notices to teams over the channels of the agreement."""

import json

import pytest

from tests.story.conftest import OpenWorld

CTO = "cto@prospect.example"
TELL = {
    "sales": {"by": ["email"], "email": "sales-lead@acme.example"},
    "operator": {"by": ["slack", "email"], "slack": "#ops", "email": "ops@acme.example"},
}


async def test_team_is_told_over_its_next_channel_while_the_first_is_down(open_world: OpenWorld) -> None:
    world = await open_world(agreement={"tell": TELL})
    answer = await world.ask("POST", "/v1/tell/operator", body={"text": "Read http://evil.example <!channel>\nnow"})
    assert answer.status_code == 202, answer.text
    await world.settle()
    [message] = world.slack.messages
    assert message["channel"] == "#ops"
    assert "<!channel>" not in json.dumps(message)

    await world.wait(seconds=1)
    world.slack.error("channel_not_found", times=None)
    await world.ask("POST", "/v1/tell/operator", body={"text": "Second"})
    await world.settle()
    [mail] = world.smtp.mails
    assert mail.recipients == ("ops@acme.example",)
    assert b"Second" in mail.raw
    notices = (await world.get("/v1/notices"))["items"]
    assert [(one["team"], one["state"], one["channel"]) for one in notices] == [
        ("operator", "sent", "email"),
        ("operator", "sent", "slack"),
    ]


async def test_operator_is_told_once_of_a_channel_that_is_down(open_world: OpenWorld) -> None:
    world = await open_world(agreement={"tell": TELL})
    world.slack.error("token_revoked", times=None)
    for n in range(3):
        await world.submit_form(email=f"person{n}@prospect.example")
    await world.wait(minutes=1)
    notices = (await world.get("/v1/notices"))["items"]
    assert [one["subject"] for one in notices] == ["slack accepts no pages"]
    assert "token_revoked; check FIRSTHOUR_SLACK_BOT_TOKEN" in notices[0]["lines"][0]
    assert [mail.recipients for mail in world.smtp.mails if b"slack accepts no pages" in mail.raw] == [
        ("ops@acme.example",)
    ]


@pytest.mark.both_profiles
async def test_sales_is_told_of_a_rep_whom_no_channel_reaches(open_world: OpenWorld) -> None:
    world = await open_world(agreement={"tell": TELL})
    world.slack.error("user_not_found", times=None)
    world.smtp.refuse(550, times=1)
    await world.submit_form(email=CTO)
    await world.wait(seconds=30)
    [notice] = (await world.get("/v1/notices"))["items"]
    assert (notice["team"], notice["subject"], notice["state"]) == ("sales", "No page reaches Ana Gomez", "sent")
    assert notice["lead"] == (await world.lead(CTO))["id"]


async def test_notices_need_a_manager_and_a_recipient(open_world: OpenWorld) -> None:
    world = await open_world(agreement={"tell": TELL})
    for role, status in ((None, 401), ("ingest", 403), ("sales", 403), ("manager", 202)):
        body = {"text": "Hello"}
        assert (await world.ask("POST", "/v1/tell/operator", role, body=body)).status_code == status, role
        assert (await world.ask("GET", "/v1/notices", role)).status_code == {202: 200}.get(status, status), role
    assert (await world.ask("POST", "/v1/tell/marketing", body={"text": "Hello"})).status_code == 409
    for wrong in ({"text": ""}, {"text": "x" * 501}, {"words": "x"}, {}):
        assert (await world.ask("POST", "/v1/tell/operator", body=wrong)).status_code == 422
    assert (await world.ask("POST", "/v1/tell/nobody", body={"text": "Hello"})).status_code == 422


async def test_notice_skips_channels_that_are_not_set_up_or_down(open_world: OpenWorld) -> None:
    contact = {"by": ["slack", "inbox"], "slack": "#ops"}
    world = await open_world(channels=("email", "inbox"), agreement={"tell": {"operator": contact}})
    assert any("operator is told by slack" in line for line in (await world.get("/readyz"))["warnings"])
    await world.ask("POST", "/v1/tell/operator", body={"text": "Hello"})
    await world.settle()
    [notice] = (await world.get("/v1/notices"))["items"]
    assert (notice["state"], notice["channel"], notice["tries"]) == ("sent", "inbox", 1)

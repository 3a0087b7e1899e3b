"""One person with many identifiers, and identifiers that several people share."""

import json
from pathlib import Path
from typing import Final

import pytest
from ruamel.yaml import YAML

from tests.story.conftest import OpenWorld
from tests.story.world import World

CTO = "cto@prospect.example"
ANA: Final = "ana@acme.example"
ROOT: Final = Path(__file__).parents[2]


@pytest.mark.parametrize("identifier", [{"crm_id": "003A"}, {"phone": "+49 30 1234567"}, {"anonymous_id": "browser"}])
async def test_touch_by_any_identifier_of_the_person_stops_the_clock(world: World, identifier: dict[str, str]) -> None:
    await world.event("form.submitted", email=CTO, form="demo-request", **identifier)
    await world.event("touch.recorded", channel="phone", answered=True, **identifier)
    assert len(await world.leads()) == 1
    assert (await world.lead(CTO))["clock"]["state"] == "met"

    await world.event("consent.withdrawn", **identifier)
    assert len(await world.leads()) == 1
    assert await world.status_of(CTO) == "opted-out"


@pytest.mark.both_profiles
async def test_shared_phone_identifies_the_person_with_an_open_lead(world: World) -> None:
    other = "cfo@prospect.example"
    phone = "+49 30 1234567"
    await world.event("form.submitted", email=CTO, phone=phone, form="demo-request")
    await world.wait(minutes=1)
    await world.event("page.viewed", email=other, phone=phone)
    await world.event("touch.recorded", phone=phone, channel="phone", answered=True)
    assert len(await world.leads()) == 2
    assert (await world.lead(CTO))["clock"]["state"] == "met"
    lines = [item["line"] for item in await world.lead_items(CTO, "timeline")]
    assert any(
        line.endswith("(identified by phone, shared by 2 people; this person was active last)") for line in lines
    )


@pytest.mark.parametrize("type", ["consent.withdrawn", "email.unsubscribed"])
@pytest.mark.both_profiles
async def test_opt_out_by_a_shared_phone_holds_for_all_its_people(world: World, type: str) -> None:
    stranger, beside = "stranger@other.example", "cfo@prospect.example"
    phone = "+49 30 1234567"
    await world.event("form.submitted", email=CTO, phone=phone, form="demo-request")
    await world.event("page.viewed", email=beside)
    await world.wait(minutes=1)
    await world.event("form.submitted", email=stranger, phone=phone, form="demo-request")
    owners = world.slack_recipients

    await world.event(type, phone=phone)
    assert len(await world.leads()) == 3
    for email in (CTO, stranger):
        lead = await world.lead(email)
        assert (lead["status"], lead["owner"]) == ("opted-out", None)
        assert type in await world.event_types_of(email)
    assert await world.status_of(beside) == "new"
    await world.wait(hours=2)
    assert sorted(world.slack_recipients) == sorted([*owners, *owners]), "each owner is told once that the lead is gone"

    await world.event("consent.given", email=CTO)
    assert (await world.status_of(CTO), await world.status_of(stranger)) == ("nurturing", "opted-out")


async def test_telephony_source_of_the_examples_stops_the_clock(open_world: OpenWorld) -> None:
    example = (ROOT / "deploy/examples/sources.yaml").read_text()
    lines = [line.replace("  #", "", 1)[1:] for line in example.splitlines() if line.startswith("  # ")]
    telephony, *_ = YAML(typ="safe", pure=True).load("\n".join(lines[lines.index("- id: telephony") :]))
    telephony["verify"]["secrets"] = [{"file": "phone.secret"}]
    world = await open_world(sources={"sources": [telephony]})
    await world.event("form.submitted", email=CTO, phone="+49 30 1234567", form="demo-request")
    await world.wait(minutes=5)
    ended = world.clock.business().isoformat()
    call = {"state": "ended", "call_id": "1", "ended_at": ended, "callee": "+49301234567", "seconds": 90, "agent": ANA}
    assert (await world.hook("telephony", json.dumps(call).encode())).status_code == 202
    await world.settle()
    assert len(await world.leads()) == 1
    assert (await world.lead(CTO))["clock"]["state"] == "met"

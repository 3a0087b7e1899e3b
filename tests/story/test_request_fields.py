"""Each field of an action is stored and shown afterwards, or rejected with a pointer to it."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.story.world import World

CTO = "cto@prospect.example"


async def timeline_lines(world: World) -> list[str]:
    await world.settle()
    return [str(item["line"]) for item in await world.lead_items(CTO, "timeline")]


async def rep_of(world: World, rep: str) -> dict[str, Any]:
    (item,) = [item for item in (await world.get("/v1/reps"))["items"] if item["id"] == rep]
    return dict(item)


async def test_note_of_a_touch_is_in_the_timeline(world: World) -> None:
    await world.submit_form(email=CTO)
    await world.touch(CTO, by="ana", note="Asked for a quote by Friday")
    assert "touch by phone, answered: Asked for a quote by Friday" in await timeline_lines(world)
    await world.event("touch.recorded", email=CTO, channel="email", answered=False, note="No reply")
    assert "touch by email, unanswered: No reply" in await timeline_lines(world)


@pytest.mark.parametrize("action", ["reject", "recycle"])
async def test_resting_lead_qualifies_by_score_only_after_its_rest_ends(world: World, action: str) -> None:
    await world.submit_form(email=CTO, employees=400, title="CTO")
    until = world.clock.business() + timedelta(days=20)
    if action == "recycle":
        await world.accept(CTO, by="ana")
    reason = "not-now" if action == "reject" else "stalled"
    assert (await world.act(CTO, action, "ana", reason=reason, until=until.isoformat())).status_code == 200
    assert (await world.lead(CTO))["rests_until"] == until.isoformat().replace("+00:00", "Z")
    assert f"back with Marketing ({action}): {reason}, until {until:%Y-%m-%d %H:%MZ}" in await timeline_lines(world)

    await world.wait(minutes=1)
    for _ in range(3):
        await world.event("webinar.attended", email=CTO)
    assert (await world.lead(CTO))["score"]["total"] > 60
    assert await world.status_of(CTO) == "nurturing"
    await world.wait(days=21)
    for _ in range(3):
        await world.event("webinar.attended", email=CTO)
    assert await world.status_of(CTO) == "assigned"
    assert (await world.lead(CTO))["rests_until"] is None


async def test_new_form_of_a_resting_lead_ends_its_rest(world: World) -> None:
    await world.submit_form(email=CTO)
    until = (world.clock.business() + timedelta(days=20)).isoformat()
    await world.act(CTO, "reject", "ana", reason="not-now", until=until)
    await world.submit_form("contact-sales", email=CTO)
    lead = await world.lead(CTO)
    assert (lead["status"], lead["rests_until"]) == ("assigned", None)


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("reject", {"reason": "no-time", "until": "2027-01-10T09:00:00Z"}),  # goes to the next rep at once
        ("reject", {"reason": "not-now", "until": "2026-11-01T09:00:00Z"}),  # in the past
        ("recycle", {"reason": "stalled", "until": "2026-11-01T09:00:00Z"}),
        ("opt-out", {"reason": "asked us", "until": "2027-01-10T09:00:00Z"}),  # an opt-out holds until a consent
    ],
)
async def test_invalid_until_is_rejected(world: World, action: str, body: dict[str, Any]) -> None:
    await world.submit_form(email=CTO)
    if action == "recycle":
        await world.accept(CTO, by="ana")
    before = await world.lead(CTO)
    answer = await world.act(CTO, action, "ana", **body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "#/until"
    assert await world.lead(CTO) == before


async def test_reason_of_an_absence_is_shown_until_it_ends(world: World) -> None:
    end = world.clock.business() + timedelta(hours=2)
    body: dict[str, Any] = {"available": False, "until": end.isoformat(), "reason": "At the dentist"}
    answer = await world.ask("POST", "/v1/reps/ana/availability", "sales", "ana", body=body)
    assert answer.json()["reason"] == "At the dentist"
    assert (await rep_of(world, "ana"))["reason"] == "At the dentist"
    await world.wait(hours=3)
    assert ((await rep_of(world, "ana"))["state"], (await rep_of(world, "ana"))["reason"]) == ("available", None)
    answer = await world.ask("POST", "/v1/reps/ana/availability", "sales", "ana", body={**body, "available": True})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "#/until")


async def test_reason_of_a_manual_assignment_is_in_the_timeline(world: World) -> None:
    await world.submit_form(email=CTO)
    answer = await world.act(CTO, "assign", "max", rep="cy", reason="knows the company")
    assert answer.status_code == 200, answer.text
    await world.settle()
    assert "assigned to cy: knows the company" in await timeline_lines(world)


# --- every field of the API description -----------------------------------------------------------------------------


def bodies(now: datetime) -> dict[str, dict[str, tuple[Any, str]]]:
    """Return the fields of each action. Each has a value, and the text that shows this value after the action."""
    before, after = now - timedelta(minutes=2), now + timedelta(days=20)
    until = (after.isoformat(), f"{after:%Y-%m-%dT%H:%M:%S}")
    soon = now + timedelta(minutes=20)
    return {
        "accept": {},
        "touch": {
            "channel": ("meeting", "touch by meeting"),
            "answered": (False, "unanswered"),
            "at": (before.isoformat(), f"{before:%Y-%m-%dT%H:%M:%S}"),
            "note": ("Wants a quote", "Wants a quote"),
        },
        "reject": {"reason": ("not-now", "not-now"), "until": until},
        "recycle": {"reason": ("stalled", "stalled"), "until": until},
        "status": {"status": ("nurturing", '"status": "nurturing"'), "reason": ("not-now", "not-now"), "until": until},
        "snooze": {"until": (soon.isoformat(), f"{soon:%Y-%m-%dT%H:%M:%S}")},
        "page-test": {},
        "opt-out": {"reason": ("Asked by letter", "Asked by letter")},
        "assign": {
            "rep": ("cy", '"owner": {"id": "cy"'),
            "reason": ("Knows the company", "Knows the company"),
            "force": (True, '"owner": {"id": "cy"'),  # cy is away
        },
        "availability": {
            "available": (False, '"state": "away", "until": "20'),
            "until": until,
            "reason": ("At the dentist", "At the dentist"),
        },
    }


async def visible_text(world: World) -> str:
    """Return the lead, its timeline and the rep ana as text."""
    await world.settle()
    lead = await world.lead(CTO)
    return json.dumps([lead, await world.lead_items(CTO, "timeline"), await rep_of(world, "ana")])


async def described_fields(world: World) -> dict[str, set[str]]:
    """Return the fields of each action in the API description."""
    description = await world.get("/openapi.json")
    fields = {}
    for path, methods in description["paths"].items():
        if path.startswith(("/v1/leads/{lead}/", "/v1/reps/{rep}/")) and "post" in methods:
            content = methods["post"].get("requestBody", {}).get("content", {"": {"schema": {}}})
            [schema] = [media["schema"] for media in content.values()]
            name = schema.get("$ref", "").rpartition("/")[2]
            body = description["components"]["schemas"][name] if name else schema
            fields[path.rpartition("/")[2]] = set(body.get("properties", ()))
    return fields


async def test_every_described_field_of_an_action_is_tested(world: World) -> None:
    assert await described_fields(world) == {
        name: set(fields) for name, fields in bodies(world.clock.business()).items()
    }


@pytest.mark.parametrize("action", [name for name, fields in bodies(datetime.now(UTC)).items() if fields])
async def test_every_described_field_of_an_action_is_shown_afterwards(world: World, action: str) -> None:
    await world.submit_form(email=CTO)
    if action == "recycle":
        await world.accept(CTO, by="ana")
    if action == "assign":
        await world.is_away("cy")
    await world.wait(minutes=5)
    fields = bodies(world.clock.business())[action]
    before = await visible_text(world)
    body = {name: value for name, (value, _) in fields.items()}
    if "force" in body:
        answer = await world.act(CTO, action, "max", **{**body, "force": False})
        assert (answer.status_code, await visible_text(world)) == (409, before)
    if action == "availability":
        answer = await world.ask("POST", "/v1/reps/ana/availability", "sales", "ana", body=body)
    else:
        answer = await world.act(CTO, action, "max" if action == "assign" else "ana", **body)
    assert answer.status_code == 200, answer.text
    after = await visible_text(world)
    for name, (_, text) in fields.items():
        assert (text in before, text in after) == (False, True), (name, after)

"""Custom fields of the agreement: forms and lists state them, conditions read them, and the lead shows them."""

from pathlib import Path
from typing import Any

from tests.story.test_import import imported
from tests.story.world import World

CTO, COO = "cto@prospect.example", "coo@other.example"
FIELDS = {"seats": {"type": "number", "from": ["form", "import"]}, "plan": {"type": "text", "one_of": ["free", "Team"]}}
RULES = [{"points": 30, "because": "Large", "when": {"custom.seats": {"gte": 100}, "custom.plan": "team"}}]
CHANGES = {"custom_fields": FIELDS, "scoring": {"fit": {"rules": RULES}}}


async def own_facts(world: World, email: str) -> dict[str, tuple[Any, Any]]:
    items = await world.lead_items(email, "facts")
    return {item["field"]: (item["value"], item["type"]) for item in items if item["field"].startswith("custom.")}


async def test_custom_fields_of_forms_and_lists_are_typed_scored_and_shown(world: World, tmp_path: Path) -> None:
    await world.change("agreement", CHANGES)

    await world.submit_form(email=CTO, Seats="1,200", plan="TEAM")
    await world.event("page.viewed", email=CTO, custom={"seats": 3, "plan": "gold"})
    await imported(world, tmp_path, f"email,Seats,Plan\n{COO},250,team\n")

    shown = {"custom.seats": (1200, "number"), "custom.plan": ("Team", "text")}
    assert await own_facts(world, CTO) == shown
    assert await own_facts(world, COO) == shown | {"custom.seats": (250, "number")}
    for email in (CTO, COO):
        assert (await world.lead(email))["score"]["fit"] == 30


async def test_facts_that_rules_lack_are_counted_for_the_agreement_in_force(world: World) -> None:
    await world.change("agreement", CHANGES)
    await world.submit_form(email=CTO, seats="200")
    await world.submit_form(email=COO, seats="200", plan="team")

    answer = await world.get("/v1/agreement/missing-facts")
    assert answer["leads"] == 2
    [rule] = [item for item in answer["items"] if item["section"] == "scoring.fit"]
    assert rule == {
        "section": "scoring.fit",
        "rule": "Large",
        "leads": 1,
        "fields": [{"field": "custom.plan", "leads": 1}],
    }
    assert (await world.get("/v1/agreement/missing-facts?leads=1"))["leads"] == 1

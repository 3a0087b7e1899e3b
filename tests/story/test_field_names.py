"""Forms with the field names of other tools, and the fields that are not understood."""

import pytest

from tests.story.world import World

pytestmark = pytest.mark.both_profiles  # counts of fields have statements of their own


async def test_chief_executive_of_a_marketing_tool_has_a_name_and_a_grade(world: World) -> None:
    facts = {"firstname": "Ann", "lastname": "Lee", "jobtitle": "CEO", "numemployees": "500+"}
    await world.submit_form(email="ann@acme.example", **facts, mobilephone="+4930123456", favouriteColour="red")
    await world.submit_form(email="ben@acme.example", first_name="Ben", last_name="Lee", title="CEO", employees=500)

    ann, ben = [await world.lead(f"{name}@acme.example") for name in ("ann", "ben")]
    assert ann["name"] == "Ann Lee"
    assert ann["score"] == ben["score"]

    answer = await world.ask("GET", "/v1/sources/website/fields", "marketing")
    [item] = answer.json()["items"]
    assert (item["name"], item["events"], item["means"], item["used"]) == ("favouriteColour", 1, None, False)
    assert "red" not in answer.text
    assert (await world.ask("GET", "/v1/sources/website/fields", "ingest")).status_code == 403


async def test_names_of_a_flood_are_counted_together(world: World) -> None:
    for start in range(0, 400, 100):
        fields = {f"field {n}x": "1" for n in range(start, start + 100)}
        await world.submit_form(email="ann@acme.example", **fields)

    listed = await world.get("/v1/sources/website/fields")
    assert (len(listed["items"]), listed["others"]) == (200, 200)

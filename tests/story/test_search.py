"""The search: by mail, name, company, phone and id; for the right people; harmless with any text."""

from typing import Any
from urllib.parse import quote

import pytest

from tests.story.conftest import OpenWorld
from tests.story.test_console import signed_in
from tests.story.world import World

ZOE, JOSE = "zoe.muller@nordwind.example", "jose@prospect.example"


async def found(world: World, text: str, role: str = "manager", rep: str | None = None, **query: str) -> list[str]:
    """Return the addresses of the leads that a search finds, newest first."""
    rest = "".join(f"&{name}={value}" for name, value in query.items())
    answer = await world.ask("GET", f"/v1/leads?q={quote(text)}{rest}", role, rep)
    assert answer.status_code == 200, answer.text
    return [lead["email"] for lead in answer.json()["items"]]


async def fill(world: World) -> None:
    await world.submit_form(
        email=ZOE, name="Zoë Anna Müller", phone="+49 30 555 0042", company__name="Nordwind Straßenbau GmbH"
    )
    await world.submit_form(email=JOSE, first_name="José", last_name="García", company__name="Łódź 100% Sp. z o.o.")


@pytest.mark.both_profiles
async def test_lead_is_found_by_mail_name_company_phone_and_id(world: World) -> None:
    await fill(world)
    id = (await world.lead(ZOE))["id"]
    for text in (
        ZOE,
        "ZOE.MULLER@",
        "@nordwind.example",
        "nordwind.exam",
        "zoe",
        "Zoë Anna",
        "anna mul",
        "Müller, Zoë",
        "muller nordwind",
        "strassenbau",
        "STRASSENBAU zoe",
        "+49 30 5550042",
        "0049 (0)30 555-0042",
        "030 555",
        "30555",
        id,
        id[:13].upper(),
    ):
        assert await found(world, text) == [ZOE] or (text == id[:13].upper() and ZOE in await found(world, text)), text
    for text in ("garcia", "jose gar", "García José", "lodz", "100 sp", "jose@prospect.example"):
        assert await found(world, text) == [JOSE], text
    for text in ("nobody", "zoe garcia", "oe", "40 555", "ller"):
        assert await found(world, text) == [], text


@pytest.mark.both_profiles
async def test_hostile_text_finds_nothing_and_breaks_nothing(world: World) -> None:
    await fill(world)
    for text in (
        "%",
        "_",
        "*",
        "%oe%",
        "z_e",
        '"zoe',
        "zoe OR jose",
        "zoe* NEAR jose",
        "' OR 1=1 --",
        "\u202ezzz",
        "\ud7ff",
        "(",
        "\\",
    ):
        assert await found(world, text) in ([], [ZOE]), text
    assert await found(world, "100%") == [JOSE]
    assert await found(world, "\u2066zoe\u2069") == [ZOE]
    for odd in ("%00", "a%00b", "%ff", "%ed%a0%80", "zoe" + "%CC%81" * 150):
        assert (await world.ask("GET", f"/v1/leads?q={odd}", "manager")).status_code == 200, odd
    for odd in ("x" * 6_000, "x" * 60_000):
        assert (await world.ask("GET", f"/v1/leads?q={odd}", "manager")).status_code == 422, odd[:9]
    assert (await world.ask("GET", "/v1/leads?q=zoe", "ingest")).status_code == 403


@pytest.mark.both_profiles
async def test_search_is_filtered_and_continued(world: World) -> None:
    for n in range(5):
        await world.submit_form(email=f"p{n}@many.example", name=f"Pat Many{n}")
    everyone = [f"p{n}@many.example" for n in (4, 3, 2, 1, 0)]
    assert await found(world, "pat many") == everyone
    owners = {address: await world.owner_of(address) for address in everyone}
    assert await found(world, "many", owner="bo") == [one for one in everyone if owners[one] == "bo"]
    assert await found(world, "many", status="new") == []
    assert await found(world, "many", email="p3@many.example") == ["p3@many.example"]
    page: dict[str, Any] = {"next": ""}
    seen = []
    while page["next"] is not None:
        cursor = f"&cursor={page['next']}" if page["next"] else ""
        page = await world.get(f"/v1/leads?q=pat&limit=2{cursor}")
        seen += [lead["email"] for lead in page["items"]]
    assert seen == everyone


@pytest.mark.both_profiles
async def test_search_follows_what_is_learned_of_a_person(world: World) -> None:
    await world.event("page.viewed", email=ZOE, path="/pricing")
    assert await found(world, "muller") == [ZOE]
    assert await found(world, "zoe anna") == []
    await world.submit_form(email=ZOE, name="Zoe Anna Miller")
    assert await found(world, "zoe anna") == [ZOE]
    await world.submit_form(email=ZOE, name="Zoe Berg")
    assert await found(world, "zoe anna") == []
    assert await found(world, "berg") == [ZOE]


async def test_rep_finds_only_leads_that_they_see(open_world: OpenWorld) -> None:
    world = await open_world(agreement={"visibility": {"reps": "own"}})
    for n in range(3):
        await world.submit_form(email=f"p{n}@many.example", name=f"Pat Many{n}")
    owners = {f"p{n}@many.example": await world.owner_of(f"p{n}@many.example") for n in range(3)}
    assert set(owners.values()) == {"ana", "bo", "cy"}
    for address, owner in owners.items():
        assert await found(world, "pat", "sales", owner) == [address]
        assert await found(world, (await world.lead(address))["id"], "sales", "max") == [address]
    other = next(address for address, owner in owners.items() if owner != "ana")
    assert await found(world, (await world.lead(other))["id"], "sales", "ana") == []


async def test_rep_finds_their_lead_among_more_than_are_read(
    open_world: OpenWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.reporting.search.CANDIDATES_MAX", 2)
    world = await open_world(agreement={"visibility": {"reps": "own"}})
    for n in range(6):
        await world.submit_form(email=f"p{n}@many.example", name=f"Pat Many{n}")
    own = [lead["email"] for lead in await world.leads(owner="cy")]
    assert len(own) == 2
    assert await found(world, "pat", "sales", "cy") == own
    assert len(await found(world, "pat")) == 2


async def test_search_is_rebuilt_from_the_history(world: World) -> None:
    await fill(world)
    await world.system.units.run(
        lambda unit: [
            unit.connection.exec_driver_sql(f"DELETE FROM {table}") for table in ("reporting_search", "reporting_terms")
        ]
    )
    assert await found(world, "zoe") == []
    answer = await world.ask("POST", "/v1/reports/rebuild?restart=true")
    assert answer.json()["complete"]
    assert await found(world, "zoe") == [ZOE]
    assert await found(world, "lodz") == [JOSE]


async def test_search_box_finds_leads_and_shows_the_text_harmlessly(world: World) -> None:
    await fill(world)
    browser = await signed_in(world, "manager")
    page = await browser.get("/console/leads?q=muller")
    assert "Zoë Anna Müller" in page.text
    assert "García" not in page.text
    page = await browser.get(f"/console/leads?q={quote('<script>alert(1)</script>')}")
    assert page.status_code == 200
    assert "<script>alert" not in page.text
    assert (await browser.get("/console/leads?q=" + "x" * 5_000)).status_code == 200

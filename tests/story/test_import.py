"""The import of lists: leads are scored, opt-outs hold, and a second import has no effect."""

import json
from pathlib import Path
from typing import Any

import pytest

from firsthour.kernel.time_units import micros
from firsthour.operations.administration import import_routes
from firsthour.operations.audit.silence import WEEK
from firsthour.operations.importing.batches import ImportResult, ListImport
from firsthour.operations.importing.columns import ListKind
from firsthour.operations.importing.plan import plan_of
from firsthour.operations.importing.position import ImportPosition
from services.gateway.source_counts import _ADD, HOUR
from tests.story.world import World

LEADS = (
    "Vorname;E-Mail;Position;Mitarbeiterzahl;abgemeldet\n"
    "Ann;ann@acme.example;CEO;500+;\nBo;bo@acme.example;CEO;500+;ja\nCy;cy@;CEO;7;\n"
)


async def imported(
    world: World, place: Path, text: str, kind: ListKind = ListKind.lead, *, role: str = "admin", dry_run: bool = False
) -> ImportResult:
    """Import a list."""
    file = place / "list.csv"
    file.write_text(text)
    plan = plan_of(
        kind, file, source="fair", maps=(), id_column=None, encoding=None, separator=None, target="the world"
    )

    async def send(body: bytes) -> Any:
        headers = {"Authorization": f"Bearer {await world.key(role)}"} if role != "admin" else None
        answer = await world.send_rows("fair", body, headers, dry_run=dry_run)
        assert answer.status_code == 200, answer.text
        return answer.json()

    result = await ListImport(send, ImportPosition(""), kind=kind, file=None, rejected=None, rate=1e9).run(
        plan.batches(), lambda line: None
    )
    await world.settle()
    return result


async def test_list_is_scored_and_an_opt_out_in_it_counts(world: World, tmp_path: Path) -> None:
    result = await imported(world, tmp_path, LEADS, dry_run=True)
    assert (result.accepted, result.rejected, await world.leads()) == (2, 1, [])

    result = await imported(world, tmp_path, LEADS)
    assert (result.accepted, [row.line for row in result.shown]) == (2, [4])
    assert result.shown[0].why.startswith("email is not an email address: ")
    ann, bo = [await world.lead(f"{name}@acme.example") for name in ("ann", "bo")]
    assert (ann["name"], ann["status_team"], bo["status"]) == ("Ann", "marketing", "opted-out")

    await imported(world, tmp_path, LEADS)
    assert len(await world.lead_items("ann@acme.example", "timeline")) == 2  # its import, and its score


async def test_import_never_subscribes_a_person_again(world: World, tmp_path: Path) -> None:
    await world.submit_form(email="ann@acme.example")
    await world.event("consent.withdrawn", email="ann@acme.example")
    for text in ("email,consent\nann@acme.example,yes\n", "email,opt out\nann@acme.example,no\n"):
        assert (await imported(world, tmp_path, text)).accepted == 1
    assert (await world.lead("ann@acme.example"))["status"] == "opted-out"


async def test_company_changes_the_leads_of_its_domain(world: World, tmp_path: Path) -> None:
    for email in ("ann@acme.example", "bo@acme.example", "cy@other.example"):
        await world.event("content.downloaded", email=email)
    text = "Name,Website,Employees\nAcme,https://www.acme.example/,900\nNobody,nobody.example,1\nMail,gmail.com,1\n"
    result = await imported(world, tmp_path, text, ListKind.company)
    assert (result.accepted, result.events) == (2, 2)
    assert "not the domain of a company" in result.shown[0].why
    companies = [(await world.lead(email))["company"] for email in ("ann@acme.example", "cy@other.example")]
    assert companies == ["Acme", None]


async def test_company_that_is_named_many_times_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for email in ("ann@acme.example", "bo@acme.example"):
        await world.event("content.downloaded", email=email)
    monkeypatch.setattr(import_routes, "EVENTS_MAX", 3)
    rows = [[{"id": str(n), "type": "lead.updated", "data": {"company.domain": "acme.example"}}] for n in range(3)]
    answer = (await world.send_rows("fair", json.dumps({"rows": rows}).encode())).json()
    assert (answer["accepted"], answer["events"]) == (1, 2)
    assert [(row["row"], "import the row again" in row["error"]) for row in answer["rejected"]] == [
        (1, True),
        (2, True),
    ]


@pytest.mark.both_profiles
async def test_leads_of_a_company_beyond_the_bounds_are_named_in_the_answer(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for email in ("ann@large.example", "bo@large.example", "cy@large.example", "di@next.example", "ed@next.example"):
        await world.event("content.downloaded", email=email)
    text = "Name,Website,Employees\nLarge,large.example,900\nNext,next.example,1\nNobody,nobody.example,1\n"
    monkeypatch.setattr(import_routes, "LEADS_MAX", 2)
    result = await imported(world, tmp_path, text, ListKind.company)
    assert (result.accepted, result.events, result.left_out) == (3, 4, 1)
    assert [(row.line, row.why.split(":")[0]) for row in result.partial] == [
        (2, "1 more leads of this company are unchanged")
    ]

    monkeypatch.setattr(import_routes, "EVENTS_MAX", 3)
    result = await imported(world, tmp_path, text, ListKind.company)
    assert (result.accepted, result.events, result.left_out) == (1, 2, 1)
    assert [(row.line, "import the row again" in row.why) for row in result.shown] == [(3, True), (4, True)]


async def test_deals_need_a_key_of_sales_and_costs_do_not(world: World, tmp_path: Path) -> None:
    await world.event("content.downloaded", email="ann@acme.example")
    deal = "email,deal stage,amount\nann@acme.example,won,700\n"
    refused = await world.send_rows(
        "fair",
        b'{"rows": [[{"id": "1", "type": "opportunity.changed", "email": "ann@acme.example"}]]}',
        {"Authorization": f"Bearer {await world.key('marketing')}"},
    )
    assert refused.status_code == 403
    assert (await imported(world, tmp_path, deal, ListKind.opportunity, role="sales")).accepted == 1
    cost = "Datum,Kampagne,Kosten\n2026-01-31,Messe,1200\n2026-02-31,Messe,1\n"
    assert (await imported(world, tmp_path, cost, ListKind.cost, role="marketing")).accepted == 1


@pytest.mark.parametrize(
    ("body", "status", "rejected"),
    [
        (b"{", 400, 0),
        (b"[]", 422, 0),
        (b'{"rows": [[]]}', 422, 0),
        (b'{"rows": [[1]]}', 422, 0),
        (b'{"rows": [[{}], [{"id": "1", "type": "page.viewed", "email": "a@acme.example"}]]}', 200, 2),
    ],
)
async def test_body_that_is_no_list_is_refused(world: World, body: bytes, status: int, rejected: int) -> None:
    answer = await world.send_rows("fair", body)
    assert (answer.status_code, len(answer.json().get("rejected", []))) == (status, rejected)


async def view(world: World, kind: str) -> dict[str, Any]:
    """Return what `GET /v1/sources` shows of lists of this kind."""
    [one] = [one for one in (await world.get("/v1/sources"))["items"] if one["id"] == f"import:{kind}"]
    return dict(one)


@pytest.mark.both_profiles
async def test_rows_are_counted_by_kind_of_list_with_those_the_command_refused(world: World, tmp_path: Path) -> None:
    await imported(world, tmp_path, LEADS + "Di;;CEO;5;\n", dry_run=True)
    assert [one for one in (await world.get("/v1/sources"))["items"] if one["kind"] == "import"] == []

    await imported(world, tmp_path, LEADS + "Di;;CEO;5;\n")
    await imported(world, tmp_path, "domain,industry\nacme.example,Steel\n", ListKind.company)
    await imported(world, tmp_path, "email\n\n", ListKind.lead)
    lead, company = await view(world, "lead"), await view(world, "company")
    assert (lead["kind"], lead["accepted"], lead["refused"]) == ("import", 2, {"unmapped": 2})
    assert (company["accepted"], company["last_seen_at"] is None) == (1, False)
    metrics = world.system.resources.telemetry.registry.get_sample_value
    assert metrics("import_rows_total", {"kind": "lead", "outcome": "accepted"}) == 2
    assert metrics("import_rows_total", {"kind": "lead", "outcome": "refused"}) == 2
    assert metrics("events_accepted_total", {"source": "import:lead"}) == 3


async def test_request_whose_key_may_not_send_its_rows_counts_once(world: World) -> None:
    row = [{"type": "opportunity.changed", "id": "1", "email": "ann@acme.example", "data": {"amount": 5}}]
    body = json.dumps({"rows": [row, row]}).encode()
    key = {"Authorization": f"Bearer {await world.key('marketing')}"}
    assert (await world.send_rows("fair", body, key)).status_code == 403
    assert (await view(world, "opportunity"))["refused"] == {"forbidden": 1}


@pytest.mark.parametrize(
    "stated", [{"kind": "rep"}, {"kind": 5}, {"refused": -1}, {"refused": True}, {"refused": 10**9}]
)
async def test_unknown_kind_or_number_of_refused_rows_is_refused(world: World, stated: dict[str, Any]) -> None:
    answer = await world.send_rows("fair", json.dumps({"rows": [], **stated}).encode())
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] in ("#/kind", "#/refused")


async def test_many_imported_rows_are_no_surge(world: World, tmp_path: Path) -> None:
    hour = micros(world.clock.now) // HOUR
    usual = {"source": "import:lead", "outcome": "accepted", "last_at": 0, "lag": None}
    rows = [{**usual, "hour": hour - week * WEEK, "number": 6} for week in (1, 2, 3)]
    await world.system.units.run(
        lambda unit: unit.store(_ADD.work(unit.connection, [*rows, {**usual, "hour": hour, "number": 600}]))
    )
    await world.wait(minutes=2)
    assert (await view(world, "lead"))["surge"] is None

"""The events of rows: the meaning of columns, ids, opt-outs."""

from pathlib import Path
from typing import Any

import pytest

from firsthour.operations.importing.columns import ListKind
from tests.unit.operations.importing.lists import LEADS, events, plan, write


def one(place: Path, content: str, kind: ListKind = ListKind.lead, maps: tuple[str, ...] = (), **options: Any) -> Any:
    [row] = events(write(place, content), kind, maps, **options)
    return row


def test_lead_has_the_facts_of_its_row(tmp_path: Path) -> None:
    first, second = events(write(tmp_path, LEADS))
    [ann], [bo] = first, second
    assert (ann["type"], ann["email"]) == ("lead.imported", "ann@acme.example")
    assert ann["data"] == {"first_name": "Ann", "company.employees": "51-200", "custom.Stand": "A 7"}
    assert bo["data"] == {"first_name": "Bo"}
    assert ann["id"] != bo["id"]


def test_columns_may_be_named_and_left_out(tmp_path: Path) -> None:
    maps = ("title=Stand", "-=Vorname", "custom.size=Mitarbeiterzahl")
    [[ann], _] = events(write(tmp_path, LEADS), maps=maps)
    assert ann["data"] == {"title": "A 7", "custom.size": "51-200"}


def test_map_may_be_a_file(tmp_path: Path) -> None:
    maps = (str(write(tmp_path, "# fair\ntitle: Stand\n\n-=Vorname\n", "map.txt")),)
    [[ann], _] = events(write(tmp_path, LEADS), maps=maps)
    assert ann["data"] == {"title": "A 7", "company.employees": "51-200"}


def test_of_two_columns_of_one_field_the_filled_and_then_the_own_one_counts(tmp_path: Path) -> None:
    first, second = events(write(tmp_path, "jobtitle,title,email\nBoss,CEO,a@b.example\nBoss,,a@b.example\n"))
    assert first[0]["data"] == {"title": "CEO", "custom.jobtitle": "Boss"}
    assert second[0]["data"] == {"title": "Boss"}


@pytest.mark.parametrize("word", ["yes", "1", "TRUE", "ja"])
def test_opt_out_precedes_the_lead(tmp_path: Path, word: str) -> None:
    out, lead = one(tmp_path, f"email,Unsubscribed\nann@acme.example,{word}\n")
    assert (out["type"], out["email"], lead["type"]) == ("consent.withdrawn", "ann@acme.example", "lead.imported")
    assert out["id"] != lead["id"]


def test_column_of_opt_outs_with_another_word_is_a_fault(tmp_path: Path) -> None:
    assert one(tmp_path, "email,opt out\nann@acme.example,maybe\n") == (
        "has `maybe` in the column of opt-outs; write yes or no"
    )
    [lead] = one(tmp_path, "email,opt out\nann@acme.example,no\n")
    assert lead["data"] == {}


def test_list_never_subscribes_a_person(tmp_path: Path) -> None:
    [lead] = one(tmp_path, "email,consent\nann@acme.example,yes\n")
    assert lead["data"] == {"custom.consent": "yes"}
    out, lead = one(tmp_path, "email,consent\nann@acme.example,no\n")
    assert (out["type"], lead["data"]) == ("consent.withdrawn", {"consent": "no"})


@pytest.mark.parametrize(
    ("kind", "content", "fault"),
    [
        (ListKind.lead, "name,email\nAnn,\n", "has no email and no phone"),
        (ListKind.company, "name,domain\nAcme,\n", "has no company.domain"),
        (ListKind.opportunity, "stage,amount\nwon,7\n", "has no email"),
        (ListKind.cost, "date,campaign\n2026-11-01,fair\n", "has no cost"),
    ],
)
def test_row_without_its_main_field_is_a_fault(tmp_path: Path, kind: ListKind, content: str, fault: str) -> None:
    assert fault in one(tmp_path, content, kind)


def test_opportunity_company_and_cost_have_their_own_columns(tmp_path: Path) -> None:
    [deal] = one(
        tmp_path,
        "Email,Deal ID,Deal Stage,Amount,Currency,Close Date,Owner\na@b.example,7,won,1200,EUR,31.12.2025 10:00,ana\n",
        ListKind.opportunity,
    )
    assert (deal["type"], deal["email"], deal["time"]) == ("opportunity.changed", "a@b.example", "2025-12-31T10:00")
    assert deal["data"] == {
        "opportunity_id": "7",
        "stage": "won",
        "amount": "1200",
        "currency": "EUR",
        "custom.Owner": "ana",
    }
    [company] = one(tmp_path, "Name;Website;Branche;Land\nAcme;acme.example;IT;DE\n", ListKind.company)
    assert company["type"] == "lead.updated"
    assert company["data"] == {
        "company.name": "Acme",
        "company.domain": "acme.example",
        "company.industry": "IT",
        "company.country": "DE",
    }
    [cost] = one(tmp_path, "Datum;Kampagne;Kosten;Kanal\n1.2.2026;Messe;1.200;Event\n", ListKind.cost)
    assert (cost["type"], cost["time"]) == ("cost.recorded", "2026-02-01")
    assert cost["data"] == {"campaign": "Messe", "cost": "1.200", "channel": "Event"}


def test_row_has_the_same_id_in_every_import_of_its_file(tmp_path: Path) -> None:
    ids = [event["id"] for [event] in events(write(tmp_path, LEADS))]
    assert ids == [event["id"] for [event] in events(write(tmp_path, LEADS, "again.csv"))]
    others = [event["id"] for [event] in events(write(tmp_path, f"{LEADS}Cy,cy@acme.example,,\n"))]
    assert len({*ids, *others}) == 5


def test_row_with_an_id_of_its_own_is_known_in_another_file(tmp_path: Path) -> None:
    text = "id,email,name\n7,a@b.example,Ann\n8,b@b.example,Bo\n"
    ids = [event["id"] for [event] in events(write(tmp_path, text), id_column="id")]
    longer = "id,email,name\n9,c@b.example,Cy\n7,a@b.example,Ann\n8,b@b.example,Bob\n"
    others = [event["id"] for [event] in events(write(tmp_path, longer), id_column="id")]
    assert (others[1], others[2] == ids[1]) == (ids[0], False)
    assert one(tmp_path, "id,email\n,a@b.example\n", id_column="id") == "has no id; fill its column, or leave --id out"


def test_columns_are_shown(tmp_path: Path) -> None:
    shown = plan(write(tmp_path, LEADS), maps=("-=Stand",), id_column="E-Mail").shown()
    assert [(one["column"], one["becomes"], one["id"]) for one in shown] == [
        ("Vorname", "first_name", None),
        ("E-Mail", "email", True),
        ("Mitarbeiterzahl", "company.employees", None),
        ("Stand", "-", None),
    ]

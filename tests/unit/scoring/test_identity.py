"""Which person an event is about, by the identifiers that it carries."""

from collections.abc import Sequence
from itertools import count, permutations
from pathlib import Path
from typing import Any, cast

import pytest

from firsthour.kernel.config import Config
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.sqlite_engines import writer_engine
from firsthour.runtime.storage.unit import Unit
from schemas.events.outside import ExternalEvent
from services.scoring import store
from services.scoring.domain.identity import SHARED_MAX, IdentityRow, People, ResolvedIdentity
from tests.hand_clock import HandClock
from tests.unit.scoring.test_score import NOW

P, Q = "+4930111111", "+4930222222"
E1, E2 = "ann@firm.example", "bob@firm.example"


def event(**identifiers: Any) -> ExternalEvent:
    return ExternalEvent(source="s", source_id="1", received_at=NOW, **identifiers)


def people(*rows: IdentityRow) -> People:
    ids = count(1)
    made = People(lambda: f"new{next(ids)}")
    made.know(rows)
    return made


def leads(known: People, *events: ExternalEvent) -> list[str]:
    return [known.find(one, f"e{n}", n).lead for n, one in enumerate(events)]


@pytest.mark.parametrize("kind", ["phone", "crm_id", "anonymous_id"])
def test_an_identifier_of_one_person_finds_that_person(kind: str) -> None:
    both = event(email=E1, **{kind: "x"})
    assert leads(people(), both, event(**{kind: "x"}), event(email=E1)) == ["new1"] * 3


def test_a_person_who_was_known_by_a_phone_alone_is_found_by_the_address_that_comes_with_it() -> None:
    assert leads(people(), event(phone=P), event(email=E1, phone=P), event(email=E1)) == ["new1"] * 3


def test_two_addresses_are_two_people_whatever_they_share_in_any_order() -> None:
    events = [
        event(email=E1, phone=P, crm_id="7"),
        event(email=E2, phone=P, crm_id="7"),
        event(email=E1),
        event(email=E2),
    ]
    for order in permutations(events):
        found = dict(zip((one.email for one in order), leads(people(), *order), strict=True))
        assert found[E1] != found[E2]


def test_a_shared_phone_finds_the_open_lead_that_was_active_last() -> None:
    rows = [
        IdentityRow(f"phone:{P}", "closed", E1, 9, 0),
        IdentityRow(f"phone:{P}", "older", E2, 5, 1),
        IdentityRow(f"phone:{P}", "newer", None, 7, 1),
    ]
    assert people(*rows).find(event(phone=P), "e", 1) == ResolvedIdentity(
        "newer", "phone, shared by 3 people", ("closed", "older")
    )
    assert people(rows[0], rows[1]).find(event(phone=P), "e", 1).lead == "older"


def test_everyone_known_by_any_of_several_shared_identifiers_is_named() -> None:
    rows = [IdentityRow(f"phone:{P}", lead, None, 1, 1) for lead in ("a", "b")]
    rows += [IdentityRow("crm_id:7", lead, None, 1, 1) for lead in ("b", "c")]
    assert people(*rows).find(event(phone=P, crm_id="7"), "e", 1) == ResolvedIdentity(
        "b", "phone, shared by 2 people", ("a", "c")
    )


def test_an_identifier_of_one_person_goes_before_one_that_several_share() -> None:
    rows = [
        IdentityRow(f"phone:{P}", "a", E1, 1, 1),
        IdentityRow(f"phone:{P}", "b", E2, 2, 1),
        IdentityRow("crm_id:7", "a", E1, 1, 1),
    ]
    known = people(*rows)
    assert known.find(event(phone=P, crm_id="7"), "e", 1) == ResolvedIdentity("a")


def test_nothing_is_learned_from_a_choice_among_several() -> None:
    known = people(IdentityRow(f"phone:{P}", "a", E1, 1, 1), IdentityRow(f"phone:{P}", "b", E2, 2, 1))
    known.find(event(phone=P, crm_id="7"), "e", 1)
    assert known.changes() == ([], [], [])


def test_the_people_of_one_identifier_are_bounded_and_the_newest_ones_are_kept() -> None:
    known = people()
    found = [known.find(event(email=f"p{n}@firm.example", phone=P), f"e{n}", n).lead for n in range(3 * SHARED_MAX)]
    changes = known.changes()
    kept = {lead for identity, lead in [*changes.claims, *changes.added] if identity.startswith("phone")}
    assert kept == set(found[-SHARED_MAX:])

    stored = [IdentityRow(f"phone:{P}", f"l{n:02}", f"{n}@firm.example", n, 0) for n in range(SHARED_MAX)]
    known = people(*stored)
    lead = known.find(event(email=E1, phone=P), "e", 99).lead
    assert known.changes().replaced == [(f"phone:{P}", lead, "l00")]


# --- stored --------------------------------------------------------------------------------------------------------


def resolved(file: Path, *events: ExternalEvent) -> list[str]:
    """The leads of these events, each in a unit of its own."""
    engine = writer_engine(file)
    statements.metadata.create_all(engine)
    found = []
    for n, one in enumerate(events):
        with engine.begin() as connection:
            unit = Unit(connection, HandClock(), cast(Config, None))
            [[lead, *_]], made = store.resolve(unit, [(f"e{n}", one, n)])
            profiles = store.lock(unit, [lead], made)
            profiles[lead].email = profiles[lead].email or one.email
            store.save(unit, profiles, NOW)
            unit.finish()
        found.append(lead)
    engine.dispose()
    return found


def test_learned_identifiers_are_stored(tmp_path: Path) -> None:
    first = event(email=E1, phone=P, crm_id="7")
    events: Sequence[ExternalEvent] = [
        first,
        event(crm_id="7"),
        event(phone=P),
        event(email=E2, phone=P),
        event(phone=Q),
    ]
    one, by_crm, by_phone, other, stranger = resolved(tmp_path / "x.db", *events)
    assert one == by_crm == by_phone
    assert len({one, other, stranger}) == 3


def test_a_unit_that_lost_a_claim_decides_by_what_the_other_unit_stored(tmp_path: Path) -> None:
    """The other unit stores the phone between our look and our claim."""
    engine = writer_engine(tmp_path / "x.db")
    statements.metadata.create_all(engine)
    [theirs] = resolved(tmp_path / "x.db", event(phone=P))
    heard = [("e1", event(email=E1, phone=P), 1)]
    with engine.begin() as connection:
        claims = [(f"email:{E1}", "ours")]
        store._CLAIM.tuples(connection, claims)  # as a lost claim leaves it
        wanted = [f"email:{E1}", f"phone:{P}"]
        _, [found], changes = store._resolve_again(connection, heard, wanted, [*claims, (f"phone:{P}", "ours")])
    assert (found.lead, changes.claims) == (theirs, [(f"email:{E1}", theirs)])
    engine.dispose()
    assert resolved(tmp_path / "x.db", event(email=E1)) == [theirs]


def test_one_person_more_than_an_identifier_may_have_takes_the_place_of_another(tmp_path: Path) -> None:
    many = [event(email=f"p{n:02}@firm.example", phone=P) for n in range(SHARED_MAX + 3)]
    *found, by_phone = resolved(tmp_path / "x.db", *many, event(phone=P))
    assert len(set(found)) == len(many)
    assert by_phone in found[3:]
    engine = writer_engine(tmp_path / "x.db")
    with engine.begin() as connection:
        assert len(store._rows(connection, [f"phone:{P}"])) == SHARED_MAX
    engine.dispose()

"""The person of an event is resolved by its identifiers."""

from collections.abc import Sequence
from itertools import count, permutations
from pathlib import Path
from typing import Any, cast

import pytest

from firsthour.kernel.config import Config
from firsthour.runtime.storage.sqlite_engines import writer_engine
from firsthour.runtime.storage.unit import Unit
from schemas.events.outside import ExternalEvent
from services.scoring import store
from services.scoring.domain.identity import SHARED_MAX, IdentityRow, People, ResolvedIdentity
from tests.empty_tables import create_tables
from tests.hand_clock import HandClock
from tests.unit.scoring.test_score import NOW

P, Q = "+4930111111", "+4930222222"
E1, E2 = "ann@firm.example", "bob@firm.example"


def event(**identifiers: Any) -> ExternalEvent:
    return ExternalEvent(source="s", source_id="1", received_at=NOW, **identifiers)


def people(*rows: IdentityRow) -> People:
    ids = count(1)
    created = People(lambda: f"new{next(ids)}")
    created.add_rows(rows)
    return created


def leads(stored: People, *events: ExternalEvent) -> list[str]:
    return [stored.resolve(one, f"e{n}", n).lead for n, one in enumerate(events)]


@pytest.mark.parametrize("kind", ["phone", "crm_id", "anonymous_id"])
def test_identifier_of_one_person_resolves_to_that_person(kind: str) -> None:
    both = event(email=E1, **{kind: "x"})
    assert leads(people(), both, event(**{kind: "x"}), event(email=E1)) == ["new1"] * 3


def test_person_with_a_phone_alone_is_found_by_an_address_posted_with_it() -> None:
    assert leads(people(), event(phone=P), event(email=E1, phone=P), event(email=E1)) == ["new1"] * 3


def test_two_addresses_are_two_people_with_shared_identifiers_in_any_order() -> None:
    events = [
        event(email=E1, phone=P, crm_id="7"),
        event(email=E2, phone=P, crm_id="7"),
        event(email=E1),
        event(email=E2),
    ]
    for order in permutations(events):
        by_email = dict(zip((one.email for one in order), leads(people(), *order), strict=True))
        assert by_email[E1] != by_email[E2]


def test_shared_phone_resolves_to_the_open_lead_that_was_active_last() -> None:
    rows = [
        IdentityRow(f"phone:{P}", "closed", E1, 9, 0),
        IdentityRow(f"phone:{P}", "older", E2, 5, 1),
        IdentityRow(f"phone:{P}", "newer", None, 7, 1),
    ]
    assert people(*rows).resolve(event(phone=P), "e", 1) == ResolvedIdentity(
        "newer", "phone, shared by 3 people", ("closed", "older"), open=True
    )
    assert people(rows[0], rows[1]).resolve(event(phone=P), "e", 1).lead == "older"


def test_all_people_of_several_shared_identifiers_are_listed() -> None:
    rows = [IdentityRow(f"phone:{P}", lead, None, 1, 1) for lead in ("a", "b")]
    rows += [IdentityRow("crm_id:7", lead, None, 1, 1) for lead in ("b", "c")]
    assert people(*rows).resolve(event(phone=P, crm_id="7"), "e", 1) == ResolvedIdentity(
        "b", "phone, shared by 2 people", ("a", "c"), open=True
    )


def test_identifier_of_one_person_precedes_a_shared_identifier() -> None:
    rows = [
        IdentityRow(f"phone:{P}", "a", E1, 1, 1),
        IdentityRow(f"phone:{P}", "b", E2, 2, 1),
        IdentityRow("crm_id:7", "a", E1, 1, 1),
    ]
    stored = people(*rows)
    assert stored.resolve(event(phone=P, crm_id="7"), "e", 1) == ResolvedIdentity("a", open=True)


def test_choice_among_several_people_stores_no_identifier() -> None:
    stored = people(IdentityRow(f"phone:{P}", "a", E1, 1, 1), IdentityRow(f"phone:{P}", "b", E2, 2, 1))
    stored.resolve(event(phone=P, crm_id="7"), "e", 1)
    assert stored.changes() == ([], [], [])


def test_people_of_one_identifier_are_bounded_and_the_newest_are_kept() -> None:
    stored = people()
    resolved_leads = [
        stored.resolve(event(email=f"p{n}@firm.example", phone=P), f"e{n}", n).lead for n in range(3 * SHARED_MAX)
    ]
    changes = stored.changes()
    holders = {lead for identity, lead in [*changes.claims, *changes.added] if identity.startswith("phone")}
    assert holders == set(resolved_leads[-SHARED_MAX:])

    rows = [IdentityRow(f"phone:{P}", f"l{n:02}", f"{n}@firm.example", n, 0) for n in range(SHARED_MAX)]
    stored = people(*rows)
    lead = stored.resolve(event(email=E1, phone=P), "e", 99).lead
    assert stored.changes().replacements == [(f"phone:{P}", lead, "l00")]


# --- stored --------------------------------------------------------------------------------------------------------


def resolved(file: Path, *events: ExternalEvent) -> list[str]:
    """Return the leads of these events, each resolved in its own unit."""
    create_tables(file)
    engine = writer_engine(file)
    leads = []
    for n, one in enumerate(events):
        with engine.begin() as connection:
            unit = Unit(connection, HandClock(), cast(Config, None))
            [[lead, *_]], created = store.resolve(unit, [(f"e{n}", one, n)])
            profiles = store.lock(unit, [lead], created)
            profiles[lead].email = profiles[lead].email or one.email
            store.save(unit, profiles, NOW)
            unit.finish()
        leads.append(lead)
    engine.dispose()
    return leads


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


def test_unit_that_lost_a_claim_resolves_by_the_rows_of_the_other_unit(tmp_path: Path) -> None:
    """The other unit stores the phone between the SELECT and the claim of this unit."""
    create_tables(tmp_path / "x.db")
    engine = writer_engine(tmp_path / "x.db")
    [other] = resolved(tmp_path / "x.db", event(phone=P))
    events = [("e1", event(email=E1, phone=P), 1)]
    with engine.begin() as connection:
        claims = [(f"email:{E1}", "own")]
        store._CLAIM.tuples(connection, claims)  # the state after a lost claim
        identities = [f"email:{E1}", f"phone:{P}"]
        _, [resolution], changes = store._resolve_again(
            connection, events, identities, [*claims, (f"phone:{P}", "own")]
        )
    assert (resolution.lead, changes.claims) == (other, [(f"email:{E1}", other)])
    engine.dispose()
    assert resolved(tmp_path / "x.db", event(email=E1)) == [other]


def test_person_beyond_the_bound_of_an_identifier_replaces_another(tmp_path: Path) -> None:
    many = [event(email=f"p{n:02}@firm.example", phone=P) for n in range(SHARED_MAX + 3)]
    *by_email, by_phone = resolved(tmp_path / "x.db", *many, event(phone=P))
    assert len(set(by_email)) == len(many)
    assert by_phone in by_email[3:]
    engine = writer_engine(tmp_path / "x.db")
    with engine.begin() as connection:
        assert len(store._rows(connection, [f"phone:{P}"])) == SHARED_MAX
    engine.dispose()

"""Units side by side that hear of one person under different identifiers make one lead of that person."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from firsthour.runtime.storage.records import Record
from firsthour.runtime.storage.unit import StorageError, Unit
from schemas.envelope import encode
from schemas.events.outside import ExternalEvent
from services.scoring.domain.identity import SHARED_MAX
from services.scoring.handlers import hear_events
from tests.backends import Backends
from tests.contract.systems import OpenedSystem, opened

NOW = datetime(2026, 12, 1, 8, 0, tzinfo=UTC)
PERSONS = 12
_ids = count(1)


def record(**identifiers: Any) -> Record:
    n = next(_ids)
    happened = ExternalEvent(source="s", source_id=str(n), received_at=NOW, **identifiers)
    id = f"event-{n}"
    return Record(n, "", id, encode(happened, id=id, source="urn:t", time=NOW, key="", type="page.viewed"))


async def heard(world: OpenedSystem, batch: Sequence[Record]) -> None:
    """A unit of this batch, as a worker runs it: tried again when another unit was in the way."""
    for _ in range(10):
        try:
            return await world.system.units.run(lambda unit: _hear(batch, unit))
        except StorageError:
            await asyncio.sleep(0)
    pytest.fail("the unit was in the way of others ten times")


def _hear(batch: Sequence[Record], unit: Unit) -> None:
    hear_events(batch, unit, lambda _: None)


async def test_units_side_by_side_make_one_lead_of_a_person_with_several_identifiers(
    backends: Backends, tmp_path: Path
) -> None:
    async with opened(tmp_path / "data", backends, only=("gateway", "scoring")) as world:
        for n in range(PERSONS):
            email, phone, crm_id = f"p{n}@firm.example", f"+49301234{n:03}", f"crm-{n}"
            await asyncio.gather(
                heard(world, [record(email=email, phone=phone, crm_id=crm_id)]),
                heard(world, [record(phone=phone)]),
                heard(world, [record(phone=phone, crm_id=crm_id)]),
                heard(world, [record(email=email)]),
            )
        rows = await world.rows("SELECT identity, lead_id FROM scoring_identities")
        leads = dict(rows)
        for n in range(PERSONS):
            # The address alone and the phone alone may be two people: persons are not merged. No third one is made.
            two = {leads[f"email:p{n}@firm.example"], leads[f"phone:+49301234{n:03}"]}
            assert leads.get(f"crm_id:crm-{n}") in {None, *two}
        known = {row[0] for row in await world.rows("SELECT lead_id FROM scoring_profiles")}
        assert set(leads.values()) == known, "every identity leads to a profile, and every profile has an identity"


async def test_two_addresses_that_reach_for_one_person_at_once_become_two_people(
    backends: Backends, tmp_path: Path
) -> None:
    async with opened(tmp_path / "data", backends, only=("gateway", "scoring")) as world:
        for n in range(PERSONS):
            phone, crm_id = f"+49301234{n:03}", f"crm-{n}"
            await heard(world, [record(phone=phone, crm_id=crm_id)])
            await asyncio.gather(
                heard(world, [record(email=f"a{n}@firm.example", phone=phone)]),
                heard(world, [record(email=f"b{n}@firm.example", crm_id=crm_id)]),
            )
        leads = dict(await world.rows("SELECT identity, lead_id FROM scoring_identities"))
        for n in range(PERSONS):
            assert leads[f"email:a{n}@firm.example"] != leads[f"email:b{n}@firm.example"]
        stored = await world.rows("SELECT email, count(*) FROM scoring_profiles GROUP BY email")
        assert {row[1] for row in stored} == {1}


async def test_of_the_people_of_one_phone_the_newest_are_found(backends: Backends, tmp_path: Path) -> None:
    phone, people = "+49301234999", SHARED_MAX + 5
    async with opened(tmp_path / "data", backends, only=("gateway", "scoring")) as world:
        for n in range(people):
            await heard(world, [record(email=f"p{n:02}@firm.example", phone=phone)])
        question = "SELECT lead_id FROM {} WHERE identity = 'phone:" + phone + "'"
        known = [
            row[0]
            for table in ("scoring_identities", "scoring_shared")
            for row in await world.rows(question.format(table))
        ]
        emails = dict(await world.rows("SELECT lead_id, email FROM scoring_profiles"))
        assert sorted(emails[lead] for lead in known) == [f"p{n:02}@firm.example" for n in range(5, people)]

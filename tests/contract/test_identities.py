"""Parallel units that handle events of one person with different identifiers create one lead."""

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
    event = ExternalEvent(source="s", source_id=str(n), received_at=NOW, **identifiers)
    id = f"event-{n}"
    return Record(n, "", id, encode(event, id=id, source="urn:t", time=NOW, key="", type="page.viewed"))


async def handle(world: OpenedSystem, batch: Sequence[Record]) -> None:
    """Run a unit with this batch as a worker does: repeat it after a conflict with another unit."""
    for _ in range(10):
        try:
            return await world.system.units.run(lambda unit: _hear(batch, unit))
        except StorageError:
            await asyncio.sleep(0)
    pytest.fail("ten conflicts with other units")


def _hear(batch: Sequence[Record], unit: Unit) -> None:
    hear_events(batch, unit, lambda _: None)


async def test_parallel_units_create_one_lead_for_a_person_with_identifiers(backends: Backends, tmp_path: Path) -> None:
    async with opened(tmp_path / "data", backends, only=("gateway", "scoring")) as world:
        for n in range(PERSONS):
            email, phone, crm_id = f"p{n}@firm.example", f"+49301234{n:03}", f"crm-{n}"
            await asyncio.gather(
                handle(world, [record(email=email, phone=phone, crm_id=crm_id)]),
                handle(world, [record(phone=phone)]),
                handle(world, [record(phone=phone, crm_id=crm_id)]),
                handle(world, [record(email=email)]),
            )
        rows = await world.rows("SELECT identity, lead_id FROM scoring_identities")
        leads = dict(rows)
        for n in range(PERSONS):
            # Address and phone may become two people, because people are not merged. A third person is an error.
            people = {leads[f"email:p{n}@firm.example"], leads[f"phone:+49301234{n:03}"]}
            assert leads.get(f"crm_id:crm-{n}") in {None, *people}
        profiles = {row[0] for row in await world.rows("SELECT lead_id FROM scoring_profiles")}
        assert set(leads.values()) == profiles, "every identity has a profile, and every profile has an identity"


async def test_two_addresses_posted_at_once_for_one_person_become_two_people(
    backends: Backends, tmp_path: Path
) -> None:
    async with opened(tmp_path / "data", backends, only=("gateway", "scoring")) as world:
        for n in range(PERSONS):
            phone, crm_id = f"+49301234{n:03}", f"crm-{n}"
            await handle(world, [record(phone=phone, crm_id=crm_id)])
            await asyncio.gather(
                handle(world, [record(email=f"a{n}@firm.example", phone=phone)]),
                handle(world, [record(email=f"b{n}@firm.example", crm_id=crm_id)]),
            )
        leads = dict(await world.rows("SELECT identity, lead_id FROM scoring_identities"))
        for n in range(PERSONS):
            assert leads[f"email:a{n}@firm.example"] != leads[f"email:b{n}@firm.example"]
        stored = await world.rows("SELECT email, count(*) FROM scoring_profiles GROUP BY email")
        assert {row[1] for row in stored} == {1}


async def test_newest_people_of_a_shared_phone_are_stored(backends: Backends, tmp_path: Path) -> None:
    phone, people = "+49301234999", SHARED_MAX + 5
    async with opened(tmp_path / "data", backends, only=("gateway", "scoring")) as world:
        for n in range(people):
            await handle(world, [record(email=f"p{n:02}@firm.example", phone=phone)])
        query = "SELECT lead_id FROM {} WHERE identity = 'phone:" + phone + "'"
        sharers = [
            row[0]
            for table in ("scoring_identities", "scoring_shared")
            for row in await world.rows(query.format(table))
        ]
        emails = dict(await world.rows("SELECT lead_id, email FROM scoring_profiles"))
        assert sorted(emails[lead] for lead in sharers) == [f"p{n:02}@firm.example" for n in range(5, people)]

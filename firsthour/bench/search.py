"""The search over many leads: the time of each kind of query, and what the index of a lead costs.

The people are made up and written straight into their tables; their terms are taken as the product takes them.
"""

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from ruamel.yaml import YAML

from firsthour.bench import environment
from firsthour.bench.fixtures import KEY, furnish
from firsthour.bench.lead_disk import sizes_of
from firsthour.bench.lines import BenchLine, line
from firsthour.bench.pipeline import FILE
from firsthour.bench.systems import open_embedded, open_services, run
from firsthour.bootstrap.distributed import Distributed
from firsthour.bootstrap.embedded import System
from firsthour.kernel.time_units import micros
from firsthour.runtime.http import key_store
from firsthour.runtime.http.client import ASGITransport, AsyncClient
from firsthour.runtime.settings import Settings
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.unit import Unit
from schemas.events.leads import LeadScored, Score, Trigger
from services.reporting.search_model import follow_search
from services.router.store.tables import leads as router_leads

LEADS: Final = 100_000
LEADS_FULL: Final = 1_000_000
GOAL_MS: Final = 50.0
VIEWS: Final = 7
OWN: Final = 50
"""Leads of the rep who sees only their own."""
_AT_ONCE: Final = 5_000
_TABLES: Final = ("reporting_search", "reporting_terms")
_FIRST: Final = ("Anna", "José", "Łukasz", "Zoë", "Mohamed", "Wei", "Olga", "Søren", "Priya", "John", "Émile", "Ana")
_LAST: Final = ("Schmidt", "Müller", "García", "Nguyen", "O'Neill", "Żak", "Smith", "Okafor", "Rossi", "Dubois")
_COMPANY: Final = ("Acme", "Nordwind", "Blue Harbour", "Kernel", "Sonne", "Rapid")
_LEGAL: Final = ("GmbH", "Inc", "SARL", "AG")
_ADD: Final = statements.Sql(
    lambda f: f.insert(router_leads).values({c.name: sa.bindparam(c.name) for c in router_leads.columns})
)
QUERIES: Final[Mapping[str, str]] = {
    "one letter": "a",
    "a common first name": "ana",
    "a name": "garcia500 jose",
    "a name and a company": "schmidt77 kernel",
    "two common words": "anna gmbh",
    "a mail": "ana.smith4242@",
    "a domain": "@kernel77.example",
    "a phone number": "030 5550042",
    "an id": "0000002a",
    "nothing": "nobody knows this",
}


def search(home: Path, leads: int = LEADS) -> list[BenchLine]:
    """Return the lines of the embedded profile."""
    _restrict(furnish(home))
    return run(_embedded(home, leads))


def distributed_search(server_settings: Settings, home: Path, leads: int = LEADS) -> list[BenchLine]:
    """Return the lines of the distributed profile."""
    _restrict(furnish(home))
    with environment.bench_database(server_settings, home) as database:
        return run(_distributed(database, leads))


def _restrict(home: Path) -> None:
    """Let reps see their own leads only."""
    file, yaml = home / "config" / "agreement.yaml", YAML(typ="safe")
    agreement = {**yaml.load(file.read_text(encoding="utf-8")), "visibility": {"reps": "own"}}
    with file.open("w", encoding="utf-8") as stream:
        yaml.dump(agreement, stream)


async def _embedded(home: Path, leads: int) -> list[BenchLine]:
    system = await open_embedded(home)
    try:
        lines = await _measure(system, leads)
    finally:
        await system.close()
    sizes = sizes_of(home / FILE)
    return [*lines, _disk(sum(sizes[name] for name in _TABLES), leads)]


async def _distributed(database: environment.BenchDatabase, leads: int) -> list[BenchLine]:
    async with database.fresh() as settings:
        system = await open_services(settings, ["gateway", "reporting"], None)
        try:
            lines = await _measure(system, leads)
            total = " + ".join(f"pg_total_relation_size('{name}')" for name in _TABLES)
            size = await system.resources.reads(
                lambda connection: connection.execute(sa.text(f"SELECT {total}")).scalar()
            )
        finally:
            await system.close()
    return [*lines, _disk(int(size or 0), leads)]


def _disk(size: int, leads: int) -> BenchLine:
    return line("search, disk of a lead's terms", [size / leads], "bytes", note=f"{leads:,} leads, with its indexes")


async def _measure(system: System | Distributed, leads: int) -> list[BenchLine]:
    batches = _batches(leads, system.resources.clock.business())
    costs = [await system.resources.units.run(partial(_store, events=events)) for events in batches]
    rep_key = await system.resources.units.run(_rep_key)
    await system.runners["runtime.keys"].step()
    note = f"{leads:,} leads; median of {VIEWS}"
    lines = []
    for name, text in QUERIES.items():
        lines.append(line(f"search for {name}", await _views(system, text, KEY), "ms", goal=GOAL_MS, note=note))
    note = f"{note}; sees {OWN} leads"
    for name, asked in (("search of a rep for one letter", "a"), ("list of the leads that a rep sees", "")):
        lines.append(line(name, await _views(system, asked, rep_key), "ms", goal=GOAL_MS, note=note))
    return [
        *lines,
        line(
            "search, cost of a new lead",
            costs,
            "us",
            note="CPU of the model alone, with its statements; without that of a database server",
        ),
    ]


async def _views(system: System | Distributed, text: str, key: str) -> list[float]:
    """Return the milliseconds of each view, from the request to the whole answer."""
    headers, milliseconds = {"Authorization": f"Bearer {key}"}, []
    async with AsyncClient(transport=ASGITransport(app=system.app), base_url="http://bench") as client:
        (await client.get("/v1/pools", headers=headers)).raise_for_status()  # the first request builds the routes
        for _ in range(VIEWS):
            started = time.perf_counter()
            answer = await client.get("/v1/leads", params={"q": text}, headers=headers)
            milliseconds.append((time.perf_counter() - started) * 1e3)
            answer.raise_for_status()
    return milliseconds


def _rep_key(unit: Unit) -> str:
    return key_store.create(unit.connection, name="rep1", role="sales", rep="rep1", now=unit.clock.real())[1]


def _batches(leads: int, now: datetime) -> Iterator[list[LeadScored]]:
    chance = random.Random(7)
    for first in range(0, leads, _AT_ONCE):
        yield [_person(n, now, chance) for n in range(first, min(first + _AT_ONCE, leads))]


def _person(n: int, now: datetime, chance: random.Random) -> LeadScored:
    first, last = _FIRST[n % len(_FIRST)], f"{_LAST[chance.randrange(10)]}{chance.randrange(1000)}"
    company = f"{_COMPANY[chance.randrange(6)]}{chance.randrange(2000)} {_LEGAL[n % 4]}"
    is_free = chance.random() < 0.3
    domain = "gmail.com" if is_free else f"{company.split(maxsplit=1)[0].lower()}.example"
    email = f"{first.lower()}.smith{n}@{domain}"
    return LeadScored(
        lead_id=f"{n:08x}-0000-7000-8000-{n:012x}",
        version=1,
        at=now,
        trigger=Trigger(f"e{n}", "form.submitted", now, "website"),
        score=Score(50, 50, 50, "B"),
        email=email,
        phone=f"+4930555{n:04}" if n < 10_000 else f"+4989{n:07}",
        facts={
            "name": f"{first} {last}",
            "company.name": company,
            "email.kind": "free" if is_free else "business",
        },
    )


def _store(unit: Unit, *, events: Sequence[LeadScored]) -> float:
    """Store new leads. Return the microseconds of a lead for its terms."""
    _ADD.many(unit.connection, [_row(event, n) for n, event in enumerate(events)])
    started = time.thread_time()
    follow_search(unit, events)
    unit.finish()
    return (time.thread_time() - started) / len(events) * 1e6


def _row(event: LeadScored, n: int) -> dict[str, Any]:
    at = micros(event.at)
    is_own = event.lead_id < f"{OWN:08x}"
    values: dict[str, Any] = {column.name: None for column in router_leads.columns}
    return {
        **values,
        "lead_id": event.lead_id,
        "status": "assigned",
        "version": 1,
        "epoch": 1,
        "owner": "rep1" if is_own else f"rep{2 + n % 10}",
        "urgency": "hot",
        "urgency_rank": 0,
        "scoring_version": 1,
        "email": event.email,
        "created_at": at,
        "updated_at": at,
        "state": "{}",
    }

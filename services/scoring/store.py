"""The SQL of scoring: the people of identifiers, and the profile of each person."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.kernel.time_units import micros
from firsthour.runtime.clock import new_id
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.unit import StorageError, Unit
from schemas.events.outside import ExternalEvent
from services.scoring.domain.identity import IdentityChanges, IdentityRow, Pair, People, ResolvedIdentity, identities_of
from services.scoring.domain.profile import Profile

identities = sa.Table(
    "scoring_identities",
    statements.metadata,
    sa.Column("identity", statements.Text, primary_key=True),  # kind:value, as in email:ada@acme.example
    sa.Column("lead_id", statements.Text, nullable=False),
    sa.Index("scoring_identities_by_lead", "lead_id"),
)
shared = sa.Table(  # further people of an identity beside the one in `scoring_identities`
    "scoring_shared",
    statements.metadata,
    sa.Column("identity", statements.Text, primary_key=True),
    sa.Column("lead_id", statements.Text, primary_key=True),
)
standings = sa.Table(  # whether Sales has the lead, by the router's records
    "scoring_standings",
    statements.metadata,
    sa.Column("lead_id", statements.Text, primary_key=True),
    sa.Column("version", statements.Integer, nullable=False),
    sa.Column("open", statements.Integer, nullable=False),
)
profiles = sa.Table(
    "scoring_profiles",
    statements.metadata,
    sa.Column("lead_id", statements.Text, primary_key=True),
    sa.Column("version", statements.Integer, nullable=False),
    sa.Column("email", statements.Text),
    sa.Column("phone", statements.Text),
    sa.Column("updated_at", statements.Integer, nullable=False),
    sa.Column("state", statements.Text, nullable=False),
    sa.Column("active_at", statements.Integer, nullable=False, server_default="0"),  # the time of the latest event
)


def _people(f: statements.SqlDialect) -> Any:
    """Select the people of these identities, with the columns that decide among several."""
    rows = sa.union_all(
        *(
            sa.select(table.c.identity, table.c.lead_id).where(f.is_any_of(table.c.identity, "identities"))
            for table in (identities, shared)
        )
    ).subquery("named")
    return (
        sa.select(rows, profiles.c.email, profiles.c.active_at, standings.c.open)
        .select_from(rows)
        .outerjoin(profiles, profiles.c.lead_id == rows.c.lead_id)
        .outerjoin(standings, standings.c.lead_id == rows.c.lead_id)
    )


def _standing(f: statements.SqlDialect) -> Any:
    insert = f.insert(standings).values({c.name: sa.bindparam(c.name) for c in standings.columns})
    return insert.on_conflict_do_update(
        index_elements=["lead_id"],
        set_={"version": insert.excluded.version, "open": insert.excluded.open},
        where=insert.excluded.version > standings.c.version,
    )


def _replace_person(table: sa.Table) -> statements.Sql:
    return statements.Sql(
        lambda _: (
            sa.update(table)
            .where(table.c.identity == sa.bindparam("named"), table.c.lead_id == sa.bindparam("before"))
            .values(lead_id=sa.bindparam("lead"))
        )
    )


_PEOPLE = statements.Sql(_people)
_CLAIM = statements.Sql(
    lambda f: (
        f.insert(identities)
        .values(identity=sa.bindparam("identity"), lead_id=sa.bindparam("lead_id"))
        .on_conflict_do_nothing()
    )
)
_UNCLAIM = statements.Sql(lambda f: sa.delete(identities).where(f.is_any_of(identities.c.identity, "identities")))
_SHARE = statements.Sql(
    lambda f: (
        f.insert(shared)
        .values(identity=sa.bindparam("identity"), lead_id=sa.bindparam("lead_id"))
        .on_conflict_do_nothing()
    )
)
_REPLACE_FIRST = _replace_person(identities)
_REPLACE_SHARED = _replace_person(shared)
_STANDING = statements.Sql(_standing)
_LOCK = statements.Sql(
    lambda f: (
        sa.select(profiles.c.lead_id, profiles.c.state)
        .where(f.is_any_of(profiles.c.lead_id, "leads"))
        .order_by(profiles.c.lead_id)
        .with_for_update()
    )
)
_ONE = statements.Sql(lambda _: sa.select(profiles.c.state).where(profiles.c.lead_id == sa.bindparam("lead")))
_SAVE = statements.Sql(lambda f: f.upsert(profiles, ["lead_id"]))

_encode = msgspec.json.Encoder().encode
_NEWEST = statements.Sql(
    lambda _: (
        sa.select(profiles.c.state).order_by(profiles.c.lead_id.desc()).limit(sa.bindparam("limit", type_=sa.Integer))
    )
)
_decode = msgspec.json.Decoder(Profile).decode


class IdentityTakenError(StorageError):
    """Raised when another unit has stored another address of the person meanwhile. The unit is rolled back and repeated."""


def resolve(unit: Unit, events: Sequence[tuple[str, ExternalEvent, int]]) -> tuple[list[ResolvedIdentity], set[str]]:
    """Resolve the lead of each event.

    New identities are claimed in sorted order. If another unit has claimed one of them meanwhile, every event is resolved
    again with the rows of both units, so that two partitions cannot create two leads for one person.

    Args:
        events: Id, event and time (microseconds) of each event.

    Returns:
        The lead of each event, and the leads that this unit created.
    """
    wanted_identities = list(
        dict.fromkeys(identity for id, event, _ in events for identity in identities_of(event, id))
    )
    people, resolved = _resolve_with(events, _rows(unit.connection, wanted_identities))
    changes = people.changes()
    if changes.claims and _CLAIM.tuples(unit.connection, [*changes.claims]) < len(changes.claims):
        people, resolved, changes = _resolve_again(unit.connection, events, wanted_identities, changes.claims)
    rows = [(lead, identity, before) for identity, lead, before in changes.replacements]
    unit.store((_SHARE, [*changes.added]), (_REPLACE_FIRST, [*rows]), (_REPLACE_SHARED, [*rows]))
    return resolved, people.created


def look_up(
    connection: Connection, events: Sequence[tuple[str, ExternalEvent, int]]
) -> tuple[list[ResolvedIdentity], set[str]]:
    """Return what `resolve` would, without a change."""
    wanted = list(dict.fromkeys(identity for id, event, _ in events for identity in identities_of(event, id)))
    people, resolved = _resolve_with(events, _rows(connection, wanted))
    return resolved, people.created


def _resolve_with(
    events: Sequence[tuple[str, ExternalEvent, int]], rows: Iterable[IdentityRow]
) -> tuple[People, list[ResolvedIdentity]]:
    people = People(new_id)
    people.add_rows(rows)
    return people, [people.resolve(event, id, at) for id, event, at in events]


def _resolve_again(
    connection: Connection,
    events: Sequence[tuple[str, ExternalEvent, int]],
    wanted_identities: list[str],
    claims: list[Pair],
) -> tuple[People, list[ResolvedIdentity], IdentityChanges]:
    """Resolve again with the claims of other units. The own claims are released, because other units wait, and made again."""
    own_claims = set(claims)
    rows = _rows(connection, wanted_identities)
    _UNCLAIM.run(connection, identities=sorted(row.identity for row in rows if (row.identity, row.lead) in own_claims))
    people, resolved = _resolve_with(events, [row for row in rows if (row.identity, row.lead) not in own_claims])
    changes = people.changes()
    _CLAIM.tuples(connection, [*changes.claims])
    return people, resolved, changes


def _rows(connection: Connection, wanted_identities: list[str]) -> list[IdentityRow]:
    return [
        IdentityRow(*row) for row in sorted(_PEOPLE.all(connection, identities=wanted_identities), key=itemgetter(0, 1))
    ]


def lock(unit: Unit, leads: Collection[str], created: Collection[str] = ()) -> dict[str, Profile]:
    """Lock and return the profiles of these leads. A lead without a profile gets a new one.

    Args:
        created: leads that this unit created. They need no lock.
    """
    existing = [lead for lead in leads if lead not in created]
    stored = {row[0]: _decode(row[1]) for row in unit.lock(_LOCK, leads=existing)}
    return {lead: stored.get(lead) or Profile() for lead in leads}


def find_profile(connection: Connection, lead: str) -> Profile | None:
    """Return one profile without a lock. None: unknown lead."""
    row = _ONE.first(connection, lead=lead)
    return _decode(row[0]) if row else None


def newest_profiles(connection: Connection, limit: int) -> list[Profile]:
    """Return the profiles of the newest leads: their ids are in the order of creation."""
    return [_decode(row[0]) for row in _NEWEST.all(connection, limit=limit)]


def save(unit: Unit, profiles: Mapping[str, Profile], now: datetime) -> None:
    """Store these profiles at the end of the unit."""
    at = micros(now)
    rows: list[tuple[Any, ...]] = [
        (lead, profile.version, profile.email, profile.phone, at, _encode(profile).decode(), profile.active_at)
        for lead, profile in sorted(profiles.items(), key=itemgetter(0))
    ]
    unit.store((_SAVE, rows))


def set_standings(unit: Unit, standings: Mapping[str, tuple[int, bool]]) -> None:
    """Store at the end of the unit whether Sales has each lead.

    Args:
        standings: by lead: the version of the router's record, and whether Sales has the lead.
    """
    unit.store((_STANDING, [(lead, version, int(open)) for lead, (version, open) in sorted(standings.items())]))

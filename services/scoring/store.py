"""The only SQL of scoring: who an identifier belongs to, and what is known of each person."""

from collections.abc import Collection, Mapping
from datetime import datetime
from operator import itemgetter
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from services.runtime import db
from services.runtime.clock import micros, new_id
from services.runtime.unit import Unit
from services.scoring.domain import Profile

identities = sa.Table(
    "scoring_identities",
    db.metadata,
    sa.Column("identity", db.Text, primary_key=True),  # kind:value, as in email:ada@acme.example
    sa.Column("lead_id", db.Text, nullable=False),
    sa.Index("scoring_identities_by_lead", "lead_id"),
)
profiles = sa.Table(
    "scoring_profiles",
    db.metadata,
    sa.Column("lead_id", db.Text, primary_key=True),
    sa.Column("version", db.Integer, nullable=False),
    sa.Column("email", db.Text),
    sa.Column("phone", db.Text),
    sa.Column("updated_at", db.Integer, nullable=False),
    sa.Column("state", db.Text, nullable=False),
)

_KNOWN = db.Sql(lambda f: sa.select(identities).where(f.among(identities.c.identity, "identities")))
_CLAIM = db.Sql(
    lambda f: (
        f.insert(identities)
        .values(identity=sa.bindparam("identity"), lead_id=sa.bindparam("lead_id"))
        .on_conflict_do_nothing()
    )
)
_LOCK = db.Sql(
    lambda f: (
        sa.select(profiles.c.lead_id, profiles.c.state)
        .where(f.among(profiles.c.lead_id, "leads"))
        .order_by(profiles.c.lead_id)
        .with_for_update()
    )
)
_ONE = db.Sql(lambda _: sa.select(profiles.c.state).where(profiles.c.lead_id == sa.bindparam("lead")))
_SAVE = db.Sql(lambda f: f.upsert(profiles, ["lead_id"]))

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Profile).decode


def resolve(unit: Unit, wanted: Collection[str]) -> tuple[dict[str, str], set[str]]:
    """The lead behind each identity, and those leads that are of this unit's own making: unknown identities become new
    leads. They are claimed in sorted order, and read again when somebody else claimed one of them at the same moment, so
    that two partitions cannot make two leads of one address."""
    found = _leads(unit.connection, wanted)
    missing = sorted(set(wanted) - found.keys())
    if not missing:
        return found, set()
    made = {identity: new_id() for identity in missing}
    if _CLAIM.tuples(unit.connection, [*made.items()]) < len(made):
        now_there = _leads(unit.connection, missing)
        made = {identity: lead for identity, lead in made.items() if now_there[identity] == lead}
        found |= now_there
    return found | made, set(made.values())


def _leads(connection: Connection, wanted: Collection[str]) -> dict[str, str]:
    return {row[0]: row[1] for row in _KNOWN.all(connection, identities=list(wanted))}


def lock(unit: Unit, leads: Collection[str], made: Collection[str] = ()) -> dict[str, Profile]:
    """The profiles of these leads, locked; new ones for those nobody has heard of, `made` by this unit among them."""
    known = [lead for lead in leads if lead not in made]
    found = {row[0]: _decode(row[1]) for row in unit.lock(_LOCK, leads=known)}
    return {lead: found.get(lead) or Profile() for lead in leads}


def find(connection: Connection, lead: str) -> Profile | None:
    """One profile, to look at."""
    row = _ONE.first(connection, lead=lead)
    return _decode(row[0]) if row else None


def save(unit: Unit, changed: Mapping[str, Profile], now: datetime) -> None:
    """Store these profiles."""
    at = micros(now)
    rows: list[tuple[Any, ...]] = [
        (lead, profile.version, profile.email, profile.phone, at, _encode(profile).decode())
        for lead, profile in sorted(changed.items(), key=itemgetter(0))
    ]
    unit.store((_SAVE, rows))

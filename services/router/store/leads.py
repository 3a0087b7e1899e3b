"""The statements about leads."""

from collections.abc import Collection, Iterable
from operator import attrgetter
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec.structs import astuple
from sqlalchemy.engine import Connection, Row

from firsthour.runtime.storage import statements
from firsthour.runtime.storage.unit import Unit
from services.router.domain.lead import HELD, Lead, LeadState
from services.router.store.tables import leads

_LOCK = statements.Sql(
    lambda f: sa.select(leads).where(f.is_any_of(leads.c.lead_id, "leads")).order_by(leads.c.lead_id).with_for_update()
)
_SOME = statements.Sql(lambda f: sa.select(leads).where(f.is_any_of(leads.c.lead_id, "leads")))
_ONE = statements.Sql(lambda _: sa.select(leads).where(leads.c.lead_id == sa.bindparam("lead")))
_SAVE = statements.Sql(lambda f: f.upsert(leads, ["lead_id"]))
_LEARN = statements.Sql(  # the hot path: it changes no indexed column
    lambda _: (
        sa.update(leads)
        .where(leads.c.lead_id == sa.bindparam("lead"))
        .values({name: sa.bindparam(name) for name in ("scoring_version", "updated_at", "state")})
    )
)
_HELD = sa.tuple_(leads.c.owner, leads.c.lead_id)
_HELD_AFTER = sa.tuple_(sa.bindparam("after_rep"), sa.bindparam("after_id"))
_HELD_BY = statements.Sql(
    lambda f: (
        sa.select(leads.c.owner, leads.c.lead_id)
        .where(f.is_any_of(leads.c.owner, "reps"), f.is_any_of(leads.c.status, "statuses"), _HELD > _HELD_AFTER)
        .order_by(leads.c.owner, leads.c.lead_id)
        .limit(sa.bindparam("limit", type_=sa.Integer))
    )
)

_COLUMNS = len(leads.columns)

_encode = msgspec.json.Encoder().encode
_state = msgspec.json.Decoder(LeadState).decode

Holding = tuple[str, str]
"""Owner and lead id."""

FIRST_HOLDING: Holding = ("", "")


def lock_leads(unit: Unit, lead_ids: Collection[str]) -> dict[str, Lead]:
    """Lock these leads, in the order of their ids. Return the stored ones by id."""
    return {row[0]: _lead(row) for row in unit.lock(_LOCK, leads=sorted(lead_ids))}


def find_lead(connection: Connection, lead: str) -> Lead | None:
    """Return one lead without a lock. None: unknown."""
    row = _ONE.first(connection, lead=lead)
    return _lead(row) if row else None


def find_leads(connection: Connection, lead_ids: Collection[str]) -> dict[str, Lead]:
    """Return these leads by id, without a lock. An unknown one is left out."""
    return {row[0]: _lead(row) for row in _SOME.all(connection, leads=sorted(lead_ids))}


def _lead(row: Row[Any]) -> Lead:
    columns: list[Any] = [*row[:_COLUMNS]]
    columns[-1] = _state(columns[-1])
    return Lead(*columns)


def save_leads(connection: Connection, leads: Iterable[Lead], scored_leads: Iterable[Lead]) -> None:
    """Store leads at once: all columns of `leads`, only the score of `scored_leads`."""
    statements.execute_combined(connection, upsert_leads(leads), update_scores(scored_leads))


def upsert_leads(leads: Iterable[Lead]) -> statements.Work:
    """Return the work that stores all columns of these leads."""
    ordered = sorted(leads, key=attrgetter("id"))
    return _SAVE, [(*astuple(lead)[:-1], _encode(lead.state).decode()) for lead in ordered]


def update_scores(leads: Iterable[Lead]) -> statements.Work:
    """Return the work that stores the scores of these leads."""
    rows = [(lead.scoring_version, lead.updated_at, _encode(lead.state).decode(), lead.id) for lead in leads]
    return _LEARN, rows


def held_by(connection: Connection, reps: Collection[str], after: Holding, limit: int) -> list[Holding]:
    """Return the next `limit` leads that are open load of these reps, ordered by owner and id."""
    rep, lead = after
    rows = _HELD_BY.all(connection, reps=sorted(reps), statuses=sorted(HELD), after_rep=rep, after_id=lead, limit=limit)
    return [(row[0], row[1]) for row in rows]

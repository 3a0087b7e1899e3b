"""The SQL of rebuilding a read model from the history, lead by lead."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.runtime.storage import statements
from firsthour.runtime.storage.packing import unpacked
from firsthour.runtime.storage.unit import Unit
from services.reporting.store import history, statuses

models = sa.Table(
    "reporting_models",
    statements.metadata,
    sa.Column("name", statements.Text, primary_key=True),
    sa.Column("version", statements.Integer, nullable=False),  # raised when the model counts in another way
    sa.Column("done_to", statements.Text),  # the last lead that was rebuilt; NULL: all were
    sqlite_with_rowid=False,
)
_LOCK = statements.Sql(
    lambda _: sa.select(models).where(models.c.name == sa.bindparam("model")).with_for_update(skip_locked=True)
)
_FIND = statements.Sql(lambda _: sa.select(models).where(models.c.name == sa.bindparam("model")))
_ADD = statements.Sql(
    lambda f: f.insert(models).values({c.name: sa.bindparam(c.name) for c in models.columns}).on_conflict_do_nothing()
)
_SAVE = statements.Sql(
    lambda _: (
        sa.update(models)
        .where(models.c.name == sa.bindparam("model"))
        .values(version=sa.bindparam("to_version"), done_to=sa.bindparam("to"))
    )
)
_LEADS = statements.Sql(
    lambda _: (
        sa.select(statuses.c.lead_id)
        .where(statuses.c.lead_id > sa.bindparam("after"))
        .order_by(statuses.c.lead_id)
        .limit(sa.bindparam("limit", type_=sa.Integer))
    )
)
_COUNT = statements.Sql(
    lambda _: (
        sa.select(sa.func.count())
        .select_from(statuses)
        .where(statuses.c.lead_id > sa.bindparam("after"), statuses.c.lead_id <= sa.bindparam("upto"))
    )
)
_LAST_ID = "\U0010ffff"
"""A text after every id."""
_BODIES = statements.Sql(
    lambda f: sa.select(history.c.body).where(
        f.is_any_of(history.c.lead_id, "leads"), history.c.type.in_(f.unnest("types"))
    )
)


class RebuildProgress(NamedTuple):
    """How far a model is rebuilt: up to this lead. None: all leads are done."""

    done_to: str | None


class ModelProgress(NamedTuple):
    """The leads of a model that are rebuilt, of all leads."""

    complete: bool
    leads: int
    of: int


def progress_of(connection: Connection, model: str, version: int) -> ModelProgress:
    """Return how far a model is rebuilt."""
    of = int(_COUNT.first(connection, after="", upto=_LAST_ID)[0])
    row = _FIND.first(connection, model=model)
    if row is None or row.version != version:
        return ModelProgress(False, 0, of)
    if row.done_to is None:
        return ModelProgress(True, of, of)
    return ModelProgress(False, int(_COUNT.first(connection, after="", upto=row.done_to)[0]), of)


def restart(unit: Unit, model: str, version: int) -> None:
    """Let a model be rebuilt from its first lead on."""
    _ADD.many(unit.connection, [{"name": model, "version": version, "done_to": ""}])
    save_progress(unit, model, version, "")


def lock_progress(unit: Unit, model: str, version: int) -> RebuildProgress | None:
    """Lock and return the progress of a model in this version. None: another process rebuilds it at this moment."""
    connection = unit.connection
    if _FIND.first(connection, model=model) is None:
        _ADD.many(connection, [{"name": model, "version": version, "done_to": ""}])
    row = _LOCK.first(connection, model=model)
    if row is None:
        return None
    return RebuildProgress(row.done_to if row.version == version else "")


def save_progress(unit: Unit, model: str, version: int, done_to: str | None) -> None:
    """Store the progress of a model. `done_to` None: all leads are done."""
    _SAVE.run(unit.connection, model=model, to_version=version, to=done_to)


def is_complete(connection: Connection, model: str, version: int) -> bool:
    """Return whether a model holds all leads in this version."""
    row = _FIND.first(connection, model=model)
    return row is not None and row.version == version and row.done_to is None


def leads_after(unit: Unit, lead: str, limit: int) -> list[str]:
    """Return the ids of the next leads."""
    return [row[0] for row in _LEADS.all(unit.connection, after=lead, limit=limit)]


def bodies_of(unit: Unit, leads: Collection[str], types: Sequence[str]) -> list[bytes]:
    """Return the stored records of these leads and types, in no order."""
    return [unpacked(row[0]) for row in _BODIES.all(unit.connection, leads=sorted(leads), types=list(types))]

"""The SQL of rebuilding a read model from the history, lead by lead."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.runtime.storage import statements
from firsthour.runtime.storage.packing import unpacked
from firsthour.runtime.storage.unit import Unit
from schemas.envelope import UnknownEventError, decode, event_of
from schemas.events.base import Event
from services.reporting import responses
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


class RebuildStep(NamedTuple):
    """The leads that one step rebuilds. They are locked.

    Attributes:
        leads: Their ids, also of leads that were merged into others.
        groups: For each lead that remains, its id and those of the leads that were merged into it.
        more: Further leads follow.
    """

    leads: Sequence[str]
    groups: Mapping[str, Sequence[str]]
    more: bool

    @property
    def ids(self) -> set[str]:
        """The ids of all leads that the step concerns."""
        return {*self.leads, *(one for group in self.groups.values() for one in group)}


def next_step(unit: Unit, model: str, version: int, leads_at_once: int) -> RebuildStep | None:
    """Lock the next leads of a model, and store that they are done. None: all are, or another process rebuilds the model."""
    progress = lock_progress(unit, model, version)
    if progress is None or progress.done_to is None:
        return None
    leads = leads_after(unit, progress.done_to, leads_at_once)
    more = len(leads) == leads_at_once
    save_progress(unit, model, version, leads[-1] if more else None)
    remaining = responses.remaining_ids(unit, leads)
    whole = [lead for lead in leads if remaining[lead] == lead]
    merged = responses.merged_ids(unit, whole)
    step = RebuildStep(leads, {lead: [lead, *merged.get(lead, ())] for lead in whole}, more)
    responses.lock_leads(unit, step.ids)
    return step


def events_of(unit: Unit, leads: Collection[str], types: Sequence[str]) -> Iterator[Event]:
    """Yield the stored events of these types about these leads, without those that a later release has written."""
    for body in bodies_of(unit, leads, types):
        try:
            yield event_of(decode(body))
        except UnknownEventError:
            continue

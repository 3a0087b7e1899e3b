"""The SQL of the availability of reps, and of the changes of calendars and leave."""

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.kernel.business_time import Span
from firsthour.kernel.time_units import micros
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.unit import Unit
from schemas.events.routes import RepAvailabilityChanged
from services.notifier.domain.absences import with_change
from services.notifier.domain.objection import Availability
from services.notifier.store.columns import optional_micros, optional_moment
from services.notifier.store.tables import ABSENT, hours, reps

_ONLY_ROW = 1
_LOCK_REPS = statements.Sql(
    lambda f: (
        sa.select(reps.c.rep, reps.c.version, reps.c.at, reps.c.absences)
        .where(f.is_any_of(reps.c.rep, "reps"))
        .order_by(reps.c.rep)
        .with_for_update()
    )
)


def _save_reps(dialect: statements.SqlDialect) -> Any:
    insert = dialect.insert(reps).values({c.name: sa.bindparam(c.name) for c in reps.columns})
    return insert.on_conflict_do_update(
        index_elements=["rep"],
        set_={name: insert.excluded[name] for name in ("state", "until", "at", "version", "absences")},
        where=sa.tuple_(insert.excluded["version"], insert.excluded["at"])
        >= sa.tuple_(reps.c["version"], reps.c["at"]),
    )


_SAVE_REPS = statements.Sql(_save_reps)
_LEAVE = statements.Sql(
    lambda _: sa.union_all(
        sa.select(reps.c.rep, reps.c.absences).where(sa.text(ABSENT)),
        sa.select(sa.literal("", sa.Text), sa.cast(hours.c.revision, sa.Text)).where(hours.c.id == _ONLY_ROW),
    )
)
_ABSENT = statements.Sql(
    lambda _: sa.select(reps.c.rep, reps.c.state, reps.c.until, reps.c.version).where(reps.c.state != "available")
)
_REVISION = statements.Sql(lambda _: sa.select(hours.c.revision, hours.c.configuration).where(hours.c.id == _ONLY_ROW))


def _raise_revision(dialect: statements.SqlDialect) -> Any:
    insert = dialect.insert(hours).values({c.name: sa.bindparam(c.name) for c in hours.columns})
    return insert.on_conflict_do_update(
        index_elements=["id"],
        set_={"revision": hours.c.revision + 1, "changed_at": insert.excluded.changed_at},
    )


_RAISE_REVISION = statements.Sql(_raise_revision)
_SET_CONFIGURATION = statements.Sql(
    lambda _: (
        sa.update(hours)
        .where(hours.c.id == sa.bindparam("row", type_=sa.BigInteger))
        .values(configuration=sa.bindparam("name", type_=sa.Text))
    )
)
_spans = msgspec.json.Decoder(tuple[Span, ...]).decode
_json = msgspec.json.Encoder().encode


class StoredLeave:
    """The stored absences. They are read when the first clock needs them: most clocks never do."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._rows: Mapping[str, str] | None = None

    def of(self, rep: str) -> Sequence[Span]:
        """Return the absences of this rep."""
        text = self._texts.get(rep)
        return _spans(text) if text is not None else ()

    @property
    def revision(self) -> int:
        """The number of changes of calendars and leave until now."""
        return int(self._texts.get("", "0"))

    @property
    def _texts(self) -> Mapping[str, str]:
        if self._rows is None:
            self._rows = {row[0]: row[1] for row in _LEAVE.all(self._connection)}
        return self._rows


def find_absences(unit: Unit) -> dict[str, Availability]:
    """Return the availability of the reps who are not available."""
    return read_absences(unit.connection)


def read_absences(connection: Connection) -> dict[str, Availability]:
    """Return the same as `find_absences`, outside a unit."""
    rows = _ABSENT.all(connection)
    return {row.rep: Availability(row.state, optional_moment(row.until), row.version) for row in rows}


def save_reps(unit: Unit, changes: Sequence[RepAvailabilityChanged]) -> bool:
    """Store the availability of reps, one change of each. Return whether the leave of a rep changed.

    An older change never overwrites a newer one. The version decides which is newer, because the host's clock may have been
    set back. Among changes without a version, the time decides.
    """
    if not changes:
        return False
    before = {row.rep: row for row in _LOCK_REPS.all(unit.connection, reps=sorted(change.rep for change in changes))}
    rows: list[dict[str, Any]] = []
    changed = False
    for change in sorted(changes, key=attrgetter("rep")):
        stored = before.get(change.rep)
        if stored is not None and (change.version, micros(change.at)) < (stored.version, stored.at):
            continue
        spans = _spans(stored.absences) if stored is not None else ()
        after = with_change(spans, change)
        changed = changed or after != spans
        rows.append(
            {
                "rep": change.rep,
                "state": change.state,
                "until": optional_micros(change.until),
                "at": micros(change.at),
                "version": change.version,
                "absences": _json(after).decode(),
            }
        )
    _SAVE_REPS.many(unit.connection, rows)
    if changed:
        raise_revision(unit)
    return changed


def raise_revision(unit: Unit) -> None:
    """Record that calendars or leave changed: a tick then counts the clocks anew."""
    changed_at = micros(unit.clock.real())
    _RAISE_REVISION.run(unit.connection, id=_ONLY_ROW, revision=1, configuration="", changed_at=changed_at)


def revision_for(unit: Unit, configuration: str) -> int:
    """Return the revision of calendars and leave. It is raised if it was made for another configuration.

    Args:
        configuration: a hash of the calendars, reps and pools in force.
    """
    row = _REVISION.first(unit.connection)
    if row is None or row.configuration != configuration:
        raise_revision(unit)
        _SET_CONFIGURATION.run(unit.connection, row=_ONLY_ROW, name=configuration)
        row = _REVISION.first(unit.connection)
    return int(row.revision) if row is not None else 0

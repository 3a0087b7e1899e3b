"""The SQL that stores the availability of reps."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import sqlalchemy as sa

from firsthour.kernel.time_units import micros
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.unit import Unit
from schemas.events.routes import RepAvailabilityChanged
from services.notifier.store.columns import optional_micros
from services.notifier.store.tables import reps


def _save_reps(dialect: statements.SqlDialect) -> Any:
    insert = dialect.insert(reps).values({c.name: sa.bindparam(c.name) for c in reps.columns})
    return insert.on_conflict_do_update(
        index_elements=["rep"],
        set_={name: insert.excluded[name] for name in ("state", "until", "at", "version")},
        where=sa.tuple_(insert.excluded["version"], insert.excluded["at"])
        >= sa.tuple_(reps.c["version"], reps.c["at"]),
    )


_SAVE_REPS = statements.Sql(_save_reps)


def save_reps(unit: Unit, changes: Sequence[RepAvailabilityChanged]) -> None:
    """Store the availability of reps.

    An older change never overwrites a newer one. The version decides which is newer, because the host's clock may have been
    set back. Among changes without a version, the time decides.
    """
    _SAVE_REPS.many(
        unit.connection,
        [
            {
                "rep": change.rep,
                "state": change.state,
                "until": optional_micros(change.until),
                "at": micros(change.at),
                "version": change.version,
            }
            for change in sorted(changes, key=attrgetter("rep"))
        ],
    )

"""Facts about the installation itself: the start of its clock, and the configurations that were in force."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.kernel.time_units import micros, moment
from firsthour.runtime.clock import HostClock
from firsthour.runtime.storage import statements
from schemas.errors import FirstHourError

meta = sa.Table(
    "meta",
    statements.metadata,
    sa.Column("name", statements.Text, primary_key=True),
    sa.Column("value", statements.Text, nullable=False),
)
configurations = sa.Table(
    "configurations",
    statements.metadata,
    sa.Column("version", statements.Text, primary_key=True),  # cited by decisions
    sa.Column("taken_up_at", statements.Integer, nullable=False),  # business time
    sa.Column("agreement", statements.Text, nullable=False),  # canonical JSON
    sa.Column("team", statements.Text, nullable=False),
)

periods = sa.Table(
    "configuration_periods",
    statements.metadata,
    sa.Column("id", statements.Integer, primary_key=True, autoincrement=True),
    sa.Column("version", statements.Text, nullable=False),
    sa.Column("began_at", statements.Integer, nullable=False),  # business time
    sa.Column("loaded_by", statements.Text, nullable=False),  # shown to people; empty: by an older release
    sa.Index("configuration_periods_by_begin", "began_at", "id"),
    sqlite_autoincrement=True,
)
"""When each version came into force. A version that comes back has a second row. `FILES` in `loaded_by`: the running process."""
FILES: Final = "files"

_GET = statements.Sql(lambda _: sa.select(meta.c.value).where(meta.c.name == sa.bindparam("key")))
_SET = statements.Sql(lambda f: f.upsert(meta, ["name"]))
_TAKE_UP = statements.Sql(
    lambda f: (
        f.insert(configurations)
        .values({c.name: sa.bindparam(c.name) for c in configurations.columns})
        .on_conflict_do_nothing()
    )
)
_AS_OF = statements.Sql(
    lambda _: (
        sa.select(periods.c.version)
        .where(periods.c.began_at <= sa.bindparam("at", type_=sa.BigInteger))
        .order_by(periods.c.began_at.desc(), periods.c.id.desc())
        .limit(1)
    )
)
_BEGIN = statements.Sql(
    lambda _: sa.insert(periods).values({c.name: sa.bindparam(c.name) for c in periods.columns if c.name != "id"})
)
_PERIODS = statements.Sql(
    lambda _: (
        sa.select(periods, configurations.c.agreement, configurations.c.team)
        .join(configurations, configurations.c.version == periods.c.version)
        .where(
            sa.tuple_(periods.c.began_at, periods.c.id)
            < sa.tuple_(sa.bindparam("began_at", type_=sa.BigInteger), sa.bindparam("id", type_=sa.BigInteger))
        )
        .order_by(periods.c.began_at.desc(), periods.c.id.desc())
        .limit(sa.bindparam("limit", type_=sa.Integer))
    )
)
_AGREEMENT = statements.Sql(
    lambda _: sa.select(configurations.c.agreement).where(configurations.c.version == sa.bindparam("version"))
)
NEWEST: Final = (2**62, 0)
"""A position behind every period."""


class SpeedError(FirstHourError):
    """Raised when the clock of this data directory ran faster than real time. At normal speed, its stored times would lie
    in the future."""


def get(connection: Connection, name: str) -> str | None:
    """Return a fact; None: it is not set."""
    row = _GET.first(connection, key=name)
    return None if row is None else str(row[0])


def put(connection: Connection, name: str, value: str) -> None:
    """Set a fact."""
    _SET.run(connection, name=name, value=value)


def take_up(
    connection: Connection, *, version: str, at: datetime, agreement: str, team: str, loaded_by: str = ""
) -> None:
    """Store a configuration that comes into force, so that its decisions can be replayed, and its history be read."""
    _TAKE_UP.run(connection, version=version, taken_up_at=micros(at), agreement=agreement, team=team)
    before = _AS_OF.first(connection, at=micros(at))
    if before is None or before[0] != version:
        _BEGIN.run(connection, version=version, began_at=micros(at), loaded_by=loaded_by)


def periods_before(connection: Connection, position: tuple[int, int], limit: int) -> Sequence[Any]:
    """Return the periods that began before a position (time in microseconds, id), the newest first."""
    began_at, id = position
    return _PERIODS.all(connection, began_at=began_at, id=id, limit=limit)


def agreement_of(connection: Connection, version: str) -> str | None:
    """Return the agreement of a version, as JSON. None: it has not been in force."""
    row = _AGREEMENT.first(connection, version=version)
    return None if row is None else str(row[0])


def host_clock(connection: Connection, speed: float) -> HostClock:
    """Return the clock of this installation. Its business time continues from the stored one. Raises `SpeedError`."""
    real = HostClock().real()
    stored = get(connection, "clock")
    if stored is None:
        if speed == 1.0:
            return HostClock()
        put(connection, "clock", f"{micros(real)} {micros(real)} {speed}")
        return HostClock(speed, real, real)
    was_real, was_business, was_speed = stored.split()
    before = HostClock(float(was_speed), moment(int(was_real)), moment(int(was_business)))
    if speed == 1.0:
        raise SpeedError(
            f"this data directory's clock ran {float(was_speed):g} times faster than real time and stands at "
            f"{before.business():%Y-%m-%d %H:%M} UTC; start it with --speed, or use another --data directory"
        )
    business = before.business()
    put(connection, "clock", f"{micros(real)} {micros(business)} {speed}")
    return HostClock(speed, real, business)

"""Facts about the installation itself: the start of its clock, and the configurations that were in force."""

from datetime import datetime

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

_GET = statements.Sql(lambda _: sa.select(meta.c.value).where(meta.c.name == sa.bindparam("key")))
_SET = statements.Sql(lambda f: f.upsert(meta, ["name"]))
_TAKE_UP = statements.Sql(
    lambda f: (
        f.insert(configurations)
        .values({c.name: sa.bindparam(c.name) for c in configurations.columns})
        .on_conflict_do_nothing()
    )
)


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


def take_up(connection: Connection, *, version: str, at: datetime, agreement: str, team: str) -> None:
    """Store a configuration that came into force, so that its decisions can be replayed."""
    _TAKE_UP.run(connection, version=version, taken_up_at=micros(at), agreement=agreement, team=team)


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

"""The findings of the audit that are not cured: one row of each check, so that each is told once."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.kernel.time_units import micros, moment
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.unit import Unit

findings = sa.Table(
    "notifier_findings",
    statements.metadata,
    sa.Column("check_name", statements.Text, primary_key=True),
    sa.Column("since", statements.Integer, nullable=False),  # real time, as the next
    sa.Column("seen_at", statements.Integer, nullable=False),
    sa.Column("number", statements.Integer, nullable=False),
    sa.Column("text", statements.Text, nullable=False),
)
_ALL = statements.Sql(
    lambda _: sa.select(findings).order_by(findings.c.check_name).with_for_update()  # few: one for each check
)
_OF_CHECK = statements.Sql(
    lambda _: (
        sa.select(findings)
        .where(findings.c.check_name >= sa.bindparam("first"), findings.c.check_name < sa.bindparam("end"))
        .order_by(findings.c.check_name)
    )
)
_OPEN = statements.Sql(lambda _: sa.select(findings).order_by(findings.c.check_name))
_SAVE = statements.Sql(lambda f: f.upsert(findings, ["check_name"]))
_END = statements.Sql(lambda f: sa.delete(findings).where(f.is_any_of(findings.c.check_name, "names")))


class OpenFinding(NamedTuple):
    """A finding that is not cured. Times are real."""

    check: str
    since: datetime
    seen_at: datetime
    number: int
    text: str

    @property
    def about(self) -> str:
        """The part of the installation that it is about; empty: the whole."""
        return self.check.partition(" ")[2]


def lock_findings(unit: Unit) -> list[OpenFinding]:
    """Lock and return the findings that are not cured."""
    return [_finding(row) for row in unit.lock(_ALL)]


def open_findings(connection: Connection) -> list[OpenFinding]:
    """Return the findings that are not cured."""
    return [_finding(row) for row in _OPEN.all(connection)]


def findings_of(connection: Connection, check: str) -> list[OpenFinding]:
    """Return the findings of this check that are not cured, each about a part of the installation."""
    rows = _OF_CHECK.all(connection, first=f"{check} ", end=f"{check}!")
    return [_finding(row) for row in rows]


def save_findings(unit: Unit, found: Iterable[OpenFinding]) -> None:
    """Store these findings at the end of the unit."""
    rows = [
        {
            "check_name": one.check,
            "since": micros(one.since),
            "seen_at": micros(one.seen_at),
            "number": one.number,
            "text": one.text,
        }
        for one in sorted(found, key=attrgetter("check"))
    ]
    unit.store(_SAVE.work(unit.connection, rows))


def end_findings(unit: Unit, names: Sequence[str]) -> None:
    """Remove the findings of these checks: they are cured."""
    if names:
        _END.run(unit.connection, names=sorted(names))


def _finding(row: Any) -> OpenFinding:
    return OpenFinding(row[0], moment(row[1]), moment(row[2]), row[3], row[4])

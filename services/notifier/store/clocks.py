"""The statements about response clocks."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from firsthour.kernel.time_units import micros
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.unit import Unit
from schemas.agreement.response import ALWAYS
from schemas.events.routes import LeadCard
from services.notifier.domain.clock import Pause, PreviousOwner, ResponseClock
from services.notifier.domain.follow_up import follow_up_from_json, follow_up_to_json
from services.notifier.domain.ladder import ladder_from_json, ladder_to_json
from services.notifier.store.columns import optional_micros, optional_moment
from services.notifier.store.tables import IN_HOURS, clocks

_LOCK_CLOCKS = statements.Sql(
    lambda f: (
        sa.select(clocks).where(f.is_any_of(clocks.c.lead_id, "leads")).order_by(clocks.c.lead_id).with_for_update()
    )
)
_DUE_CLOCKS = statements.Sql(
    lambda _: (
        sa.select(clocks)
        .where(clocks.c.due_at <= sa.bindparam("now"))
        .order_by(clocks.c.due_at, clocks.c.lead_id)
        .limit(sa.bindparam("limit", type_=sa.Integer))
        .with_for_update(skip_locked=True)
    )
)
_STALE_CLOCKS = statements.Sql(
    lambda _: (
        sa.select(clocks)
        .where(sa.text(IN_HOURS), clocks.c.hours_revision < sa.bindparam("revision", type_=sa.BigInteger))
        .order_by(clocks.c.hours_revision)
        .limit(sa.bindparam("limit", type_=sa.Integer))
        .with_for_update(skip_locked=True)
    )
)
_PUT_OFF = statements.Sql(
    lambda _: sa.update(clocks).where(clocks.c.lead_id == sa.bindparam("lead")).values(due_at=sa.bindparam("at"))
)
_NEXT_CLOCK = statements.Sql(
    lambda _: sa.select(sa.func.min(clocks.c.due_at)).where(clocks.c.due_at > sa.bindparam("now"))
)
_SAVE_CLOCKS = statements.Sql(lambda f: f.upsert(clocks, ["lead_id"]))
_SOME_CLOCKS = statements.Sql(lambda f: sa.select(clocks).where(f.is_any_of(clocks.c.lead_id, "leads")))
_WAITING_OF_REP = statements.Sql(
    lambda _: (
        sa.select(clocks)
        .where(clocks.c.rep == sa.bindparam("rep"), sa.or_(clocks.c.state == "live", clocks.c.state == "missed"))
        .order_by(clocks.c.promise_at, clocks.c.lead_id)
        .limit(sa.bindparam("limit", type_=sa.Integer))
    )
)
_MET_OF_REP = statements.Sql(
    lambda _: (
        sa.select(sa.func.count())
        .select_from(clocks)
        .where(clocks.c.rep == sa.bindparam("rep"), clocks.c.state == "met")
    )
)
_BUSINESS = (
    "submit_at",
    "promise_at",
    "assigned_at",
    "due_at",
    "touched_at",
    "missed_at",
    "updated_at",
    "fired_at",
    "rung_told_at",
    "told_at",
    "untold_at",
    "snoozed_until",
    "attempted_at",
    "talked_at",
    "remind_at",
    "waiting_at",
    "counted_from",
)
_MICROSECOND = timedelta(microseconds=1)
_json = msgspec.json.Encoder().encode
_pauses = msgspec.json.Decoder(tuple[Pause, ...]).decode
_previous = msgspec.json.Decoder(PreviousOwner).decode
_card = msgspec.json.Decoder(LeadCard).decode


def lock_clocks(unit: Unit, leads: Collection[str]) -> dict[str, ResponseClock]:
    """Lock and return the clocks of these leads. A lead that was never handed over to Sales has none."""
    rows = unit.lock(_LOCK_CLOCKS, leads=sorted(leads))
    return {row.lead_id: _clock(row) for row in rows}


class UnreadableClock(NamedTuple):
    """A stored clock that cannot be read."""

    lead_id: str
    error: Exception


class LockedClocks(NamedTuple):
    """The clocks that a statement found."""

    clocks: list[ResponseClock]
    unreadable: list[UnreadableClock]

    @property
    def leads(self) -> list[str]:
        """The leads of all of them."""
        return [*(clock.lead_id for clock in self.clocks), *(one.lead_id for one in self.unreadable)]


def due_clocks(unit: Unit, now: datetime, limit: int) -> LockedClocks:
    """Lock and return due clocks, soonest first. Clocks locked by another process are skipped."""
    return _locked(unit.lock(_DUE_CLOCKS, now=micros(now), limit=limit))


def put_off_clocks(unit: Unit, leads: Collection[str], until: datetime) -> None:
    """Make the clocks of these leads due at `until` (business time), without reading them."""
    _PUT_OFF.many(unit.connection, [{"lead": lead, "at": micros(until)} for lead in sorted(leads)])


def stale_clocks(unit: Unit, revision: int, limit: int) -> LockedClocks:
    """Lock and return clocks whose times were computed by calendars and leave before this revision.

    Clocks locked by another process are skipped.
    """
    return _locked(unit.lock(_STALE_CLOCKS, revision=revision, limit=limit))


def next_clock_due(unit: Unit, now: datetime) -> datetime | None:
    """Return when the next clock after `now` is due; None: no clock is."""
    row = _NEXT_CLOCK.first(unit.connection, now=micros(now))
    return optional_moment(row[0]) if row else None


def save_clocks(unit: Unit, changed: Iterable[ResponseClock]) -> None:
    """Store these clocks at the end of the unit."""
    rows = [_clock_row(clock) for clock in sorted(changed, key=attrgetter("lead_id"))]
    unit.store(_SAVE_CLOCKS.work(unit.connection, rows))


def find_clocks(connection: Connection, leads: Collection[str]) -> dict[str, ResponseClock]:
    """Return the clocks of these leads, without locks."""
    return {row.lead_id: _clock(row) for row in _SOME_CLOCKS.all(connection, leads=list(leads))}


def find_readable_clocks(connection: Connection, leads: Collection[str]) -> dict[str, ResponseClock]:
    """Return the clocks of these leads, without locks and without those that cannot be read."""
    return {clock.lead_id: clock for clock in _locked(_SOME_CLOCKS.all(connection, leads=list(leads))).clocks}


def clocks_of_rep(connection: Connection, rep: str, limit: int) -> tuple[list[ResponseClock], int]:
    """Return the running clocks of a rep, the soonest promise first, and the number of leads of the rep that were touched."""
    waiting = [_clock(row) for row in _WAITING_OF_REP.all(connection, rep=rep, limit=limit)]
    return waiting, int(_MET_OF_REP.first(connection, rep=rep)[0])


def _clock_row(clock: ResponseClock) -> dict[str, Any]:
    row = msgspec.structs.asdict(clock)
    row |= {name: optional_micros(row[name]) for name in _BUSINESS}
    row |= {"opted_out": int(clock.opted_out), "accepted": int(clock.accepted), "card": _json(clock.card).decode()}
    row |= {"touch_within": clock.touch_within // _MICROSECOND, "worked": clock.worked // _MICROSECOND}
    row["pauses"] = _json(clock.pauses).decode() if clock.pauses else "[]"
    row["previous"] = None if clock.previous is None else _json(clock.previous).decode()
    row["follow_up"] = None if clock.follow_up is None else follow_up_to_json(clock.follow_up)
    row["rung_empty"] = int(clock.rung_empty)
    row["ladder"] = None if clock.ladder is None else ladder_to_json(clock.ladder)
    return row


def _locked(rows: Iterable[Row[Any]]) -> LockedClocks:
    found = LockedClocks([], [])
    for row in rows:
        try:
            found.clocks.append(_clock(row))
        except Exception as error:  # noqa: BLE001  # any fault of one row concerns its lead alone
            found.unreadable.append(UnreadableClock(row.lead_id, error))
    return found


def _clock(row: Row[Any]) -> ResponseClock:
    values = {name: row._mapping[name] for name in ResponseClock.__struct_fields__}
    if values["counted_from"] is None or values["counted_from"] < values["submit_at"]:
        values |= _every_minute(values)
    values |= {name: optional_moment(values[name]) for name in _BUSINESS}
    values |= {
        "opted_out": bool(values["opted_out"]),
        "accepted": bool(values["accepted"]),
        "rung_empty": bool(values["rung_empty"]),
        "card": _card(values["card"]),
        "touch_within": values["touch_within"] * _MICROSECOND,
        "worked": values["worked"] * _MICROSECOND,
        "pauses": _pauses(values["pauses"]),
    }
    values["previous"] = None if values["previous"] is None else _previous(values["previous"])
    values["follow_up"] = None if values["follow_up"] is None else follow_up_from_json(values["follow_up"])
    values["ladder"] = None if values["ladder"] is None else ladder_from_json(values["ladder"])
    return ResponseClock(**values)


def _every_minute(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of a clock that a process of an older release started: in it every minute counts."""
    within = values["promise_at"] - values["submit_at"]
    return {"counted_in": ALWAYS, "touch_within": within, "worked": 0, "counted_from": None, "pauses": "[]"}

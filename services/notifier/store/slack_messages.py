"""The statements about messages that are shown in Slack: where each is, and which have to be shown anew."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.kernel.time_units import micros, moment
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.unit import Unit
from services.notifier.domain.page_words import Further
from services.notifier.store.tables import slack_messages as messages

MESSAGE_DAYS = 60
"""How long a message is shown anew after it was sent."""
_DAY_US = 86_400_000_000
_json = msgspec.json.Encoder().encode
_further = msgspec.json.Decoder(tuple[Further | str, ...]).decode


def _ask(_: statements.SqlDialect) -> Any:
    is_addressed = messages.c.person == sa.bindparam("to", type_=sa.Text)
    notice = sa.case((is_addressed, sa.bindparam("why", type_=sa.Text)), else_=sa.cast(sa.null(), sa.Text))
    return (
        sa.update(messages)
        .where(messages.c.lead_id == sa.bindparam("lead"))
        .values(asked=messages.c.asked + 1, tries=0, next_at=sa.bindparam("at"), notice=notice)
    )


_ADD = statements.Sql(
    lambda f: (
        f.insert(messages).values({c.name: sa.bindparam(c.name) for c in messages.columns}).on_conflict_do_nothing()
    )
)
_ASK = statements.Sql(_ask)
_NEXT = statements.Sql(lambda _: sa.select(sa.func.min(messages.c.next_at)))
_DUE = statements.Sql(
    lambda _: (
        sa.select(messages)
        .where(messages.c.next_at <= sa.bindparam("now"))
        .order_by(messages.c.next_at, messages.c.page_id)
        .limit(sa.bindparam("limit", type_=sa.Integer))
        .with_for_update(skip_locked=True)
    )
)
_POSTPONE = statements.Sql(
    lambda _: (
        sa.update(messages)
        .where(messages.c.page_id == sa.bindparam("page"))
        .values(next_at=sa.bindparam("at"), tries=messages.c.tries + 1)
    )
)
_SHOWN = statements.Sql(
    lambda _: (
        sa.update(messages)
        .where(messages.c.page_id == sa.bindparam("page"), messages.c.asked == sa.bindparam("was_asked"))
        .values(next_at=sa.bindparam("at"), shown=sa.bindparam("text"), error=sa.bindparam("why"))
    )
)
_PLACE = statements.Sql(lambda _: sa.select(messages).where(messages.c.page_id == sa.bindparam("page")))
_FORGET = statements.Sql(
    lambda _: sa.delete(messages).where(
        messages.c.page_id.in_(
            sa.select(messages.c.page_id)
            .where(messages.c.day < sa.bindparam("before"))
            .order_by(messages.c.day)
            .limit(sa.bindparam("limit", type_=sa.Integer))
            .with_for_update(skip_locked=True)
        )
    )
)


class SlackMessage(NamedTuple):
    """A message in Slack: its page, its place, and what it shows."""

    page_id: str
    lead_id: str
    person: str
    recipient: str  # the Slack id that it was sent to
    channel: str  # the conversation, as Slack named it
    ts: str
    asked: int
    tries: int
    shown: str
    notice: str | None
    also: tuple[Further, ...]  # the pages about other leads in this message


def add_messages(unit: Unit, new: Sequence[SlackMessage], stale: Collection[str]) -> None:
    """Store new messages at the end of the unit. `stale`: the pages whose message is to be shown anew at once."""
    real = micros(unit.clock.real())
    rows = [
        {
            **message._asdict(),
            "also": _json([msgspec.structs.replace(page, url=None) for page in message.also]).decode(),
            "next_at": real if message.page_id in stale else None,
            "error": None,
            "day": real // _DAY_US,
        }
        for message in sorted(new)
    ]
    unit.store(_ADD.work(unit.connection, rows))


def ask_updates(unit: Unit, leads: Collection[str], notices: Mapping[str, tuple[str, str]]) -> None:
    """Ask for the messages of these leads to be shown anew, at the end of the unit.

    Args:
        notices: by lead: a person, and the notice for the messages to this person. Other notices are removed.
    """
    at = micros(unit.clock.real())
    rows: list[dict[str, Any]] = []
    for lead in sorted({*leads, *notices}):
        person, why = notices.get(lead, ("", None))
        rows.append({"lead": lead, "to": person, "at": at, "why": why})
    unit.store(_ASK.work(unit.connection, rows))


def due_messages(unit: Unit, now: datetime, limit: int) -> list[SlackMessage]:
    """Lock and return the messages that are to be shown anew at `now` (real time)."""
    return [_message(row) for row in _DUE.all(unit.connection, now=micros(now), limit=limit)]


def next_message_due(unit: Unit) -> datetime | None:
    """Return when the next message is to be shown anew (real time); None: there is none."""
    row = _NEXT.first(unit.connection)
    return None if row is None or row[0] is None else moment(row[0])


def postpone(unit: Unit, pages: Collection[str], until: datetime) -> None:
    """Show these messages anew at `until` (real time), and count a try."""
    _POSTPONE.many(unit.connection, [{"page": page, "at": micros(until)} for page in sorted(pages)])


def settle_message(
    unit: Unit, message: SlackMessage, shown: str, next_at: datetime | None = None, error: str | None = None
) -> None:
    """Store what a message shows now. `next_at` None: it is up to date, or given up. A later request stays."""
    at = None if next_at is None else micros(next_at)
    _SHOWN.run(unit.connection, page=message.page_id, was_asked=message.asked, at=at, text=shown, why=error)


def place_of(connection: Connection, page_id: str) -> SlackMessage | None:
    """Return the message of a page, without locks; None: it was not sent to Slack."""
    row = _PLACE.first(connection, page=page_id)
    return None if row is None else _message(row)


def forget_messages(unit: Unit, limit: int) -> int:
    """Remove the messages that are older than `MESSAGE_DAYS`."""
    before = micros(unit.clock.real()) // _DAY_US - MESSAGE_DAYS
    return _FORGET.run(unit.connection, before=before, limit=limit)


def _message(row: Any) -> SlackMessage:
    fields = {name: getattr(row, name) for name in SlackMessage._fields}
    also = tuple(one if isinstance(one, Further) else Further(one) for one in _further(row.also))
    return SlackMessage(**fields | {"also": also})  # a row of an older release has headlines alone

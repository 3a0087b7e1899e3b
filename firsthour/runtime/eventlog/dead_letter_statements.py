"""The tables of dead letters, and the statements on them."""

from typing import Any, Final

import sqlalchemy as sa

from firsthour.runtime.storage import statements

ROW_BYTES: Final = 512  # of a dead letter, without its content
OPEN_STATES: Final = ("waiting", "unmatched")
"""The states of dead letters that can be retried or dropped. Nothing is wrong with input that matched no entry of a mapping."""

dead_letters = sa.Table(
    "dead_letters",
    statements.metadata,
    sa.Column("id", statements.Text, primary_key=True),
    sa.Column("at", statements.Integer, nullable=False),
    # The service that failed; `gateway`: the input never became an event.
    sa.Column("consumer", statements.Text, nullable=False),
    sa.Column("origin", statements.Text, nullable=False),  # topic/partition/position, or the request's path
    sa.Column("source", statements.Text, nullable=False),  # the authenticated source, or the id of the record's event
    sa.Column("content_type", statements.Text, nullable=False),
    sa.Column("body", statements.Bytes, nullable=False),  # raw, as received; empty once dropped
    sa.Column("error", statements.Text, nullable=False),
    sa.Column("code", statements.Text, nullable=False),  # version of FirstHour that failed
    sa.Column("state", statements.Text, nullable=False),  # waiting, unmatched, retried, dropped
    sa.Column("changed_at", statements.Integer, nullable=False),
    sa.Column("tries", statements.Integer, nullable=False),
    # The key of the record; empty: the input never became an event.
    sa.Column("key", statements.Text, nullable=False, server_default=""),
    sa.Column("budget", statements.Text, nullable=False, server_default=""),  # the budget that its bytes count against
    sa.Column("rank", statements.Integer, nullable=False, server_default="1"),  # 0: dropped before all others
    sa.Column("bytes", statements.Integer, nullable=False, server_default="0"),
    sa.Index("dead_letters_by_state", "state", "at"),
    sa.Index("dead_letters_by_age", "at"),
    sa.Index("dead_letters_by_budget", "budget", "rank", "at"),
)
totals = sa.Table(
    "dead_letter_totals",
    statements.metadata,
    sa.Column("budget", statements.Text, primary_key=True),
    sa.Column("bytes", statements.Integer, nullable=False),
)

INSERT = statements.Sql(
    lambda f: f.insert(dead_letters).values({c.name: sa.bindparam(c.name) for c in dead_letters.columns})
)
GET = statements.Sql(lambda _: sa.select(dead_letters).where(dead_letters.c.id == sa.bindparam("id")))
LOCK = statements.Sql(
    lambda _: sa.select(dead_letters).where(dead_letters.c.id == sa.bindparam("id")).with_for_update()
)


def _after() -> sa.ColumnElement[bool]:
    """Select the dead letters after a position."""
    return sa.and_(
        dead_letters.c.at >= sa.bindparam("at", type_=sa.BigInteger),
        sa.or_(dead_letters.c.at > sa.bindparam("at"), dead_letters.c.id > sa.bindparam("id", type_=sa.Text)),
    )


def _list_page(*conditions: sa.ColumnElement[bool]) -> Any:
    columns = [column for column in dead_letters.columns if column.name != "body"]
    return (
        sa.select(*columns, sa.func.length(dead_letters.c.body).label("size"))
        .where(*conditions, _after())
        .order_by(dead_letters.c.at, dead_letters.c.id)
        .limit(sa.bindparam("limit", type_=sa.Integer))
    )


_IN_STATE = dead_letters.c.state == sa.bindparam("state")
_OF_BUDGET = dead_letters.c.budget == sa.bindparam("budget")
_WAITING_PERSON = dead_letters.c.rank == 1  # a robot's post, and a dead letter that is resolved, have rank 0
LIST = statements.Sql(lambda _: _list_page(_IN_STATE))
LIST_OF_BUDGETS = statements.Sql(lambda f: _list_page(_IN_STATE, f.is_any_of(dead_letters.c.budget, "budgets")))
LIST_TO_RETRY = statements.Sql(lambda _: _list_page(_WAITING_PERSON, _OF_BUDGET))
COUNT_TO_RETRY = statements.Sql(lambda _: sa.select(sa.func.count()).where(_WAITING_PERSON, _OF_BUDGET, _after()))
CHANGE = statements.Sql(
    lambda _: (
        sa.update(dead_letters)
        .where(dead_letters.c.id == sa.bindparam("letter_id"))
        .values(
            state=sa.bindparam("state"),
            changed_at=sa.bindparam("changed_at"),
            error=sa.bindparam("error"),
            rank=sa.bindparam("new_rank"),
            tries=dead_letters.c.tries + 1,
        )
    )
)
DROP = statements.Sql(
    lambda _: (
        sa.update(dead_letters)
        .where(
            dead_letters.c.id == sa.bindparam("letter_id"),
            sa.or_(*(dead_letters.c.state == state for state in OPEN_STATES)),
        )
        .values(
            state="dropped",
            changed_at=sa.bindparam("changed_at"),
            body=b"",
            rank=0,
            bytes=ROW_BYTES,
        )
    )
)
COUNT = statements.Sql(
    lambda _: (
        sa.select(dead_letters.c.consumer, sa.func.count())
        .where(dead_letters.c.state == "waiting")
        .group_by(dead_letters.c.consumer)
    )
)

COUNT_OF_BUDGETS = statements.Sql(
    lambda _: sa.select(dead_letters.c.budget, sa.func.count()).where(_WAITING_PERSON).group_by(dead_letters.c.budget)
)
"""Only the index by budget is read."""


def _add_bytes(dialect: statements.SqlDialect) -> Any:
    insert = dialect.insert(totals).values(budget=sa.bindparam("budget"), bytes=sa.bindparam("bytes"))
    total = totals.c.bytes + insert.excluded.bytes
    return insert.on_conflict_do_update(index_elements=["budget"], set_={"bytes": total}).returning(totals.c.bytes)


ADD_BYTES = statements.Sql(_add_bytes)
OLDEST_OF_BUDGET = statements.Sql(
    lambda _: (
        sa.select(dead_letters.c.id, dead_letters.c.budget, dead_letters.c.bytes)
        .where(dead_letters.c.budget == sa.bindparam("budget"))
        .order_by(dead_letters.c.rank, dead_letters.c.at)
        .limit(sa.bindparam("limit", type_=sa.Integer))
        .with_for_update(skip_locked=True)
    )
)
NEWEST_OF_BUDGET = statements.Sql(
    lambda _: (
        sa.select(dead_letters.c.id, dead_letters.c.budget, dead_letters.c.bytes, dead_letters.c.key)
        .where(dead_letters.c.budget == sa.bindparam("budget"))
        .order_by(dead_letters.c.rank.desc(), dead_letters.c.at.desc())
        .limit(sa.bindparam("limit", type_=sa.Integer))
        .with_for_update(skip_locked=True)
    )
)
OLDER_THAN = statements.Sql(
    lambda _: (
        sa.select(dead_letters.c.id, dead_letters.c.budget, dead_letters.c.bytes)
        .where(dead_letters.c.at < sa.bindparam("before"))
        .order_by(dead_letters.c.at)
        .limit(sa.bindparam("limit", type_=sa.Integer))
        .with_for_update(skip_locked=True)
    )
)
REMOVE = statements.Sql(lambda f: sa.delete(dead_letters).where(f.is_any_of(dead_letters.c.id, "ids")))

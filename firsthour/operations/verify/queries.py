"""Queries on one snapshot of the database."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.runtime.storage import statements

_ROWS_AT_ONCE: Final = 200  # in memory, of results that grow with every record
_STATEMENT_TIMEOUT: Final = "2min"
_text = lru_cache(maxsize=256)(sa.text)
"""The parameters of a statement are found once. Finding them takes a fifth of a short query."""


@dataclass
class Queries:
    """Queries on one connection."""

    connection: Connection

    def __post_init__(self) -> None:
        if not self.distributed:
            return
        # Sessions are tuned for units, which look up a few rows. These queries read whole tables.
        for name in statements.LOOK_UP:
            self.connection.exec_driver_sql(f"SET LOCAL {name} = on")
        self.connection.exec_driver_sql(f"SET LOCAL statement_timeout = '{_STATEMENT_TIMEOUT}'")

    @property
    def distributed(self) -> bool:
        """Whether the installation is distributed: then `log` is an outbox."""
        return self.connection.dialect.name != "sqlite"

    def ask(self, sql: str, **values: object) -> Sequence[Any]:
        """Return all rows of the result."""
        return self.connection.execute(_text(sql), values).all()

    def stream(self, sql: str, **values: object) -> Iterator[Any]:
        """Yield the rows of a result that may be long. A process that also serves requests can serve them in between."""
        yield from self.connection.execute(_text(sql), values, execution_options={"yield_per": _ROWS_AT_ONCE})

    def rows(self, statement: sa.Select[Any]) -> Iterator[Any]:
        """Yield the rows of a statement built from tables, so that values have the types of the columns."""
        yield from self.connection.execute(statement, execution_options={"yield_per": _ROWS_AT_ONCE})

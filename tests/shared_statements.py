"""SQLAlchemy compiles each statement once in a process of the tests, not once for each SQLite file.

A process of the program opens one file. The tests open thousands, and compiling the statements again took a third of the time
of `verify` at the end of each story.
"""

from typing import Any, Final

from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import Engine
from sqlalchemy.util import LRUCache

STATEMENTS_MAX: Final = 2_000
_open = Engine.__init__


def install() -> None:
    """Change SQLAlchemy in this process."""
    compiled: LRUCache[Any, Any] = LRUCache(STATEMENTS_MAX)

    def open_engine(engine: Engine, *arguments: Any, **options: Any) -> None:
        _open(engine, *arguments, **options)
        if type(engine.dialect) is SQLiteDialect_pysqlite:
            engine._compiled_cache = compiled

    Engine.__init__ = open_engine  # type: ignore[method-assign,assignment]
    # The dialect is part of the key of a compiled statement. Those of two files compile alike: they have the same options.
    SQLiteDialect_pysqlite.__hash__ = lambda self: hash(SQLiteDialect_pysqlite)  # type: ignore[method-assign]
    SQLiteDialect_pysqlite.__eq__ = lambda self, other: type(self) is type(other)  # type: ignore[method-assign]

"""Versions of the three configuration files in the database; the newest effective version is in force.

Files on the disks of several replicas would change at different moments. Therefore `firsthour apply` stores the files in
the database, and every unit uses the version in force in its own transaction. No decision rests on an older version, and
all replicas change at the same moment. The texts are stored unparsed, so that the next release parses them itself.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection

from firsthour.kernel.config import Config
from firsthour.kernel.time_units import micros, moment
from firsthour.runtime.clock import Clock
from firsthour.runtime.config.reading import NAMES, ConfigError, parse
from firsthour.runtime.private_files import write_private
from firsthour.runtime.storage import audit_log, installation, statements
from firsthour.runtime.storage.audit_log import AuditRecord
from firsthour.runtime.storage.unit import StorageError, Unit

CACHE: Final = "configuration.cache"

applied = sa.Table(
    "applied",
    statements.metadata,
    sa.Column("id", statements.Integer, primary_key=True, autoincrement=True),
    sa.Column("version", statements.Text, nullable=False),  # cited by decisions
    sa.Column("applied_at", statements.Integer, nullable=False),
    sa.Column("effective_at", statements.Integer, nullable=False),
    sa.Column("agreement", statements.Text, nullable=False),  # the files, as they were
    sa.Column("team", statements.Text, nullable=False),
    sa.Column("sources", statements.Text, nullable=False),
    sqlite_autoincrement=True,
)

IN_FORCE = (
    sa.select(applied.c.id)
    .where(applied.c.effective_at <= sa.bindparam("now", type_=sa.BigInteger))
    .order_by(applied.c.effective_at.desc(), applied.c.id.desc())
    .limit(1)
)
"""The version in force at `now` (microseconds)."""

_IN_FORCE = statements.Sql(lambda _: IN_FORCE)
_TEXTS = statements.Sql(
    lambda _: sa.select(applied.c.agreement, applied.c.team, applied.c.sources).where(
        applied.c.id == sa.bindparam("id")
    )
)
_NEWEST = statements.Sql(
    lambda _: (
        sa.select(applied.c.agreement, applied.c.team, applied.c.sources, applied.c.effective_at)
        .order_by(applied.c.id.desc())
        .limit(1)
    )
)
_APPLY = statements.Sql(
    lambda _: sa.insert(applied).values({c.name: sa.bindparam(c.name) for c in applied.columns if c.name != "id"})
)

_log = structlog.get_logger(__name__)


class NothingAppliedError(StorageError):
    """Raised when no configuration is in force: `firsthour apply` stores one."""


class _Cached(msgspec.Struct, frozen=True):
    """A version in the cache file of a process."""

    id: int
    agreement: str
    team: str
    sources: str

    def texts(self) -> dict[str, bytes]:
        return dict(zip(NAMES, (self.agreement.encode(), self.team.encode(), self.sources.encode()), strict=True))


def apply(
    unit: Unit, config: Config, texts: Mapping[str, bytes], effective: datetime | None, loaded_by: str = ""
) -> bool:
    """Store these files as a version in force now, or from `effective` on. Return False if they are the newest already.

    `loaded_by`: the person, for the history that people read.
    """
    contents = tuple(texts[name].decode() for name in NAMES)
    at = micros(unit.now)
    begins = at if effective is None else micros(effective)
    newest = _NEWEST.first(unit.connection)
    if newest is not None and tuple(newest[:3]) == contents and newest[3] <= begins:
        return False
    agreement, team, sources = contents
    _APPLY.run(
        unit.connection,
        version=config.version,
        applied_at=at,
        effective_at=begins,
        agreement=agreement,
        team=team,
        sources=sources,
    )
    installation.take_up(
        unit.connection,
        version=config.version,
        at=moment(begins),
        agreement=config.agreement.model_dump_json(by_alias=True),
        team=config.team.model_dump_json(by_alias=True),
        loaded_by=loaded_by,
    )
    audit_log.note(unit, AuditRecord("system", "", "cli", "configuration.apply", config.version))
    return True


class AppliedConfig:
    """The configuration in force, in the memory of this process. With a cache file, a gateway has it while the database is
    unreachable."""

    def __init__(self, clock: Clock, directory: Path, cache: Path | None = None) -> None:
        """`directory`: the directory of the secret files that the configuration names. `cache`: that of the cache file, or None."""
        self._clock = clock
        self._directory = directory
        self._cache = cache / CACHE if cache is not None else None
        self._id = 0
        self._refused = 0
        self._current: Config | None = None
        self.problem: ConfigError | None = None
        self.texts: Mapping[str, bytes] = {}
        if self._cache is not None:
            self._recall(self._cache)

    @property
    def is_loaded(self) -> bool:
        """Whether the process has a configuration."""
        return self._current is not None

    @property
    def current(self) -> Config:
        """Raises `NothingAppliedError`."""
        if self._current is None:
            raise NothingAppliedError("no configuration is in force; `firsthour apply` stores one")
        return self._current

    def of(self, connection: Connection, id: int | None = None) -> Config:
        """Return the configuration in force in this transaction. `id`: its version; None: it has not been read yet.

        Raises:
            NothingAppliedError: there is none.
        """
        if id is None:
            row = _IN_FORCE.first(connection, now=micros(self._clock.business()))
            id = int(row[0]) if row is not None else None
        if id is not None and id not in (self._id, self._refused):
            version = _TEXTS.first(connection, id=id)
            self._take_up(_Cached(id, *version))
        return self.current

    def _take_up(self, version: _Cached) -> None:
        """Use a version. If this release cannot read it, log that and keep the version before it."""
        texts = version.texts()
        try:
            self._current = parse(texts, self._directory)
        except ConfigError as error:
            self._refused, self.problem = version.id, error
            _log.error("configuration refused", problem=str(error))
            return
        self.texts = texts
        corrected, self._id, self.problem = self.problem is not None, version.id, None
        _log.info("configuration in force", version=self._current.version)
        if corrected:
            _log.info("configuration corrected", version=self._current.version)
        if self._cache is not None:
            try:
                write_private(self._cache, msgspec.json.encode(version))
            except OSError as failure:
                _log.warning("configuration not cached", error_type=type(failure).__name__)

    def _recall(self, cache: Path) -> None:
        try:
            self._take_up(msgspec.json.decode(cache.read_bytes(), type=_Cached))
        except (OSError, msgspec.DecodeError):
            return

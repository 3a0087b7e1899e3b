"""Refresh the values that a process keeps in memory: API keys, and on the embedded profile the configuration files."""

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import structlog

from firsthour.kernel.config import Config
from firsthour.runtime.config.reading import ConfigFiles
from firsthour.runtime.http import auth, key_store
from firsthour.runtime.observability.metrics import Telemetry
from firsthour.runtime.private_files import write_private
from firsthour.runtime.storage import audit_log, installation
from firsthour.runtime.storage.audit_log import AuditRecord
from firsthour.runtime.storage.reader import Reader
from firsthour.runtime.storage.sqlite import SqliteUnits
from firsthour.runtime.storage.unit import StorageError, Unit, Units
from services.router.team import TEAM_TICK

KEY_REFRESHER: Final = "runtime.keys"
CONFIG_RELOADER: Final = "runtime.config"
KEYS_SECONDS = 2.0  # how often keys are read and their last use is stored
CONFIG_SECONDS = 1.0
KEYS_CACHE: Final = "keys.cache"

_log = structlog.get_logger(__name__)


class KeyRefresher:
    """Reads the API keys at intervals and stores their last use. With a cache on disk, a gateway has its keys while the
    database is unreachable."""

    name = KEY_REFRESHER

    def __init__(self, keys: auth.Keys, units: Units, reads: Reader, cache: Path | None = None) -> None:
        """`cache`: the directory of the cache. None: keys are not cached."""
        self._keys, self._units, self._reads = keys, units, reads
        self._cache = cache / KEYS_CACHE if cache is not None else None
        self._cached: list[key_store.Key] | None = (
            None  # the content of the cache. None: this process has not written it yet
        )
        self._failing = False
        self._recall()

    def _recall(self) -> None:
        if self._cache is None:
            return
        try:
            read_at = datetime.fromtimestamp(self._cache.stat().st_mtime, UTC)
            self._keys.replace(msgspec.json.decode(self._cache.read_bytes(), type=list[key_store.Key]), read_at)
        except (OSError, msgspec.DecodeError):
            return

    async def step(self) -> bool:
        await self._store_use()
        try:
            keys = await self._keys.refresh(self._reads)
        except StorageError:  # logged by the storage; the age of the keys becomes a warning
            return False
        self._store_cache(keys)
        return False

    async def _store_use(self) -> None:
        used, self._keys.used = self._keys.used, {}
        if not used:
            return
        try:
            await self._units.run(lambda unit: key_store.record_use(unit.connection, used))
        except StorageError:  # logged by the storage; stored with the next step
            self._keys.used = used | self._keys.used

    def _store_cache(self, keys: list[key_store.Key]) -> None:
        if self._cache is None:
            return
        try:
            if keys != self._cached:
                write_private(self._cache, msgspec.json.encode(keys))
                self._cached = keys
            if self._keys.read_at is not None:
                at = self._keys.read_at.timestamp()
                os.utime(self._cache, (at, at))  # the age of the keys, also for the next process
            self._failing = False
        except OSError as failure:
            if not self._failing:
                _log.warning("keys not cached", error_type=type(failure).__name__)
            self._failing = True

    async def run(self) -> None:
        while True:
            await asyncio.sleep(KEYS_SECONDS)
            await self.step()


class ConfigReloader:
    """Puts configuration files in force when they change. If they have a mistake, the previous version stays in force."""

    name = CONFIG_RELOADER

    def __init__(self, files: ConfigFiles, units: SqliteUnits, telemetry: Telemetry) -> None:
        self._files, self._units, self._telemetry = files, units, telemetry
        self._problem: str | None = None  # the last one logged

    async def step(self) -> bool:
        config = self._files.look()
        problem = str(self._files.problem) if self._files.problem else None
        self._telemetry.config(problem is None)
        if config is not None:
            try:
                await self._put_in_force(config)
            except StorageError:  # logged by the storage; tried again, and the version in force stays until then
                return False
        if problem != self._problem:
            self._problem = problem
            if problem:
                _log.error("configuration refused", problem=problem)
            else:
                _log.info("configuration corrected", version=self._files.current.version)
        if config is not None:
            _log.info("configuration in force", version=config.version)
        return config is not None

    async def _put_in_force(self, config: Config) -> None:
        """Store the version before it is in force, so that no decision names a version that is not stored."""

        def work(unit: Unit) -> None:
            store_config(unit, config)
            audit_log.note(unit, AuditRecord("system", "", "files", "configuration.apply", config.version))
            unit.after.append(lambda: self._files.take(config))

        await self._units.run(work)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(CONFIG_SECONDS)
            await self.step()


def store_config(unit: Unit, config: Config) -> None:
    """Store this version of the configuration, and let the router read its team."""
    installation.take_up(
        unit.connection,
        version=config.version,
        at=unit.now,
        agreement=config.agreement.model_dump_json(by_alias=True),
        team=config.team.model_dump_json(by_alias=True),
        loaded_by=installation.FILES,
    )
    unit.wake(TEAM_TICK)

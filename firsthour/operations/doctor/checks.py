"""Checks of a host and of an embedded installation: each returns findings, with the remedy of each fault."""

import os
import shutil
from pathlib import Path
from typing import Final

from sqlalchemy.exc import DBAPIError

from firsthour.kernel.config import Config
from firsthour.operations.doctor.channel_checks import channels
from firsthour.operations.doctor.database_checks import RESTORE, database
from firsthour.operations.doctor.finding import Finding, well
from firsthour.runtime import private_files, python_release
from firsthour.runtime.clock import Clock
from firsthour.runtime.config import host_warnings, reading, source_secrets
from firsthour.runtime.config.reading import ConfigError
from firsthour.runtime.settings import Settings, environ
from firsthour.runtime.storage.reader import Reader
from firsthour.runtime.storage.unit import StorageError
from services.notifier import channel_warnings, ways

__all__ = ["DATABASE", "Finding", "examine", "well"]

DATABASE: Final = "firsthour.db"
FREE_BYTES_MIN: Final = 200 * 1024 * 1024
FREE_BYTES_WARNING: Final = 1024 * 1024 * 1024


async def examine(settings: Settings, clock: Clock, reads: Reader | None) -> list[Finding]:
    """Run every check of an embedded installation. `reads`: None without a database."""
    findings = [*directory(settings.data_dir), *configuration(settings)]
    if reads is not None:
        try:
            findings += await reads(lambda connection: database(connection, clock))
        except (DBAPIError, StorageError) as error:
            cause = str(error.orig) if isinstance(error, DBAPIError) else str(error).partition(";")[0]
            findings.append(Finding("database", "wrong", f"cannot be read: {cause}", RESTORE))
    findings += [finding async for finding in channels(settings)]
    return findings


# --- the data directory ------------------------------------------------------------------------------------------


def directory(data_dir: Path) -> list[Finding]:
    """Check that data can be written, that the disk has room, and that other users cannot read the data."""
    if not data_dir.is_dir():
        remedy = "`firsthour up` creates it at its first start"
        return [Finding("data directory", "warning", f"{data_dir} does not exist", remedy)]
    if not os.access(data_dir, os.W_OK | os.X_OK):
        remedy = "give this user the right to write, or use another --data"
        return [Finding("data directory", "wrong", f"{data_dir} cannot be written", remedy)]
    return [_room(data_dir), *_exposed(data_dir)]


def _exposed(data_dir: Path) -> list[Finding]:
    exposed = private_files.exposure(data_dir)
    return [] if exposed is None else [Finding("data directory", "warning", exposed)]


def _room(data_dir: Path) -> Finding:
    free = shutil.disk_usage(data_dir).free
    room = f"{free / 1024**3:.1f} GiB free at {data_dir}"
    if free >= max(FREE_BYTES_MIN, FREE_BYTES_WARNING):
        return Finding("data directory", "ok", room)
    remedy = "make room; on a full disk events are refused with 503, and senders must repeat them"
    return Finding("data directory", "wrong" if free < FREE_BYTES_MIN else "warning", room, remedy)


# --- settings and configuration ----------------------------------------------------------------------------------


def setting_warnings(settings: Settings, config: Config | None) -> list[Finding]:
    """Check the settings, and the release of Python."""
    findings = [Finding("settings", "warning", warning) for warning in host_warnings.of_settings(settings, config)]
    return [*findings, *(Finding("python", "warning", warning) for warning in python_release.warnings())]


def configuration(settings: Settings) -> list[Finding]:
    """Check settings, configuration files, and the secrets and channels that the files name."""
    try:
        config = reading.load(settings.config_dir)
    except ConfigError as error:
        remedy = "correct the line; until then a running process keeps its configuration"
        problems = [Finding("configuration", "wrong", str(problem), remedy) for problem in error.problems]
        return [*setting_warnings(settings, None), *problems]
    findings = setting_warnings(settings, config)
    findings += [Finding("configuration", "warning", warning) for warning in config.warnings]
    secrets = source_secrets.examine(config, environ())
    findings += [Finding("secrets", "wrong", str(error)) for error in secrets.errors]
    findings += [Finding("secrets", "warning", warning) for warning in secrets.warnings]
    unusable = channel_warnings.warnings(config, channel_warnings.set_up(settings))
    unusable += ways.problems(config, environ(), settings)
    findings += [Finding("channels", "warning", warning) for warning in unusable]
    return [*findings, Finding("configuration", "ok", f"{settings.config_dir}: version {config.version}")]

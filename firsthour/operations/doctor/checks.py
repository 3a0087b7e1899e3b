"""What is wrong with an installation: each thing looked at, what was found, and the remedy."""

import os
import shutil
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
import sqlalchemy as sa
from aiosmtplib import SMTP, SMTPException
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from firsthour.kernel.time_units import moment
from firsthour.operations.doctor import distributed_checks
from firsthour.operations.doctor.finding import Finding, well
from firsthour.runtime import private_files, python_release
from firsthour.runtime.clock import Clock
from firsthour.runtime.config import host_warnings, reading, source_secrets
from firsthour.runtime.config.reading import ConfigError
from firsthour.runtime.eventlog import dead_letters
from firsthour.runtime.http.client import Endpoint, NoAnswerError
from firsthour.runtime.settings import Settings, environ
from firsthour.runtime.storage import migrate
from firsthour.runtime.storage.reader import Reader
from firsthour.runtime.storage.records import log
from firsthour.runtime.storage.unit import StorageError
from schemas.sources import Sources
from services.notifier import channel_warnings
from services.notifier.channels.email import MailSettingsError, server

__all__ = ["DATABASE", "Finding", "examine", "well"]

DATABASE: Final = "firsthour.db"
ASK_SECONDS: Final = 3.0
SLACK_SCOPE: Final = "chat:write"
FREE_BYTES_MIN: Final = 200 * 1024 * 1024
FREE_BYTES_WELL: Final = 1024 * 1024 * 1024
CLOCK_BACK_MAX: Final = timedelta(minutes=2)
_YEARS: Final = (2025, 2100)


async def examine(settings: Settings, clock: Clock, reads: Reader | None) -> list[Finding]:
    """Everything that can be looked at from here. `reads`: of the embedded database, where there is one."""
    if settings.distributed:
        found = [*_own(settings), *await distributed_checks.look(settings, clock, database)]
        return [*found, *[one async for one in _outside(settings)]]
    found = [*directory(settings.data_dir), *configuration(settings)]
    if reads is not None:
        try:
            found += await reads(lambda connection: database(connection, clock))
        except (DBAPIError, StorageError) as broken:
            why = type(broken.orig).__name__ if isinstance(broken, DBAPIError) else str(broken)
            found.append(Finding("database", "wrong", f"cannot be read ({why})", _RESTORE))
    found += [one async for one in _outside(settings)]
    return found


# --- the directory -----------------------------------------------------------------------------------------------


def directory(data_dir: Path) -> list[Finding]:
    """Whether data can be written, and for how long still."""
    if not data_dir.is_dir():
        return [
            Finding(
                "data directory", "warning", f"{data_dir} does not exist", "`firsthour up` makes it at its first start"
            )
        ]
    if not os.access(data_dir, os.W_OK | os.X_OK):
        return [
            Finding(
                "data directory",
                "wrong",
                f"{data_dir} cannot be written",
                "let this user write it, or use another --data",
            )
        ]
    return [*_room(data_dir), *_exposed(data_dir)]


def _exposed(data_dir: Path) -> list[Finding]:
    exposed = private_files.exposure(data_dir)
    return [] if exposed is None else [Finding("data directory", "warning", exposed)]


def _room(data_dir: Path) -> list[Finding]:
    free = shutil.disk_usage(data_dir).free
    said = f"{free / 1024**3:.1f} GiB free at {data_dir}"
    remedy = "make room; with a full disk events are refused with 503, and senders have to try again"
    if free < FREE_BYTES_MIN:
        return [Finding("data directory", "wrong", said, remedy)]
    return [
        Finding(
            "data directory",
            "ok" if free >= FREE_BYTES_WELL else "warning",
            said,
            "" if free >= FREE_BYTES_WELL else remedy,
        )
    ]


def _own(settings: Settings) -> list[Finding]:
    """What this machine has of a distributed installation: not each has a directory, nor the files that are applied."""
    found = directory(settings.data_dir) if settings.data_dir.is_dir() else []
    if settings.config_dir.is_dir():
        return [*found, *configuration(settings)]
    return [*found, *_unwise(settings, None)]


def _unwise(settings: Settings, sources: Sources | None) -> list[Finding]:
    found = [Finding("settings", "warning", warning) for warning in host_warnings.of_settings(settings, sources)]
    return [*found, *(Finding("python", "warning", warning) for warning in python_release.warnings())]


def configuration(settings: Settings) -> list[Finding]:
    """Settings and files."""
    try:
        loaded = reading.load(settings.config_dir)
    except ConfigError as wrong:
        found = _unwise(settings, None)
        remedy = "correct the line; what was in force before stays in force while running"
        return [*found, *(Finding("configuration", "wrong", str(problem), remedy) for problem in wrong.problems)]
    found = _unwise(settings, loaded.sources)
    found += [Finding("configuration", "warning", warning) for warning in loaded.warnings]
    secrets = source_secrets.examine(loaded, environ())
    found += [Finding("secrets", "wrong", str(error)) for error in secrets.errors]
    found += [Finding("secrets", "warning", warning) for warning in secrets.warnings]
    unusable = channel_warnings.warnings(loaded, channel_warnings.set_up(settings))
    found += [Finding("channels", "warning", warning) for warning in unusable]
    return [*found, Finding("configuration", "ok", f"{settings.config_dir}: version {loaded.version}")]


# --- the database ------------------------------------------------------------------------------------------------

_RESTORE: Final = "stop FirstHour, copy the data directory away, and restore the latest backup"


def database(connection: Connection, clock: Clock) -> list[Finding]:
    """Integrity, tables, the clock against what was written, and dead letters."""
    checks: tuple[Callable[[Connection, Clock], Finding], ...] = (_integrity, _tables)
    found = [check(connection, clock) for check in checks]
    if well(found):
        found += [_clock(connection, clock), _letters(connection, clock)]
    return found


def _integrity(connection: Connection, _: Clock) -> Finding:
    if connection.dialect.name != "sqlite":
        return Finding("database", "ok", "reachable")
    said = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA quick_check(3)")]
    if said == ["ok"]:
        return Finding("database", "ok", "sound")
    return Finding("database", "wrong", f"damaged: {'; '.join(said)[:200]}", _RESTORE)


def _tables(connection: Connection, _: Clock) -> Finding:
    found = migrate.state(connection)
    if found == "current":
        return Finding("tables", "ok", "up to date")
    if found == "newer":
        return Finding(
            "tables", "warning", "of a newer version of FirstHour", "update this program; it works on meanwhile"
        )
    return Finding("tables", "wrong", "of another version of FirstHour", "stop FirstHour and run `firsthour migrate`")


def _clock(connection: Connection, clock: Clock) -> Finding:
    now = clock.real()
    newest = connection.execute(sa.select(sa.func.max(log.c.at))).scalar()
    remedy = "set the host's clock (NTP); deadlines and signatures go by it"
    if not _YEARS[0] <= now.year <= _YEARS[1]:
        return Finding("clock", "wrong", f"the host's clock says {now:%Y-%m-%d}", remedy)
    if newest is not None and moment(newest) > now + CLOCK_BACK_MAX:
        return Finding(
            "clock",
            "wrong",
            f"it is {now:%Y-%m-%d %H:%M} UTC, before the newest event ({_utc(moment(newest))})",
            remedy,
        )
    return Finding("clock", "ok", f"{now:%Y-%m-%d %H:%M} UTC")


def _utc(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _letters(connection: Connection, _: Clock) -> Finding:
    counts = dead_letters.counts(connection)
    if not counts:
        return Finding("dead letters", "ok", "none waiting")
    said = ", ".join(f"{count} of {consumer}" for consumer, count in sorted(counts.items()))
    return Finding(
        "dead letters", "warning", f"waiting: {said}", "`firsthour deadletters list`, then retry or drop them"
    )


# --- the outside -------------------------------------------------------------------------------------------------


class _DoctorReply(msgspec.Struct):
    ok: bool
    error: str = ""


async def _outside(settings: Settings) -> AsyncIterator[Finding]:
    if settings.slack_bot_token is not None:
        yield await _slack(settings.slack_api_url, settings.slack_bot_token.get_secret_value())
    if settings.smtp_url is not None:
        yield await _mail(settings.smtp_url.get_secret_value())


async def _slack(url: str, token: str) -> Finding:
    endpoint = Endpoint(url, ASK_SECONDS, headers={"authorization": f"Bearer {token}"})
    try:
        answer = await endpoint.post_json("auth.test", b"{}")
    except NoAnswerError as silent:
        remedy = "let this host reach FIRSTHOUR_SLACK_API_URL; pages try the next channel meanwhile"
        return Finding("slack", "wrong", str(silent), remedy)
    finally:
        await endpoint.close()
    try:
        reply = msgspec.json.decode(answer.body, type=_DoctorReply)
    except (msgspec.DecodeError, UnicodeDecodeError):
        said = f"answered {answer.status}, and not as Slack does"
        return Finding("slack", "wrong", said, "check FIRSTHOUR_SLACK_API_URL")
    if reply.ok:
        scopes = {scope.strip() for scope in answer.headers.get("x-oauth-scopes", SLACK_SCOPE).split(",")}
        if SLACK_SCOPE not in scopes:
            remedy = f"give the Slack app the scope {SLACK_SCOPE} and install it anew"
            return Finding("slack", "wrong", f"the token lacks the scope {SLACK_SCOPE}", remedy)
        return Finding("slack", "ok", "the token is good")
    code = reply.error if reply.error.replace("_", "").isalnum() else "an unreadable error"
    return Finding("slack", "wrong", f"the token is refused ({code})", "check FIRSTHOUR_SLACK_BOT_TOKEN")


async def _mail(url: str) -> Finding:
    try:
        smtp = server(url)
    except MailSettingsError as wrong:
        return Finding("mail", "wrong", str(wrong), "correct the setting")
    connection = SMTP(
        hostname=smtp.host,
        port=smtp.port,
        username=smtp.user,
        password=smtp.password,
        use_tls=smtp.tls,
        start_tls=smtp.start_tls,
        timeout=ASK_SECONDS,
        local_hostname="localhost",
    )
    try:
        await connection.connect()
        await connection.ehlo()
    except (SMTPException, OSError, TimeoutError) as failed:
        remedy = "check host, port, user and password in FIRSTHOUR_SMTP_URL"
        return Finding("mail", "wrong", f"{smtp.host}:{smtp.port} does not take mail ({type(failed).__name__})", remedy)
    finally:
        connection.close()
    return Finding("mail", "ok", f"{smtp.host}:{smtp.port} answers")

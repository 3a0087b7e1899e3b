"""Examines PostgreSQL: network, credentials, version, and tables."""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import asyncpg
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from firsthour.runtime.addresses import Postgres
from firsthour.runtime.connectivity import connection_options, diagnosis
from firsthour.runtime.connectivity.diagnosis import Diagnosis, Kind, UnreachableError
from firsthour.runtime.settings import PREFIX, Settings
from firsthour.runtime.storage import migrate

T = TypeVar("T")

WHAT: Final = "database"
VARIABLE: Final = f"{PREFIX}DATABASE_URL"
OLDEST: Final = 15

# SQLSTATE: kind, problem, remedy. {user}, {database} and {place} are filled in; passwords never are.
_STATES: Final[Mapping[str, tuple[Kind, str, str]]] = {
    "28P01": ("auth", "{place} refuses the password of user {user}", f"correct user and password in {VARIABLE}"),
    "28000": (
        "auth",
        "{place} does not let user {user} in from here",
        f"correct the user in {VARIABLE}, or allow it in pg_hba.conf (with sslmode=require if it wants TLS)",
    ),
    "3D000": ("missing", "{place} has no database {database}", f"create it, or correct the name in {VARIABLE}"),
    "42501": ("forbidden", "user {user} may not use database {database}", "grant it CONNECT, and CREATE on the schema"),
    "53300": ("unfit", "{place} has no connection left", "raise max_connections, or run fewer replicas"),
    "57P03": ("silent", "{place} is starting or stopping", "wait; if it stays, look at its log"),
}


async def examine_database(settings: Settings) -> list[Diagnosis]:
    """Return every problem with the database; none if all is well. Takes a few seconds at most."""
    place = connection_options.postgres(settings)
    trouble = await diagnosis.knock(WHAT, place.host, place.port, VARIABLE) or await _enter(place)
    if trouble is not None:
        return [trouble]
    try:
        async with asyncio.timeout(diagnosis.SECONDS * 2):
            found = await read(settings, migrate.state)
    except (DBAPIError, OSError, TimeoutError) as failed:
        said = f"user {place.user} cannot read the tables ({_name(failed)})"
        return [Diagnosis(WHAT, "forbidden", said, "let the user that runs `firsthour migrate` own them")]
    return [] if found == "current" else [_tables(found, place.database)]


async def ready(settings: Settings) -> None:
    """Raise `UnreachableError` with the remedy unless the database can be used: for commands, which do not wait."""
    for trouble in await examine_database(settings):
        if trouble.stops:
            raise UnreachableError(trouble)


def _tables(found: migrate.State, database: str) -> Diagnosis:
    """The diagnosis of tables of another version."""
    if found == "newer":  # migrations only add: this version still works during a rollout, and after going back
        said = f"the tables of database {database} are of a newer version"
        return Diagnosis(WHAT, "migration", said, "update this program; it works on them meanwhile", stops=False)
    what = {"empty": "has no tables yet", "older": "has the tables of an older version"}
    said = f"database {database} {what.get(found, 'has tables of no version of FirstHour')}"
    remedy = "run `firsthour migrate`" if found in what else "name another database, or restore the latest backup"
    return Diagnosis(WHAT, "migration", said, remedy)


async def read(settings: Settings, work: Callable[[Connection], T]) -> T:
    """Run `work` on a connection of its own, without changes, and return its result."""
    url, arguments = connection_options.database(settings)
    engine = create_async_engine(url, connect_args=arguments, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(work)
    finally:
        await engine.dispose()


def _name(failed: Exception) -> str:
    return type(failed.orig if isinstance(failed, DBAPIError) else failed).__name__


async def _enter(place: Postgres) -> Diagnosis | None:
    """Signs in, and looks whether the server is one we can work with."""
    try:
        async with asyncio.timeout(diagnosis.SECONDS):
            connection = await asyncpg.connect(
                host=place.host,
                port=place.port,
                user=place.user,
                password=place.password,
                database=place.database,
                ssl=connection_options.tls(place),
            )
            try:
                return await _server(connection, place)
            finally:
                await connection.close()
    except Exception as failed:  # noqa: BLE001  # the driver raises of many kinds; each one is an answer here
        return _meaning(failed, place)


async def _server(connection: Any, place: Postgres) -> Diagnosis | None:
    version = connection.get_server_version().major
    if version < OLDEST:
        said = f"{place.host}:{place.port} is PostgreSQL {version}"
        return Diagnosis(WHAT, "old", said, f"take {OLDEST} or newer")
    if await connection.fetchval("SELECT pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on'"):
        said = f"{place.host}:{place.port} only lets read (a standby?)"
        return Diagnosis(WHAT, "unfit", said, f"name the primary in {VARIABLE}")
    return None


def _meaning(failed: Exception, place: Postgres) -> Diagnosis:
    where = f"{place.host}:{place.port}"
    if isinstance(failed, asyncpg.PostgresError):
        state = getattr(failed, "sqlstate", None) or ""
        kind, said, remedy = _STATES.get(state, ("unfit", f"{{place}} refuses ({state})", "look at the server's log"))
        return Diagnosis(WHAT, kind, said.format(place=where, user=place.user, database=place.database), remedy)
    if isinstance(failed, ssl.SSLCertVerificationError):
        return diagnosis.untrusted(
            WHAT, where, failed, f"give the authority as sslrootcert in {VARIABLE}, or mend the name"
        )
    if isinstance(failed, TimeoutError):
        return Diagnosis(
            WHAT, "silent", f"{where} takes the connection and says nothing", "look whether it is PostgreSQL"
        )
    if "rejected SSL upgrade" in str(failed) and place.ssl_mode != "prefer":
        remedy = f"turn `ssl` on in the server, or give sslmode=disable in {VARIABLE}"
        return Diagnosis(WHAT, "tls", f"{where} does not speak TLS", remedy)
    if isinstance(failed, ssl.SSLError):
        return Diagnosis(WHAT, "tls", f"{where} does not agree on TLS ({failed.reason})", "look at its TLS settings")
    remedy = f"look whether {VARIABLE} names a PostgreSQL"
    return Diagnosis(WHAT, "unfit", f"{where} does not answer as PostgreSQL does ({type(failed).__name__})", remedy)

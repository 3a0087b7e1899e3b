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

SERVER: Final = "database"
VARIABLE: Final = f"{PREFIX}DATABASE_URL"
OLDEST: Final = 15  # version of PostgreSQL

# SQLSTATE: kind, problem, remedy. {user}, {database} and {place} are filled in; passwords never are.
_STATES: Final[Mapping[str, tuple[Kind, str, str]]] = {
    "28P01": ("auth", "{place} rejects the password of user {user}", f"correct user and password in {VARIABLE}"),
    "28000": (
        "auth",
        "{place} does not admit user {user} from this host",
        f"correct the user in {VARIABLE}, or allow it in pg_hba.conf (with sslmode=require if it requires TLS)",
    ),
    "3D000": ("missing", "{place} has no database {database}", f"create it, or correct the name in {VARIABLE}"),
    "42501": ("forbidden", "user {user} may not use database {database}", "grant it CONNECT, and CREATE on the schema"),
    "53300": ("unfit", "{place} has no free connection", "raise max_connections, or run fewer replicas"),
    "57P03": ("silent", "{place} is starting or stopping", "wait; if this continues, check its log"),
}


async def examine_database(settings: Settings) -> list[Diagnosis]:
    """Return the problems with the database; an empty list: it can be used. Takes a few seconds at most."""
    place = connection_options.postgres(settings)
    trouble = await _reach(place)
    if trouble is not None:
        return [trouble]
    try:
        async with asyncio.timeout(diagnosis.SECONDS * 2):
            state = await read(settings, migrate.state)
    except (DBAPIError, OSError, TimeoutError) as failure:
        problem = f"user {place.user} cannot read the tables ({_name(failure)})"
        return [Diagnosis(SERVER, "forbidden", problem, "make the user that runs `firsthour migrate` their owner")]
    return [] if state == "current" else [_tables(state, place.database)]


async def enter(settings: Settings) -> None:
    """Raise `UnreachableError`, with the remedy, if no session can be opened. The tables are not looked at."""
    trouble = await _reach(connection_options.postgres(settings))
    if trouble is not None:
        raise UnreachableError(trouble)


async def _reach(place: Postgres) -> Diagnosis | None:
    return await diagnosis.check_port(SERVER, place.host, place.port, VARIABLE) or await _enter(place)


async def ready(settings: Settings) -> None:
    """Raise `UnreachableError`, with the remedy, if the database cannot be used. Commands call it, since they do not wait."""
    for trouble in await examine_database(settings):
        if trouble.stops:
            raise UnreachableError(trouble)


def _tables(state: migrate.State, database: str) -> Diagnosis:
    """Return the diagnosis of tables of another version."""
    if state == "newer":  # migrations only add: this version works on them during a rollout and after a downgrade
        problem = f"the tables of database {database} are of a newer version"
        remedy = "update FirstHour; until then it works on these tables"
        return Diagnosis(SERVER, "migration", problem, remedy, stops=False)
    problem, remedy = migrate.PROBLEMS[state]
    return Diagnosis(SERVER, "migration", f"database {database} has {problem}", remedy)


async def read(settings: Settings, work: Callable[[Connection], T]) -> T:
    """Run `work` on a connection of its own, and return its result. `work` only reads."""
    url, arguments = connection_options.database(settings)
    engine = create_async_engine(url, connect_args=arguments, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(work)
    finally:
        await engine.dispose()


def _name(failure: Exception) -> str:
    return type(failure.orig if isinstance(failure, DBAPIError) else failure).__name__


async def _enter(place: Postgres) -> Diagnosis | None:
    """Connect, and return the problem with the server or the credentials; None: there is no problem."""
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
    except Exception as failure:  # noqa: BLE001  # the driver raises many kinds; each is a diagnosis
        return _meaning(failure, place)


async def _server(connection: Any, place: Postgres) -> Diagnosis | None:
    version = connection.get_server_version().major
    if version < OLDEST:
        problem = f"{place.host}:{place.port} is PostgreSQL {version}"
        return Diagnosis(SERVER, "old", problem, f"use {OLDEST} or newer")
    if await connection.fetchval("SELECT pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on'"):
        problem = f"{place.host}:{place.port} is read-only (a standby?)"
        return Diagnosis(SERVER, "unfit", problem, f"set {VARIABLE} to the primary")
    return None


def _meaning(failure: Exception, place: Postgres) -> Diagnosis:
    where = f"{place.host}:{place.port}"
    if isinstance(failure, asyncpg.PostgresError):
        state = getattr(failure, "sqlstate", None) or ""
        kind, problem, remedy = _STATES.get(
            state, ("unfit", f"{{place}} rejects the connection ({state})", "check the log of the server")
        )
        return Diagnosis(SERVER, kind, problem.format(place=where, user=place.user, database=place.database), remedy)
    if isinstance(failure, ssl.SSLCertVerificationError):
        return diagnosis.untrusted(
            SERVER, where, failure, f"add the authority as sslrootcert to {VARIABLE}, or correct the host name"
        )
    if isinstance(failure, TimeoutError):
        problem = f"{where} accepts the connection and does not answer"
        return Diagnosis(SERVER, "silent", problem, "check that it is PostgreSQL")
    if "rejected SSL upgrade" in str(failure) and place.ssl_mode != "prefer":
        remedy = f"turn `ssl` on in the server, or set sslmode=disable in {VARIABLE}"
        return Diagnosis(SERVER, "tls", f"{where} does not support TLS", remedy)
    if isinstance(failure, ssl.SSLError):
        return Diagnosis(
            SERVER, "tls", f"the TLS handshake with {where} failed ({failure.reason})", "check its TLS settings"
        )
    remedy = f"check that {VARIABLE} is the address of a PostgreSQL server"
    return Diagnosis(SERVER, "unfit", f"{where} does not answer as PostgreSQL does ({type(failure).__name__})", remedy)

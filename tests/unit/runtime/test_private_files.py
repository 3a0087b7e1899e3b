"""Files of the data directory are readable only by their user, and symbolic links are refused."""

import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from firsthour.runtime.clock import HostClock
from firsthour.runtime.eventlog.spool import Spool
from firsthour.runtime.private_files import UnsafeFileError, exposure, write_private
from firsthour.runtime.storage.data_directory import hold
from firsthour.runtime.storage.sqlite_engines import writer_engine


@pytest.fixture
def open_directory(tmp_path: Path) -> Iterator[Path]:
    """A directory with mode 755, in a process whose new files are readable by all users."""
    before = os.umask(0o022)
    place = tmp_path / "data"
    place.mkdir(mode=0o755)
    yield place
    os.umask(before)


def modes(place: Path) -> dict[str, str]:
    return {path.name: f"{stat.S_IMODE(path.lstat().st_mode):o}" for path in sorted(place.iterdir())}


def test_database_files_in_an_open_directory_have_mode_600(open_directory: Path) -> None:
    engine = writer_engine(open_directory / "firsthour.db")
    with hold(open_directory), engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE t (x)")
        connection.commit()
        assert modes(open_directory) == dict.fromkeys(
            ("firsthour.db", "firsthour.db-shm", "firsthour.db-wal", "lock"), "600"
        )
    engine.dispose()


def test_existing_files_with_an_open_mode_get_mode_600(open_directory: Path) -> None:
    for name in ("firsthour.db", "firsthour.db-wal", "lock"):
        (open_directory / name).touch(mode=0o644)
    engine = writer_engine(open_directory / "firsthour.db")
    with hold(open_directory), engine.connect():
        assert set(modes(open_directory).values()) == {"600"}
    engine.dispose()


_LOCK_SHARED_MEMORY = """import fcntl, sys
with open(sys.argv[1], "r+b") as file:  # a process that gets this lock of SQLite truncates the shared memory
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 128)
"""


def test_second_connection_keeps_the_locks_of_the_first(open_directory: Path) -> None:
    engine = writer_engine(open_directory / "firsthour.db")
    with engine.connect() as first:
        first.exec_driver_sql("CREATE TABLE t (x)")
        first.commit()
        with writer_engine(open_directory / "firsthour.db").connect():
            taken = subprocess.run(
                [sys.executable, "-c", _LOCK_SHARED_MEMORY, open_directory / "firsthour.db-shm"],
                check=False,
                capture_output=True,
                text=True,
            )
        assert "BlockingIOError" in taken.stderr
    engine.dispose()


@pytest.mark.parametrize("name", ["lock", "firsthour.db", "firsthour.db-wal"])
def test_symbolic_link_is_refused_and_its_target_is_unchanged(open_directory: Path, name: str) -> None:
    target = open_directory.parent / "precious"
    target.write_text("of another program")
    target.chmod(0o644)
    (open_directory / name).symlink_to(target)
    with pytest.raises(UnsafeFileError, match=f"{name}: is a symbolic link; remove it"):
        writer_engine(open_directory / "firsthour.db").connect() if "db" in name else hold(open_directory)
    assert (target.read_text(), stat.S_IMODE(target.stat().st_mode)) == ("of another program", 0o644)


def test_lock_that_is_not_a_regular_file_is_refused(open_directory: Path) -> None:
    os.mkfifo(open_directory / "lock")
    with pytest.raises(UnsafeFileError, match="is not a regular file"):
        hold(open_directory)


def test_write_private_replaces_a_link_without_following_it(open_directory: Path) -> None:
    target = open_directory.parent / "precious"
    target.write_text("of another program")
    (open_directory / "keys.cache").symlink_to(target)
    write_private(open_directory / "keys.cache", b"ours")
    assert (target.read_text(), (open_directory / "keys.cache").read_bytes()) == ("of another program", b"ours")
    assert modes(open_directory) == {"keys.cache": "600"}


def test_spool_that_is_a_link_is_a_problem_but_no_error(open_directory: Path) -> None:
    (open_directory / "spool.db").symlink_to(open_directory.parent / "elsewhere")
    spool = Spool(open_directory / "spool.db", 1 << 20, HostClock())
    spool.start()
    assert "is a symbolic link" in str(spool.problem)


def test_directory_open_to_other_users_is_a_warning(open_directory: Path) -> None:
    assert "chmod 700" in str(exposure(open_directory))
    open_directory.chmod(0o700)
    assert exposure(open_directory) is None
    assert exposure(open_directory / "absent") is None


def test_write_to_a_full_disk_names_the_file_and_leaves_no_draft(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(OSError, match="too large") as failed:
            write_private(tmp_path / "running.json", b"x" * 1_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert failed.value.filename == str(tmp_path / "running.json")
    assert not list(tmp_path.iterdir())

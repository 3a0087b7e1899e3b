"""The lock files: every package has a version and hashes, and no address."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = [ROOT / "requirements" / name for name in ("run.txt", "dev.txt")]

_PIN = re.compile(r"([a-z0-9][a-z0-9._-]*)==(\S+)(?: ; [a-z_]+ [^;]+?)?((?: --hash=sha256:[0-9a-f]{64})+)")
_NAME = re.compile(r"[A-Za-z0-9._-]+")


def lines(lock: Path) -> list[str]:
    """Return the entries of a lock, each on one line, without comments."""
    joined = lock.read_text().replace("\\\n", " ")
    bare = (re.sub(r"\s+", " ", line.split("#")[0]).strip() for line in joined.splitlines())
    return [line for line in bare if line]


def pins(lock: Path) -> dict[str, str]:
    matches = (_PIN.fullmatch(line) for line in lines(lock))
    return {match[1]: match[2] for match in matches if match}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(*extras: str) -> set[str]:
    """Return the names of the dependencies in pyproject.toml, with these extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(one for extra in extras for one in project["optional-dependencies"][extra])]
    return {canonical(match[0]) for one in wanted if (match := _NAME.match(one))}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_locked_line_is_a_version_with_hashes(lock: Path) -> None:
    assert lines(lock)
    assert [line for line in lines(lock) if not _PIN.fullmatch(line)] == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_lock_contains_no_address_of_packages(lock: Path) -> None:
    text = lock.read_text()
    for address in ("://", "--index-url", "--extra-index-url", "--find-links", "--trusted-host", " /"):
        assert address not in text


def test_run_lock_contains_the_declared_dependencies_and_hatchling() -> None:
    assert declared() | {"hatchling"} <= {canonical(name) for name in pins(LOCKS[0])}


def test_dev_lock_contains_the_run_lock_at_the_same_versions() -> None:
    dev = pins(LOCKS[1])
    assert declared("dev") <= {canonical(name) for name in dev}
    assert pins(LOCKS[0]).items() <= dev.items()

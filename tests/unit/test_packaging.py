"""What travels in the wheel, and where the program finds it again."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from firsthour.runtime import package_files

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The files of a wheel built just now."""
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(out)]
    made = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    with zipfile.ZipFile(next(out.glob("*.whl"))) as wheel:
        return set(wheel.namelist())


def test_the_wheel_carries_the_migrations_and_the_examples(names: set[str]) -> None:
    for folder in (package_files.migrations(), package_files.examples()):
        carried = {
            str(path.relative_to(ROOT / "deploy")) for path in folder.rglob("*.*") if "__pycache__" not in path.parts
        }
        assert {f"firsthour/_data/{name}" for name in carried} <= names


def test_the_wheel_carries_no_tests_and_no_data(names: set[str]) -> None:
    rooms = {name.split("/")[0] for name in names}
    assert {room for room in rooms if not room.endswith(".dist-info")} == {"firsthour", "services", "schemas"}


def test_files_that_are_nowhere_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(package_files, "_PACKED", tmp_path / "packed")
    monkeypatch.setattr(package_files, "_REPOSITORY", tmp_path / "deploy")
    with pytest.raises(package_files.MissingFilesError, match="install FirstHour anew"):
        package_files.examples()

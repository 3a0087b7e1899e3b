"""The files of the wheel, and how the program finds them."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from firsthour.runtime import package_files

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Return the files of a new wheel."""
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(out)]
    result = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    with zipfile.ZipFile(next(out.glob("*.whl"))) as wheel:
        return set(wheel.namelist())


def test_wheel_contains_the_migrations_and_the_examples(names: set[str]) -> None:
    for folder in (package_files.migrations(), package_files.examples()):
        carried = {
            str(path.relative_to(ROOT / "deploy")) for path in folder.rglob("*.*") if "__pycache__" not in path.parts
        }
        assert {f"firsthour/_data/{name}" for name in carried} <= names


def test_wheel_contains_no_tests_and_no_data(names: set[str]) -> None:
    packages = {name.split("/")[0] for name in names}
    assert {package for package in packages if not package.endswith(".dist-info")} == {
        "firsthour",
        "services",
        "schemas",
    }


def test_missing_package_files_are_an_error_with_a_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(package_files, "_PACKED", tmp_path / "packed")
    monkeypatch.setattr(package_files, "_REPOSITORY", tmp_path / "deploy")
    with pytest.raises(package_files.MissingFilesError, match="install FirstHour anew"):
        package_files.examples()

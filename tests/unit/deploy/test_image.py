"""The image: its Dockerfile is checked, and its installation is run without a container."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.deploy.harness import (
    DOCKERFILE,
    PINNED_IMAGE,
    ROOT,
    VERSION,
    instructions,
    last_stage,
    run_tool,
    texts_of,
)

pytestmark = pytest.mark.slow


def copied_paths() -> list[str]:
    """Return the paths of the tree that the build copies."""
    return [word for rest in texts_of("COPY") if "--from" not in rest for word in rest.split()[:-1]]


def is_sent(path: str) -> bool:
    """Return whether Docker sends this path to the builder: the last matching line of .dockerignore decides."""
    included = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = re.escape(line.removeprefix("!")).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
        pattern = pattern.replace(r"\[", "[").replace(r"\]", "]")
        if re.match(rf"{pattern}(/|$)", path):
            included = line.startswith("!")
    return included


def test_dockerfile_passes_its_linter() -> None:
    result = run_tool("hadolint", "--no-color", str(DOCKERFILE))
    assert (result.returncode, result.stdout + result.stderr) == (0, "")


def test_every_stage_has_the_same_pinned_base_image() -> None:
    images = [rest.split(" AS ")[0] for rest in texts_of("FROM")]
    assert len(images) == 2
    assert len(set(images)) == 1
    assert PINNED_IMAGE.fullmatch(images[0])


def test_image_does_not_run_as_root() -> None:
    assert [rest for name, rest in last_stage() if name == "USER"] == ["10001:10001"]


def test_image_writes_only_to_the_data_volume() -> None:
    assert [json.loads(rest) for name, rest in last_stage() if name == "VOLUME"] == [["/data"]]
    assert "FIRSTHOUR_DATA_DIR=/data" in " ".join(rest for name, rest in last_stage() if name == "ENV")


def test_build_fetches_only_locked_packages() -> None:
    assert texts_of("ADD") == []
    assert re.search(r"\b(apt-get|curl|wget|git)\b", DOCKERFILE.read_text()) is None
    installs = [part for rest in texts_of("RUN") for part in rest.split("&&") if " install " in part and "pip" in part]
    assert len(installs) == 2
    assert all(("--require-hashes" in one) != ("--no-deps" in one) for one in installs)


def test_copied_paths_exist_and_are_sent_to_the_builder() -> None:
    for path in copied_paths():
        assert (ROOT / path).exists(), path
        assert is_sent(path), path
    assert is_sent("firsthour/runtime/settings.py")


@pytest.mark.parametrize(
    "path",
    [
        ".git",
        ".venv/bin/python",
        "tests/unit",
        "data/firsthour.db",
        "config/team.yaml",
        ".env",
        "deploy/secrets/admin_key",
        "devtools/kafka.py",
        "services/__pycache__/compose.cpython-311.pyc",
        "requirements/dev.txt",
        "services/old.pyc",
    ],
)
def test_private_and_generated_files_are_not_sent_to_the_builder(path: str) -> None:
    assert not is_sent(path)


def test_no_shell_is_between_a_signal_and_the_program() -> None:
    assert [json.loads(rest) for rest in texts_of("ENTRYPOINT")] == [["firsthour"]]
    assert all(isinstance(json.loads(rest), list) for rest in texts_of("CMD"))
    assert texts_of("STOPSIGNAL") == ["SIGTERM"]


def test_label_contains_the_version() -> None:
    assert f'org.opencontainers.image.version="{VERSION}"' in texts_of("LABEL")[0]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_installation_of_the_image_runs_and_contains_no_installer(tmp_path: Path) -> None:
    source, target = tmp_path / "src", tmp_path / "firsthour"
    for path in copied_paths():
        into = source / path
        into.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / path).is_dir():
            shutil.copytree(
                ROOT / path, into, ignore=lambda _, names: [name for name in names if name == "__pycache__"]
            )
        else:
            shutil.copy(ROOT / path, into)
    build = instructions()[: -len(last_stage())]
    environment = {**os.environ, "PIP_NO_COMPILE": "1"}  # half of the time; only what the program imports is compiled
    for line in (rest for name, rest in build if name == "RUN"):
        line = line.replace("/opt/firsthour", str(target)).replace("python -m", f"{shlex.quote(sys.executable)} -m")
        result = subprocess.run(
            ["sh", "-ec", line], cwd=source, env=environment, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, (line, result.stdout[-2000:], result.stderr[-2000:])
    program = [str(target / "bin" / "firsthour")]
    version = subprocess.run([*program, "--version"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert version.stdout == f"firsthour {VERSION}\n"
    subprocess.run([*program, "init", "config"], cwd=tmp_path, capture_output=True, check=True)
    installed = {path.name.split("-")[0] for path in target.rglob("*.dist-info")}
    assert {"aiokafka", "asyncpg"} <= installed
    assert installed & {"pip", "setuptools", "wheel", "hatchling"} == set()

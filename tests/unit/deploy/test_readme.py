"""The commands and files of deploy/README.md and of the containers."""

import json
import re
import shlex
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from firsthour.cli.app import program
from tests.unit.deploy.harness import (
    COMPOSE,
    JOBS,
    SERVICES,
    compose_lines,
    readme_block,
    run_tool,
    texts_of,
    write_secrets,
)

pytestmark = pytest.mark.slow


def command_lines() -> list[str]:
    """Return every command line of FirstHour in the image, the compose file and the README."""
    plain = YAML(typ="safe", pure=True).load(COMPOSE.read_text())["services"]
    containers = [json.loads(rest) for rest in texts_of("CMD")] + [
        plain[name]["command"] for name in sorted(SERVICES | JOBS)
    ]
    readme = [match[1] for line in compose_lines() if (match := re.search(r" run --rm [a-z]+ (.+)", line))]
    return [*(shlex.join(words) for words in containers), *readme]


@pytest.mark.parametrize("command", command_lines())
def test_every_command_line_is_valid(command: str) -> None:
    result = CliRunner().invoke(program(), [*shlex.split(command), "--help"])
    assert result.exit_code == 0, result.output


def test_readme_creates_the_secrets_of_the_compose_file(model: dict[str, Any], tmp_path: Path) -> None:
    secrets = write_secrets(tmp_path)
    assert {path.name for path in secrets.iterdir()} == {Path(one["file"]).name for one in model["secrets"].values()}
    assert (stat.S_IMODE(secrets.stat().st_mode), {stat.S_IMODE(one.stat().st_mode) for one in secrets.iterdir()}) == (
        0o700,
        {0o444},
    )
    for role in SERVICES | JOBS:
        url, password = (secrets / f"database_{kind}_{role}" for kind in ("url", "password"))
        assert url.read_text().startswith(f"postgresql://firsthour_{role}:{password.read_text()}@postgres:5432/"), role
    assert len({path.read_text() for path in secrets.iterdir()}) == len(list(secrets.iterdir())), (
        "no password is used twice"
    )


@pytest.mark.parametrize("line", compose_lines())
def test_docker_commands_have_valid_options(line: str) -> None:
    before, command, after = re.split(r" (up|run|logs|build|down) ?", f"{line} ", maxsplit=1)
    result = run_tool("docker-compose", *shlex.split(before), command, "--help", *shlex.split(after))
    assert (result.returncode, "Usage:" in result.stdout) == (0, True), result.stderr


@pytest.mark.parametrize("line", compose_lines())
def test_docker_commands_name_existing_services(line: str, services: dict[str, dict[str, Any]]) -> None:
    named = set(re.findall(r"(?<=\s)([a-z]+)(?==\d)", line))
    if match := re.search(r" (?:up|build|logs|run) (.*)", line):
        words = [word for word in match[1].split() if not word.startswith("-") and "=" not in word]
        named |= set(words[:1] if " run " in line else words)
    assert named <= set(services)


def test_second_gateway_of_the_readme_has_its_own_volume_and_port(tmp_path: Path) -> None:
    shutil.copy(COMPOSE, tmp_path)
    (tmp_path / "ours.yaml").write_text(readme_block("ours.yaml"))
    files = [word for name in ("compose.yaml", "ours.yaml") for word in ("--file", str(tmp_path / name))]
    result = run_tool("docker-compose", *files, "config", "--format", "json")
    assert (result.returncode, result.stderr) == (0, "")
    whole = json.loads(result.stdout)["services"]
    first, second = whole["gateway"], whole["gateway-2"]
    assert (second["command"], second["image"]) == (first["command"], first["image"])
    for one in ("ports", "volumes"):
        assert len(second[one]) == len(first[one]) == 1
        assert second[one] != first[one]
    assert "FIRSTHOUR_SLACK_BOT_TOKEN_FILE" in whole["notifier"]["environment"]
    assert "FIRSTHOUR_DATABASE_URL_FILE" in whole["notifier"]["environment"]

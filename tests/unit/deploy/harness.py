"""The Dockerfile, the compose file and the README of deploy, as the tests read them."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"
DOCKERFILE = DEPLOY / "Dockerfile"
COMPOSE = DEPLOY / "compose.yaml"
README = DEPLOY / "README.md"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
IMAGE = f"firsthour:{VERSION}"
SERVICES = {"gateway", "scoring", "router", "notifier", "reporting"}
JOBS = {"migrate", "apply"}
PINNED_IMAGE = re.compile(r"[a-z0-9./-]+:v?\d+\.\d+[\w.-]*@sha256:[0-9a-f]{64}")

_FENCE = r"<!-- {} -->\n```\w+\n(.*?)^```"


def run_tool(name: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a tool of this Python environment, without the variables of FirstHour and Docker."""
    quiet = {n: v for n, v in os.environ.items() if not n.startswith(("FIRSTHOUR_", "COMPOSE_", "GATEWAY_"))}
    command = [str(Path(sys.executable).parent / name), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env={**quiet, **environment})


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile as (instruction, text), without comments and with joined lines. hadolint checks its syntax."""
    lines = (line for line in DOCKERFILE.read_text().splitlines() if not line.lstrip().startswith("#"))
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in joined.splitlines() if line.strip()]


def texts_of(name: str) -> list[str]:
    return [rest for instruction, rest in instructions() if instruction == name]


def last_stage() -> list[tuple[str, str]]:
    start = max(n for n, (name, _) in enumerate(instructions()) if name == "FROM")
    return instructions()[start:]


def compose_lines() -> list[str]:
    shell = re.findall(r"^docker compose (.+)$", README.read_text(), re.MULTILINE)
    return shell + re.findall(r"`docker compose ([^`]+)`", README.read_text())


def readme_block(name: str) -> str:
    match = re.search(_FENCE.format(re.escape(name)), README.read_text(), re.MULTILINE | re.DOTALL)
    assert match, f"deploy/README.md has no block {name}"
    return match[1]


def write_secrets(directory: Path) -> Path:
    """Run the commands of the README in this directory; return the directory of the secrets."""
    (directory / "deploy").mkdir()
    subprocess.run(["bash", "-euc", readme_block("secrets")], cwd=directory, check=True, capture_output=True)
    return directory / "deploy" / "secrets"

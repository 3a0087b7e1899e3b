"""The image and the compose file: judged by Docker's own reader, and what they run is run, without a container."""

import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from ruamel.yaml import YAML

from firsthour.runtime import settings
from firsthour.runtime.storage import grants

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = DEPLOY / "Dockerfile"
COMPOSE = DEPLOY / "compose.yaml"
README = DEPLOY / "README.md"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
OURS = f"firsthour:{VERSION}"
SERVICES = {"gateway", "scoring", "router", "notifier", "reporting"}
JOBS = {"migrate", "apply"}

_PINNED = re.compile(r"[a-z0-9./-]+:v?\d+\.\d+[\w.-]*@sha256:[0-9a-f]{64}")
_FENCE = r"<!-- {} -->\n```\w+\n(.*?)^```"


def tool(name: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A tool of this Python environment, run where no variable of ours is set."""
    quiet = {n: v for n, v in os.environ.items() if not n.startswith(("FIRSTHOUR_", "COMPOSE_", "GATEWAY_"))}
    command = [str(Path(sys.executable).parent / name), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env={**quiet, **environment})


# --- the image ---------------------------------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile as (instruction, rest), comments gone and lines joined. Its syntax is hadolint's to judge."""
    lines = (line for line in DOCKERFILE.read_text().splitlines() if not line.lstrip().startswith("#"))
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in joined.splitlines() if line.strip()]


def told(name: str) -> list[str]:
    return [rest for instruction, rest in instructions() if instruction == name]


def last_stage() -> list[tuple[str, str]]:
    start = max(n for n, (name, _) in enumerate(instructions()) if name == "FROM")
    return instructions()[start:]


def copied() -> list[str]:
    """What the build takes from the tree."""
    return [word for rest in told("COPY") if "--from" not in rest for word in rest.split()[:-1]]


def sent(path: str) -> bool:
    """Whether Docker sends this path to the builder: the last line of .dockerignore that matches it or a parent decides."""
    answer = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = re.escape(line.removeprefix("!")).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
        pattern = pattern.replace(r"\[", "[").replace(r"\]", "]")
        if re.match(rf"{pattern}(/|$)", path):
            answer = line.startswith("!")
    return answer


def test_the_dockerfile_is_as_its_linter_wants_it() -> None:
    judged = tool("hadolint", "--no-color", str(DOCKERFILE))
    assert (judged.returncode, judged.stdout + judged.stderr) == (0, "")


def test_every_stage_stands_on_the_same_pinned_image() -> None:
    images = [rest.split(" AS ")[0] for rest in told("FROM")]
    assert len(images) == 2
    assert len(set(images)) == 1
    assert _PINNED.fullmatch(images[0])


def test_the_image_runs_as_somebody_who_is_not_root() -> None:
    assert [rest for name, rest in last_stage() if name == "USER"] == ["10001:10001"]


def test_the_image_writes_to_nothing_but_data() -> None:
    assert [json.loads(rest) for name, rest in last_stage() if name == "VOLUME"] == [["/data"]]
    assert "FIRSTHOUR_DATA_DIR=/data" in " ".join(rest for name, rest in last_stage() if name == "ENV")


def test_nothing_is_fetched_but_what_is_locked() -> None:
    assert told("ADD") == []
    assert re.search(r"\b(apt-get|curl|wget|git)\b", DOCKERFILE.read_text()) is None
    installs = [part for rest in told("RUN") for part in rest.split("&&") if " install " in part and "pip" in part]
    assert len(installs) == 2
    assert all(("--require-hashes" in one) != ("--no-deps" in one) for one in installs)


def test_what_is_copied_is_there_and_is_sent_to_the_builder() -> None:
    for path in copied():
        assert (ROOT / path).exists(), path
        assert sent(path), path
    assert sent("firsthour/runtime/settings.py")


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
def test_what_is_nobodys_business_stays_out_of_the_image(path: str) -> None:
    assert not sent(path)


def test_the_shell_stands_between_no_signal_and_the_program() -> None:
    assert [json.loads(rest) for rest in told("ENTRYPOINT")] == [["firsthour"]]
    assert all(isinstance(json.loads(rest), list) for rest in told("CMD"))
    assert told("STOPSIGNAL") == ["SIGTERM"]


def test_the_label_tells_the_version() -> None:
    assert f'org.opencontainers.image.version="{VERSION}"' in told("LABEL")[0]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_the_image_installs_runs_and_carries_no_tool_to_install_more(tmp_path: Path) -> None:
    source, target = tmp_path / "src", tmp_path / "firsthour"
    for path in copied():
        into = source / path
        into.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / path).is_dir():
            shutil.copytree(
                ROOT / path, into, ignore=lambda _, names: [name for name in names if name == "__pycache__"]
            )
        else:
            shutil.copy(ROOT / path, into)
    build = instructions()[: -len(last_stage())]
    for line in (rest for name, rest in build if name == "RUN"):
        line = line.replace("/opt/firsthour", str(target)).replace("python -m", f"{shlex.quote(sys.executable)} -m")
        made = subprocess.run(["sh", "-ec", line], cwd=source, capture_output=True, text=True, check=False)
        assert made.returncode == 0, (line, made.stdout[-2000:], made.stderr[-2000:])
    program = [str(target / "bin" / "firsthour")]
    said = subprocess.run([*program, "--version"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert said.stdout == f"firsthour {VERSION}\n"
    subprocess.run([*program, "init", "config"], cwd=tmp_path, capture_output=True, check=True)
    installed = {path.name.split("-")[0] for path in target.rglob("*.dist-info")}
    assert {"aiokafka", "asyncpg"} <= installed
    assert installed & {"pip", "setuptools", "wheel", "hatchling"} == set()


# --- health ------------------------------------------------------------------------------------------------------


@contextmanager
def answering(path: str, status: int) -> Iterator[int]:
    """A server on loopback that knows one path; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == path else 404)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def check(command: Sequence[str], port: int) -> int:
    """The exit code of a health check, asked at this port instead of 8080; a proxy of the environment leads nowhere."""
    assert command[0] == "python"
    words = [word.replace("8080", str(port)) for word in command[1:]]
    nowhere = {"HTTP_PROXY": "http://127.0.0.1:1", "http_proxy": "http://127.0.0.1:1"}
    asked = subprocess.run([sys.executable, *words], env=nowhere, capture_output=True, check=False, timeout=30)
    return asked.returncode


@pytest.fixture(scope="module")
def model() -> dict[str, Any]:
    """The compose file as Docker understands it: anchors, defaults and paths resolved."""
    read = tool("docker-compose", "--file", str(COMPOSE), "config", "--format", "json")
    assert (read.returncode, read.stderr) == (0, "")
    understood: dict[str, Any] = json.loads(read.stdout)
    return understood


@pytest.fixture(scope="module")
def services(model: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = model["services"]
    return found


@pytest.fixture(params=["image", "compose"])
def health(request: pytest.FixtureRequest, services: dict[str, dict[str, Any]]) -> list[str]:
    """The command of a health check."""
    if request.param == "image":
        return list(json.loads(told("HEALTHCHECK")[0].partition("CMD ")[2]))
    (command,) = {tuple(services[name]["healthcheck"]["test"][1:]) for name in SERVICES}
    return list(command)


def test_a_container_is_healthy_while_its_path_answers_200_and_not_otherwise(health: list[str]) -> None:
    path = health[-1]
    with answering(path, 200) as port:
        assert check(health, port) == 0
    assert check(health, port) == 1  # nobody listens there any more
    with answering(path, 503) as port:
        assert check(health, port) == 1
    with answering("/elsewhere", 200) as port:
        assert check(health, port) == 1


def test_the_image_asks_whether_it_lives_and_compose_whether_it_is_ready(services: dict[str, dict[str, Any]]) -> None:
    assert json.loads(told("HEALTHCHECK")[0].partition("CMD ")[2])[-1] == "/healthz"
    assert {services[name]["healthcheck"]["test"][-1] for name in SERVICES} == {"/readyz"}


# --- compose -----------------------------------------------------------------------------------------------------


def test_it_means_the_same_to_a_reader_of_yaml_1_2(services: dict[str, dict[str, Any]]) -> None:
    """`no` and `on` are words there, and truth values to others: whatever depends on it is quoted."""
    plain = YAML(typ="safe", pure=True).load(COMPOSE.read_text())["services"]
    assert set(plain) == set(services)
    for name, service in plain.items():
        assert service.get("restart") == services[name].get("restart"), name
        assert service.get("command") == services[name]["command"], name
        assert all(isinstance(value, str) for value in service["environment"].values()), name


def test_every_image_is_pinned_and_ours_is_built_from_this_tree(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        if name in SERVICES | JOBS:
            assert service["image"] == OURS
            assert Path(service["build"]["context"], service["build"]["dockerfile"]) == DOCKERFILE
        else:
            assert _PINNED.fullmatch(service["image"]), service["image"]


def test_every_setting_it_gives_is_one_of_ours(services: dict[str, dict[str, Any]]) -> None:
    known = {f"{settings.PREFIX}{name.upper()}" for name in settings.Settings.model_fields}
    files = {f"{settings.PREFIX}{name}_FILE".upper() for name in settings.secret_fields()}
    given = {name for one in SERVICES | JOBS for name in services[one]["environment"]}
    asked = set(re.findall(r"FIRSTHOUR_[A-Z_]+[A-Z]", COMPOSE.read_text()))
    assert given | asked <= known | files
    for name in SERVICES | JOBS:
        assert {"FIRSTHOUR_KAFKA_BOOTSTRAP", "FIRSTHOUR_DATABASE_URL_FILE"} <= set(services[name]["environment"]), name


def test_its_settings_are_accepted_by_the_program(
    services: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [name for name in os.environ if name.startswith(settings.PREFIX)]:
        monkeypatch.delenv(name)
    made = write_secrets(tmp_path)
    files = {secret["target"]: str(made / secret["source"]) for secret in services["gateway"]["secrets"]}
    for name, value in services["gateway"]["environment"].items():
        monkeypatch.setenv(name, files.get(value, value))
    known = settings.load()
    assert known.database_url is not None
    assert (known.kafka_bootstrap, known.warnings()) == ("kafka:9092", ())


def test_secrets_come_from_files_that_the_container_is_given(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        environment: dict[str, str] = service.get("environment", {})
        given = {secret["target"] for secret in service.get("secrets", ())}
        read = {value for value in environment.values() if value.startswith("/run/secrets/")}
        if name == "postgres":  # its script reads the passwords of the roles
            read |= {f"/run/secrets/database_password_{role}" for role in SERVICES | JOBS}
        assert read == given, name
        assert all("://" not in value or "@" not in value for value in environment.values()), name


def test_containers_can_do_and_write_as_little_as_possible(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not {"privileged", "cap_add", "pid", "ipc", "network_mode", "devices"} & set(service), name
        if name != "kafka":  # its image writes its configuration into itself at start
            assert service["read_only"] is True, name
            assert any(mount.startswith("/tmp:") for mount in service["tmpfs"]), name
        if name not in SERVICES | JOBS | {"kafka"}:  # those say in the image who they are
            assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"]), name


def test_only_the_gateway_keeps_something_and_each_volume_has_one_owner(services: dict[str, dict[str, Any]]) -> None:
    mounts = [
        (name, mount["source"], mount["target"])
        for name, service in services.items()
        for mount in service.get("volumes", ())
        if mount["type"] == "volume"
    ]
    assert ("gateway", "gateway", "/data") in mounts
    assert len({source for _, source, _ in mounts}) == len(mounts)
    for name in (SERVICES | JOBS) - {"gateway"}:
        assert any(mount.startswith("/data:") for mount in services[name]["tmpfs"]), name


def test_nothing_is_published_but_the_gateway_and_the_mails_both_on_loopback(
    services: dict[str, dict[str, Any]],
) -> None:
    published = {
        (name, port["host_ip"], port["target"])
        for name, service in services.items()
        for port in service.get("ports", ())
    }
    assert published == {("gateway", "127.0.0.1", 8080), ("mail", "127.0.0.1", 8025)}


def test_only_who_must_can_reach_the_world(model: dict[str, Any], services: dict[str, dict[str, Any]]) -> None:
    assert model["networks"]["inside"]["internal"] is True
    assert all("inside" in service["networks"] for service in services.values())
    assert {name for name, one in services.items() if "outside" in one["networks"]} == {"gateway", "notifier", "mail"}


def test_they_start_in_order_and_jobs_run_once(services: dict[str, dict[str, Any]]) -> None:
    waits = {
        name: {on: how["condition"] for on, how in one.get("depends_on", {}).items()} for name, one in services.items()
    }
    done, healthy = "service_completed_successfully", "service_healthy"
    assert waits["migrate"] == {"kafka": healthy, "postgres": healthy}
    assert waits["apply"] == {"migrate": done}
    assert all(waits[name] == {"apply": done} for name in SERVICES)
    assert {services[name]["restart"] for name in JOBS} == {"no"}
    assert {one["restart"] for name, one in services.items() if name not in JOBS} == {"unless-stopped"}
    assert all("healthcheck" in service for service in services.values())


def test_a_service_is_given_longer_to_stop_than_it_takes(services: dict[str, dict[str, Any]]) -> None:
    assert {services[name]["stop_grace_period"] for name in SERVICES} == {"45s"}


def test_each_service_is_served_by_a_container_of_its_own(services: dict[str, dict[str, Any]]) -> None:
    for name in SERVICES:
        assert services[name]["command"][:2] == ["serve", name]
    assert {name for name in services if services[name]["image"] == OURS} == SERVICES | JOBS


def compose_lines() -> list[str]:
    shell = re.findall(r"^docker compose (.+)$", README.read_text(), re.MULTILINE)
    return shell + re.findall(r"`docker compose ([^`]+)`", README.read_text())


def commands() -> list[str]:
    """Every command line of ours in the image, the compose file and what the README has it run."""
    plain = YAML(typ="safe", pure=True).load(COMPOSE.read_text())["services"]
    given = [json.loads(rest) for rest in told("CMD")] + [plain[name]["command"] for name in sorted(SERVICES | JOBS)]
    ran = [found[1] for line in compose_lines() if (found := re.search(r" run --rm [a-z]+ (.+)", line))]
    return [*(shlex.join(words) for words in given), *ran]


@pytest.mark.parametrize("command", commands())
def test_every_command_line_is_one_that_the_program_knows(command: str) -> None:
    program = [sys.executable, "-m", "firsthour", *shlex.split(command), "--help"]
    asked = subprocess.run(program, capture_output=True, text=True, cwd=ROOT, check=False)
    assert asked.returncode == 0, asked.stderr


# --- what the README tells ---------------------------------------------------------------------------------------


def block(name: str) -> str:
    found = re.search(_FENCE.format(re.escape(name)), README.read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"deploy/README.md has no block {name}"
    return found[1]


def write_secrets(place: Path) -> Path:
    """Run the README's lines in `place`; the directory they make."""
    (place / "deploy").mkdir()
    subprocess.run(["bash", "-euc", block("secrets")], cwd=place, check=True, capture_output=True)
    return place / "deploy" / "secrets"


def test_the_secrets_it_makes_are_those_that_compose_hands_on(model: dict[str, Any], tmp_path: Path) -> None:
    made = write_secrets(tmp_path)
    assert {path.name for path in made.iterdir()} == {Path(one["file"]).name for one in model["secrets"].values()}
    assert (stat.S_IMODE(made.stat().st_mode), {stat.S_IMODE(one.stat().st_mode) for one in made.iterdir()}) == (
        0o700,
        {0o444},
    )
    for role in SERVICES | JOBS:
        url, password = (made / f"database_{what}_{role}" for what in ("url", "password"))
        assert url.read_text().startswith(f"postgresql://firsthour_{role}:{password.read_text()}@postgres:5432/"), role
    assert len({path.read_text() for path in made.iterdir()}) == len(list(made.iterdir())), "no password is used twice"


def test_each_service_has_a_role_of_its_own_and_the_gateway_alone_the_admin_key(
    services: dict[str, dict[str, Any]],
) -> None:
    for name in SERVICES | JOBS:
        given = {secret["source"] for secret in services[name]["secrets"]}
        assert given == {f"database_url_{name}", *(["admin_key"] if name == "gateway" else [])}, name
    mailing = {name for name, one in services.items() if "FIRSTHOUR_SMTP_URL" in one.get("environment", {})}
    assert mailing == {"notifier"}, "a mail server's address holds its password"


def test_every_container_is_bounded_in_memory_processors_and_processes(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert 0 < int(service["mem_limit"]) <= 2 << 30, name
        assert 0 < float(service["cpus"]) <= 2, name
        assert 0 < int(service["pids_limit"]) <= 512, name


def test_the_roles_that_the_script_makes_are_those_that_are_granted_something() -> None:
    script = (DEPLOY / "postgres" / "roles.sh").read_text()
    found = re.search(r"^for service in (.+); do$", script, re.MULTILINE)
    assert found is not None
    assert found[1].split() == ["migrate", grants.APPLY, *grants.SERVICES]
    assert os.access(DEPLOY / "postgres" / "roles.sh", os.X_OK)


@pytest.mark.parametrize("line", compose_lines())
def test_every_line_for_docker_has_options_that_it_knows(line: str) -> None:
    before, command, after = re.split(r" (up|run|logs|build|down) ?", f"{line} ", maxsplit=1)
    asked = tool("docker-compose", *shlex.split(before), command, "--help", *shlex.split(after))
    assert (asked.returncode, "Usage:" in asked.stdout) == (0, True), asked.stderr


@pytest.mark.parametrize("line", compose_lines())
def test_every_line_for_docker_names_services_that_are_there(line: str, services: dict[str, dict[str, Any]]) -> None:
    named = set(re.findall(r"(?<=\s)([a-z]+)(?==\d)", line))
    if found := re.search(r" (?:up|build|logs|run) (.*)", line):
        words = [word for word in found[1].split() if not word.startswith("-") and "=" not in word]
        named |= set(words[:1] if " run " in line else words)
    assert named <= set(services)


def test_the_second_gateway_it_describes_has_a_volume_and_a_port_of_its_own(tmp_path: Path) -> None:
    shutil.copy(COMPOSE, tmp_path)
    (tmp_path / "ours.yaml").write_text(block("ours.yaml"))
    files = [word for name in ("compose.yaml", "ours.yaml") for word in ("--file", str(tmp_path / name))]
    read = tool("docker-compose", *files, "config", "--format", "json")
    assert (read.returncode, read.stderr) == (0, "")
    whole = json.loads(read.stdout)["services"]
    first, second = whole["gateway"], whole["gateway-2"]
    assert (second["command"], second["image"]) == (first["command"], first["image"])
    for one in ("ports", "volumes"):
        assert len(second[one]) == len(first[one]) == 1
        assert second[one] != first[one]
    assert "FIRSTHOUR_SLACK_BOT_TOKEN_FILE" in whole["notifier"]["environment"]
    assert "FIRSTHOUR_DATABASE_URL_FILE" in whole["notifier"]["environment"]

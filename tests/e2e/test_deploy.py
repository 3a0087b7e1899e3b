"""The commands, settings and health checks of deploy/compose.yaml, run without containers."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from devtools.kafka import KafkaCluster
from devtools.postgres import PostgresServer
from tests import roles
from tests.e2e.processes import ROOT, end, environment, free_port, json_lines, spawn, until
from tests.shared import named

COMPOSE = ROOT / "deploy" / "compose.yaml"
SERVICES = ("gateway", "scoring", "router", "notifier", "reporting")
ADMIN = "compose-" + "k" * 40
DATABASE = named("compose_commands")
STOP_SECONDS = 30.0


def understood() -> dict[str, dict[str, Any]]:
    """The services of the compose file, as Docker reads it."""
    command = [
        str(Path(sys.executable).parent / "docker-compose"),
        "--file",
        str(COMPOSE),
        "config",
        "--format",
        "json",
    ]
    bare = {name: value for name, value in environment().items() if not name.startswith(("COMPOSE_", "GATEWAY_"))}
    read = subprocess.run(command, capture_output=True, text=True, check=True, env=bare)
    services: dict[str, dict[str, Any]] = json.loads(read.stdout)["services"]
    return services


@dataclass
class Containers:
    """The compose file's containers as processes. `here` says what a name inside of them is on this machine."""

    place: Path
    here: Mapping[str, str]
    services: dict[str, dict[str, Any]] = field(default_factory=understood)
    ports: dict[str, int] = field(default_factory=lambda: {name: free_port() for name in SERVICES})
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def settings(self, name: str) -> dict[str, str]:
        """A container's environment. Its /data is a directory of its own; brokers that others use get a prefix."""
        given = {
            variable: value.replace("/run/secrets", str(self.place / "secrets" / name))
            for variable, value in self.services[name]["environment"].items()
        }
        for inside, outside in self.here.items():
            given = {variable: value.replace(inside, outside) for variable, value in given.items()}
        ours = {"FIRSTHOUR_DATA_DIR": str(self.place / name), "FIRSTHOUR_KAFKA_PREFIX": f"compose-{os.getpid()}."}
        if "FIRSTHOUR_METRICS_PORT" in given:  # on this machine they share one address
            ours["FIRSTHOUR_METRICS_PORT"] = str(free_port())
        return {**environment(), **given, **ours}

    def command(self, name: str) -> list[str]:
        port = {"8080": str(self.ports.get(name, 0)), "0.0.0.0": "127.0.0.1"}
        return [port.get(word, word) for word in self.services[name]["command"]]

    def job(self, name: str) -> None:
        """Run to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "firsthour", *self.command(name)],
            cwd=ROOT,
            env=self.settings(name),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, (name, done.stdout, done.stderr)

    def start(self, name: str) -> None:
        said = self.place / f"{name}.said"
        self.running[name] = spawn(said, "firsthour", *self.command(name), env=self.settings(name))

    def said(self, name: str) -> str:
        """The output of the container."""
        return (self.place / f"{name}.said").read_text(errors="replace")

    def healthy(self, name: str) -> bool:
        """Return whether the health check of the container succeeds."""
        assert self.running[name].poll() is None, (name, self.said(name)[-4000:])
        words = [word.replace("8080", str(self.ports[name])) for word in self.services[name]["healthcheck"]["test"][2:]]
        return subprocess.run([sys.executable, *words], capture_output=True, check=False).returncode == 0


@pytest.fixture
def mails(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A mail catcher: its port, and the file of what it caught."""
    port, record = free_port(), tmp_path / "mails.jsonl"
    catcher = spawn(tmp_path / "mail.said", "tests.fakes.smtp", "--port", str(port), "--record", str(record))
    try:
        yield port, record
    finally:
        end(catcher)


@pytest.fixture
def containers(
    tmp_path: Path, kafka: KafkaCluster, postgres: PostgresServer, mails: tuple[int, Path]
) -> Iterator[Containers]:
    config = shutil.copytree(ROOT / "deploy" / "examples", tmp_path / "config")
    agreement = (config / "agreement.yaml").read_text()
    (config / "agreement.yaml").write_text(agreement.replace("by: [inbox]", "by: [email, inbox]"))
    here = {
        "kafka:9092": kafka.bootstrap,
        "mail:1025": f"127.0.0.1:{mails[0]}",
        "/config": str(config),
    }
    made = Containers(tmp_path, here)
    passwords = tmp_path / "passwords"
    passwords.mkdir()
    with roles.create_roles(postgres, DATABASE, passwords) as urls:
        for name, url in urls.items():  # each container has the URL of its own role, and the gateway alone the key
            (tmp_path / "secrets" / name).mkdir(parents=True)
            (tmp_path / "secrets" / name / "database_url").write_text(url)
        (tmp_path / "secrets" / "gateway" / "admin_key").write_text(f"{ADMIN}\n")
        try:
            yield made
        finally:
            for process in made.running.values():
                end(process)


@pytest.mark.timeout(240)
def test_containers_of_compose_turn_a_form_into_an_owned_lead_and_a_mail(
    containers: Containers, mails: tuple[int, Path]
) -> None:
    containers.start("router")  # before the tables are there: it waits, and says for what
    until(lambda: "run `firsthour migrate`" in containers.said("router"), 60.0, "the router waits for the tables")
    for job in ("migrate", "apply"):
        containers.job(job)
    for name in SERVICES:
        if name != "router":
            containers.start(name)
    for name in SERVICES:
        until(lambda name=name: containers.healthy(name), 60.0, f"{name} is healthy")  # type: ignore[misc]  # bound now

    url, who = f"http://127.0.0.1:{containers.ports['gateway']}", "ana@acme.example"
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {ADMIN}"}, trust_env=False) as client:
        said = {"email": who, "name": "Ana", "company": "Acme", "employees": "400", "title": "CEO"}
        assert client.post("/v1/forms/demo-request", data=said).status_code == 202

        def owned() -> bool:
            items = client.get("/v1/leads", params={"email": who}).json()["items"]
            return bool(items) and items[0]["owner"] is not None

        until(owned, 30.0, "the lead has an owner")
    until(lambda: bool(json_lines(mails[1])), 30.0, "its owner has a mail")
    for name in SERVICES:
        lines = containers.said(name)
        assert "Traceback" not in lines, (name, lines[-4000:])
        for trouble in ("lacks a right", "storage unavailable", "tick failed", "runner crashed"):
            assert trouble not in lines, (name, lines[-4000:])

    for process in containers.running.values():
        process.send_signal(signal.SIGTERM)
    ends = {name: process.wait(STOP_SECONDS) for name, process in containers.running.items()}
    assert ends == dict.fromkeys(SERVICES, 0)

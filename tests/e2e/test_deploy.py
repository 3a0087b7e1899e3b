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


def compose_services() -> dict[str, dict[str, Any]]:
    """Return the services of the compose file as `docker-compose` reads them."""
    command = [
        str(Path(sys.executable).parent / "docker-compose"),
        "--file",
        str(COMPOSE),
        "config",
        "--format",
        "json",
    ]
    env = {name: value for name, value in environment().items() if not name.startswith(("COMPOSE_", "GATEWAY_"))}
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    services: dict[str, dict[str, Any]] = json.loads(result.stdout)["services"]
    return services


@dataclass
class Containers:
    """The containers of the compose file as processes. `addresses`: by names inside a container, those on this machine."""

    directory: Path
    addresses: Mapping[str, str]
    services: dict[str, dict[str, Any]] = field(default_factory=compose_services)
    ports: dict[str, int] = field(default_factory=lambda: {name: free_port() for name in SERVICES})
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def settings(self, name: str) -> dict[str, str]:
        """Return the environment of a container, with its own data directory and its own topics on the shared broker."""
        variables = {
            variable: value.replace("/run/secrets", str(self.directory / "secrets" / name))
            for variable, value in self.services[name]["environment"].items()
        }
        for inside, outside in self.addresses.items():
            variables = {variable: value.replace(inside, outside) for variable, value in variables.items()}
        own = {"FIRSTHOUR_DATA_DIR": str(self.directory / name), "FIRSTHOUR_KAFKA_PREFIX": f"compose-{os.getpid()}."}
        if "FIRSTHOUR_METRICS_PORT" in variables:  # all processes share the address of this machine
            own["FIRSTHOUR_METRICS_PORT"] = str(free_port())
        return {**environment(), **variables, **own}

    def command(self, name: str) -> list[str]:
        port = {"8080": str(self.ports.get(name, 0)), "0.0.0.0": "127.0.0.1"}
        return [port.get(word, word) for word in self.services[name]["command"]]

    def run_job(self, name: str) -> None:
        """Run a container until it ends. Raises `AssertionError` if it fails."""
        result = subprocess.run(
            [sys.executable, "-m", "firsthour", *self.command(name)],
            cwd=ROOT,
            env=self.settings(name),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert result.returncode == 0, (name, result.stdout, result.stderr)

    def start(self, name: str) -> None:
        output = self.directory / f"{name}.output"
        self.running[name] = spawn(output, "firsthour", *self.command(name), env=self.settings(name))

    def output(self, name: str) -> str:
        """Return the output of the container."""
        return (self.directory / f"{name}.output").read_text(errors="replace")

    def healthy(self, name: str) -> bool:
        """Return whether the health check of the container succeeds."""
        assert self.running[name].poll() is None, (name, self.output(name)[-4000:])
        test = self.services[name]["healthcheck"]["test"][2:]
        arguments = [word.replace("8080", str(self.ports[name])) for word in test]
        return subprocess.run([sys.executable, *arguments], capture_output=True, check=False).returncode == 0


@pytest.fixture
def mails(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """Run a fake mail server. Yield its port, and the file of the mails that it received."""
    port, record = free_port(), tmp_path / "mails.jsonl"
    server = spawn(tmp_path / "mail.output", "tests.fakes.smtp", "--port", str(port), "--record", str(record))
    try:
        yield port, record
    finally:
        end(server)


@pytest.fixture
def containers(
    tmp_path: Path, kafka: KafkaCluster, postgres: PostgresServer, mails: tuple[int, Path]
) -> Iterator[Containers]:
    config = shutil.copytree(ROOT / "deploy" / "examples", tmp_path / "config")
    agreement = (config / "agreement.yaml").read_text()
    (config / "agreement.yaml").write_text(agreement.replace("by: [inbox]", "by: [email, inbox]"))
    addresses = {
        "kafka:9092": kafka.bootstrap,
        "mail:1025": f"127.0.0.1:{mails[0]}",
        "/config": str(config),
    }
    system = Containers(tmp_path, addresses)
    passwords = tmp_path / "passwords"
    passwords.mkdir()
    with roles.create_roles(postgres, DATABASE, passwords) as urls:
        for name, url in urls.items():  # each container has the URL of its own role; only the gateway has the key
            (tmp_path / "secrets" / name).mkdir(parents=True)
            (tmp_path / "secrets" / name / "database_url").write_text(url)
        (tmp_path / "secrets" / "gateway" / "admin_key").write_text(f"{ADMIN}\n")
        try:
            yield system
        finally:
            for process in system.running.values():
                end(process)


@pytest.mark.timeout(240)
def test_containers_of_compose_turn_a_form_into_an_owned_lead_and_a_mail(
    containers: Containers, mails: tuple[int, Path]
) -> None:
    containers.start("router")  # the tables do not exist: it waits, and names the command
    until(lambda: "run `firsthour migrate`" in containers.output("router"), 60.0, "the router waits for the tables")
    for job in ("migrate", "apply"):
        containers.run_job(job)
    for name in SERVICES:
        if name != "router":
            containers.start(name)
    for name in SERVICES:
        until(lambda name=name: containers.healthy(name), 60.0, f"{name} is healthy")  # type: ignore[misc]  # bound now

    url, email = f"http://127.0.0.1:{containers.ports['gateway']}", "ana@acme.example"
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {ADMIN}"}, trust_env=False) as client:
        form = {"email": email, "name": "Ana", "company": "Acme", "employees": "400", "title": "CEO"}
        assert client.post("/v1/forms/demo-request", data=form).status_code == 202

        def has_owner() -> bool:
            items = client.get("/v1/leads", params={"email": email}).json()["items"]
            return bool(items) and items[0]["owner"] is not None

        until(has_owner, 30.0, "the lead has an owner")
    until(lambda: bool(json_lines(mails[1])), 30.0, "the owner has a mail")
    for name in SERVICES:
        output = containers.output(name)
        assert "Traceback" not in output, (name, output[-4000:])
        for event in ("lacks a right", "storage unavailable", "tick failed", "runner crashed"):
            assert event not in output, (name, output[-4000:])

    for process in containers.running.values():
        process.send_signal(signal.SIGTERM)
    codes = {name: process.wait(STOP_SECONDS) for name, process in containers.running.items()}
    assert codes == dict.fromkeys(SERVICES, 0)

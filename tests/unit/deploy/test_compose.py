"""The compose file, as Docker itself reads it."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from firsthour.runtime import settings
from firsthour.runtime.storage import grants
from tests.unit.deploy.harness import (
    COMPOSE,
    DEPLOY,
    DOCKERFILE,
    IMAGE,
    JOBS,
    PINNED_IMAGE,
    SERVICES,
    write_secrets,
)

pytestmark = pytest.mark.slow


def test_compose_file_means_the_same_in_yaml_1_2(services: dict[str, dict[str, Any]]) -> None:
    """`no` and `on` are strings in YAML 1.2, and booleans in YAML 1.1: such values must be quoted."""
    plain = YAML(typ="safe", pure=True).load(COMPOSE.read_text())["services"]
    assert set(plain) == set(services)
    for name, service in plain.items():
        assert service.get("restart") == services[name].get("restart"), name
        assert service.get("command") == services[name]["command"], name
        assert all(isinstance(value, str) for value in service["environment"].values()), name


def test_images_are_pinned_and_ours_is_built_from_this_tree(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        if name in SERVICES | JOBS:
            assert service["image"] == IMAGE
            assert Path(service["build"]["context"], service["build"]["dockerfile"]) == DOCKERFILE
        else:
            assert PINNED_IMAGE.fullmatch(service["image"]), service["image"]


def test_every_setting_of_the_compose_file_exists(services: dict[str, dict[str, Any]]) -> None:
    variables = {f"{settings.PREFIX}{name.upper()}" for name in settings.Settings.model_fields}
    files = {f"{settings.PREFIX}{name}_FILE".upper() for name in settings.secret_fields()}
    environments = {name for one in SERVICES | JOBS for name in services[one]["environment"]}
    mentions = set(re.findall(r"FIRSTHOUR_[A-Z_]+[A-Z]", COMPOSE.read_text()))
    assert environments | mentions <= variables | files
    for name in SERVICES | JOBS:
        assert {"FIRSTHOUR_KAFKA_BOOTSTRAP", "FIRSTHOUR_DATABASE_URL_FILE"} <= set(services[name]["environment"]), name


def test_settings_of_the_compose_file_are_valid(
    services: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [name for name in os.environ if name.startswith(settings.PREFIX)]:
        monkeypatch.delenv(name)
    secrets = write_secrets(tmp_path)
    files = {secret["target"]: str(secrets / secret["source"]) for secret in services["gateway"]["secrets"]}
    for name, value in services["gateway"]["environment"].items():
        monkeypatch.setenv(name, files.get(value, value))
    loaded = settings.load()
    assert loaded.database_url is not None
    assert (loaded.kafka_bootstrap, loaded.warnings()) == ("kafka:9092", ())


def test_secrets_are_read_from_files_that_the_container_gets(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        environment: dict[str, str] = service.get("environment", {})
        files = {secret["target"] for secret in service.get("secrets", ())}
        read = {value for value in environment.values() if value.startswith("/run/secrets/")}
        if name == "postgres":  # its script reads the passwords of the roles
            read |= {f"/run/secrets/database_password_{role}" for role in SERVICES | JOBS}
        assert read == files, name
        assert all("://" not in value or "@" not in value for value in environment.values()), name


def test_containers_have_no_capability_and_a_read_only_root(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not {"privileged", "cap_add", "pid", "ipc", "network_mode", "devices"} & set(service), name
        if name != "kafka":  # its image writes its own configuration at start
            assert service["read_only"] is True, name
            assert any(mount.startswith("/tmp:") for mount in service["tmpfs"]), name
        if name not in SERVICES | JOBS | {"kafka"}:  # the images of these set the user
            assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"]), name


def test_only_the_gateway_has_a_data_volume_and_no_volume_is_shared(services: dict[str, dict[str, Any]]) -> None:
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


def test_only_gateway_and_mails_are_published_on_loopback(
    services: dict[str, dict[str, Any]],
) -> None:
    published = {
        (name, port["host_ip"], port["target"])
        for name, service in services.items()
        for port in service.get("ports", ())
    }
    assert published == {("gateway", "127.0.0.1", 8080), ("mail", "127.0.0.1", 8025)}


def test_only_gateway_notifier_and_mail_reach_the_outside_network(
    model: dict[str, Any], services: dict[str, dict[str, Any]]
) -> None:
    assert model["networks"]["inside"]["internal"] is True
    assert all("inside" in service["networks"] for service in services.values())
    assert {name for name, one in services.items() if "outside" in one["networks"]} == {"gateway", "notifier", "mail"}


def test_services_start_after_the_jobs_and_jobs_run_once(services: dict[str, dict[str, Any]]) -> None:
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


def test_services_have_45_seconds_to_stop(services: dict[str, dict[str, Any]]) -> None:
    assert {services[name]["stop_grace_period"] for name in SERVICES} == {"45s"}


def test_each_service_has_its_own_container(services: dict[str, dict[str, Any]]) -> None:
    for name in SERVICES:
        assert services[name]["command"][:2] == ["serve", name]
    assert {name for name in services if services[name]["image"] == IMAGE} == SERVICES | JOBS


def test_each_service_has_its_own_role_and_only_the_gateway_the_admin_key(
    services: dict[str, dict[str, Any]],
) -> None:
    for name in SERVICES | JOBS:
        secrets = {secret["source"] for secret in services[name]["secrets"]}
        assert secrets == {f"database_url_{name}", *(["admin_key"] if name == "gateway" else [])}, name
    mailing = {name for name, one in services.items() if "FIRSTHOUR_SMTP_URL" in one.get("environment", {})}
    assert mailing == {"notifier"}, "a mail server's address holds its password"


def test_containers_have_limits_of_memory_cpus_and_processes(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert 0 < int(service["mem_limit"]) <= 2 << 30, name
        assert 0 < float(service["cpus"]) <= 2, name
        assert 0 < int(service["pids_limit"]) <= 512, name


def test_script_creates_exactly_the_roles_with_grants() -> None:
    script = (DEPLOY / "postgres" / "roles.sh").read_text()
    match = re.search(r"^for service in (.+); do$", script, re.MULTILINE)
    assert match is not None
    assert match[1].split() == ["migrate", grants.APPLY, *grants.SERVICES]
    assert os.access(DEPLOY / "postgres" / "roles.sh", os.X_OK)

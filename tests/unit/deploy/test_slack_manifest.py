"""The manifest of the Slack app: what Slack accepts, and what the program answers."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from ruamel.yaml import YAML

from services.notifier.slack_desk import COMMANDS

MANIFEST = Path(__file__).parents[3] / "deploy" / "slack" / "manifest.yaml"
PATHS = {"/slack/commands", "/slack/interactions"}


@pytest.fixture
def manifest() -> dict[str, Any]:
    content: dict[str, Any] = YAML(typ="safe", pure=True).load(MANIFEST.read_text())
    return content


def test_manifest_has_the_sections_and_lengths_that_slack_accepts(manifest: dict[str, Any]) -> None:
    assert set(manifest) == {"display_information", "features", "oauth_config", "settings"}
    about = manifest["display_information"]
    assert len(about["name"]) <= 35
    assert len(about["description"]) <= 140
    assert set(manifest["features"]) == {"app_home", "bot_user", "slash_commands"}
    assert len(manifest["features"]["bot_user"]["display_name"]) <= 80
    for command in manifest["features"]["slash_commands"]:
        assert set(command) <= {"command", "url", "description", "usage_hint", "should_escape"}
        assert len(command["command"]) <= 32
        assert len(command["description"]) <= 2_000
        assert len(command.get("usage_hint", "")) <= 1_000
    assert set(manifest["settings"]) <= {
        "interactivity",
        "org_deploy_enabled",
        "socket_mode_enabled",
        "token_rotation_enabled",
    }


def test_commands_and_addresses_are_those_of_the_program(manifest: dict[str, Any]) -> None:
    commands = manifest["features"]["slash_commands"]
    assert [command["command"] for command in commands] == [f"/{name}" for name in COMMANDS]
    urls = [*(command["url"] for command in commands), manifest["settings"]["interactivity"]["request_url"]]
    assert {urlsplit(url).path for url in urls} == PATHS
    assert {urlsplit(url)[:2] for url in urls} == {("https", "firsthour.example.com")}
    assert "firsthour.example.com by the host" in MANIFEST.read_text()


def test_scopes_are_the_ones_in_use(manifest: dict[str, Any]) -> None:
    assert manifest["oauth_config"] == {"scopes": {"bot": ["chat:write", "commands", "channels:read", "groups:read"]}}

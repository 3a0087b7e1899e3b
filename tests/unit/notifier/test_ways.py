"""The channels of the agreement: their secrets come from the environment, and a missing one is named."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from firsthour.kernel.config import Config
from firsthour.runtime import settings
from schemas.agreement.agreement import Agreement
from services.notifier import ways as ways_module
from services.notifier.channels.base import Unusable
from services.notifier.channels.teams import TeamsChannel
from services.notifier.ways import Ways, problems
from tests.fakes.pages import page_message
from tests.hand_clock import HandClock
from tests.unit.notifier.harness import CONFIG, FakeChannel
from tests.unit.notifier.router_records import NINE

URL = "https://prod.logic.azure.example/workflows/1?sig=secret"


def with_channels(directory: Path = Path(), **channels: Any) -> Config:
    agreement = Agreement.model_validate({**CONFIG.agreement.model_dump(by_alias=True), "channels": channels})
    places = dict.fromkeys(channels, ("agreement.yaml", 9, 3))
    return dataclasses.replace(CONFIG, agreement=agreement, directory=directory, channel_places=places)


TEAMS = with_channels(teams={"kind": "teams", "url": {"env": "TEAMS_URL"}})


@pytest.fixture
def ways() -> Ways:
    return Ways({"slack": FakeChannel("slack")}, settings.load(), HandClock(NINE).real)


@pytest.mark.parametrize(
    ("environment", "mistake"),
    [
        ({}, "the environment variable TEAMS_URL is not set; set it to the secret"),
        ({"TEAMS_URL": "no address"}, "the value of TEAMS_URL is not such an address; copy the URL again"),
        (
            {"TEAMS_URL": "https://a..example/"},
            "the value of TEAMS_URL is no URL that can be called; copy the URL again",
        ),
        ({"TEAMS_URL": "http://x.example/"}, "the URL in TEAMS_URL is plain http; give one that begins with https://"),
        ({"TEAMS_URL_FILE": "/nowhere/url"}, "the secret file /nowhere/url cannot be read (FileNotFoundError)"),
    ],
)
async def test_channel_without_a_usable_secret_is_named_and_unusable(
    ways: Ways, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], mistake: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    [problem] = problems(TEAMS, environment, settings.load())
    assert problem.startswith(f"agreement.yaml:9:3: nothing is sent over teams: {mistake}")
    channel = ways.get("teams", TEAMS)
    assert channel is not None
    outcome = await channel.send(page_message())
    assert isinstance(outcome, Unusable)
    assert outcome.why.startswith(f"teams: {mistake}")
    assert "no address" not in problem, "a value is never shown"


def test_library_is_loaded_before_the_first_page_that_needs_it(ways: Ways, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[bool] = []
    monkeypatch.setattr(ways_module, "loading", lambda: begun.append(True))
    ways.prepare(TEAMS)
    assert begun == []
    ways.prepare(with_channels(sms={"kind": "apprise", "url": {"env": "SMS_URL"}}))
    assert begun == [True]


def test_file_with_a_secret_is_read_again_after_it_changed(
    ways: Ways, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TEAMS_URL_FILE", str(tmp_path / "url"))
    assert not isinstance(ways.get("teams", TEAMS), TeamsChannel)
    (tmp_path / "url").write_text(URL + "\n")
    first = ways.get("teams", TEAMS)
    assert isinstance(first, TeamsChannel)
    assert ways.get("teams", TEAMS) is first
    (tmp_path / "url").write_text(URL + "2\n")
    assert ways.get("teams", TEAMS) is not first


def test_secret_of_a_file_beside_the_agreement_is_read(ways: Ways, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(URL)
    config = with_channels(tmp_path, teams={"kind": "teams", "url": {"file": "url"}})
    assert list(problems(config, {}, settings.load())) == []
    assert isinstance(ways.get("teams", config), TeamsChannel)


def test_channel_ends_with_its_name_in_the_agreement(ways: Ways) -> None:
    assert ways.get("teams", TEAMS) is not None
    assert ways.get("teams", CONFIG) is None
    assert ways.get("slack", CONFIG) is ways.built_in["slack"]

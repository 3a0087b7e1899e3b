"""Settings and variables of the environment take effect in a whole system, on either profile."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from firsthour.cli.init import write_examples
from tests.backends import Backends
from tests.contract.systems import OpenedSystem, client_of, opened

SOURCES = """sources:
  - id: website
    kind: form
    forms: [demo-request]
    allowed_origins: []
  - id: partner
    kind: webhook
    verify: {scheme: standard-webhooks, secrets: [{env: PARTNER_SECRET}]}
    events:
      - {type: custom.ping, email: email}
"""
pytestmark = pytest.mark.parametrize("profile", ["embedded", "distributed"], indirect=True)


async def warnings_of(world: OpenedSystem) -> str:
    """Return the warnings of `/readyz`."""
    return "\n".join((await world.client.get("/readyz")).json()["warnings"])


# --- dead letters -----------------------------------------------------------------------------------------------------


async def test_dead_letters_go_after_the_days_of_the_setting(
    tmp_path: Path, profile: Backends | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIRSTHOUR_DEADLETTER_DAYS", "3")
    async with opened(tmp_path / "data", profile) as world:
        assert "dead_letter" in (await world.client.post("/v1/events", json={"id": "1", "type": "nonsense"})).json()
        for days, count in ((2, 1), (2, 0)):
            world.clock.advance(days=days)
            await world.system.settle()
            assert await world.rows("SELECT count(*) FROM dead_letters") == [(count,)]


# --- clocks of senders ------------------------------------------------------------------------------------------------


async def touch_by_event(world: OpenedSystem, at: str) -> None:
    """Post a touch as an event."""
    data = {"channel": "phone", "answered": True}
    event = {"id": "t", "type": "touch.recorded", "time": at, "email": "ada@acme.example", "data": data}
    assert (await world.client.post("/v1/events", json=event)).status_code == 202


async def touch_by_action(world: OpenedSystem, at: str) -> None:
    """Post a touch as an action of a manager."""
    body = {"channel": "phone", "answered": True, "at": at}
    lead = (await world.lead("ada"))["id"]
    assert (await world.client.post(f"/v1/leads/{lead}/touch", json=body)).status_code == 200


@pytest.mark.parametrize("touch", [touch_by_event, touch_by_action])
@pytest.mark.parametrize(("tolerance", "state"), [("60", "live"), ("900", "met")])
async def test_a_touch_before_the_submit_counts_within_the_tolerance_of_the_setting(
    tmp_path: Path, profile: Backends | None, monkeypatch: pytest.MonkeyPatch, touch: Any, tolerance: str, state: str
) -> None:
    monkeypatch.setenv("FIRSTHOUR_CLOCK_SKEW_SECONDS", tolerance)
    async with opened(tmp_path / "data", profile) as world:
        await world.asks("ada")
        await world.system.settle()
        await touch(world, (world.clock.business() - timedelta(minutes=10)).isoformat())
        await world.system.settle()
        assert (await world.lead("ada"))["clock"]["state"] == state


# --- keys -------------------------------------------------------------------------------------------------------------


async def test_keys_hold_no_longer_than_the_setting_and_readiness_says_so(
    tmp_path: Path, profile: Backends | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIRSTHOUR_KEYS_AGE_SECONDS_MAX", "100")
    async with opened(tmp_path / "data", profile) as world:
        key = (await world.client.post("/v1/keys", json={"role": "sales", "name": "x"})).json()
        async with client_of(world.system) as other:
            other.headers["authorization"] = f"Bearer {key['key']}"
            assert (await other.get("/v1/leads")).status_code == 200
            assert "keys" not in await warnings_of(world)
            world.clock.advance(seconds=99)
            assert (await other.get("/v1/leads")).status_code == 200
            assert "keys were read 99 s ago: a key that was revoked since is still accepted" in await warnings_of(world)
            world.clock.advance(seconds=2)
            assert (await other.get("/v1/leads")).status_code == 503
            assert "stored keys are too old (read 101 s ago)" in await warnings_of(world)


# --- secrets of sources -----------------------------------------------------------------------------------------------


async def test_readiness_names_a_variable_of_a_secret_that_is_not_set(
    tmp_path: Path, profile: Backends | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PARTNER_SECRET", raising=False)
    write_examples(tmp_path / "config")
    (tmp_path / "config" / "sources.yaml").write_text(SOURCES)
    async with opened(tmp_path / "data", profile, config=tmp_path / "config") as world:
        assert "the environment variable PARTNER_SECRET is not set" in await warnings_of(world)
        monkeypatch.setenv("PARTNER_SECRET", "whsec_c2l4dGVlbiBieXRlcyBvciBtb3Jl")
        assert "PARTNER_SECRET" not in await warnings_of(world)

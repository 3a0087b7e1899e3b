"""The warnings that `up` prints at start."""

import os
from email.message import EmailMessage
from typing import Any

import pytest

from firsthour.cli.running_server import Running
from firsthour.cli.up import Serving, Up, with_address
from firsthour.runtime.http.server import StopSignal
from firsthour.runtime.settings import load
from tests.unit.operations.harness import OperationsHarness

SOURCES = """sources:
  - id: partner
    kind: webhook
    verify: {scheme: standard-webhooks, secrets: [{env: PARTNER_SECRET}]}
    events:
      - {type: custom.ping, email: email}
"""


async def warnings_of(harness: OperationsHarness, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the warnings that are printed."""
    up = Up(harness.system.resources.settings, "127.0.0.1", 0, 1.0, feed=False, demo=False)
    me = Running(os.getpid(), "http://127.0.0.1:1", "token")
    await Serving(up, harness.system, me, StopSignal()).started()
    lines = capsys.readouterr().out.splitlines()
    return [line.removeprefix("warning: ") for line in lines if line.startswith("warning: ")]


async def reopened(harness: OperationsHarness, name: str, text: str) -> None:
    """Open the installation again, with another text in this file."""
    await harness.close()
    (harness.place / "config" / name).write_text(text)
    await harness.open()


async def test_sound_installation_starts_without_a_warning(
    harness: OperationsHarness, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EmailMessage, "as_bytes", lambda *_, **__: b"Subject: a\r\n\r\n")
    assert await warnings_of(harness, capsys) == []


async def test_misspelt_variable_is_named(
    harness: OperationsHarness, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIRSTHOUR_SMTP_ULR", "smtp://mail:25")
    assert "`FIRSTHOUR_SMTP_ULR` is not a setting and has no effect; did you mean FIRSTHOUR_SMTP_URL?" in (
        await warnings_of(harness, capsys)
    )


async def test_data_directory_open_to_other_users_is_named(
    harness: OperationsHarness, capsys: pytest.CaptureFixture[str]
) -> None:
    data = harness.place / "data"
    data.chmod(0o755)
    [warning] = [line for line in await warnings_of(harness, capsys) if "chmod 700" in line]
    assert str(data) in warning


async def test_unset_variable_of_a_secret_is_named(
    harness: OperationsHarness, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PARTNER_SECRET", raising=False)
    await reopened(harness, "sources.yaml", SOURCES)
    [warning] = [line for line in await warnings_of(harness, capsys) if "PARTNER_SECRET is not set" in line]
    assert "sources.yaml:4:" in warning


async def test_ladder_channel_that_is_not_set_up_is_named(
    harness: OperationsHarness, capsys: pytest.CaptureFixture[str]
) -> None:
    agreement = (harness.place / "config" / "agreement.yaml").read_text()
    await reopened(harness, "agreement.yaml", agreement.replace("by: [inbox]", "by: [email]"))
    warnings = await warnings_of(harness, capsys)
    [warning] = [line for line in warnings if "the ladder pages by email, which is not set up here" in line]
    assert "pages of rung 1, 2, 3 wait unsent" in warning


async def test_python_release_with_unsafe_mail_headers_is_named(
    harness: OperationsHarness, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def written(*_: Any, **__: Any) -> bytes:
        return b"Subject: a\r\nBcc: b@example.com\r\n\r\n"

    monkeypatch.setattr(EmailMessage, "as_bytes", written)
    [warning] = [line for line in await warnings_of(harness, capsys) if "Python" in line]
    assert "update to the newest release" in warning


def test_links_lead_to_the_port_in_use_unless_the_environment_names_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    assert with_address(load(), "http://127.0.0.1:9000").public_url == "http://127.0.0.1:9000"
    monkeypatch.setenv("FIRSTHOUR_PUBLIC_URL", "https://firsthour.example")
    assert with_address(load(), "http://127.0.0.1:9000").public_url == "https://firsthour.example"

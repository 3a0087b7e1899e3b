"""A process of the distributed profile does not start with a secret that cannot verify its source."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from firsthour.bootstrap.distributed import Distributed
from firsthour.bootstrap.process import Process
from firsthour.cli.init import write_examples
from firsthour.kernel.config import Config
from firsthour.runtime.config.reading import load
from firsthour.runtime.settings import load as settings

SOURCES = """sources:
  - id: partner
    kind: webhook
    verify: {scheme: standard-webhooks, secrets: [{env: PARTNER_SECRET}]}
"""


def process(*services: str) -> Process:
    return Process(settings(), services, "127.0.0.1", 0, lambda *_: {})


def knowing(config: Config) -> Distributed:
    return cast(Distributed, SimpleNamespace(config=SimpleNamespace(current=config), runners={}))


@pytest.fixture
def config(tmp_path: Path) -> Config:
    write_examples(tmp_path)
    (tmp_path / "sources.yaml").write_text(SOURCES)
    return load(tmp_path)


@pytest.mark.parametrize(
    ("secret", "services", "starts", "event"),
    [
        ("whsec_AA==", ("gateway",), False, "secret unusable"),
        ("", ("gateway",), True, "secret missing"),
        ("whsec_AA==", ("router", "scoring"), True, None),  # they are not given it
    ],
)
def test_gateway_ends_on_a_malformed_secret_and_warns_of_a_missing_one(
    config: Config,
    monkeypatch: pytest.MonkeyPatch,
    secret: str,
    services: tuple[str, ...],
    starts: bool,  # a column of the table
    event: str | None,
) -> None:
    monkeypatch.setenv("PARTNER_SECRET", secret)
    with capture_logs() as lines:
        assert process(*services).warned(knowing(config)) is starts
    events: list[Any] = [line["event"] for line in lines if line["event"].startswith("secret")]
    assert events == ([event] if event else [])
    assert "whsec_AA" not in str(lines)

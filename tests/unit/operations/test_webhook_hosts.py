"""The doctor looks up the hosts of webhooks and the services of `apprise`."""

import socket
from pathlib import Path

import pytest

from firsthour.operations.doctor.channel_checks import apprise, webhook
from firsthour.runtime.config.reading import load
from schemas.agreement.ways_out import AppriseWay

CONFIG = load(Path(__file__).parents[3] / "deploy" / "examples")
PUBLIC = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", 443))]


@pytest.mark.parametrize(
    ("url", "private", "state", "text"),
    [
        ("http://127.0.0.1:9/hooks", (), "wrong", "the host has a private address"),
        ("http://127.0.0.1:9/hooks", ("127.0.0.1",), "ok", "127.0.0.1 has an address"),
    ],
)
async def test_private_host_of_a_webhook_is_named(url: str, private: tuple[str, ...], state: str, text: str) -> None:
    finding = await webhook("crm", url, private)
    assert (finding.what, finding.verdict, finding.said) == ("webhook crm", state, text)


async def test_public_and_unknown_hosts_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: PUBLIC)
    assert (await webhook("crm", "https://crm.acme.example/", ())).verdict == "ok"

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror("unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    finding = await webhook("crm", "https://crm.acme.example/", ())
    assert (finding.verdict, finding.said) == ("wrong", "crm.acme.example has no address")


@pytest.mark.parametrize(
    ("url", "verdict", "said"),
    [
        ("json://127.0.0.1:9/{phone}/{email}", "ok", "apprise knows the service of its URL"),
        ("twilio://AC735c307c62944b5a/6c2:TOKEN@0/{phone}", "wrong", "apprise knows no service of the URL in SMS_URL"),
        ("hunter2://host/", "wrong", "apprise knows no service of the URL in SMS_URL"),
        ("hunter2", "wrong", "apprise knows no service of the URL in SMS_URL"),
        ("", "warning", "the environment variable SMS_URL is not set"),
    ],
)
async def test_service_that_apprise_does_not_know_is_named_without_its_url(
    monkeypatch: pytest.MonkeyPatch, url: str, verdict: str, said: str
) -> None:
    monkeypatch.setenv("SMS_URL", url)
    finding = await apprise("sms", AppriseWay.model_validate({"kind": "apprise", "url": {"env": "SMS_URL"}}), CONFIG)
    assert (finding.what, finding.verdict, finding.said) == ("channel sms", verdict, said)

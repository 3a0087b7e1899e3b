"""The doctor looks up the hosts of webhooks and the services of `apprise`."""

import socket
from pathlib import Path

import pytest

from firsthour.operations.doctor.channel_checks import apprise, teams, webhook
from firsthour.runtime.config.reading import load
from schemas.agreement.ways_out import AppriseWay, TeamsWay, WebhookWay

CONFIG = load(Path(__file__).parents[3] / "deploy" / "examples")
KEY = {"env": "CRM_SECRET"}
PUBLIC = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", 443))]


def unknown(*_: object, **__: object) -> None:
    """Find no address, as the lookup of an unknown host does."""
    raise socket.gaierror("unknown")


def at(url: object) -> WebhookWay:
    """Return a webhook at this address."""
    return WebhookWay.model_validate({"kind": "webhook", "url": url, "secret": KEY})


@pytest.mark.parametrize(
    ("url", "private", "state", "text"),
    [
        ("http://127.0.0.1:9/hooks", (), "wrong", "the host has a private address"),
        ("http://127.0.0.1:9/hooks", ("127.0.0.1",), "ok", "127.0.0.1 has an address"),
    ],
)
async def test_private_host_of_a_webhook_is_named(url: str, private: tuple[str, ...], state: str, text: str) -> None:
    finding = await webhook("crm", at(url), CONFIG, private)
    assert (finding.what, finding.verdict, finding.said) == ("webhook crm", state, text)


async def test_public_and_unknown_hosts_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: PUBLIC)
    assert (await webhook("crm", at("https://crm.acme.example/"), CONFIG, ())).verdict == "ok"

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    finding = await webhook("crm", at("https://crm.acme.example/"), CONFIG, ())
    assert (finding.verdict, finding.said) == ("wrong", "crm.acme.example has no address")


@pytest.mark.parametrize(
    ("url", "verdict", "said"),
    [
        ("https://127.0.0.1/hooks/token", "wrong", "the host has a private address"),
        ("https://no-such-host.invalid/hooks/token", "wrong", "the host of the URL in CRM_URL has no address"),
        ("https://93.184.215.14/hooks/token", "ok", "the host of the URL in CRM_URL has an address"),
        ("http://crm.acme.example/", "warning", "the URL in CRM_URL is plain http"),
        ("", "warning", "the environment variable CRM_URL is not set"),
    ],
)
async def test_host_of_a_webhook_whose_url_is_a_secret_is_looked_up(
    monkeypatch: pytest.MonkeyPatch, url: str, verdict: str, said: str
) -> None:
    monkeypatch.setenv("CRM_URL", url)
    if ".invalid" in url:
        monkeypatch.setattr(socket, "getaddrinfo", unknown)
    finding = await webhook("crm", at({"env": "CRM_URL"}), CONFIG, ())
    assert (finding.what, finding.verdict, finding.said) == ("webhook crm", verdict, said)
    assert "token" not in finding.said + finding.remedy


async def test_host_of_a_teams_workflow_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    way = TeamsWay.model_validate({"kind": "teams", "url": {"env": "TEAMS_URL"}})
    monkeypatch.setenv("TEAMS_URL", "https://127.0.0.1/workflow")
    assert (await teams("team", way, CONFIG)).verdict == "ok"
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    finding = await teams("team", way, CONFIG)
    assert (finding.verdict, finding.said) == ("wrong", "the host of the URL in TEAMS_URL has no address")


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

"""The doctor looks up the hosts of webhooks."""

import socket

import pytest

from firsthour.operations.doctor.channel_checks import webhook

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

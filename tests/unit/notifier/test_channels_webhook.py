"""Webhooks, over a real socket: signed as Standard Webhooks defines, to public addresses only."""

import json
import socket
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from standardwebhooks import Webhook

from firsthour.runtime.http import client
from firsthour.runtime.http.public_hosts import PrivateAddressError, addresses_of, is_public
from services.notifier.channels.base import GiveUp, Gone, Outcome, Sent, TryAgain, Unusable
from services.notifier.channels.webhook import WebhookChannel
from tests.fakes.certificates import Authority
from tests.fakes.pages import ATTACKS, hostile_message, page_message
from tests.fakes.services import FakeService

SECRET = "whsec_c2VjcmV0IG9mIHRoZSBDUk0gYW5kIHVz"
OLDER = "whsec_b2xkZXIgc2VjcmV0IG9mIHRoZSBDUk0="
BODY = b'{"type":"lead.moved","data":{"name":"\xc3\x84nn"}}'


@pytest_asyncio.fixture
async def crm() -> AsyncIterator[FakeService]:
    async with FakeService(200) as fake:
        yield fake


def channel(crm: FakeService, host: str = "127.0.0.1", **changes: Any) -> WebhookChannel:
    arguments = {"private_hosts": (host,), "timeout_seconds": 60.0, **changes}
    url = f"http://{host}:{crm.port}/hooks?tenant=1"
    return WebhookChannel("crm", url, [SECRET, OLDER], lambda: datetime.now(UTC), **arguments)


@pytest.mark.parametrize("secret", [SECRET, OLDER])
async def test_published_library_verifies_the_signature_of_each_secret(crm: FakeService, secret: str) -> None:
    assert await channel(crm).post("id-1", BODY) == Sent("crm:id-1")
    [call] = crm.calls
    assert (call.method, call.target, call.body) == ("POST", "/hooks?tenant=1", BODY)
    assert call.headers["webhook-id"] == "id-1"
    assert Webhook(secret).verify(call.body, call.headers) == json.loads(BODY)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (204, Sent("crm:id-1")),
        (410, Gone("crm answered 410: it wants no more webhooks")),
        (301, Unusable("crm answered 301; redirects are not followed: correct `url`")),
        (404, Unusable("crm answered 404")),
        (422, GiveUp("crm answered 422")),
        (429, TryAgain(9.0, "crm: rate limit reached")),
        (500, TryAgain(9.0, "crm answered 500")),
    ],
)
async def test_status_decides_the_outcome(crm: FakeService, status: int, outcome: Outcome) -> None:
    crm.respond(status, retry_after="9", location="http://127.0.0.1:1/")
    assert await channel(crm).post("id-1", BODY) == outcome
    assert len(crm.calls) == 1


async def test_body_of_the_answer_is_not_read(crm: FakeService) -> None:
    crm.respond(200, body=b"x" * 10_000_000)
    assert await channel(crm).post("id-1", BODY) == Sent("crm:id-1")


async def test_silence_is_a_temporary_failure(crm: FakeService) -> None:
    crm.hang()
    outcome = await channel(crm, timeout_seconds=0.1).post("id-1", BODY)
    assert outcome == TryAgain(None, "crm: no answer within 0.1 s")


async def test_private_address_is_refused_by_name_and_by_number(crm: FakeService) -> None:
    for host in ("127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001"):
        outcome = await channel(crm, host, private_hosts=("other.example",)).post("id-1", BODY)
        assert isinstance(outcome, Unusable)
        assert outcome.why.startswith("crm: the host has a private address")
    assert crm.calls == []


async def test_name_is_looked_up_once_and_its_address_is_the_one_connected_to(
    crm: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up: list[str] = []

    def lookup(host: str, *rest: Any, **options: Any) -> Any:
        looked_up.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", crm.port))]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    assert isinstance(await channel(crm, "crm.acme.example").post("id-1", BODY), Sent)
    assert [host for host in looked_up if "acme" in host] == ["crm.acme.example"]
    assert crm.calls[0].headers["host"] == f"crm.acme.example:{crm.port}"


@pytest.mark.parametrize(("certified", "sent"), [("DNS:crm.acme.example", True), ("DNS:other.example", False)])
async def test_certificate_must_be_that_of_the_host_though_its_address_is_connected_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, certified: str, sent: bool
) -> None:
    authority = Authority(tmp_path)
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(*authority.issue("server", certified))
    trusting = ssl.create_default_context(cafile=str(authority.file))
    monkeypatch.setattr(client, "_authorities", lambda: trusting)
    async with FakeService(200, tls=server_side) as crm:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", crm.port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        host = "crm.acme.example"
        secure = WebhookChannel(
            "crm", f"https://{host}:{crm.port}/", [SECRET], lambda: datetime.now(UTC), (host,), 60.0
        )
        outcome = await secure.post("id-1", BODY)
    assert (isinstance(outcome, Sent), len(crm.calls)) == (sent, int(sent))


async def test_host_with_a_public_and_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443)) for address in ("93.184.215.14", "10.0.0.5")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)
    with pytest.raises(PrivateAddressError):
        await addresses_of("crm.acme.example", 443, private_allowed=False)
    assert await addresses_of("crm.acme.example", 443, private_allowed=True) == ["10.0.0.5", "93.184.215.14"]


@pytest.mark.parametrize(
    "address",
    [
        *("10.0.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "192.168.1.1", "100.64.0.1", "0.0.0.0"),
        *("224.0.0.1", "255.255.255.255", "240.0.0.1", "198.18.0.1", "192.0.2.1"),
        *(
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
            "2001:db8::1",
            "fec0::1",  # site-local, before fc00::/7
        ),
        "168.63.129.16",  # a service of the machine's cloud
        "2001:0:4136:e378:8000:63bf:f5ff:fffe",  # Teredo of 10.0.0.1
    ],
)
def test_address_off_the_public_network_is_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "2606:2800:21f:cb07::1", "::ffff:93.184.215.14", "64:ff9b::5db8:d70e"]
)
def test_address_on_the_public_network_is_public(address: str) -> None:
    assert is_public(ip_address(address))


async def test_page_over_a_webhook_has_its_facts(crm: FakeService) -> None:
    assert await channel(crm).send(page_message()) == Sent(f"crm:{page_message().page_id}")
    page = crm.calls[0].json
    assert (page["type"], page["data"]["facts"]["Phone"]) == ("page", "+49 30 12345678")


@pytest.mark.parametrize("text", ATTACKS)
async def test_text_from_outside_arrives_as_text(crm: FakeService, text: str) -> None:
    assert isinstance(await channel(crm).send(hostile_message(text)), Sent)
    assert set(crm.calls[0].json["data"]) == {
        "lead",
        "epoch",
        "kind",
        "recipient",
        "subject",
        "facts",
        "sections",
        "url",
    }

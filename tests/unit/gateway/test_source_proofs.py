"""Proofs of sources through the gateway: where the secret is read, and that it is not kept."""

import base64
import hmac

import httpx
import pytest

from tests.unit.gateway.harness import HMAC_SECRET, STANDARD_SECRET, GatewayHarness
from tests.unit.gateway.listening import listening
from tests.unit.gateway.test_verification import signed

JSON = {"content-type": "application/json"}
SOURCE = """
sources:
  - id: calls
    kind: webhook
    verify: VERIFY
    events:
      - {type: custom.ping, id: id, time: at, email: email}
"""
SECRETS = "secrets: [{file: phone.secret}]"
BODY = b'{"id":"1","at":"2026-12-01T08:59:00Z","email":"ann@acme.example"}'


def configure(harness: GatewayHarness, verify: str) -> None:
    harness.configure(SOURCE.replace("VERIFY", verify.replace("SECRETS", SECRETS)))


async def test_token_in_the_path_proves_the_sender_and_is_not_kept(harness: GatewayHarness) -> None:
    configure(harness, "{scheme: url-token, SECRETS}")
    path = "/hooks/calls/" + HMAC_SECRET
    assert (await harness.request("POST", path, JSON, BODY)).status == 202
    assert (await harness.request("POST", path, JSON, b'{"id":"1"}')).status == 202
    [letter] = harness.letters
    assert (letter.origin, HMAC_SECRET in repr(letter)) == ("/hooks/calls", False)


@pytest.mark.parametrize("path", ["/hooks/calls", "/hooks/calls/", "/hooks/calls/x", f"/hooks/calls/{HMAC_SECRET}/x"])
async def test_path_without_the_token_is_refused(harness: GatewayHarness, path: str) -> None:
    configure(harness, "{scheme: url-token, SECRETS}")
    assert (await harness.request("POST", path, JSON, BODY)).status == 401
    assert (harness.records, harness.letters) == ([], [])


async def test_more_path_than_the_source_is_unknown_without_a_token(harness: GatewayHarness) -> None:
    configure(harness, "{scheme: header, header: X-Key, SECRETS}")
    headers = JSON | {"x-key": HMAC_SECRET}
    assert (await harness.request("POST", "/hooks/calls/x", headers, BODY)).status == 404
    assert (await harness.request("POST", "/hooks/calls", headers, BODY)).status == 202


async def test_key_in_the_body_proves_the_sender_and_is_not_kept(harness: GatewayHarness) -> None:
    configure(harness, "{scheme: body-key, key: auth.key, SECRETS}")
    keyed = BODY[:-1] + f',"auth":{{"key":"{HMAC_SECRET}"}}}}'.encode()
    assert (await harness.request("POST", "/hooks/calls", JSON, keyed)).status == 202
    assert (await harness.request("POST", "/hooks/calls", JSON, BODY)).status == 401
    assert (await harness.request("POST", "/hooks/calls", JSON, b"{")).status == 401
    unmapped = keyed.replace(b"ann@acme.example", b"nobody")
    assert (await harness.request("POST", "/hooks/calls", JSON, unmapped)).status == 202
    [letter] = harness.letters
    assert HMAC_SECRET.encode() not in letter.body


async def test_one_of_several_proofs_suffices(harness: GatewayHarness) -> None:
    configure(harness, "[{scheme: header, header: X-Key, SECRETS}, {scheme: basic, username: ann, SECRETS}]")
    password = base64.b64encode(f"ann:{HMAC_SECRET}".encode()).decode()
    for headers, status in (
        ({"x-key": HMAC_SECRET}, 202),
        ({"authorization": f"Basic {password}"}, 202),
        ({"authorization": f"Bearer {password}"}, 401),
        ({"x-key": "x"}, 401),
    ):
        assert (await harness.request("POST", "/hooks/calls", JSON | headers, BODY)).status == status


async def test_missing_secret_of_one_proof_leaves_the_others(harness: GatewayHarness) -> None:
    configure(
        harness,
        "[{scheme: hmac-sha256, header: X-Signature, secrets: [{file: nowhere.secret}]}, {scheme: header, header: X-Key, SECRETS}]",
    )
    assert (await harness.request("POST", "/hooks/calls", JSON | {"x-key": HMAC_SECRET}, BODY)).status == 202
    assert (await harness.request("POST", "/hooks/calls", JSON | {"x-signature": "00"}, BODY)).status == 401


PHONE = hmac.digest(HMAC_SECRET.encode(), BODY, "sha256").hex()
PROVEN = {
    "hmac-sha256": [("X-Signature", PHONE)],
    "header": [("X-Key", HMAC_SECRET)],
    "basic": [("Authorization", "Basic " + base64.b64encode(f"ann:{HMAC_SECRET}".encode()).decode())],
    "standard-webhooks": [],
}
SETTINGS = {
    "hmac-sha256": "{scheme: hmac-sha256, header: X-Signature, SECRETS}",
    "header": "{scheme: header, header: X-Key, SECRETS}",
    "basic": "{scheme: basic, username: ann, SECRETS}",
    "standard-webhooks": "{scheme: standard-webhooks, secrets: [{file: first.secret}]}",
}


@pytest.mark.parametrize("scheme", PROVEN)
async def test_header_of_a_proof_counts_once_and_in_any_case(harness: GatewayHarness, scheme: str) -> None:
    configure(harness, SETTINGS[scheme])
    standard = signed(BODY, STANDARD_SECRET, harness.clock.real())
    proven = PROVEN[scheme] or [(name.decode(), value.decode()) for name, value in standard.items()]
    async with listening(harness) as address, httpx.AsyncClient(headers={"Content-Type": "application/json"}) as client:

        async def status(headers: list[tuple[str, str]]) -> int:
            return (await client.post(f"{address}/hooks/calls", content=BODY, headers=headers)).status_code

        for change in (str.upper, str.lower, str.title):
            assert await status([(change(name), value) for name, value in proven]) == 202
        for name, value in proven:
            for another in (value, "x", ""):
                assert await status([*proven, (name, another)]) == 401
                assert await status([(name.swapcase(), another), *proven]) == 401

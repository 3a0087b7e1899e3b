"""The calls to a provider of accounts: what is kept, what is bounded, and each way in which an answer can be wrong."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from schemas.sign_in import SignIn
from services.console.openid_provider import (
    EXCHANGES_MAX,
    FAILED_SECONDS,
    KEYS_SECONDS,
    KEYS_SECONDS_MIN,
    METADATA_SECONDS,
    OpenIdProvider,
    ProviderBusyError,
    ProviderError,
)
from services.console.openid_token import TokenRefusedError
from services.console.routes.openid import challenge_of
from tests.fakes.openid import CLIENT, CODE, SECRET, WELL_KNOWN, FakeProvider, signing_key
from tests.fakes.services import ServiceAnswer
from tests.hand_clock import HandClock

BACK = "http://firsthour.test/console/sign-in/callback"


@pytest.fixture
async def fake() -> AsyncIterator[FakeProvider]:
    async with FakeProvider(HandClock(), email="ana@acme.example") as provider:
        yield provider


def opened(
    fake: FakeProvider, secret: str | None = SECRET, timeout_seconds: float = 5.0, **changes: Any
) -> OpenIdProvider:
    sign_in = SignIn.model_validate({"issuer": fake.url, "client_id": CLIENT, **changes})
    return OpenIdProvider(sign_in, secret, fake.clock, timeout_seconds)


async def exchange(fake: FakeProvider, provider: OpenIdProvider, code: str = CODE) -> dict[str, Any]:
    fake.authorize(f"?state=s&nonce=n&code_challenge={challenge_of('v')}&redirect_uri={BACK}")
    return await provider.claims_of(code, "v", BACK, "n")


def calls(fake: FakeProvider, path: str) -> int:
    return sum(call.target == path for call in fake.calls)


async def test_metadata_and_keys_are_read_again_when_they_are_old(fake: FakeProvider) -> None:
    provider = opened(fake)
    for _ in range(3):
        assert (await exchange(fake, provider))["sub"] == "account-1"
    assert (calls(fake, WELL_KNOWN), calls(fake, "/jwks"), calls(fake, "/userinfo")) == (1, 1, 0)
    fake.clock.advance(seconds=METADATA_SECONDS)
    await exchange(fake, provider)
    assert (calls(fake, WELL_KNOWN), calls(fake, "/jwks")) == (2, 2)


async def test_new_key_of_the_provider_is_looked_for_at_once_but_not_without_end(fake: FakeProvider) -> None:
    provider = opened(fake)
    await exchange(fake, provider)
    fake.key = signing_key("two")
    fake.published = [fake.key]
    assert (await exchange(fake, provider))["sub"] == "account-1"
    fake.key = signing_key("three")
    for _ in range(3):
        with pytest.raises(TokenRefusedError, match="no key"):
            await exchange(fake, provider)
    assert calls(fake, "/jwks") == 2
    fake.clock.advance(seconds=KEYS_SECONDS_MIN)
    fake.published = [fake.key]
    assert (await exchange(fake, provider))["sub"] == "account-1"


async def test_withdrawn_key_is_refused_after_ten_minutes_without_a_new_one_in_use(fake: FakeProvider) -> None:
    provider = opened(fake)
    await exchange(fake, provider)
    fake.published = [signing_key("two")]
    assert (await exchange(fake, provider))["sub"] == "account-1"
    fake.clock.advance(seconds=KEYS_SECONDS)
    with pytest.raises(TokenRefusedError, match="no key"):
        await exchange(fake, provider)


async def test_claims_beyond_the_token_come_from_the_endpoint_of_the_account(fake: FakeProvider) -> None:
    fake.further = {"groups": ["operators"], "iss": "https://evil.example", "email": "eve@evil.example"}
    claims = await exchange(fake, opened(fake, roles=[{"role": "admin", "has": "operators"}]))
    assert (claims["groups"], claims["iss"], claims["email"]) == (["operators"], fake.url, "ana@acme.example")
    assert fake.calls[-1].headers["authorization"] == "Bearer access-1"


async def test_answer_about_another_account_is_refused(fake: FakeProvider) -> None:
    fake.further = {"sub": "account-2", "groups": ["operators"]}
    with pytest.raises(TokenRefusedError, match="another account"):
        await exchange(fake, opened(fake, roles=[{"role": "admin", "has": "operators"}]))


async def test_secret_goes_into_the_body_where_the_provider_wants_it_there(fake: FakeProvider) -> None:
    fake.metadata = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    with pytest.raises(ProviderError, match="invalid_grant"):  # the fake one knows the header alone
        await exchange(fake, opened(fake))
    assert b"client_secret=secret-of-the-client%3A%25%2B" in fake.calls[-1].body
    with pytest.raises(ProviderError, match="invalid_grant"):
        await exchange(fake, opened(fake, secret=None))
    assert b"client_secret" not in fake.calls[-1].body


@pytest.mark.parametrize(
    ("path", "answer", "reason"),
    [
        (WELL_KNOWN, ServiceAnswer(404), "answered 404"),
        (WELL_KNOWN, ServiceAnswer(302, {"location": "https://evil.example"}), "answered 302"),
        (WELL_KNOWN, ServiceAnswer(200, body=b"<html>"), "malformed"),
        (WELL_KNOWN, ServiceAnswer(200, body=b"[]"), "malformed"),
        (WELL_KNOWN, ServiceAnswer(200, body=b"\xff\xfe"), "malformed"),
        (WELL_KNOWN, ServiceAnswer(200, body=b"[" * 60_000), "malformed"),
        (WELL_KNOWN, ServiceAnswer(200, body=b" " * 100_000), "no answer|more than"),
        ("/jwks", ServiceAnswer(200, body=b'{"keys": [1, {}]}'), "no key"),
        ("/jwks", ServiceAnswer(200, body=b'{"keys": {}}'), "malformed"),
        ("/jwks", ServiceAnswer(500), "answered 500"),
        ("/token", ServiceAnswer(400, body=b'{"error": "invalid_client"}'), "invalid_client"),
        ("/token", ServiceAnswer(400, body=b'{"error": "<b>\\u202e"}'), "malformed"),
        ("/token", ServiceAnswer(401), "malformed"),
        ("/token", ServiceAnswer(200, body=b'{"access_token": "x"}'), "malformed"),
        ("/token", ServiceAnswer(200, body=b'{"id_token": 7}'), "malformed"),
        ("/token", ServiceAnswer(503), "answered 503"),
        ("/userinfo", ServiceAnswer(401), "answered 401"),
        ("/userinfo", ServiceAnswer(200, {"content-type": "application/jwt"}, b"e30.e30.e30"), "malformed"),
    ],
    ids=lambda value: f"{value.status} {value.body[:30]!r}" if isinstance(value, ServiceAnswer) else str(value),
)
async def test_wrong_answer_is_an_error_with_its_reason(
    fake: FakeProvider, path: str, answer: ServiceAnswer, reason: str
) -> None:
    fake.answers[path] = answer
    with pytest.raises(ProviderError, match=reason):
        await exchange(fake, opened(fake, roles=[{"role": "admin", "has": "operators"}]))


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://other.example"},
        {"authorization_endpoint": "http://evil.example/authorize"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"token_endpoint": "https://user@evil.example/token"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "https://[::1"},
        {"userinfo_endpoint": "http://169.254.169.254/"},
        {"authorization_endpoint": "https://ok.example/\r\nset-cookie: a=b"},
        {"token_endpoint": "https://" + "x" * 3_000},
    ],
    ids=str,
)
async def test_unsafe_metadata_is_refused(fake: FakeProvider, metadata: dict[str, str]) -> None:
    fake.metadata = metadata
    with pytest.raises(ProviderError):
        await opened(fake).metadata()


async def test_silent_provider_is_an_error_that_is_remembered_for_a_while(fake: FakeProvider) -> None:
    fake.answers[WELL_KNOWN] = ServiceAnswer(0)
    provider = opened(fake, timeout_seconds=0.05)
    results = await asyncio.gather(*(provider.metadata() for _ in range(20)), return_exceptions=True)
    assert {type(result) for result in results} == {ProviderError}
    assert len(fake.calls) == 1
    del fake.answers[WELL_KNOWN]
    fake.clock.advance(seconds=FAILED_SECONDS)
    assert (await provider.metadata()).issuer == fake.url


async def test_known_metadata_outlives_a_failure_of_the_provider(fake: FakeProvider) -> None:
    provider = opened(fake)
    known = await provider.metadata()
    fake.clock.advance(seconds=METADATA_SECONDS)
    fake.answers[WELL_KNOWN] = ServiceAnswer(500)
    assert await provider.metadata() == known


async def test_unreachable_provider_is_an_error(fake: FakeProvider) -> None:
    provider = opened(fake)
    await fake.__aexit__()
    with pytest.raises(ProviderError, match="no answer"):
        await provider.metadata()


async def test_exchanges_on_their_way_are_bounded(fake: FakeProvider) -> None:
    provider = opened(fake, timeout_seconds=0.5)
    await provider.metadata()
    fake.answers["/token"] = ServiceAnswer(0)
    attempts = (provider.claims_of("code", "v", BACK, "n") for _ in range(EXCHANGES_MAX + 3))
    results = await asyncio.gather(*attempts, return_exceptions=True)
    assert sum(isinstance(result, ProviderBusyError) for result in results) == 3


def test_challenge_is_that_of_the_example_of_rfc_7636() -> None:
    assert challenge_of("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk") == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"

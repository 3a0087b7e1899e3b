"""Id tokens that must not sign a person in, and those that must."""

import hmac
import json
from base64 import urlsafe_b64encode
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, KeyParameters, OKPKey, RSAKey

from services.console.openid_token import (
    KEYS_MAX,
    SKEW_SECONDS,
    ExpectedToken,
    TokenRefusedError,
    UnknownSigningKeyError,
    signing_keys,
    verified_claims,
)
from tests.fakes.openid import signed, signing_key

NOW = datetime(2026, 12, 1, 9, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
EXPECTED = ExpectedToken("https://login.example", "firsthour", "nonce-1")
CLAIMS: dict[str, Any] = {
    "iss": EXPECTED.issuer,
    "aud": EXPECTED.client_id,
    "sub": "account-1",
    "iat": SECONDS,
    "exp": SECONDS + 300,
    "nonce": EXPECTED.nonce,
}
PUBLISHED = signing_keys([signing_key().as_dict(private=False)])


def verify(token: str) -> dict[str, Any]:
    return verified_claims(token, PUBLISHED, EXPECTED, NOW)


def changed(**claims: Any) -> str:
    """Return a signed token with these claims; None removes one."""
    return signed({name: value for name, value in {**CLAIMS, **claims}.items() if value is not None})


def unsigned(header: dict[str, Any], signature: str = "") -> str:
    parts = (urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in (header, CLAIMS))
    return ".".join((*parts, signature))


def public_pem() -> bytes:
    key = signing_key()
    assert isinstance(key, ECKey)
    return key.as_pem(private=False)


@pytest.mark.parametrize(
    "claims",
    [{}, {"aud": ["firsthour"]}, {"aud": ["other", "firsthour"], "azp": "firsthour"}, {"azp": "firsthour"}],
    ids=["plain", "list", "several", "azp"],
)
def test_valid_token_gives_its_claims(claims: dict[str, Any]) -> None:
    assert verify(changed(**claims))["sub"] == "account-1"


@pytest.mark.parametrize("seconds", [1 - SKEW_SECONDS, -1], ids=["skew", "just"])
def test_clock_of_the_provider_may_differ_a_little(seconds: int) -> None:
    assert verify(changed(exp=SECONDS + seconds, iat=SECONDS - seconds))


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"iss": "https://evil.example"}, "iss"),
        ({"iss": "https://login.example/"}, "iss"),
        ({"iss": None}, "iss"),
        ({"iss": ["https://login.example"]}, "iss"),
        ({"aud": "other"}, "aud"),
        ({"aud": []}, "aud"),
        ({"aud": {"firsthour": 1}}, "aud"),
        ({"aud": None}, "aud"),
        ({"aud": ["firsthour", "other"]}, "azp"),
        ({"azp": "other"}, "azp"),
        ({"nonce": "nonce-2"}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"nonce": ["nonce-1"]}, "nonce"),
        ({"exp": SECONDS - SKEW_SECONDS}, "expired"),
        ({"exp": None}, "exp"),
        ({"exp": "tomorrow"}, "exp"),
        ({"exp": True}, "exp"),
        ({"iat": SECONDS + SKEW_SECONDS + 1}, "future"),
        ({"iat": None}, "iat"),
        ({"nbf": SECONDS + SKEW_SECONDS + 1}, "not yet valid"),
        ({"sub": None}, "sub"),
        ({"sub": 7}, "sub"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else None,
)
def test_signed_token_with_wrong_claims_is_refused(claims: dict[str, Any], reason: str) -> None:
    with pytest.raises(TokenRefusedError, match=reason):
        verify(changed(**claims))


def test_token_without_a_signature_is_refused() -> None:
    algorithms: list[Any] = [*("none", "None", "NONE", "nOnE", "", None, ["ES256"], {})]
    for algorithm in algorithms:
        for signature in ("", "AAAA"):
            with pytest.raises(TokenRefusedError):
                verify(unsigned({"alg": algorithm, "kid": "one"}, signature))


def test_public_key_is_never_used_as_a_secret() -> None:
    for text in (public_pem(), json.dumps(signing_key().as_dict(private=False)).encode()):
        start = unsigned({"alg": "HS256", "kid": "one"}).rstrip(".")
        signature = urlsafe_b64encode(hmac.digest(text, start.encode(), "sha256")).decode().rstrip("=")
        with pytest.raises(TokenRefusedError, match="alg"):
            verify(f"{start}.{signature}")


def test_signature_of_another_key_is_refused() -> None:
    for kid in ("one", None):
        with pytest.raises(UnknownSigningKeyError):
            verify(signed(CLAIMS, signing_key("other"), kid=kid))


def test_unknown_key_id_is_refused_even_if_a_known_key_signed() -> None:
    with pytest.raises(UnknownSigningKeyError):
        verify(signed(CLAIMS, kid="two"))


def test_key_inside_the_token_is_not_trusted() -> None:
    own = signing_key("own")
    for header in ({"jwk": own.as_dict(private=False)}, {"jku": "https://evil.example/jwks"}):
        with pytest.raises(TokenRefusedError):
            verify(signed(CLAIMS, own, kid=None, **header))


def test_changed_claims_or_a_cut_signature_are_refused() -> None:
    head, body, signature = changed().split(".")
    other = changed(sub="account-2").split(".")[1]
    for token in (
        f"{head}.{other}.{signature}",
        f"{head}.{body}.{signature[:-4]}",
        f"{head}.{body}.",
        f"{head}.{body}",
    ):
        with pytest.raises(TokenRefusedError):
            verify(token)


def test_unknown_critical_header_is_refused() -> None:
    head, body, signature = changed().split(".")
    critical = urlsafe_b64encode(b'{"alg":"ES256","kid":"one","crit":["exp"],"exp":1}').decode().rstrip("=")
    assert head != critical
    with pytest.raises(TokenRefusedError):
        verify(f"{critical}.{body}.{signature}")


@pytest.mark.parametrize("family", ["RSA", "OKP"])
def test_other_kinds_of_public_keys_verify_too(family: str) -> None:
    named: KeyParameters = {"kid": "k"}
    key: Any = RSAKey.generate_key(2048, named) if family == "RSA" else OKPKey.generate_key("Ed25519", named)
    token = signed(CLAIMS, key, alg="PS256" if family == "RSA" else "Ed25519", kid=None)
    keys = signing_keys([signing_key().as_dict(private=False), key.as_dict(private=False)])
    assert verified_claims(token, keys, EXPECTED, NOW)["sub"] == "account-1"


def test_keys_that_are_short_secret_or_for_encryption_are_left_out() -> None:
    short = {"kty": "RSA", "n": "A" * 170, "e": "AQAB"}
    encryption = {**signing_key("enc").as_dict(private=False), "use": "enc"}
    entries = [short, encryption, {"kty": "oct", "k": "c2VjcmV0"}, {"kty": "EC"}, {"kty": ["EC"]}, None, 7, {}]
    assert signing_keys([*entries, signing_key().as_dict(private=False)]) == PUBLISHED


def test_number_of_keys_is_bounded() -> None:
    assert len(signing_keys([signing_key().as_dict(private=False)] * (KEYS_MAX + 5))) == KEYS_MAX


@given(st.text(max_size=200) | st.lists(st.text("ABab01-_=", max_size=60), min_size=2, max_size=4).map(".".join))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(TokenRefusedError):
        verify(text)


@given(st.dictionaries(st.sampled_from(["kty", "crv", "x", "y", "n", "e", "kid", "use"]), st.text() | st.integers()))
def test_any_other_key_is_left_out(entry: dict[str, Any]) -> None:
    assert signing_keys([entry]) == ()


def test_long_token_is_refused_unread() -> None:
    with pytest.raises(TokenRefusedError, match="characters"):
        verify("A" * 40_000)

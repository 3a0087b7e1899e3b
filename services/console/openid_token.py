"""Verifies an id token of OpenID Connect: signature, issuer, audience, expiry and nonce. Pure: the keys are arguments.

Only signatures with a public key are accepted. `none` and signatures with the secret of the client never are, so a public key
cannot be used as a secret.
"""

import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from joserfc import jws, jwt
from joserfc.errors import BadSignatureError, ClaimError, JoseError
from joserfc.jwk import JWKRegistry, Key

from schemas.errors import FirstHourError

SKEW_SECONDS: Final = 60
"""How far the clock of the provider may differ from ours."""
KEYS_MAX: Final = 50
TOKEN_CHARS_MAX: Final = 32_000
_RSA_CHARS_MIN: Final = 340  # of a modulus of 2048 bits in base64
_CLAIMS: Final = ("iss", "aud", "exp", "iat", "sub")
TYPES: Final[Mapping[str, str]] = {
    **{f"{family}{bits}": "RSA" for family in ("RS", "PS") for bits in (256, 384, 512)},
    **{f"ES{bits}": "EC" for bits in (256, 384, 512)},
    "Ed25519": "OKP",
}
"""The accepted algorithms, and the type of the key of each."""
_REGISTRY: Final = jws.JWSRegistry(algorithms=list(TYPES), strict_check_header=False)
_MALFORMED: Final = (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""The errors of the library for texts and keys of the wrong form."""


class TokenRefusedError(FirstHourError):
    """Raised for an id token that proves nothing. The message is the reason, and contains nothing of the token."""


class UnknownSigningKeyError(TokenRefusedError):
    """Raised for an id token that no known key has signed. The provider may have changed its keys."""


@dataclass(frozen=True)
class ExpectedToken:
    """The claims that an id token must have."""

    issuer: str
    client_id: str
    nonce: str


def signing_keys(documents: Iterable[object]) -> tuple[Key, ...]:
    """Return the public keys of a key set (RFC 7517). Entries that are no usable key are left out, as the RFC demands."""
    keys = []
    for document, _ in zip(documents, range(KEYS_MAX), strict=False):
        if not isinstance(document, dict) or document.get("kty") not in TYPES.values():
            continue
        if document.get("use", "sig") != "sig" or (
            document["kty"] == "RSA" and len(str(document.get("n", ""))) < _RSA_CHARS_MIN
        ):
            continue
        try:
            keys.append(JWKRegistry.import_key(document))
        except _MALFORMED:
            continue
    return tuple(keys)


def verified_claims(token: str, keys: Sequence[Key], expected: ExpectedToken, now: datetime) -> dict[str, Any]:
    """Return the claims of a valid id token. Raises `TokenRefusedError`."""
    if len(token) > TOKEN_CHARS_MAX:
        raise TokenRefusedError(f"the id token has more than {TOKEN_CHARS_MAX} characters")
    claims = _signed_claims(token, keys)
    required: dict[str, Any] = {name: {"essential": True} for name in _CLAIMS}
    required["iss"]["value"], required["aud"]["value"] = expected.issuer, expected.client_id
    try:
        jwt.JWTClaimsRegistry(now=int(now.timestamp()), leeway=SKEW_SECONDS, **required).validate(claims)
    except ClaimError as error:
        raise TokenRefusedError(f"the id token is not for this installation: {error.description}") from error
    if not hmac.compare_digest(str(claims.get("nonce")).encode(), expected.nonce.encode()):
        raise TokenRefusedError("the id token belongs to another sign-in (`nonce`)")
    if _is_for_others(claims, expected.client_id):
        raise TokenRefusedError("the id token was issued to another client (`azp`)")
    return claims


def _signed_claims(token: str, keys: Sequence[Key]) -> dict[str, Any]:
    """Return the claims if one of the keys signed them."""
    try:
        header = jws.extract_compact(token.encode(), None, _REGISTRY).headers()
    except _MALFORMED as error:
        raise TokenRefusedError("the id token is malformed") from error
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in TYPES:
        raise TokenRefusedError("the id token has no signature with a public key (`alg`)")
    for key in keys:
        if key.key_type == TYPES[algorithm] and (kid is None or key.kid == kid):
            try:
                return jwt.decode(token, key, list(TYPES), _REGISTRY).claims
            except BadSignatureError:
                continue
            except _MALFORMED as error:
                raise TokenRefusedError("the id token is malformed") from error
    raise UnknownSigningKeyError("no key of the provider has signed the id token")


def _is_for_others(claims: Mapping[str, Any], client_id: str) -> bool:
    """Return whether the token names another client as the one that asked for it (OpenID Connect Core, 3.1.3.7)."""
    audience = claims["aud"]
    several = isinstance(audience, list) and len(audience) > 1
    return bool(claims.get("azp", None if several else client_id) != client_id)

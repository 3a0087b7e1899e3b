"""The calls to an OpenID Connect provider: its metadata, its keys, and the exchange of a code for an id token.

Answers are bounded in size and time by the client. The form of each answer is checked, and every failure is a
`ProviderError` with the reason.
"""

import asyncio
from base64 import b64encode
from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import quote_plus, urlsplit

import msgspec
from joserfc.jwk import Key

from firsthour.runtime import addresses
from firsthour.runtime.clock import Clock
from firsthour.runtime.http.client import Endpoint, HttpAnswer, NoAnswerError
from schemas.errors import FirstHourError
from schemas.sign_in import SignIn
from services.console.openid_person import claim_values, needed_claims
from services.console.openid_token import (
    ExpectedToken,
    TokenRefusedError,
    UnknownSigningKeyError,
    signing_keys,
    verified_claims,
)

TIMEOUT_SECONDS: Final = 5.0
METADATA_SECONDS: Final = 3_600.0
"""The age at which metadata are read again."""
KEYS_SECONDS: Final = 600.0
"""The age at which keys are read again: so long a key that the provider has withdrawn is still accepted."""
FAILED_SECONDS: Final = 5.0
"""How long a failed look is remembered: requests of strangers cause one call in this time."""
KEYS_SECONDS_MIN: Final = 10.0
"""Between two looks for a key that is not known."""
EXCHANGES_MAX: Final = 8
"""Exchanges of a process that are on their way at a time."""
_WELL_KNOWN: Final = ".well-known/openid-configuration"
_Url = Annotated[str, msgspec.Meta(max_length=2_000)]
T = TypeVar("T")


class ProviderError(FirstHourError):
    """Raised when the provider does not answer, or not as OpenID Connect demands. The message is the reason."""


class ProviderBusyError(ProviderError):
    """Raised when too many exchanges are on their way."""


class ProviderMetadata(msgspec.Struct, frozen=True):
    """The answer to discovery, as far as it is used."""

    issuer: str
    authorization_endpoint: _Url
    token_endpoint: _Url
    jwks_uri: _Url
    userinfo_endpoint: _Url | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class TokenAnswer(msgspec.Struct, frozen=True):
    """The answer to a code."""

    id_token: str
    access_token: str | None = None


class ErrorAnswer(msgspec.Struct, frozen=True):
    """The refusal of a code (RFC 6749, 5.2)."""

    error: Annotated[str, msgspec.Meta(pattern=r"^[!-~]{1,60}$")]


class KeySetAnswer(msgspec.Struct, frozen=True):
    """The keys of a provider."""

    keys: list[Any]


class OpenIdProvider:
    """One provider, with what is known of it."""

    def __init__(
        self, sign_in: SignIn, secret: str | None, clock: Clock, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        self.sign_in, self._secret, self._clock, self._timeout_seconds = sign_in, secret, clock, timeout_seconds
        self._metadata: ProviderMetadata | None = None
        self._keys: tuple[Key, ...] = ()
        self._known_at, self._keys_at = 0.0, 0.0
        self._looked_at: float | None = None  # the last look for a key that was not known
        self._failure: tuple[float, ProviderError] | None = None
        self._looking, self._looking_for_keys = asyncio.Lock(), asyncio.Lock()
        self._exchanges = 0

    async def metadata(self) -> ProviderMetadata:
        """Return the metadata of the provider. Raises `ProviderError`. One look serves all who wait for it."""
        async with self._looking:
            now = self._clock.monotonic()
            if self._metadata is not None and now < self._known_at + METADATA_SECONDS:
                return self._metadata
            if self._failure is not None and now < self._failure[0] + FAILED_SECONDS:
                raise self._failure[1]
            try:
                self._metadata, self._known_at, self._failure = await self._discovered(), now, None
            except ProviderError as error:
                self._failure = self._clock.monotonic(), error
                if self._metadata is None:
                    raise
            return self._metadata

    async def claims_of(self, code: str, verifier: str, redirect_uri: str, nonce: str) -> dict[str, Any]:
        """Exchange a code, and return the claims of the verified id token. Raises `ProviderError`, `TokenRefusedError`."""
        if self._exchanges >= EXCHANGES_MAX:
            raise ProviderBusyError("many people sign in at this moment")
        self._exchanges += 1
        try:
            metadata = await self.metadata()
            answer = await self._exchanged(metadata, code, verifier, redirect_uri)
            claims = await self._verified(metadata, answer.id_token, nonce)
            if all(claim_values(claims, name) for name in needed_claims(self.sign_in)):
                return claims
            return {**await self._userinfo(metadata, answer.access_token, claims), **claims}
        finally:
            self._exchanges -= 1

    async def _discovered(self) -> ProviderMetadata:
        issuer = self.sign_in.issuer
        answer = await self._get(f"{issuer.rstrip('/')}/{_WELL_KNOWN}")
        metadata = _decoded(answer, ProviderMetadata, "metadata")
        if metadata.issuer != issuer:
            raise ProviderError("its metadata names another issuer; correct `sign_in.issuer` in team.yaml")
        needed = (metadata.authorization_endpoint, metadata.token_endpoint, metadata.jwks_uri)
        for url in (*needed, *filter(None, [metadata.userinfo_endpoint])):
            if not _is_safe(url, issuer):
                raise ProviderError("its metadata has an address that is not https")
        return metadata

    async def _exchanged(self, metadata: ProviderMetadata, code: str, verifier: str, redirect_uri: str) -> TokenAnswer:
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        headers = {}
        if self._secret is None:
            fields["client_id"] = self.sign_in.client_id
        elif "client_secret_basic" in metadata.token_endpoint_auth_methods_supported:
            pair = f"{quote_plus(self.sign_in.client_id)}:{quote_plus(self._secret)}"
            headers["authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        else:
            fields |= {"client_id": self.sign_in.client_id, "client_secret": self._secret}
        try:
            answer = await self._endpoint(metadata.token_endpoint, headers).post_form(metadata.token_endpoint, fields)
        except NoAnswerError as error:
            raise ProviderError(str(error)) from error
        if answer.status in (400, 401):
            raise ProviderError(f"it refused the code: {_decoded(answer, ErrorAnswer, 'refusal', answer.status).error}")
        return _decoded(answer, TokenAnswer, "answer to the code")

    async def _verified(self, metadata: ProviderMetadata, token: str, nonce: str) -> dict[str, Any]:
        """Return the claims. A key that is not known is looked for once: providers change their keys at any time."""
        expected = ExpectedToken(self.sign_in.issuer, self.sign_in.client_id, nonce)
        keys = await self._known_keys(metadata)
        try:
            return verified_claims(token, keys, expected, self._clock.real())
        except UnknownSigningKeyError:
            return verified_claims(token, await self._newer_keys(metadata, keys), expected, self._clock.real())

    async def _known_keys(self, metadata: ProviderMetadata) -> tuple[Key, ...]:
        async with self._looking_for_keys:
            if not self._keys or self._clock.monotonic() >= self._keys_at + KEYS_SECONDS:
                await self._read_keys(metadata)
            return self._keys

    async def _newer_keys(self, metadata: ProviderMetadata, known: tuple[Key, ...]) -> tuple[Key, ...]:
        """Return the keys, read again unless others have done so since, or a moment ago."""
        async with self._looking_for_keys:
            now = self._clock.monotonic()
            recently = self._looked_at is not None and now < self._looked_at + KEYS_SECONDS_MIN
            if self._keys is known and not recently:
                self._looked_at = now
                await self._read_keys(metadata)
            return self._keys

    async def _read_keys(self, metadata: ProviderMetadata) -> None:
        answer = _decoded(await self._get(metadata.jwks_uri), KeySetAnswer, "key set")
        keys = signing_keys(answer.keys)
        if not keys:
            raise ProviderError("its key set has no key for signatures")
        self._keys, self._keys_at = keys, self._clock.monotonic()

    async def _userinfo(
        self, metadata: ProviderMetadata, access_token: str | None, claims: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return further claims of the account: many providers have mail address and groups there alone."""
        if metadata.userinfo_endpoint is None or access_token is None or not access_token.isascii():
            return {}
        if not access_token.isprintable():
            raise ProviderError("its access token is malformed")
        answer = await self._get(metadata.userinfo_endpoint, {"authorization": f"Bearer {access_token}"})
        further: dict[str, Any] = _decoded(answer, dict[str, Any], "answer about the account")
        if further.get("sub") != claims["sub"]:
            raise TokenRefusedError("the provider answered about another account (`sub`)")
        return further

    async def _get(self, url: str, headers: Mapping[str, str] | None = None) -> HttpAnswer:
        try:
            return await self._endpoint(url, headers).get(url)
        except NoAnswerError as error:
            raise ProviderError(str(error)) from error

    def _endpoint(self, url: str, headers: Mapping[str, str] | None = None) -> Endpoint:
        return Endpoint(url, self._timeout_seconds, headers, idle_max=0)


def _decoded(answer: HttpAnswer, kind: type[T], noun: str, status: int = 200) -> T:
    if answer.status != status:
        raise ProviderError(f"it answered {answer.status} in place of its {noun}")
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProviderError(f"its {noun} is malformed") from error


def _is_safe(url: str, issuer: str) -> bool:
    """Return whether requests to this URL are encrypted, or stay on this machine as those to the issuer do."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    if not url.isascii() or not url.isprintable() or not host or "@" in parts.netloc or parts.fragment:
        return False
    local = issuer.startswith("http:") and addresses.is_loopback(host)
    return parts.scheme == "https" or (parts.scheme == "http" and local)

"""Proofs by a secret that the request contains: in a header, the address or the body."""

import base64
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from urllib.parse import parse_qsl, urlsplit

from schemas.verification import BasicAuth, BodyKey, SecretHeader, UrlToken
from services.gateway.domain.verification.request import SignedRequest, Verdict

Find = Callable[[SignedRequest], bytes]
"""Returns the secret in the request; empty: it has none."""


@dataclass(frozen=True)
class SharedSecret:
    """A secret in the request. `place` names where it is looked for."""

    find: Find
    place: str
    secrets: tuple[bytes, ...]

    def check(self, request: SignedRequest, now: datetime) -> Verdict:
        found = self.find(request)
        if not found:
            return Verdict(f"{self.place} has no secret")
        matching = [index for index, secret in enumerate(self.secrets) if hmac.compare_digest(secret, found)]
        if not matching:
            return Verdict(f"the secret in {self.place} is none of {len(self.secrets)}")
        return Verdict(secret=matching[0])


def shared_secret(scheme: SecretHeader | BasicAuth | UrlToken | BodyKey, secrets: Sequence[str]) -> SharedSecret:
    """Return the check of a scheme."""
    if isinstance(scheme, BasicAuth):
        pairs = [f"{scheme.username}:{secret}".encode() for secret in secrets]
        values = tuple(b"Basic " + base64.b64encode(pair) for pair in pairs)
        return SharedSecret(partial(_in_header, b"authorization", b""), "the header authorization", values)
    find, place = _place(scheme)
    return SharedSecret(find, place, tuple(secret.encode() for secret in secrets))


def _place(scheme: SecretHeader | UrlToken | BodyKey) -> tuple[Find, str]:
    """Return where the secret is, for the check and in words."""
    if isinstance(scheme, SecretHeader):
        name = scheme.header.lower()
        return partial(_in_header, name.encode(), scheme.prefix.encode()), f"the header {name}"
    if isinstance(scheme, BodyKey):
        return partial(_in_body, scheme.key.split(".")), f"the field {scheme.key} of the body"
    if scheme.parameter is None:
        return _in_path, "the path"
    return partial(_in_query, scheme.parameter), f"the parameter {scheme.parameter}"


def _in_header(name: bytes, prefix: bytes, request: SignedRequest) -> bytes:
    value = request.headers.get(name, b"")
    return value[len(prefix) :] if value.startswith(prefix) else b""


def _in_path(request: SignedRequest) -> bytes:
    return request.token


def _in_query(name: str, request: SignedRequest) -> bytes:
    """Return the one value of the parameter. A second value is no proof."""
    try:
        pairs = parse_qsl(urlsplit(request.url).query.decode("ascii"), max_num_fields=100)
    except ValueError:
        return b""
    values = [value for key, value in pairs if key == name]
    return values[0].encode("utf-8", "surrogatepass") if len(values) == 1 else b""


def _in_body(path: Sequence[str], request: SignedRequest) -> bytes:
    value = request.value()
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else b""

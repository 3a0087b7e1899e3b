"""An OpenID Connect provider on a real socket. It can be told to answer wrongly."""

import json
from base64 import b64encode, urlsafe_b64encode
from functools import cache
from hashlib import sha256
from typing import Any, Final
from urllib.parse import parse_qs, quote_plus, urlencode, urlsplit

from joserfc import jws, jwt
from joserfc.jwk import ECKey, Key

from tests.fakes.services import FakeService, ServiceAnswer, ServiceCall
from tests.hand_clock import HandClock

CLIENT: Final = "firsthour"
SECRET: Final = "secret-of-the-client:%+"
CODE: Final = "code-1"
WELL_KNOWN: Final = "/.well-known/openid-configuration"


@cache
def signing_key(name: str = "one") -> Key:
    """Return the private key with this id. Each call returns the same key."""
    return ECKey.generate_key("P-256", {"kid": name, "use": "sig", "alg": "ES256"})


def signed(claims: dict[str, Any], key: Key | None = None, **header: Any) -> str:
    """Return an id token."""
    key = key or signing_key()
    head = {"alg": "ES256", "kid": key.kid, **header}
    registry = jws.JWSRegistry(algorithms=[head["alg"]], strict_check_header=False)
    return jwt.encode({name: value for name, value in head.items() if value is not None}, claims, key, None, registry)


class FakeProvider(FakeService):
    """Signs one account in. `claims`: of its id token, `further`: those that only the userinfo endpoint returns."""

    def __init__(self, clock: HandClock, **claims: Any) -> None:
        super().__init__()
        self.clock = clock
        self.claims: dict[str, Any] = {"sub": "account-1", **claims}
        self.further: dict[str, Any] = {}
        self.metadata: dict[str, Any] = {}
        self.key = signing_key()
        self.published: list[Key] = [self.key]
        self.answers: dict[str, ServiceAnswer] = {}
        self._asked: dict[str, str] = {}

    def authorize(self, location: str, **answer: str) -> str:
        """Confirm the account of the person whom the console leads to `location`; return the path that leads back."""
        self._asked = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
        query = {"state": self._asked["state"], **({"code": CODE} if "error" not in answer else {}), **answer}
        return f"{urlsplit(self._asked['redirect_uri']).path}?{urlencode(query)}"

    def token_claims(self) -> dict[str, Any]:
        """Return the claims of the id token."""
        now = int(self.clock.real().timestamp())
        own = {"iss": self.url, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": self._asked["nonce"]}
        return {**own, **self.claims}

    def answer_to(self, call: ServiceCall) -> ServiceAnswer:
        path = call.target.partition("?")[0]
        if path in self.answers:
            return self.answers[path]
        match path:
            case "/token":
                return self._token(call)
            case "/userinfo":
                content: Any = {"sub": self.claims["sub"], **self.further}
            case "/jwks":
                content = {"keys": [{"kty": "oct", "k": "c2VjcmV0"}, *(key.as_dict() for key in self.published)]}
            case _:
                content = {
                    "issuer": self.url,
                    "authorization_endpoint": f"{self.url}/authorize?tenant=1",
                    "token_endpoint": f"{self.url}/token",
                    "userinfo_endpoint": f"{self.url}/userinfo",
                    "jwks_uri": f"{self.url}/jwks",
                    **self.metadata,
                }
        return ServiceAnswer(200, body=json.dumps(content).encode())

    def _token(self, call: ServiceCall) -> ServiceAnswer:
        fields = {name: values[0] for name, values in parse_qs(call.body.decode()).items()}
        challenge = urlsafe_b64encode(sha256(fields["code_verifier"].encode()).digest()).decode().rstrip("=")
        basic = b64encode(f"{CLIENT}:{quote_plus(SECRET)}".encode()).decode()
        expected = (CODE, self._asked["code_challenge"], self._asked["redirect_uri"], f"Basic {basic}")
        if (fields["code"], challenge, fields["redirect_uri"], call.headers.get("authorization")) != expected:
            return ServiceAnswer(400, body=b'{"error": "invalid_grant"}')
        token = signed(self.token_claims(), self.key)
        return ServiceAnswer(200, body=json.dumps({"id_token": token, "access_token": "access-1"}).encode())

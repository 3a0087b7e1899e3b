"""The requests by which a vendor tries an address before it sends deliveries."""

import hmac
from typing import Final
from urllib.parse import parse_qsl

from firsthour.runtime.http.problem import Problem
from schemas.sources import EchoHandshake, HubHandshake
from services.gateway.domain.coerce import Json
from services.gateway.fixed_reply import FixedReply
from services.gateway.intake.request import HOOKS_PATH
from services.gateway.sources import CurrentSources, WebhookEndpoint

CHALLENGE_MAX: Final = 500
PARAMETERS_MAX: Final = 20


def expects_get(path: str, sources: CurrentSources) -> WebhookEndpoint | None:
    """Return the source of this path if its vendor tries the address by GET."""
    if not path.startswith(HOOKS_PATH):
        return None
    endpoint = sources.index.webhooks.get(path.removeprefix(HOOKS_PATH))
    if endpoint is None or endpoint.handshake is None or isinstance(endpoint.handshake, EchoHandshake):
        return None
    return endpoint


def answer(endpoint: WebhookEndpoint, query: bytes) -> FixedReply:
    """Return the answer to a GET. Raises `Problem` 403 for a request that is not the vendor's."""
    try:
        fields = dict(parse_qsl(query.decode("ascii"), max_num_fields=PARAMETERS_MAX))
    except ValueError:
        fields = {}
    if endpoint.handshake_secret:
        if isinstance(endpoint.handshake, HubHandshake):
            token, challenge = fields.get("hub.verify_token", ""), fields.get("hub.challenge", "")
            same = hmac.compare_digest(token.encode("utf-8", "surrogatepass"), endpoint.handshake_secret)
            if same and fields.get("hub.mode") == "subscribe" and _is_plain(challenge):
                return FixedReply(200, "text/plain", challenge.encode())
        elif _is_plain(code := fields.get("challengeCode", "")):
            proof = hmac.digest(endpoint.handshake_secret, code.encode(), "sha256").hex()
            return FixedReply.json({"challengeCode": code, "challengeResponse": proof})
    raise Problem(403, "Handshake refused", "The token or the challenge is not that of this source.")


def echo(endpoint: WebhookEndpoint, value: Json) -> FixedReply | None:
    """Return the answer to a verified body that is a handshake; None: it is not one."""
    if not isinstance(endpoint.handshake, EchoHandshake) or not isinstance(value, dict):
        return None
    challenge = value.get(endpoint.handshake.field)
    if not isinstance(challenge, str) or not _is_plain(challenge):
        return None
    return FixedReply.json({endpoint.handshake.field: challenge})


def _is_plain(text: str) -> bool:
    return 0 < len(text) <= CHALLENGE_MAX and text.isascii() and text.isprintable()

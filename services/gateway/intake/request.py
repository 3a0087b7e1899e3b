"""One request that was read whole, and the headers that every kind of request shares."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from firsthour.runtime.http import idempotency
from firsthour.runtime.http.problem import FieldFault, Problem
from services.gateway.domain import cloudevents

Headers = Mapping[bytes, bytes]
"""By lower-case name."""

EVENTS_PATH: Final = "/v1/events"
FORMS_PATH: Final = "/v1/forms/"
HOOKS_PATH: Final = "/hooks/"
_DECISIVE: Final = frozenset({b"authorization", b"content-encoding", b"content-type", b"idempotency-key"})
"""Headers that decide about a request, beside those of a CloudEvent. Each has one value."""


class IncomingRequest(msgspec.Struct, frozen=True):
    """A request.

    `address`: the sender's; empty if it is unknown. `in_browser`: a person will see the answer. `target`: path and query
    of a webhook as they were sent.
    """

    path: str
    headers: Headers
    body: bytes
    address: str
    in_browser: bool
    target: bytes = b""


def single_headers(pairs: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Return the headers that occur once. A proof must not depend on which of two values a program on the way reads."""
    pairs = list(pairs)
    times = Counter(name for name, _ in pairs)
    return {name: value for name, value in pairs if times[name] == 1}


def check_repeated(pairs: Iterable[tuple[bytes, bytes]]) -> None:
    """Raise `Problem` 400 for a second value of a header that decides about the request.

    Another program on the way may read the other one of the two.
    """
    seen: set[bytes] = set()
    for name, _ in pairs:
        if name in seen and (name in _DECISIVE or name.startswith(cloudevents.PREFIX)):
            shown = name.decode("latin-1").title() if name in _DECISIVE else name.decode("latin-1")
            fault: FieldFault = {"pointer": f"header:{shown}", "detail": "occurs twice; send it once"}
            raise Problem(400, "Invalid request", f"The header {shown} occurs twice; send it once.", errors=[fault])
        seen.add(name)


def idempotency_key(headers: Headers) -> str | None:
    """Return the key of the request; None without one. Raises `Problem` for a malformed key."""
    value = headers.get(b"idempotency-key")
    return None if value is None else idempotency.key_of(value.decode("latin-1"))


def is_compressed(headers: Headers) -> bool:
    """Tell whether the body has a content encoding."""
    return headers.get(b"content-encoding", b"identity").lower() != b"identity"


def reject_compressed(headers: Headers) -> None:
    """Raise `Problem` 415 if the body has a content encoding."""
    if is_compressed(headers):
        raise Problem(
            415,
            "Unsupported content encoding",
            "Send the body as it is, not compressed.",
            headers={"Accept-Encoding": "identity"},
        )

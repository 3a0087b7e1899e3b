"""How thin events are completed: deliveries that only name a lead, which is then read from the vendor's API."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from schemas.values import Shape, shown, wrong
from schemas.verification import Header, Secret

_BASE: Final = re.compile(
    r"(https://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])|http://(localhost|127\.0\.0\.1|\[::1\]))(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?"
)
_PART: Final = re.compile(r"\{([^{}]*)\}")
_LITERAL: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*")  # of a path with its query


def path_parts(path: str) -> tuple[str, ...]:
    """Return the path in pieces: literal text at even indexes, expressions at odd ones."""
    return tuple(_PART.split(path))


def _base_url(value: str) -> str:
    if _BASE.fullmatch(value):
        return value.rstrip("/")
    raise wrong(f"{shown(value)} is not the address of an API", "write `https://api.example.com`, without a query")


def _path(value: str) -> str:
    pieces = path_parts(value)
    if not value.startswith("/") or not all(_LITERAL.fullmatch(piece) for piece in pieces[::2]):
        raise wrong(f"{shown(value)} is not a path", "write `/leads/{lead_id}`, with expressions in braces")
    if not all(piece.strip() for piece in pieces[1::2]):
        raise wrong(f"{shown(value)} has empty braces", "write an expression in them, such as `{lead_id}`")
    return value


BaseUrl = Annotated[str, Field(max_length=500), AfterValidator(_base_url)]
PathTemplate = Annotated[str, Field(max_length=1_000), AfterValidator(_path)]
FetchHeaders = Annotated[dict[Header, Annotated[str, Field(max_length=500, pattern=r"^[ -~]*$")]], Field(max_length=10)]


class Fetch(Shape):
    """The part of a delivery that is thin, and the request that completes it: a GET of `base_url` and `path`.

    `each` selects the thin events in the body; absent: the items of a list, or the body itself. Those for which `when` is true are
    kept and read from the API. `id` names a thin event: one that is delivered again while it waits is read once. `path` has
    expressions over the thin event in braces. The entries of `events:` then see `_event`, the thin event, and `_answer`, the answer.
    `retry_when` is an expression over a refusal, for an API that refuses for a while with a status that reads as final.
    """

    base_url: BaseUrl
    path: PathTemplate
    each: str | None = None
    when: str | None = None
    id: str
    token: Secret | None = None
    token_header: Header = "Authorization"  # noqa: S105  # its name
    token_prefix: Annotated[str, Field(max_length=50, pattern=r"^[ -~]*$")] = "Bearer "  # noqa: S105  # before the token
    headers: FetchHeaders = Field(default_factory=dict)
    retry_when: str | None = None


class PresetFetch(Shape):
    """The settings of a source that replace those of the fetch in its preset. `headers` are added."""

    base_url: BaseUrl | None = None
    path: PathTemplate | None = None
    token: Secret | None = None
    headers: FetchHeaders = Field(default_factory=dict)

"""How thin events are completed: deliveries that only name a lead, which is then read from the vendor's API."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, model_validator

from schemas.values import Shape, shown, wrong
from schemas.verification import Header, Secret

_BASE: Final = re.compile(
    r"(https://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])|http://(localhost|127\.0\.0\.1|\[::1\]))(:[0-9]{1,5})?(/([A-Za-z0-9._~/-]|\{version\})*)?"
)
VERSION: Final = "{version}"
"""Stands for `version` in the address, the path and the headers of a fetch."""
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


ApiVersion = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,30}$")]
BaseUrl = Annotated[str, Field(max_length=500), AfterValidator(_base_url)]
PathTemplate = Annotated[str, Field(max_length=1_000), AfterValidator(_path)]
FetchHeaders = Annotated[dict[Header, Annotated[str, Field(max_length=500, pattern=r"^[ -~]*$")]], Field(max_length=10)]


class Fetch(Shape):
    """The part of a delivery that is thin, and the request that completes it: a GET of `base_url` and `path`.

    `each` selects the thin events in the body; absent: the items of a list, or the body itself. Those for which `when` is true are
    kept and read from the API. `id` names a thin event: one that is delivered again while it waits is read once. `path` has
    expressions over the thin event in braces. The entries of `events:` then see `_event`, the thin event, and `_answer`, the answer.
    `retry_when` is an expression over a refusal, for an API that refuses for a while with a status that reads as final. `version` is the
    version of the API, for which `{version}` stands in `base_url`, `path` and the values of `headers`.
    """

    base_url: BaseUrl
    path: PathTemplate
    version: ApiVersion | None = None
    each: str | None = None
    when: str | None = None
    id: str
    token: Secret | None = None
    token_header: Header = "Authorization"  # noqa: S105  # its name
    token_prefix: Annotated[str, Field(max_length=50, pattern=r"^[ -~]*$")] = "Bearer "  # noqa: S105  # before the token
    headers: FetchHeaders = Field(default_factory=dict)
    retry_when: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _insert_version(cls, fields: Any) -> Any:
        if not isinstance(fields, Mapping):
            return fields
        headers = fields.get("headers")
        named = headers if isinstance(headers, Mapping) else {}
        version = fields.get("version")
        if not isinstance(version, str):
            if any(VERSION in str(text) for text in (fields.get("base_url"), *named.values())):
                raise wrong(f"`{VERSION}` stands for nothing", "add `version:`, or write the version in its place")
            return fields
        inserted = {name: _with_version(fields[name], version) for name in ("base_url", "path") if name in fields}
        if isinstance(headers, Mapping):
            inserted["headers"] = {name: _with_version(text, version) for name, text in headers.items()}
        return {**fields, **inserted}


def _with_version(text: Any, version: str) -> Any:
    return text.replace(VERSION, version) if isinstance(text, str) else text


class PresetFetch(Shape):
    """The settings of a source that replace those of the fetch in its preset. `headers` are added.

    The versions in the presets are those that the vendors documented in November 2026, each with its end there:
    https://developers.facebook.com/docs/graph-api/changelog/versions (v25.0: until 29 July 2028),
    https://learn.microsoft.com/linkedin/marketing/versioning (202607: a year at least) and
    https://developers.hubspot.com/docs/api-reference/legacy/migration-guide (2026-09; v3 ends in September 2027).
    """

    base_url: BaseUrl | None = None
    path: PathTemplate | None = None
    version: ApiVersion | None = None
    token: Secret | None = None
    headers: FetchHeaders = Field(default_factory=dict)

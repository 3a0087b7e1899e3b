"""`Idempotency-Key`: a command that is sent again gets the same answer, and is not executed again.

The answer is stored in the unit that executes the command, so a command that took effect always has its answer. Only
successful commands are stored: a refused request changed nothing, and may be corrected and sent again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Annotated, Any, Final

import msgspec
import sqlalchemy as sa
from fastapi import Header, Request, Response
from pydantic_core import to_json

from firsthour.kernel.time_units import micros
from firsthour.runtime.http.audit_trail import mark_stored, record_of
from firsthour.runtime.http.auth import Keys, caller_of
from firsthour.runtime.http.middleware import Scope
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.storage import audit_log, statements
from firsthour.runtime.storage.reader import Reader
from firsthour.runtime.storage.unit import Unit, Units

KEPT: Final = timedelta(hours=24)  # the age at which a stored answer is removed
KEY_MAX: Final = 255  # characters
SCOPE_MAX: Final = 200  # characters; scope and key are in an index, and PostgreSQL bounds its entries
REPLAYED: Final = "Idempotent-Replayed"

idempotency = sa.Table(
    "idempotency",
    statements.metadata,
    sa.Column("scope", statements.Text, primary_key=True),  # the key of the sender, method and path
    sa.Column("key", statements.Text, primary_key=True),
    sa.Column("fingerprint", statements.Text, nullable=False),  # sha256 hex of the request
    sa.Column("status", statements.Integer, nullable=False),
    sa.Column("body", statements.Bytes, nullable=False),
    sa.Column("at", statements.Integer, nullable=False),  # real time
    sa.Index("idempotency_by_age", "at"),
)

_THIS = (idempotency.c.scope == sa.bindparam("scope_"), idempotency.c.key == sa.bindparam("key_"))
_CLAIM = statements.Sql(
    lambda f: (
        f.insert(idempotency)
        .values({c.name: sa.bindparam(c.name) for c in idempotency.columns})
        .on_conflict_do_nothing()
    )
)
_FIND = statements.Sql(
    lambda _: sa.select(idempotency.c.fingerprint, idempotency.c.status, idempotency.c.body, idempotency.c.at).where(
        *_THIS
    )
)
_KEEP = statements.Sql(
    lambda _: sa.update(idempotency).where(*_THIS).values(status=sa.bindparam("status"), body=sa.bindparam("body"))
)
_FORGET = statements.Sql(lambda _: sa.delete(idempotency).where(*_THIS))
_SWEEP = statements.Sql(
    lambda _: sa.delete(idempotency).where(
        sa.tuple_(idempotency.c.scope, idempotency.c.key).in_(
            sa.select(idempotency.c.scope, idempotency.c.key)
            .where(idempotency.c.at < sa.bindparam("before"))
            .order_by(idempotency.c.at)
            .limit(sa.bindparam("limit", type_=sa.Integer))
            .with_for_update(skip_locked=True)
        )
    )
)


KEY_SHAPE: Final[dict[str, Any]] = {"minLength": 1, "maxLength": KEY_MAX, "pattern": "^[!#-~]([ !#-~]*[!#-~])?$"}
"""A key as JSON Schema, without the optional quotes around it."""


@dataclass(frozen=True)
class StoredAnswer:
    """An answer. `replayed`: an earlier request stored it."""

    status: int
    body: bytes
    replayed: bool = False


def key_of(header: str | None) -> str | None:
    """Return the key of an `Idempotency-Key` header, with or without quotes. None: there is none. Raises `Problem` 400."""
    if header is None:
        return None
    key = header.strip()
    if len(key) >= 2 and key[0] == key[-1] == '"':
        key = key[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    if not key or len(key) > KEY_MAX or not key.isprintable():
        raise Problem(
            400,
            "Invalid Idempotency-Key",
            f"Send 1 to {KEY_MAX} printable characters, such as a UUID.",
            errors=[{"pointer": "header:Idempotency-Key", "detail": "is not a key; send a UUID"}],
        )
    return key


def fingerprint(*parts: bytes) -> str:
    """Return a hash that distinguishes requests. The length of each part is hashed too, so that parts cannot run together."""
    digest = sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def once(unit: Unit, scope: str, key: str | None, print_: str, work: Callable[[], tuple[int, bytes]]) -> StoredAnswer:
    """Run `work` and return its status and body, or return the stored answer of this key.

    The key is claimed first. Of two concurrent requests, the later therefore waits for the earlier and gets its answer.

    Raises:
        Problem: 422 if the key was used for another request.
    """
    if key is None:
        return StoredAnswer(*work())
    now = unit.clock.real()
    while not _claimed(unit, scope, key, print_, now):
        stored = _FIND.first(unit.connection, scope_=scope, key_=key)
        if stored is not None and stored.at >= micros(now - KEPT):
            return _replayed(stored, print_)
        # Concurrent requests may delete the expired answer too. One of their claims then succeeds.
        _FORGET.run(unit.connection, scope_=scope, key_=key)
    status, body = work()
    _KEEP.run(unit.connection, scope_=scope, key_=key, status=status, body=body)
    return StoredAnswer(status, body)


def _claimed(unit: Unit, scope: str, key: str, print_: str, now: datetime) -> bool:
    row = {"scope": scope, "key": key, "fingerprint": print_, "status": 0, "body": b"", "at": micros(now)}
    return _CLAIM.run(unit.connection, **row) == 1


def _replayed(stored: sa.Row[Any], print_: str) -> StoredAnswer:
    if stored.fingerprint != print_:
        raise Problem(
            422,
            "Idempotency-Key reused",
            "Another request was sent with this key. Send a new key with a new request.",
            errors=[{"pointer": "header:Idempotency-Key", "detail": "belongs to another request; send a new one"}],
        )
    return StoredAnswer(int(stored.status), bytes(stored.body), replayed=True)


def sweep(unit: Unit, limit: int) -> int:
    """Remove answers older than `KEPT`."""
    return _SWEEP.run(unit.connection, before=micros(unit.clock.real() - KEPT), limit=limit)


# --- for endpoints of the framework ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Once:
    """A request that takes effect once per key. Without a key it takes effect each time.

    `request`: the scope of the request, whose action goes into the audit log.
    """

    units: Units
    scope: str
    key: str | None
    fingerprint: str
    request: Scope

    async def __call__(self, work: Callable[[Unit], Any], status: int = 200) -> Response:
        """Run `work` in a unit. After the commit, answer its result (a model, dict or struct) as JSON."""

        def run_once(unit: Unit) -> StoredAnswer:
            answer = once(unit, self.scope, self.key, self.fingerprint, lambda: (status, _json(work(unit))))
            record = None if answer.replayed else record_of(self.request, status)
            if record is not None:
                audit_log.note(unit, record)
            return answer

        answer = await self.units.run(run_once)
        mark_stored(self.request)
        headers = {REPLAYED: "true"} if answer.replayed else {}
        return Response(answer.body, answer.status, headers, media_type="application/json")


def _json(result: Any) -> bytes:
    return to_json(result, fallback=msgspec.to_builtins)


def _scope_of(request: Request) -> str:
    """Return the scope of the keys of a request: its sender, the method and the path."""
    keys: Keys = request.app.state.keys
    principal = caller_of(request) or keys.find(request.headers.get("authorization", ""))
    scope = f"{principal.id if principal else ''} {request.method} {request.scope['path']}"
    return scope if len(scope) <= SCOPE_MAX else f"sha256 {sha256(scope.encode()).hexdigest()}"


async def has_answer(request: Request, reads: Reader) -> bool:
    """Return whether an answer is stored under the `Idempotency-Key` of a request. Raises `Problem` 400."""
    key = key_of(request.headers.get("idempotency-key"))
    if key is None:
        return False
    scope = _scope_of(request)
    return await reads(lambda connection: _FIND.first(connection, scope_=scope, key_=key)) is not None


def idempotent(units: Units) -> Callable[..., Any]:
    """Return a dependency: `once: Annotated[Once, Depends(idempotent(resources.units))]`, then `return await once(work)`.

    The scope of a key is its sender, the method and the path.
    """

    async def depends(
        request: Request,
        idempotency_key: Annotated[
            str | None,
            Header(
                description="A request sent again with the same key is not executed again", json_schema_extra=KEY_SHAPE
            ),
        ] = None,
    ) -> Once:
        scope = _scope_of(request)
        body = await request.body()
        print_ = fingerprint(request.url.query.encode(), body)
        return Once(units, scope, key_of(idempotency_key), print_, request.scope)

    return depends

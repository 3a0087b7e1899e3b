"""The routes of API keys: create, list, revoke."""

from collections.abc import Collection
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, Field
from pydantic_core import to_json

from firsthour.operations.administration.roles import Admin
from firsthour.runtime.http import idempotency, key_store
from firsthour.runtime.http.audit_trail import name_target
from firsthour.runtime.http.auth import Keys
from firsthour.runtime.http.idempotency import Once, idempotent
from firsthour.runtime.http.key_store import Key
from firsthour.runtime.http.problem import FieldFault, Problem
from firsthour.runtime.processing.service import Resources
from firsthour.runtime.storage.unit import Unit
from schemas.http import KeyCreated, Moment, Name, RequestModel
from schemas.sources import ApiSource

NAMED_MAX = 20  # ids in a message


def _on_one_line(name: str) -> str:
    if name.isprintable():
        return name
    raise ValueError("has a character that cannot be printed; write printable text on one line")


_VISIBLE = "!-~\\u00a1-\\u00ac\\u00ae-\\u0233"
KeyName = Annotated[
    Name,
    Field(max_length=100, json_schema_extra={"pattern": f"^[ {_VISIBLE}]*[{_VISIBLE}][ {_VISIBLE}]*$"}),
    AfterValidator(_on_one_line),
]


class KeyBody(RequestModel):
    """A new key."""

    role: Literal["ingest", "marketing", "sales", "manager", "admin"]
    name: KeyName
    rep: Name | None = Field(None, description="The key acts as this rep, an id of team.yaml.")
    source: Name | None = Field(
        None, description="The key sends the event types of this source, an id of a `kind: api` source."
    )
    expires_at: Moment | None = Field(None, description="The key is refused from then on. Absent: it does not expire.")


def add_key_routes(api: APIRouter, resources: Resources, keys: Keys) -> None:
    """Add the routes of keys."""
    once_of = Depends(idempotent(resources.units))

    async def refresh() -> None:
        await keys.refresh(resources.reads)

    @api.post("/v1/keys", status_code=201, response_model=KeyCreated)
    async def create(body: KeyBody, request: Request, principal: Admin, once: Annotated[Once, once_of]) -> JSONResponse:
        """Create an API key. Only this answer shows it: FirstHour stores its hash, also under an `Idempotency-Key`."""
        _validate(body, resources)
        key: dict[str, str] = {}
        answer = await resources.units.run(lambda unit: _create(unit, body, once, key))
        if answer.replayed:
            raise Problem(
                409,
                "Key already shown",
                "This request has created a key, and its first answer showed it. If the key is lost, revoke it and create "
                "another with a new Idempotency-Key: `firsthour keys list`.",
            )
        name_target(request, key["id"])
        await refresh()
        return JSONResponse({**key, "role": body.role, "name": body.name}, 201)

    @api.get("/v1/keys")
    async def listing(principal: Admin) -> dict[str, Any]:
        """List all keys, oldest first, without the secrets."""
        now = resources.clock.real()
        return {"items": [_listed(key, now, keys) for key in await resources.reads(key_store.list_keys)], "next": None}

    @api.delete("/v1/keys/{id}")
    async def revoke(id: str, principal: Admin) -> dict[str, Any]:
        """Revoke a key: it is refused from now on. A revoked key stays revoked."""
        await resources.units.run(lambda unit: key_store.revoke(unit.connection, id, resources.clock.real()))
        await refresh()
        revoked = next((key for key in await resources.reads(key_store.list_keys) if key.id == id), None)
        if revoked is None:
            raise Problem(404, "Unknown key", f"There is no key with the id {id!r}: `firsthour keys list`.")
        return _listed(revoked, resources.clock.real(), keys)


def _validate(body: KeyBody, resources: Resources) -> None:
    reps = resources.config.current.team.rep_by_id
    if body.rep is not None and body.rep not in reps:
        fault = f"there is no rep {body.rep!r} in team.yaml; {_choice(reps)}"
        raise _refusal("Unknown rep", "rep", fault)
    if body.source is not None:
        _validate_source(body, resources)
    if body.expires_at is not None and body.expires_at <= resources.clock.real():
        raise _refusal("Time in the past", "expires_at", "is in the past; give a time in the future")


def _validate_source(body: KeyBody, resources: Resources) -> None:
    sources = [source.id for source in resources.config.current.sources.sources if isinstance(source, ApiSource)]
    if body.rep is not None:
        fault = "cannot be combined with a rep; create one key for the rep and one for the system"
    elif body.source not in sources:
        fault = f"there is no `kind: api` source {body.source!r} in sources.yaml; {_choice(sources)}"
    else:
        return
    raise _refusal("Unknown source", "source", fault)


def _choice(ids: Collection[str]) -> str:
    """Return the remedy for an id that is not one of these."""
    return f"use one of: {', '.join([*ids][:NAMED_MAX])}" if ids else "the file has none, so add one"


def _refusal(title: str, field: str, fault: str) -> Problem:
    return Problem(422, title, f"`{field}`: {fault}.", [FieldFault(pointer=f"#/{field}", detail=fault)])


def _create(unit: Unit, body: KeyBody, once: Once, key: dict[str, str]) -> idempotency.StoredAnswer:
    def work() -> tuple[int, bytes]:
        key["id"], key["key"] = key_store.create(
            unit.connection,
            name=body.name,
            role=body.role,
            rep=body.rep,
            source=body.source,
            now=unit.clock.real(),
            expires_at=body.expires_at,
        )
        return 201, to_json({"id": key["id"]})

    return idempotency.once(unit, once.scope, once.key, once.fingerprint, work)


def _listed(key: Key, now: datetime, keys: Keys) -> dict[str, Any]:
    state = "revoked" if key.revoked_at else "alive" if key.is_valid(now) else "expired"
    if state == "alive" and key.rep is not None and not keys.is_active_rep(key.rep):
        state = "rep gone"
    return {**{name: value for name, value in asdict(key).items() if name != "hash"}, "state": state}

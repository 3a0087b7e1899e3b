"""Administration over HTTP: keys, dead letters, verify and doctor. The command line speaks with these routes too."""

import base64
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, Field
from pydantic_core import to_json

from firsthour.operations import dead_letters as letters
from firsthour.operations import drain
from firsthour.operations.doctor import checks
from firsthour.operations.verify import invariants
from firsthour.runtime.eventlog import dead_letters, outbox
from firsthour.runtime.http import idempotency, key_store, page_cursors
from firsthour.runtime.http.auth import Keys, needs
from firsthour.runtime.http.idempotency import Once, idempotent
from firsthour.runtime.http.key_store import Key
from firsthour.runtime.http.principal import Principal
from firsthour.runtime.http.problem import FieldFault, Problem
from firsthour.runtime.processing.service import Resources, Service
from firsthour.runtime.storage.unit import Unit
from schemas.http import KeyCreated, Moment, Name, RequestModel
from schemas.sources import ApiSource

Admin = Annotated[Principal, Depends(needs("admin"))]
Manager = Annotated[Principal, Depends(needs("manager"))]
LISTED_MAX = 500


def _on_one_line(name: str) -> str:
    if name.isprintable():
        return name
    raise ValueError("must be printable text on one line")


_SEEN = "!-~\\u00a1-\\u00ac\\u00ae-\\u0233"
KeyName = Annotated[
    Name,
    Field(max_length=100, json_schema_extra={"pattern": f"^[ {_SEEN}]*[{_SEEN}][ {_SEEN}]*$"}),
    AfterValidator(_on_one_line),
]


class KeyBody(RequestModel):
    """A key to be made."""

    role: Literal["ingest", "marketing", "sales", "manager", "admin"]
    name: KeyName
    rep: Name | None = Field(None, description="The key acts as this rep, an id of team.yaml.")
    source: Name | None = Field(
        None, description="The key sends the types of event of this source, an id of a `kind: api` source."
    )
    expires_at: Moment | None = Field(None, description="Refused from then on; never, if absent.")


def router(resources: Resources, keys: Keys, services: Sequence[Service], *, live: bool = True) -> APIRouter:
    """The routes. `live`: workers and ticks of this installation run in this process."""
    api = APIRouter(tags=["administration"])
    _keys(api, resources, keys)
    _letters(api, resources, services)
    _checks(api, resources, live)
    return api


# --- keys --------------------------------------------------------------------------------------------------------


def _keys(api: APIRouter, resources: Resources, keys: Keys) -> None:
    once_of = Depends(idempotent(resources.units))

    async def refresh() -> None:
        await keys.refresh(resources.reads)

    @api.post("/v1/keys", status_code=201, response_model=KeyCreated)
    async def create(body: KeyBody, who: Admin, once: Annotated[Once, once_of]) -> JSONResponse:
        """A new API key, shown this once: only its hash is kept, also under an `Idempotency-Key`."""
        _checked(body, resources)
        made: dict[str, str] = {}
        answer = await resources.units.run(lambda unit: _create(unit, body, once, made))
        if answer.replayed:
            raise Problem(
                409,
                "Key already shown",
                "This request created a key before, and showed it then. Revoke it and create another, with a new "
                "Idempotency-Key, if it was lost: `firsthour keys list`.",
            )
        await refresh()
        return JSONResponse({**made, "role": body.role, "name": body.name}, 201)

    @api.get("/v1/keys")
    async def listing(who: Admin) -> dict[str, Any]:
        """Every key, oldest first; never a secret."""
        now = resources.clock.real()
        return {"items": [_listed(key, now, keys) for key in await resources.reads(key_store.list_keys)], "next": None}

    @api.delete("/v1/keys/{id}")
    async def revoke(id: str, who: Admin) -> dict[str, Any]:
        """Refuse this key from now on. A key revoked before stays revoked."""
        await resources.units.run(lambda unit: key_store.revoke(unit.connection, id, resources.clock.real()))
        await refresh()
        found = next((key for key in await resources.reads(key_store.list_keys) if key.id == id), None)
        if found is None:
            raise Problem(404, "Unknown key", f"There is no key with the id {id!r}: `firsthour keys list`.")
        return _listed(found, resources.clock.real(), keys)


def _checked(body: KeyBody, resources: Resources) -> None:
    if body.rep is not None and body.rep not in (team := resources.config.current.team.rep_by_id):
        known = ", ".join(list(team)[:20])
        raise Problem(
            422,
            "Unknown rep",
            f"There is no rep {body.rep!r}.",
            [FieldFault(pointer="#/rep", detail=f"known are: {known}")],
        )
    if body.source is not None:
        _check_source(body, body.source, resources)
    if body.expires_at is not None and body.expires_at <= resources.clock.real():
        raise Problem(
            422,
            "Time in the past",
            "`expires_at` must be in the future.",
            [FieldFault(pointer="#/expires_at", detail="lies in the past")],
        )


def _check_source(body: KeyBody, source: str, resources: Resources) -> None:
    known = [one.id for one in resources.config.current.sources.sources if isinstance(one, ApiSource)]
    if body.rep is not None:
        detail = "is not given beside `rep`: a key acts for a rep or for a system"
    elif source not in known:
        detail = f"is no `kind: api` source of sources.yaml; known are: {', '.join(known[:20]) or 'none'}"
    else:
        return
    raise Problem(422, "Unknown source", f"`source` {detail}.", [FieldFault(pointer="#/source", detail=detail)])


def _create(unit: Unit, body: KeyBody, once: Once, made: dict[str, str]) -> idempotency.StoredAnswer:
    def work() -> tuple[int, bytes]:
        made["id"], made["key"] = key_store.create(
            unit.connection,
            name=body.name,
            role=body.role,
            rep=body.rep,
            source=body.source,
            now=unit.clock.real(),
            expires_at=body.expires_at,
        )
        return 201, to_json({"id": made["id"]})

    return idempotency.once(unit, once.scope, once.key, once.fingerprint, work)


def _listed(key: Key, now: datetime, keys: Keys) -> dict[str, Any]:
    state = "revoked" if key.revoked_at else "alive" if key.is_valid(now) else "expired"
    if state == "alive" and key.rep is not None and not keys.is_active_rep(key.rep):
        state = "rep gone"
    return {**{name: value for name, value in asdict(key).items() if name != "hash"}, "state": state}


# --- dead letters ------------------------------------------------------------------------------------------------


def _letters(api: APIRouter, resources: Resources, services: Sequence[Service]) -> None:
    @api.get("/v1/deadletters")
    async def listing(
        who: Manager,
        state: Literal["waiting", "retried", "dropped"] = "waiting",
        limit: Annotated[int, Query(ge=1, le=LISTED_MAX)] = 100,
        cursor: Annotated[str | None, Query(description="`next` of the answer before.")] = None,
    ) -> dict[str, Any]:
        """Letters in this state, oldest first, without their bodies. Ask again with `cursor=<next>` until `next` is null."""
        after = _after(cursor)
        found = await resources.reads(
            lambda connection: dead_letters.find_by_state(connection, state, limit + 1, after)
        )
        more = str(found[limit - 1].cursor) if len(found) > limit else None
        return {"items": [letters.summary(letter) for letter in found[:limit]], "next": more}

    @api.get("/v1/deadletters/{id}")
    async def show(id: str, who: Admin) -> dict[str, Any]:
        """One letter with what was received: `body` as text, or `body_base64` where it is none."""
        letter = await resources.reads(lambda connection: letters.find(connection, id))
        try:
            return {**letters.summary(letter), "body": letter.body.decode(), "body_base64": None}
        except UnicodeDecodeError:
            return {**letters.summary(letter), "body": None, "body_base64": base64.b64encode(letter.body).decode()}

    @api.post("/v1/deadletters/{id}/retry")
    async def retry(id: str, request: Request, who: Admin) -> dict[str, Any]:
        """Handle it again, for its consumer alone; with the body of this request, if it has one, instead of its own."""
        body = await request.body()
        return await letters.retry(resources.units, resources.clock, services, id, body or None)

    @api.post("/v1/deadletters/{id}/drop")
    async def drop(id: str, who: Admin) -> dict[str, Any]:
        """Give it up: its body is erased."""
        return await resources.units.run(lambda unit: letters.drop(unit, id))


def _after(cursor: str | None) -> dead_letters.Cursor:
    found = page_cursors.read(cursor, dead_letters.CURSOR)
    return dead_letters.Cursor(int(found[0]), found[1]) if found else dead_letters.BEGINNING


# --- checks ------------------------------------------------------------------------------------------------------


def _checks(api: APIRouter, resources: Resources, live: bool) -> None:
    clock = resources.clock
    alive_since = clock.real() if live else None

    @api.post("/v1/verify")
    async def run_verify(who: Admin, all: bool = False) -> dict[str, Any]:
        """The invariants I1 to I10; with `all`, every row that breaks one is named, otherwise ten of each invariant.

        On a live system it waits, 30 s at most, until what was said has been heard.
        """
        since = clock.business() if live else None
        behind = await drain.wait(resources) if live else ()
        named_max = None if all else invariants.ROWS_NAMED_MAX
        found = await resources.reads(
            lambda connection: invariants.run(
                connection, clock, since=since, alive_since=alive_since, heard=not behind, named_max=named_max
            )
        )
        if resources.settings.distributed:
            behind = (*behind, *await _unpublished(resources))
        return {
            "ok": found.ok and not behind,
            "behind": list(behind),
            "judged": found.judged,
            "left_out": found.left_out,
            "unread": [
                {"consumer": consumer, "topic": topic, "records": records}
                for (consumer, topic), records in found.unread.items()
            ],
            "items": [
                {
                    "invariant": one.invariant,
                    "holds": one.holds,
                    "ok": one.ok,
                    "broken": one.broken,
                    "rows": list(one.rows),
                }
                for one in found.findings
            ],
        }

    @api.post("/v1/doctor")
    async def run_doctor(who: Admin) -> dict[str, Any]:
        """What is wrong with this installation, each with its remedy."""
        found = await checks.examine(resources.settings, clock, resources.reads)
        return {"ok": checks.well(found), "items": [asdict(one) for one in found]}


async def _unpublished(resources: Resources) -> tuple[str, ...]:
    """The record that has waited to be published for too long, if one has."""
    partitions, now = resources.settings.kafka_partitions, resources.clock.real()
    age = await resources.reads(lambda connection: outbox.look(connection, partitions, now))
    return () if age is None or age.waited < outbox.WARNING_AGE else (str(age),)

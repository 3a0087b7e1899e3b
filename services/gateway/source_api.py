"""The route that tries a body at a source."""

import asyncio
import base64
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends
from pydantic import Field
from sqlalchemy.engine import Connection

from firsthour.kernel.config import Config
from firsthour.runtime.http.auth import needs
from firsthour.runtime.http.principal import Principal
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.http.strict_json import SIZE_MAX
from firsthour.runtime.processing.service import Resources
from firsthour.runtime.storage.records import Row
from schemas.http import RequestModel
from services.gateway import record_trial, trial
from services.gateway.domain.coerce import UnmappableError
from services.gateway.intake.outcome import fault_of, rows_of
from services.gateway.sources import CurrentSources, InboundSource, producers_of

_BASE64_MAX: Final = SIZE_MAX * 4 // 3 + 4
_Base64 = Annotated[
    str,
    Field(max_length=_BASE64_MAX, pattern=r"^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"),
]
"""Bytes in base64 (RFC 4648, section 4), with their padding."""
_Name = Annotated[str, Field(max_length=100)]


class TriedDelivery(RequestModel):
    """A delivery to try. `body`: the bytes in base64. `headers`: absent: nothing is verified. `target`: path and query.

    `answer`: an answer of the vendor's API, in base64, which completes the first thin event.
    """

    body: _Base64
    content_type: Annotated[str, Field(max_length=300)] = "application/json"
    headers: Annotated[dict[_Name, Annotated[str, Field(max_length=8_192)]] | None, Field(max_length=100)] = None
    target: Annotated[str, Field(max_length=2_000, pattern=r"^(/[!-~]*)?$")] = ""
    answer: _Base64 | None = None


TrialEffects = Callable[[Connection, Config, datetime, Sequence[Row]], Sequence[dict[str, Any] | None]]
"""Returns the effect of each of these events at a business time, by what is stored. Bootstrap takes it from the other services."""


def no_effects(
    connection: Connection, config: Config, now: datetime, rows: Sequence[Row]
) -> Sequence[dict[str, Any] | None]:
    """Return nothing: the gateway is alone."""
    return [None] * len(rows)


def add_source_routes(api: APIRouter, resources: Resources, effects: TrialEffects) -> None:
    """Add the route of the trial."""
    sources = CurrentSources(resources.config, resources.clock)
    public_url = resources.settings.public_url.rstrip("/").encode()

    @api.post("/v1/sources/{id}/try", tags=["sources"])
    async def try_source(
        id: str, delivery: TriedDelivery, principal: Annotated[Principal, Depends(needs("marketing"))]
    ) -> dict[str, Any]:
        """Show what a delivery to `/hooks/{id}` would do, or a record of a source of `kind: kafka`. Nothing is stored.

        `verified`: whether the proof holds; `why`: the reason if it does not. `events`: each with its facts, and the
        expression and the place of each field; under the empty name what makes all other fields: `by calls: segment`, or `as sent`
        for an event of ours. `faults`: what cannot be mapped. `unused`: the parts of the body that no
        expression reads. `fetches`: the thin events, each with the address at which the rest of it would be read; nothing is
        fetched. `unmatched`: the number of items to which no entry of `events` applies.

        `effect` of an event: what it would change, by what is stored now; null: nothing. `lead` null: a new one. `score` with its
        `parts`; `qualify`: the line that it meets, or `why_not`; `status`; `owner`: the rep whose turn it is, and why; `pages`:
        those that follow until the promise ends, if no touch is recorded and each is accepted at once.
        """
        config, clock = resources.config.current, resources.clock
        source = sources.index.webhooks.get(id) or _program(config, id)
        body = base64.b64decode(delivery.body)
        answer = None if delivery.answer is None else base64.b64decode(delivery.answer)
        if isinstance(source, InboundSource):
            producers = producers_of(config)
            pairs = [(name, value.encode("utf-8", "replace")) for name, value in (delivery.headers or {}).items()]
            about = source, producers, body, pairs, config.team, clock.business()
            tried = await asyncio.to_thread(record_trial.outcome, *about)
            return await _with_effects(tried)
        headers = trial.headers_of({"content-type": delivery.content_type, **(delivery.headers or {})})
        request = trial.TriedRequest(headers, body, delivery.target.encode(), delivery.headers is not None, answer)
        times = clock.business(), clock.real()
        tried = await asyncio.to_thread(trial.outcome, source, request, public_url, config.team, *times)
        return await _with_effects(tried)

    async def _with_effects(tried: trial.Trial) -> dict[str, Any]:
        try:
            rows = rows_of(tried.events)
        except UnmappableError as error:
            tried.report["faults"].append(fault_of(error))
            return tried.report
        config, now = resources.config.current, resources.clock.business()
        found = await resources.reads(lambda connection: effects(connection, config, now, rows)) if rows else []
        for event, effect in zip(tried.report["events"], found, strict=False):
            event["effect"] = effect
        return tried.report


def _program(config: Config, id: str) -> InboundSource:
    """Return the source of `kind: kafka` with this id. Raises `Problem` 404."""
    for source in producers_of(config).values():
        if source.id == id:
            return source
    raise Problem(
        404, "Unknown source", "Name a source of sources.yaml with `kind: webhook`, `kind: kafka` or `preset`."
    )

"""The routes of sources: what each sent, what was refused, and whether it fell silent."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query
from sqlalchemy.engine import Connection

from firsthour.kernel.config import Config
from firsthour.operations.audit.checks import SOURCE_SILENT, SOURCE_SURGE
from firsthour.runtime.eventlog.dead_letters import counts_of_sources
from firsthour.runtime.http import key_store
from firsthour.runtime.http.auth import UNSTORED_KEYS, needs
from firsthour.runtime.http.principal import Principal
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.processing.service import Resources
from services.gateway import quarantine
from services.gateway.inbound import UNKNOWN_PRODUCER
from services.gateway.source_counts import HOURS_KEPT, IMPORTED, SourceSummary, summaries
from services.notifier.store.findings import OpenFinding, findings_of

HOURS: Final = 24
_KEY: Final = "key"
_KAFKA: Final = "kafka"
_IMPORT: Final = "import"
_REMOVED: Final = "removed"
_KEPT: Final = ("waiting", "unmatched", "quarantined")


def add_source_routes(api: APIRouter, resources: Resources) -> None:
    """Add the routes of all sources, and of one."""

    @api.get("/v1/sources", tags=["sources"])
    async def sources(
        principal: Annotated[Principal, Depends(needs("marketing"))],
        hours: Annotated[int, Query(ge=1, le=HOURS_KEPT)] = HOURS,
    ) -> dict[str, Any]:
        """The sources of `sources.yaml` and the API keys that sent events, with what each sent in the last `hours`.

        `kind`: form, webhook, api, kafka, or `key` for an API key, whose `source` is the `kind: api` source to which it belongs. `removed`: a
        source that `sources.yaml` named, or a deleted key. The rows of lists that `firsthour import` sends count as `import:lead`, `import:company` ... of the kind `import`.
        `accepted`: events, also those that were kept and accepted later. `refused`: their number by reason; a request that was refused as a whole counts once. Counts are a
        few seconds old. `kept`: what can still be retried or released: `waiting` and `unmatched` dead letters, and `quarantined` events.
        `last_seen_at`: the last accepted event of 35 days. `lag_seconds`: how long after it happened that
        event arrived. `silent`, `surge`: the alarms of the audit, of which Marketing, or both teams, were told.
        """
        return {"items": await _read(hours), "hours": hours, "next": None}

    @api.get("/v1/sources/{id}", tags=["sources"])
    async def source(
        id: str,
        principal: Annotated[Principal, Depends(needs("marketing"))],
        hours: Annotated[int, Query(ge=1, le=HOURS_KEPT)] = HOURS,
    ) -> dict[str, Any]:
        """One source, with the fields that the list has. A removed one is answered 404, and the answer says what is kept of it."""
        item = next((item for item in await _read(hours) if item["id"] == id), None)
        if item is None or item["kind"] == _REMOVED:
            raise _unknown(id, item)
        return item

    async def _read(hours: int) -> list[dict[str, Any]]:
        now, config = resources.clock.business(), resources.config.current

        def read(connection: Connection) -> list[dict[str, Any]]:
            alarms = {
                name: {finding.about: finding for finding in findings_of(connection, check)}
                for name, check in (("silent", SOURCE_SILENT), ("surge", SOURCE_SURGE))
            }
            senders = _senders(config, key_store.list_keys(connection))
            return list(_items(senders, summaries(connection, now, hours), alarms, _kept(connection)))

        return await resources.reads(read)


def _kept(connection: Connection) -> dict[str, dict[str, int]]:
    """Return the numbers of what can be retried or released, by source."""
    kept: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(_KEPT, 0))
    for (source, state), number in counts_of_sources(connection).items():
        kept[source][state] = number
    for source, (number, _) in quarantine.numbers(connection).items():
        kept[source]["quarantined"] = number
    return kept


def _unknown(id: str, item: Mapping[str, Any] | None) -> Problem:
    """Return the answer for a source that is not configured. `item`: what is kept of it; None: nothing is known."""
    if item is None:
        return Problem(404, "Unknown source", f"There is no source or API key {id!r}: `GET /v1/sources` lists them.")
    kept = ", ".join(f"{number} {name}" for name, number in item["kept"].items() if number)
    remedy = (
        f"{kept} of it can still be retried or released: add it again with the same id, then "
        f"`firsthour deadletters retry --source {id} --all` or `firsthour quarantine release {id}`."
        if kept
        else "Nothing of it is kept."
    )
    return Problem(
        404, "Unknown source", f"{id!r} was removed: neither sources.yaml nor an API key has this name. {remedy}"
    )


def _senders(config: Config, keys: Sequence[key_store.Key]) -> dict[str, tuple[str, str | None]]:
    """Return kind and source of each sender, by its name in the counts."""
    of_keys = {key.name: (_KEY, key.source) for key in keys}
    return of_keys | {source.id: (source.kind, None) for source in config.sources.sources}


def _items(
    senders: Mapping[str, tuple[str, str | None]],
    found: Mapping[str, SourceSummary],
    alarms: Mapping[str, Mapping[str, OpenFinding]],
    kept: Mapping[str, Mapping[str, int]],
) -> Iterator[dict[str, Any]]:
    """Yield each source of the configuration, and every other sender that sent something, or of which something is kept."""
    listed = [name for name, (kind, _) in senders.items() if kind != _KEY]
    others = {name for names in (found, kept, *alarms.values()) for name in names}.difference(listed)
    for name in (*listed, *sorted(others)):
        kind, source = senders.get(name, (_kind_of(name), None))
        summary = found.get(name, SourceSummary())
        yield {
            "id": name,
            "kind": kind,
            "source": source,
            "last_seen_at": summary.last_at,
            "lag_seconds": None if summary.lag is None else summary.lag.total_seconds(),
            "accepted": summary.accepted,
            "refused": summary.refused,
            "kept": kept.get(name, dict.fromkeys(_KEPT, 0)),
            **{alarm: _alarm(findings.get(name)) for alarm, findings in alarms.items()},
        }


def _kind_of(name: str) -> str:
    """Return the kind of a sender that neither the configuration nor a key names."""
    if name.startswith(IMPORTED):
        return _IMPORT
    if name == UNKNOWN_PRODUCER:
        return _KAFKA
    return _KEY if name in UNSTORED_KEYS else _REMOVED


def _alarm(finding: OpenFinding | None) -> dict[str, Any] | None:
    return None if finding is None else {"told_at": finding.since, "text": finding.text}

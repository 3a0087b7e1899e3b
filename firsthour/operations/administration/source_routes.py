"""The route of all sources: what each sent, what was refused, and whether it fell silent."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query
from sqlalchemy.engine import Connection

from firsthour.kernel.config import Config
from firsthour.operations.audit.checks import SOURCE_SILENT, SOURCE_SURGE
from firsthour.runtime.http import key_store
from firsthour.runtime.http.auth import UNSTORED_KEYS, needs
from firsthour.runtime.http.principal import Principal
from firsthour.runtime.processing.service import Resources
from services.gateway.inbound import UNKNOWN_PRODUCER
from services.gateway.source_counts import HOURS_KEPT, IMPORTED, SourceSummary, summaries
from services.notifier.store.findings import OpenFinding, findings_of

HOURS: Final = 24
_KEY: Final = "key"
_KAFKA: Final = "kafka"
_IMPORT: Final = "import"
_REMOVED: Final = "removed"


def add_source_routes(api: APIRouter, resources: Resources) -> None:
    """Add the route of all sources."""

    @api.get("/v1/sources", tags=["sources"])
    async def sources(
        principal: Annotated[Principal, Depends(needs("marketing"))],
        hours: Annotated[int, Query(ge=1, le=HOURS_KEPT)] = HOURS,
    ) -> dict[str, Any]:
        """The sources of `sources.yaml` and the API keys that sent events, with what each sent in the last `hours`.

        `kind`: form, webhook, api, kafka, or `key` for an API key, whose `source` is the `kind: api` source to which it belongs. `removed`: a
        source that `sources.yaml` named, or a deleted key. The rows of lists that `firsthour import` sends count as `import:lead`, `import:company` ... of the kind `import`.
        `accepted`: events. `refused`: their number by reason; a request that was refused as a whole counts once. Counts are a
        few seconds old. `last_seen_at`: the last accepted event of 35 days. `lag_seconds`: how long after it happened that
        event arrived. `silent`, `surge`: the alarms of the audit, of which Marketing, or both teams, were told.
        """
        now, config = resources.clock.business(), resources.config.current

        def read(connection: Connection) -> list[dict[str, Any]]:
            alarms = {
                name: {finding.about: finding for finding in findings_of(connection, check)}
                for name, check in (("silent", SOURCE_SILENT), ("surge", SOURCE_SURGE))
            }
            senders = _senders(config, key_store.list_keys(connection))
            return list(_items(senders, summaries(connection, now, hours), alarms))

        return {"items": await resources.reads(read), "hours": hours, "next": None}


def _senders(config: Config, keys: Sequence[key_store.Key]) -> dict[str, tuple[str, str | None]]:
    """Return kind and source of each sender, by its name in the counts."""
    of_keys = {key.name: (_KEY, key.source) for key in keys}
    return of_keys | {source.id: (source.kind, None) for source in config.sources.sources}


def _items(
    senders: Mapping[str, tuple[str, str | None]],
    found: Mapping[str, SourceSummary],
    alarms: Mapping[str, Mapping[str, OpenFinding]],
) -> Iterator[dict[str, Any]]:
    """Yield each source of the configuration, and every other sender that sent something."""
    listed = [name for name, (kind, _) in senders.items() if kind != _KEY]
    others = {name for names in (found, *alarms.values()) for name in names}.difference(listed)
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

"""The outcome of a stream in the values that must agree on all installations: scores, identities, totals per pool."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from zlib import crc32

import httpx

from tests.e2e.processes import ADMIN

AT_ONCE: Final = 8
HUNDREDTHS: Final = 0.011
"""The largest difference of engagement and total. They are rounded to hundredths, and decay a little between two requests,
so the rounding may differ."""
POOLS: Final = (
    "SELECT l.lead_id, coalesce(a.pool, l.queue_pool) FROM router_leads l"
    " LEFT JOIN router_assignments a ON a.lead_id = l.lead_id AND a.closed_at IS NULL"
)


class Part(NamedTuple):
    """A reason of a score, without its present points."""

    kind: str
    because: str
    points: float
    at: str
    counted: bool


class ReportedLead(NamedTuple):
    """A lead. In a pool that has no capacity for all its leads, the owners depend on the order of processing: `status` is
    then only the team."""

    name: str | None
    fit: float
    grade: str
    parts: tuple[Part, ...] | None  # None: not requested
    status: str
    pool: str | None
    due: str | None  # end of the promise, counted from the event that handed the lead over

    @property
    def did(self) -> list[Part]:
        """Return the parts of engagement."""
        return [part for part in self.parts or () if part.kind == "engagement"]


@dataclass
class LeadOutcome:
    """The leads of an installation, by address, or by name without an address."""

    leads: dict[str, ReportedLead] = field(default_factory=dict)
    points: dict[str, float] = field(default_factory=dict)  # engagement and total, by scoring and by the router
    pools: Counter[tuple[str | None, str]] = field(default_factory=Counter)  # pool, status
    statuses: Counter[str] = field(default_factory=Counter)  # as the report counts them

    def differences(self, other: "LeadOutcome") -> list[str]:
        """Return the values that differ, one per line."""
        result = [
            f"{identity}: a lead in only one of the two" for identity in sorted(self.leads.keys() ^ other.leads.keys())
        ]
        for identity in sorted(self.leads.keys() & other.leads.keys()):
            named = zip(ReportedLead._fields, self.leads[identity], other.leads[identity], strict=True)
            result += [f"{identity}: {name} {ours} and {theirs}" for name, ours, theirs in named if ours != theirs]
        for name in sorted(self.points.keys() & other.points.keys()):
            if abs(self.points[name] - other.points[name]) > HUNDREDTHS:
                result.append(f"{name} {self.points[name]} and {other.points[name]}")
        if self.pools != other.pools:
            result.append(f"{dict(self.pools)} and {dict(other.pools)}")
        if self.statuses != other.statuses:
            result.append(f"{dict(self.statuses)} and {dict(other.statuses)}")
        return result


async def outcome(url: str, pools: Iterable[Sequence[Any]], *, parts_of_one_in: int = 1) -> LeadOutcome:
    """Return the outcome of an installation.

    Args:
        url: of the installation.
        pools: the rows of `POOLS` in its database.
        parts_of_one_in: request the parts of the score of one in so many leads, the same ones on all installations.
    """
    result, pool_of = LeadOutcome(), {row[0]: row[1] for row in pools}
    headers = {"authorization": f"Bearer {ADMIN}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=30.0) as client:
        asking = asyncio.Semaphore(AT_ONCE)
        leads = await _leads(client)
        full = {lead["queue"]["pool"] for lead in leads if lead["queue"]}

        async def take(lead: dict[str, Any]) -> None:
            score = None
            if crc32(_identity(lead).encode()) % parts_of_one_in == 0:
                async with asking:
                    score = await _get(client, f"/v1/leads/{lead['id']}/score")
            pool = pool_of[lead["id"]]
            if (
                pool in full
            ):  # which lead waits there differs, and a second request starts the clock of an owned lead only
                _note(result, lead, score, pool, lead["status_team"], None)
            else:
                _note(result, lead, score, pool, lead["status"], lead["clock"] and lead["clock"]["due_at"])

        await asyncio.gather(*(take(lead) for lead in leads))
        counted = await _get(client, "/v1/reports/statuses")
    result.statuses = Counter({item["status"]: item["leads"] for item in counted["items"] if item["leads"]})
    return result


def _identity(lead: dict[str, Any]) -> str:
    return str(lead["email"] or lead["name"])


def _note(
    result: LeadOutcome,
    lead: dict[str, Any],
    score: dict[str, Any] | None,
    pool: str | None,
    status: str,
    due: str | None,
) -> None:
    identity, counts = _identity(lead), lead["score"]
    assert identity not in result.leads, f"two leads of {identity}"
    homes = (lead["owner"] is not None, lead["queue"] is not None, lead["status_team"] == "marketing")
    assert sum(homes) == 1, lead
    parts = None
    if score is not None:
        assert (score["fit"], score["grade"]) == (counts["fit"], counts["grade"])
        unsorted = (Part(p["kind"], p["because"], p["points"], p["at"] or "", p["counted"]) for p in score["parts"])
        parts = tuple(sorted(unsorted))
    result.leads[identity] = ReportedLead(lead["name"], counts["fit"], counts["grade"], parts, status, pool, due)
    result.pools[pool, lead["status"]] += 1
    for name in ("engagement", "total"):
        result.points[f"{identity}: {name} by the router"] = counts[name]
        if score is not None:
            result.points[f"{identity}: {name} by scoring"] = score[name]


async def _leads(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    """Return every lead."""
    leads: list[dict[str, Any]] = []
    more: dict[str, str] = {}
    while True:
        page = await _get(client, "/v1/leads", limit="500", **more)
        leads += page["items"]
        if page["next"] is None:
            return leads
        more = {"cursor": page["next"]}


async def _get(client: httpx.AsyncClient, path: str, **asked: str) -> Any:
    answer = await client.get(path, params=asked)
    assert answer.status_code == 200, (path, answer.status_code, answer.text)
    return answer.json()

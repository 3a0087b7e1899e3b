"""What came of a stream, in that in which all installations must agree: scores, who is one lead, totals per pool."""

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
"""By how much engagement and total may differ. They decay from minute to minute, far less than that under a half-life of
years, and are told in hundredths: whoever is asked a minute later may round the other way."""
POOLS: Final = (
    "SELECT l.lead_id, coalesce(a.pool, l.queue_pool) FROM router_leads l"
    " LEFT JOIN router_assignments a ON a.lead_id = l.lead_id AND a.closed_at IS NULL"
)


class Part(NamedTuple):
    """One reason of a score, without what it is worth at the moment of asking."""

    kind: str
    because: str
    points: float
    at: str
    counted: bool


class Told(NamedTuple):
    """One lead. Who of those for a pool without room for all got an owner is left to the order of processing: of them,
    `status` is the team."""

    name: str | None
    fit: float
    grade: str
    parts: tuple[Part, ...] | None  # None: not asked for
    status: str
    pool: str | None
    due: str | None  # when somebody must have been in touch: counted from what handed the lead over

    @property
    def did(self) -> list[Part]:
        """What they did, as far as a rule gives points for it."""
        return [part for part in self.parts or () if part.kind == "engagement"]


@dataclass
class LeadOutcome:
    """Of everybody, by address or, without one, by name."""

    leads: dict[str, Told] = field(default_factory=dict)
    points: dict[str, float] = field(default_factory=dict)  # engagement and total, by scoring and by the router
    pools: Counter[tuple[str | None, str]] = field(default_factory=Counter)  # pool, status
    statuses: Counter[str] = field(default_factory=Counter)  # as the report counts them

    def differences(self, other: "LeadOutcome") -> list[str]:
        """Everything of which the two say different things, a line each."""
        found = [f"{who}: a lead in only one of the two" for who in sorted(self.leads.keys() ^ other.leads.keys())]
        for who in sorted(self.leads.keys() & other.leads.keys()):
            named = zip(Told._fields, self.leads[who], other.leads[who], strict=True)
            found += [f"{who}: {name} {ours} and {theirs}" for name, ours, theirs in named if ours != theirs]
        for what in sorted(self.points.keys() & other.points.keys()):
            if abs(self.points[what] - other.points[what]) > HUNDREDTHS:
                found.append(f"{what} {self.points[what]} and {other.points[what]}")
        if self.pools != other.pools:
            found.append(f"{dict(self.pools)} and {dict(other.pools)}")
        if self.statuses != other.statuses:
            found.append(f"{dict(self.statuses)} and {dict(other.statuses)}")
        return found


async def outcome(url: str, pools: Iterable[Sequence[Any]], *, parts_of_one_in: int = 1) -> LeadOutcome:
    """What this installation answers. `pools`: what its database answers to `POOLS`. Parts of a score take a question
    each; `parts_of_one_in`: of how many leads one is asked for them, the same ones of all installations."""
    found, pool_of = LeadOutcome(), {row[0]: row[1] for row in pools}
    headers = {"authorization": f"Bearer {ADMIN}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=30.0) as client:
        asking = asyncio.Semaphore(AT_ONCE)
        leads = await _leads(client)
        full = {lead["queue"]["pool"] for lead in leads if lead["queue"]}

        async def take(lead: dict[str, Any]) -> None:
            score = None
            if crc32(_who(lead).encode()) % parts_of_one_in == 0:
                async with asking:
                    score = await _get(client, f"/v1/leads/{lead['id']}/score")
            pool = pool_of[lead["id"]]
            _note(found, lead, score, pool, lead["status_team" if pool in full else "status"])

        await asyncio.gather(*(take(lead) for lead in leads))
        counted = await _get(client, "/v1/reports/statuses")
    found.statuses = Counter({item["status"]: item["leads"] for item in counted["items"] if item["leads"]})
    return found


def _who(lead: dict[str, Any]) -> str:
    return str(lead["email"] or lead["name"])


def _note(
    found: LeadOutcome, lead: dict[str, Any], score: dict[str, Any] | None, pool: str | None, status: str
) -> None:
    who, counts = _who(lead), lead["score"]
    assert who not in found.leads, f"two leads of {who}"
    homes = (lead["owner"] is not None, lead["queue"] is not None, lead["status_team"] == "marketing")
    assert sum(homes) == 1, lead
    parts = None
    if score is not None:
        assert (score["fit"], score["grade"]) == (counts["fit"], counts["grade"])
        told = (Part(p["kind"], p["because"], p["points"], p["at"] or "", p["counted"]) for p in score["parts"])
        parts = tuple(sorted(told))
    due = lead["clock"] and lead["clock"]["due_at"]
    found.leads[who] = Told(lead["name"], counts["fit"], counts["grade"], parts, status, pool, due)
    found.pools[pool, lead["status"]] += 1
    for name in ("engagement", "total"):
        found.points[f"{who}: {name} by the router"] = counts[name]
        if score is not None:
            found.points[f"{who}: {name} by scoring"] = score[name]


async def _leads(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    """Every lead, page by page."""
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

"""The plan of a run: its sizes, its agreement, and the stream of events of the client."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from zlib import crc32

from tests.e2e.processes import write_config

SERVICES: Final = ("gateway", "scoring", "router", "notifier", "reporting")
REPLICAS: Final = 2
POOL_REPS: Final = 20
TOUCHED, OPTED_OUT, TWICE, SHUFFLED = 0.5, 0.03, 0.1, 0.1
"""Shares: leads that get a call, leads that unsubscribe, events sent twice, events sent before the one they follow."""
ACTED_ON: Final = 0.03
"""Share of leads that get an action over HTTP, through both gateways at one moment."""


@dataclass(frozen=True)
class ProofPlan:
    """The sizes and times of a run. Times are seconds."""

    seed: int
    events: int = 10_000
    leads: int = 4_000
    reps: int = 400
    brokers: int = 1
    kafka: str = "4.3.0"
    seconds: float = 480.0  # the client's stream; it ends before the last fault does
    ladder: tuple[float, ...] = (0.0, 20.0, 60.0)  # pages to the owner
    reassign_at: float = 80.0
    kill_every: tuple[float, float] = (2.0, 5.0)
    short: bool = False
    flood: bool = False  # anonymous posts of many large fields to the public form, beside the stream

    @property
    def capacity(self) -> int:
        """Return the capacity of each rep: large enough that nearly every lead gets an owner."""
        return 4 * self.leads // self.reps + 10

    @property
    def pools(self) -> int:
        return max(1, self.reps // POOL_REPS)


def short(seed: int, brokers: int = 1, kafka: str = "4.3.0", *, flood: bool = False) -> ProofPlan:
    """Return a plan of two minutes, to run beside other tests."""
    ladder = (0.0, 4.0, 8.0)
    return ProofPlan(
        seed, 500, 200, 60, brokers, kafka, seconds=20.0, ladder=ladder, reassign_at=12.0, short=True, flood=flood
    )


# --- the agreement ------------------------------------------------------------------------------------------------


def configure(directory: Path, plan: ProofPlan) -> Path:
    """Write the configuration. Each pool takes the companies of one size, so that all pools are used at once."""
    by = ["slack", "email"]
    ladder: list[dict[str, Any]] = [{"at": f"{at:g}s", "page": "owner", "by": by} for at in plan.ladder]
    agreement = {
        "version": 1,
        "scoring": {
            "engagement": {
                "rules": [
                    {"points": 60, "because": "Asked to speak with us", "on": "form.submitted"},
                    {"points": 5, "because": "Read about prices", "on": "page.viewed"},
                ]
            }
        },
        "qualify": [{"name": "Asked for us", "urgency": "hot", "on": "form.submitted"}],
        "routing": {
            "rules": [
                {
                    "name": f"Size {n}",
                    "when": {"company.employees": {"between": [n * 100, n * 100 + 99]}},
                    "pool": f"size{n}",
                }
                for n in range(plan.pools)
            ]
        },
        "response": {
            "hot": {"touch_within": "30d"},
            "ladder": [*ladder, {"at": f"{plan.reassign_at:g}s", "reassign": True}],
            "reassign_at_most": 1,
        },
    }
    reps = [
        {
            "id": rep(n),
            "name": f"Rep {n}",
            "email": f"{rep(n)}@s.example",
            "slack": f"U{n:04}",
            "capacity": {"open": plan.capacity},
        }
        for n in range(plan.reps)
    ]
    pools = {f"size{n}": [rep(m) for m in range(n, plan.reps, plan.pools)] for n in range(plan.pools)}
    return write_config(directory, agreement, reps, pools)


def rep(number: int) -> str:
    return f"rep{number}"


# --- the stream ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Post:
    """An event for the client to send `at` seconds after its start, to gateway number `gateway` first."""

    at: float
    gateway: int
    id: str
    type: str
    email: str
    body: dict[str, Any] = field(hash=False)


def stream(plan: ProofPlan) -> list[Post]:
    """Return every event in the order of sending: a form of each lead, and its later events; some twice, some too early."""
    chance = random.Random(f"{plan.seed} stream")
    posts = [*_forms(plan, chance), *_followers(plan, chance)]
    again = [
        Post(post.at + chance.uniform(0.0, 10.0), 1 - post.gateway, post.id, post.type, post.email, post.body)
        for post in posts
        if chance.random() < TWICE
    ]
    return sorted([*posts, *again], key=lambda post: post.at)


def _forms(plan: ProofPlan, chance: random.Random) -> Iterator[Post]:
    for n in range(plan.leads):
        company = {"name": f"Company {n}", "employees": n % plan.pools * 100 + chance.randrange(1, 100)}
        data = {"form": "demo-request", "name": f"Person {n}", "company": company}
        yield _post(plan, _form_at(plan, n), f"form-{n}", "form.submitted", n, data)


def _form_at(plan: ProofPlan, n: int) -> float:
    return n / plan.leads * plan.seconds * 0.9


def _followers(plan: ProofPlan, chance: random.Random) -> Iterator[Post]:
    left = plan.events - plan.leads
    kinds = [
        *["touch.recorded"] * min(left, int(plan.leads * TOUCHED)),
        *["email.unsubscribed"] * int(plan.leads * OPTED_OUT),
    ]
    kinds += ["page.viewed"] * (left - len(kinds))
    touched: set[int] = set()
    for number, kind in enumerate(kinds[:left]):
        n = chance.randrange(plan.leads)
        while kind == "touch.recorded" and n in touched:
            n = chance.randrange(plan.leads)
        if kind == "touch.recorded":
            touched.add(n)
        early = chance.random() < SHUFFLED
        wait = -chance.uniform(0.0, 2.0) if early else chance.uniform(0.0, plan.reassign_at * 1.2)
        at = min(max(0.0, _form_at(plan, n) + wait), plan.seconds)
        yield _post(plan, at, f"{kind}-{number}", kind, n, _data(kind, chance))


def _data(kind: str, chance: random.Random) -> dict[str, Any]:
    if kind == "touch.recorded":
        return {"channel": "phone", "answered": chance.random() < 0.5}
    return {"path": f"/pricing/{chance.randrange(50)}"} if kind == "page.viewed" else {}


def _post(plan: ProofPlan, at: float, id: str, type: str, lead: int, data: dict[str, Any]) -> Post:
    email = address(lead)
    return Post(at, crc32(id.encode()) & 1, id, type, email, {"id": id, "type": type, "email": email, "data": data})


# --- the flood ----------------------------------------------------------------------------------------------------

FLOODS: Final = 8
POSTS_OF_FLOOD: Final = 6
FIELDS_OF_POST: Final = 120
FIELD_CHARS: Final = 2_000


@dataclass(frozen=True)
class Spam:
    """An anonymous form of a flood, sent at `at` to gateway number `gateway` first."""

    at: float
    gateway: int
    id: str
    email: str
    body: dict[str, Any] = field(hash=False)


def flood(plan: ProofPlan) -> Iterator[Spam]:
    """Yield floods during the whole stream: six forms of one address at once, each with 120 large fields of new names.

    Every other flood has the same address; each of the rest has its own. Their leads belong to pools like all others.
    """
    for n in range(FLOODS if plan.flood else 0):
        at = n / FLOODS * plan.seconds * 0.9
        email = "flood@flood.example" if n % 2 == 0 else f"flood{n}@flood.example"
        for m in range(POSTS_OF_FLOOD):
            id = f"flood-{n}-{m}"
            fields = {
                f"field {n} {m} {number}": (f"{number} " * FIELD_CHARS)[:FIELD_CHARS]
                for number in range(FIELDS_OF_POST)
            }
            body = {"email": email, "_id": id, "employees": 50 + n % plan.pools * 100, **fields}
            yield Spam(at + m * 0.05, m & 1, id, email, body)


def address(lead: int) -> str:
    return f"person{lead}@company{lead % 977}.example"

"""The cost of fifty conditions: of the generated function, and of the one that also returns the reasons."""

import random
from collections.abc import Callable, Sequence
from typing import Any, Final

from firsthour.bench.fixtures import buyer, reader
from firsthour.bench.lines import BenchLine, line
from firsthour.bench.systems import cpu_seconds
from firsthour.kernel.conditions.evaluation import compile_set, trace_set
from schemas.conditions.parser import parse
from schemas.conditions.tree import Node
from schemas.events.base import Facts

EVALUATIONS: Final = 6_000
ROUNDS: Final = 7
HOT_GOAL_US: Final = 8.0
TRACED_GOAL_US: Final = 20.0
_WORDS: Final = ("head", "vp", "director", "cto", "founder")
_PLACES: Final = ("DE", "FR", "NL", "AT", "SE")


def rules() -> list[BenchLine]:
    """Return the CPU per event for all fifty conditions."""
    nodes = conditions()
    facts = people(300)
    hot, traced = compile_set(nodes), trace_set(nodes)
    fast = [_us(hot, facts) for _ in range(ROUNDS)]
    slow = [_us(traced, facts) for _ in range(ROUNDS)]
    note = f"{len(nodes)} conditions, {sum(len(hot(one)) for one in facts) / len(facts):.0f} of them hold"
    return [
        line("rules, hot path", fast, "us/event", goal=HOT_GOAL_US, note=note),
        line("rules, traced", slow, "us/event", goal=TRACED_GOAL_US),
    ]


def conditions() -> list[Node]:
    """Return ten kinds of conditions, each with five constants."""
    rows: list[dict[str, Any]] = []
    for n in range(5):
        rows += [
            {"company.employees": {"between": [100 * n, 1_000 * (n + 1)]}},
            {"title": {"has_word": [_WORDS[n], _WORDS[n - 1]]}},
            {"email.kind": ("business", "free", "disposable", "business", "free")[n]},
            {"country": {"in": [_PLACES[n], _PLACES[n - 1]]}},
            {"company.industry": {"ne": ("software", "retail", "media", "energy", "education")[n]}},
            {"phone": {"exists": n % 2 == 0}},
            {"utm.campaign": {"starts_with": ("first", "second", "spring", "brand", "re")[n]}},
            {"all": [{"company.employees": {"gte": 50 * n}}, {"not": {"email.kind": "free"}}]},
            {"any": [{"company.domain": {"ends_with": ".example"}}, {"custom.budget": {"gt": 10_000 * n}}]},
            {"custom.interest": {"contains": ("price", "demo", "trial", "call", "talk")[n]}, "fit": {"gte": 20 * n}},
        ]
    return [parse(row) for row in rows]


def people(count: int) -> list[Facts]:
    """Return the facts of `count` people, as conditions read them."""
    chance = random.Random(3)
    rows = []
    for n in range(count):
        email, facts = buyer(n) if n % 2 else reader(n)
        facts |= {"email": email, "email.domain": email.partition("@")[2], "email.kind": "business"}
        facts |= {"fit": chance.random() * 100, "custom.interest": "price list and a demo"}
        rows.append(facts)
    return rows


def _us(function: Callable[[Facts], object], facts: Sequence[Facts]) -> float:
    before = cpu_seconds()
    for n in range(EVALUATIONS):
        function(facts[n % len(facts)])
    return (cpu_seconds() - before) / EVALUATIONS * 1e6

"""Counts the facts that rules of the agreement test and people lack. A test of a missing fact is false."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from firsthour.kernel.cache import once_per_version
from firsthour.kernel.config import Config
from schemas.agreement.agreement import Agreement
from schemas.conditions.fields import PERSON_FIELDS
from schemas.conditions.tree import Node, tests
from schemas.events.base import Value
from services.scoring.domain.custom_facts import PREFIX

RULES_MAX: Final = 500
_STORED: Final = frozenset(PERSON_FIELDS) | {"email.domain", "email.kind"}


@dataclass(frozen=True)
class RuleFacts:
    """A rule, and the facts of a person that it tests. Fields of events and values that FirstHour computes are none of them."""

    section: str
    rule: str
    fields: tuple[str, ...]


class FieldGap(NamedTuple):
    """A fact that a rule tests, and the number of people without it."""

    field: str
    leads: int


class RuleGap(NamedTuple):
    """A rule, and the number of people who lack at least one fact that it tests."""

    section: str
    rule: str
    leads: int
    fields: tuple[FieldGap, ...]


@once_per_version
def rule_facts(config: Config) -> tuple[RuleFacts, ...]:
    """Return the rules that test facts of a person, in the order of the agreement, at most `RULES_MAX`."""
    named = ((section, name, _facts(node)) for section, name, node in _conditions(config.agreement))
    return tuple(RuleFacts(section, name, fields) for section, name, fields in named if fields)[:RULES_MAX]


def _facts(node: Node) -> tuple[str, ...]:
    fields = (test.field for test in tests(node) if test.op != "exists")
    return tuple(dict.fromkeys(field for field in fields if field in _STORED or field.startswith(PREFIX)))


def _conditions(agreement: Agreement) -> Iterator[tuple[str, str, Node]]:
    scoring = agreement.scoring
    yield from (("scoring.fit", rule.because, rule.when) for rule in scoring.fit.rules)
    yield from (("scoring.engagement", rule.because, rule.when) for rule in scoring.engagement.rules)
    yield from (("qualify", line.name, line.when) for line in agreement.qualify)
    yield from (("routing", rule.name, rule.when) for rule in agreement.routing.rules)
    yield from (("suppress", rule.because, rule.when) for rule in agreement.suppress)
    yield from (("recycle", rule.name, rule.when) for rule in agreement.recycle if rule.when is not None)
    yield from (("audiences", audience.name, audience.when) for audience in agreement.audiences)
    yield from (("personas", name, node) for name, node in agreement.personas.items())
    yield from (("segments", name, node) for name, node in agreement.segments.items())


def gaps(rules: Iterable[RuleFacts], people: Iterable[Mapping[str, Value]]) -> list[RuleGap]:
    """Return the rules that somebody lacks a fact for, the most people first. `people`: the facts of each."""
    rules = tuple(rules)
    tested = {field for rule in rules for field in rule.fields}
    leads: Counter[RuleFacts] = Counter()
    by_field: Counter[str] = Counter()
    for facts in people:
        missing = tested.difference(facts)
        by_field.update(missing)
        leads.update(rule for rule in rules if not missing.isdisjoint(rule.fields))
    return [
        RuleGap(
            rule.section,
            rule.rule,
            count,
            tuple(FieldGap(field, by_field[field]) for field in rule.fields if by_field[field]),
        )
        for rule, count in leads.most_common()
    ]

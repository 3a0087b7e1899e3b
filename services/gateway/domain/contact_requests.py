"""Requests for contact: events that may meet a qualify line with `on:`. They are never quarantined.

The gateway knows the event and not the lead. A test of anything else, such as the score, counts as met: an event is only left
out if no lead could meet a line by it.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from firsthour.kernel.conditions.evaluation import Matched, compile_set
from firsthour.kernel.normalisation.emails import email_kind
from schemas.agreement.scoring import QualifyLine
from schemas.conditions.fields import DERIVED_FIELDS, PERSON_FIELDS
from schemas.conditions.tree import ALWAYS, AllOf, AnyOf, Node, Not, Test, tests
from services.gateway.domain.mapping import ParsedEvent

_OF_ADDRESS: Final = frozenset({"email.kind", "email.domain"})
_NEVER: Final = AnyOf(())


class RequestLines(NamedTuple):
    """The lines that an event of one type may meet. `of_address`: one of them tests the address of the person."""

    matched: Matched
    of_address: bool


Requests = Mapping[str, RequestLines]
"""By type of event."""


def requests_of(lines: Iterable[QualifyLine]) -> Requests:
    """Compile the qualify lines with `on:`."""
    by_type: dict[str, list[Node]] = {}
    for line in lines:
        if line.on is not None:
            by_type.setdefault(line.on, []).append(_relaxed(line.when, met=True))
    return {
        type: RequestLines(compile_set(nodes), any(test.field in _OF_ADDRESS for node in nodes for test in tests(node)))
        for type, nodes in by_type.items()
    }


def is_request(requests: Requests, event: ParsedEvent) -> bool:
    """Return whether the event may be a request for contact: of a person who can be reached, not by a disposable address."""
    lines, external = requests.get(event.type), event.external
    if lines is None or not (external.email or external.phone):
        return False
    domain = external.email.rpartition("@")[2] if external.email else ""
    kind = email_kind(domain) if domain else ""
    if kind == "disposable":
        return False
    if domain and lines.of_address:
        return bool(lines.matched({**external.fields, "email.domain": domain, "email.kind": kind}))
    return bool(lines.matched(external.fields))


def _relaxed(node: Node, *, met: bool) -> Node:
    """Return the condition with each test of the lead replaced. `met`: by one that always holds; otherwise by one that never does."""
    match node:
        case Test():
            if node.field in _OF_ADDRESS or not _is_of_lead(node.field):
                return node
            return ALWAYS if met else _NEVER
        case Not():
            return Not(_relaxed(node.part, met=not met))
        case AllOf():
            return AllOf(tuple(_relaxed(part, met=met) for part in node.parts))
        case AnyOf():
            return AnyOf(tuple(_relaxed(part, met=met) for part in node.parts))


def _is_of_lead(field: str) -> bool:
    return field in PERSON_FIELDS or field in DERIVED_FIELDS or field.startswith("custom.")

"""Requests for contact: events that may meet a qualify line with `on:`. They are never quarantined.

The gateway knows the event and not the lead. A test of anything else, such as the score or the time, counts as met: an event is only left
out if no lead could meet a line by it.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from firsthour.kernel.conditions.evaluation import Holds, matches
from firsthour.kernel.normalisation.emails import email_kind
from schemas.agreement.scoring import QualifyLine
from schemas.conditions.fields import DERIVED_FIELDS, PERSON_FIELDS, WITHIN
from schemas.conditions.tree import ALWAYS, AllOf, AnyOf, Node, Not, Test, tests
from services.gateway.domain.mapping import ParsedEvent

_OF_ADDRESS: Final = frozenset({"email.kind", "email.domain"})
_NEVER: Final = AnyOf(())


class RequestLines(NamedTuple):
    """The lines that an event of one type may meet. `of_address`: one of them tests the address of the person."""

    holds: Holds
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
        type: RequestLines(
            matches(AnyOf(tuple(nodes))), any(test.field in _OF_ADDRESS for node in nodes for test in tests(node))
        )
        for type, nodes in by_type.items()
    }


def is_request(requests: Requests, event: ParsedEvent) -> bool:
    """Return whether the event may be a request for contact: of a person who can be reached, not by a disposable address."""
    return company_of_request(requests, event) is not None


def company_of_request(requests: Requests, event: ParsedEvent) -> str | None:
    """Return the mail domain of a request for contact; empty: it names no company. None: the event is no request."""
    lines, external = requests.get(event.type), event.external
    if lines is None or not (external.email or external.phone):
        return None
    if not external.email:
        return "" if lines.holds(external.fields) else None
    domain = external.email.rpartition("@")[2]
    kind, facts = email_kind(domain), external.fields
    if kind == "disposable":
        return None
    if lines.of_address:
        facts = {**facts, "email.domain": domain, "email.kind": kind}
    return ("" if kind == "free" else domain) if lines.holds(facts) else None


def _relaxed(node: Node, *, met: bool) -> Node:
    """Return the condition with each test of the lead replaced. `met`: by one that always holds; otherwise by one that never does."""
    match node:
        case Test():
            if node.op != WITHIN and (node.field in _OF_ADDRESS or not _is_of_lead(node.field)):
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

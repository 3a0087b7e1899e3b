"""Finds rules that earlier ones swallow: every lead that they match is matched before."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from firsthour.kernel.conditions.reasoning import implied, impossible
from firsthour.runtime.config.documents import Document, at, rows
from schemas.conditions.parser import parse
from schemas.conditions.tree import ALWAYS, Node
from schemas.values import Loc, shown

COMPARED_MAX: Final = 60
"""The first rules of a list, with which later ones are compared."""
_TOGETHER_MAX: Final = 6


@dataclass(frozen=True)
class _OrderedRule:
    """A rule as written. `scope`: only rules of an equal scope swallow each other. `swallows`: it can swallow others."""

    loc: Loc
    name: str
    node: Node
    scope: object = None
    swallows: bool = True


def warnings(agreement: Document) -> Iterator[tuple[Loc, str]]:
    """Yield the routing rules, qualify lines and segments that are never the first to match."""
    for rule, before in _swallowed(list(_routing(agreement))):
        name = shown(rule.name)
        if len(before) == 1 and before[0].node == rule.node != ALWAYS:
            yield (
                rule.loc,
                f"the rule {name} has the condition of {_names(before)}, which comes first; change one of them",
            )
            continue
        mistake = f"the rule {name} comes after {_names(before)}, which {_takes(before, 'takes', 'lead')}"
        yield rule.loc, f"{mistake}, so only leads that no member of its pool can take get here; move it up"
    for rule, before in _swallowed(list(_lines(agreement))):
        noun = f"`{rule.scope}`" if rule.scope else "lead"
        mistake = f"the line {shown(rule.name)} comes after {_names(before)}, which {_takes(before, 'meets', noun)}"
        yield rule.loc, f"{mistake}, so it is never met first; move it up, or change one of them"
    for rule, before in _swallowed(list(_segments(agreement))):
        mistake = (
            f"the segment {shown(rule.name)} comes after {_names(before)}, which {_takes(before, 'takes', 'customer')}"
        )
        yield rule.loc, f"{mistake}, so it stays empty; move it up, or change one of them"


def _names(rules: Sequence[_OrderedRule]) -> str:
    return " and ".join(shown(rule.name) for rule in rules)


def _takes(before: Sequence[_OrderedRule], verb: str, noun: str) -> str:
    if len(before) > 1:
        return f"together {verb.removesuffix('s')} every {noun} that it would"
    return f"{verb} every {noun}" + ("" if before[0].node == ALWAYS else " that it would")


def _swallowed(rules: Sequence[_OrderedRule]) -> Iterator[tuple[_OrderedRule, tuple[_OrderedRule, ...]]]:
    """Yield each swallowed rule, with the rules that swallow it."""
    earlier: list[_OrderedRule] = []
    for rule in rules:
        before = [one for one in earlier if one.scope == rule.scope]
        if not impossible(rule.node):
            single = next((one for one in before if implied(rule.node, one.node)), None)
            swallowing = (single,) if single is not None else _together(rule, before[:_TOGETHER_MAX])
            if swallowing:
                yield rule, swallowing
        if rule.swallows and len(earlier) < COMPARED_MAX:
            earlier.append(rule)


def _together(rule: _OrderedRule, before: Sequence[_OrderedRule]) -> tuple[_OrderedRule, ...]:
    """Return the rules that swallow a rule together, without those that are not needed. Empty: they do not."""
    if len(before) < 2 or not implied(rule.node, *(one.node for one in before)):
        return ()
    needed = list(before)
    for one in before:
        rest = [other for other in needed if other is not one]
        if implied(rule.node, *(other.node for other in rest)):
            needed = rest
    return tuple(needed)


def _condition(row: Mapping[str, Any], *, of_event: bool = False) -> Node:
    return parse(row.get("when") or {}, of_event=of_event)


def _routing(agreement: Document) -> Iterator[_OrderedRule]:
    """Yield the routing rules. A rule to an owner, or with requirements, often finds no rep, so it swallows none."""
    for loc, row in rows(agreement, "routing", "rules"):
        swallows = "pool" in row and not row.get("require")
        yield _OrderedRule((*loc, "name"), str(row.get("name")), _condition(row), None, swallows)


def _lines(agreement: Document) -> Iterator[_OrderedRule]:
    """Yield the lines by event. A line of the state re-arms, so it swallows no line of an event, nor the reverse."""
    for loc, row in rows(agreement, "qualify"):
        on = row.get("on")
        yield _OrderedRule((*loc, "name"), str(row.get("name")), _condition(row, of_event=on is not None), on)


def _segments(agreement: Document) -> Iterator[_OrderedRule]:
    named = at(agreement.data, "segments")
    for name, raw in named.items() if isinstance(named, Mapping) else ():
        yield _OrderedRule(("segments", name), str(name), parse(raw or {}))

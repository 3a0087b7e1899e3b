"""Which types of event a sender may send, and to which rep a touch is attributed.

The role of a key decides, or the source in `sources.yaml` to which a key or a webhook belongs. A touch stops the response
clock and a deal changes the status of a lead, so only some senders may send these types.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from firsthour.runtime.http.principal import Principal
from firsthour.runtime.http.problem import Problem
from schemas.events.base import Facts, Value
from schemas.events.outside import FLAG_REP
from schemas.sources import DEAL, MARKETING_TYPES, TOUCH, may_send
from schemas.team import Team
from services.gateway.domain.coerce import UnmappableError
from services.gateway.domain.mapping import ParsedEvent

_MARKETING: Final = frozenset(MARKETING_TYPES)
ROLE_TYPES: Final[Mapping[str, frozenset[str]]] = {
    "ingest": _MARKETING,
    "marketing": _MARKETING,
    "sales": _MARKETING | {TOUCH, DEAL},
    "manager": _MARKETING | {TOUCH, DEAL},
    "admin": _MARKETING | {TOUCH, DEAL},
}
REP_TYPES: Final = _MARKETING | {TOUCH}
"""Types that the key of a rep may send. A deal may change the lead of another rep, so deals are not among them."""

Types = frozenset[str]


def allowed_types(principal: Principal, sources: Mapping[str, Types]) -> Types:
    """Return the types that a key may send.

    Args:
        principal: The principal of the key.
        sources: The types of each `kind: api` source.

    Raises:
        Problem: 403 if `sources.yaml` no longer names the source of the key.
    """
    if principal.source is not None:
        if principal.source in sources:
            return sources[principal.source]
        raise Problem(
            403,
            "Forbidden",
            f"The key belongs to the source {principal.source!r}, which `sources.yaml` no longer names. Add it again, as "
            f"`- {{id: {principal.source}, kind: api, types: [...]}}`.",
        )
    if bound_rep(principal):
        return REP_TYPES
    return ROLE_TYPES[principal.role]


def authorize(
    events: list[ParsedEvent], principal: Principal, sources: Mapping[str, Types], team: Team
) -> list[ParsedEvent]:
    """Return the events of a request, each touch attributed to its rep. Raises `Problem` 403 for a forbidden type."""
    types = allowed_types(principal, sources)
    for index, event in enumerate(events):
        if not may_send(types, event.type):
            raise _forbidden(principal, event.type, f"#/{index}/type" if len(events) > 1 else "#/type")
        if event.type == TOUCH:
            events[index] = _attribute(event, principal, team)
    return events


def _forbidden(principal: Principal, type: str, pointer: str) -> Problem:
    if principal.source is not None:
        sender, remedy = f"the source {principal.source!r}", f"add it to `types` of {principal.source} in sources.yaml"
    else:
        sender = f"a key of the role {principal.role}" + (" that acts as a rep" if principal.rep else "")
        remedy = "list it in `types` of a `kind: api` source, and make the key with `--source`"
    return Problem(
        403,
        "Forbidden",
        f"`{type}` may not be sent by {sender}; {remedy}.",
        [{"pointer": pointer, "detail": f"may not be sent by {sender}; {remedy}"}],
    )


def check_source_type(event: ParsedEvent, source: str, types: Types, pointer: str) -> None:
    """Raise `UnmappableError` 403 if the source may not send events of this type. `pointer`: the place of the event."""
    if not may_send(types, event.type):
        raise UnmappableError(
            f"{pointer}/type",
            f"`{event.type}` may not be sent by the source {source}",
            f"add it to `types` of {source} in sources.yaml",
            403,
        )


def drop_unknown_rep(event: ParsedEvent, team: Team) -> ParsedEvent:
    """Return the touch without a rep that the team does not have. The touch still stops the clock of the owner."""
    fields = event.external.fields
    unknown = {
        name
        for name, reps in (("rep", team.rep_by_id), ("rep_email", team.rep_by_email))
        if name in fields and _as_in_team(name, fields[name]) not in reps
    }
    if not unknown:
        return event
    others = {name: value for name, value in fields.items() if name not in unknown}
    return _replace(event, others, (*event.external.flags, FLAG_REP))


def _as_in_team(name: str, value: Value) -> str:
    """Return the id or the address of a rep as the team file spells it."""
    return str(value).lower() if name == "rep_email" else str(value)


def _attribute(event: ParsedEvent, principal: Principal, team: Team) -> ParsedEvent:
    """Attribute a touch to the rep of the key. A manager, and a key without a rep, may name another rep."""
    fields = event.external.fields
    named = "rep" in fields or "rep_email" in fields
    if principal.rep is None or (named and principal.allows("manager")):
        return drop_unknown_rep(event, team)
    return attribute_to_rep(event, principal.rep)


def attribute_to_rep(event: ParsedEvent, rep: str) -> ParsedEvent:
    """Return the touch, attributed to this rep instead of the rep that it names."""
    fields = {name: value for name, value in event.external.fields.items() if name != "rep_email"}
    return _replace(event, {**fields, "rep": rep}, event.external.flags)


def bound_rep(principal: Principal) -> str:
    """Return the rep to whom every touch of this key is attributed. Empty: the sender may name any rep."""
    return "" if principal.rep is None or principal.allows("manager") else principal.rep


def _replace(event: ParsedEvent, fields: Facts, flags: Sequence[str]) -> ParsedEvent:
    return replace(event, external=replace(event.external, fields=fields, flags=tuple(flags)))

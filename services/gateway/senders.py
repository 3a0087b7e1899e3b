"""Which types of event a sender may send, and for which rep a touch counts.

The role of a key decides, or the source in `sources.yaml` that a key or a webhook belongs to. Touches end a promise and
deals move a lead, so these types are not for everybody who may send events.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from firsthour.runtime.http.auth import Principal
from firsthour.runtime.http.problem import Problem
from schemas.events import FLAG_REP, Facts, Value
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
"""Types for the key of a rep of Sales. Deals are not among them, because they move the leads of other reps too."""

Types = frozenset[str]


def allowed_types(who: Principal, sources: Mapping[str, Types]) -> Types:
    """Return the types that a key may send. `sources`: the types of each `kind: api` source. Raises `Problem` 403."""
    if who.source is not None:
        if who.source in sources:
            return sources[who.source]
        raise Problem(
            403,
            "Forbidden",
            f"The key belongs to the source {who.source!r}, which `sources.yaml` no longer names. Add it again, as "
            f"`- {{id: {who.source}, kind: api, types: [...]}}`.",
        )
    if bound_rep(who):
        return REP_TYPES
    return ROLE_TYPES[who.role]


def authorize(found: list[ParsedEvent], who: Principal, sources: Mapping[str, Types], team: Team) -> list[ParsedEvent]:
    """Return the events of a request under this key, each touch for the rep it counts for. Raises `Problem` 403."""
    types = allowed_types(who, sources)
    for index, one in enumerate(found):
        if not may_send(types, one.type):
            raise _forbidden(who, one.type, f"#/{index}/type" if len(found) > 1 else "#/type")
        if one.type == TOUCH:
            found[index] = _by_key(one, who, team)
    return found


def _forbidden(who: Principal, type: str, pointer: str) -> Problem:
    if who.source is not None:
        what, remedy = f"the source {who.source!r}", f"add it to `types` of {who.source} in sources.yaml"
    else:
        what = f"a key of the role {who.role}" + (" that acts as a rep" if who.rep else "")
        remedy = "list it in `types` of a `kind: api` source, and make the key with `--source`"
    return Problem(
        403,
        "Forbidden",
        f"`{type}` is not a type that {what} may send; {remedy}.",
        [{"pointer": pointer, "detail": f"is not sent by {what}; {remedy}"}],
    )


def check_source_type(one: ParsedEvent, source: str, types: Types, where: str) -> None:
    """Raises `UnmappableError` when this source may not send the event at `where`."""
    if not may_send(types, one.type):
        raise UnmappableError(
            f"{where}/type",
            f"`{one.type}` is not a type that the source {source} may send",
            f"add it to `types` of {source} in sources.yaml",
            403,
        )


def drop_unknown_rep(one: ParsedEvent, team: Team) -> ParsedEvent:
    """A touch without a rep that is not in the team: it counts, for the owner's promise, and the name is dropped."""
    fields = one.external.fields
    unknown = {
        name
        for name, known in (("rep", team.rep_by_id), ("rep_email", team.rep_by_email))
        if name in fields and _written(name, fields[name]) not in known
    }
    if not unknown:
        return one
    kept = {name: value for name, value in fields.items() if name not in unknown}
    return _with(one, kept, (*one.external.flags, FLAG_REP))


def _written(name: str, value: Value) -> str:
    """A rep's id or address as the team file has it."""
    return str(value).lower() if name == "rep_email" else str(value)


def _by_key(one: ParsedEvent, who: Principal, team: Team) -> ParsedEvent:
    """A touch as it counts: by the rep of the key. A manager may name another rep, and so may a key without a rep."""
    fields = one.external.fields
    named = "rep" in fields or "rep_email" in fields
    if who.rep is None or (named and who.allows("manager")):
        return drop_unknown_rep(one, team)
    return attribute_to_rep(one, who.rep)


def attribute_to_rep(one: ParsedEvent, rep: str) -> ParsedEvent:
    """A touch that counts as this rep's, whatever name it carries."""
    others = {name: value for name, value in one.external.fields.items() if name != "rep_email"}
    return _with(one, {**others, "rep": rep}, one.external.flags)


def bound_rep(who: Principal) -> str:
    """The rep for whom every touch under this key counts; empty when another may be named."""
    return "" if who.rep is None or who.allows("manager") else who.rep


def _with(one: ParsedEvent, fields: Facts, flags: Sequence[str]) -> ParsedEvent:
    return replace(one, external=replace(one.external, fields=fields, flags=tuple(flags)))

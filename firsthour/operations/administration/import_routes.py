"""The route of `firsthour import`: the rows of a list, each as its events. A row is accepted or refused by itself."""

from collections.abc import Container, Iterator, Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Request

from firsthour.kernel.config import Config
from firsthour.kernel.normalisation.emails import email_kind
from firsthour.operations.administration.import_counts import KINDS, REFUSED_MAX, counts_of
from firsthour.runtime.http.auth import needs
from firsthour.runtime.http.principal import READ, Principal
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.processing.service import Resources
from firsthour.runtime.storage.records import Row
from schemas.sources import ApiSource
from schemas.values import ID_PATTERN
from services.gateway import request_bodies, senders, shapes
from services.gateway.domain import coerce
from services.gateway.domain.coerce import Json, UnmappableError
from services.gateway.domain.mapping import ParsedEvent, parse_event
from services.gateway.intake.outcome import problem_of, rows_of
from services.gateway.intake.turns import in_turns
from services.reporting import lead_view

IMPORTED_TYPES: Final = frozenset(KINDS)
ROWS_MAX: Final = 1_000
LEADS_MAX: Final = 1_000  # that one row of a company changes
_LEFT_OUT: Final = f"a row of a company changes {LEADS_MAX:,} leads; import the others as leads, by their addresses"
EVENTS_MAX: Final = 20_000
"""Of one request: a company that is named a thousand times must not become a million events."""
_TOO_MANY: Final = f"changes more than {EVENTS_MAX:,} leads together with the other rows of its request"
_DOMAIN: Final = "company.domain"
_IDENTIFIERS: Final = ("email", "phone", "crm_id", "anonymous_id")
_BODY: Final = {
    "type": "object",
    "required": ["rows"],
    "additionalProperties": False,
    "properties": {
        "rows": {
            "type": "array",
            "maxItems": ROWS_MAX,
            "items": {"type": "array", "minItems": 1, "maxItems": 2, "items": shapes.EVENT},
        },
        "kind": {"type": "string", "enum": sorted(set(KINDS.values()))},
        "refused": {"type": "integer", "minimum": 0, "maximum": REFUSED_MAX},
    },
}
Rows = list[list[dict[str, Json]]]


def add_import_routes(api: APIRouter, resources: Resources) -> None:
    """Add the route of imports."""

    @api.post(
        "/v1/import/{source}",
        openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": _BODY}}}},
    )
    async def import_rows(
        source: Annotated[str, Path(pattern=ID_PATTERN)],
        request: Request,
        principal: Annotated[Principal, Depends(needs(READ))],
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """Append the events of rows of a list. `rejected` names each row that is refused, with its error.

        All events of a row are accepted, or none. A `lead.updated` without a person but with a `company.domain` changes
        each lead with an address of this domain. `kind`: of the list; absent: that of each row. `refused`: rows that the
        sender refused itself, which are only counted. `dry_run`: nothing is stored.
        """
        config, now = resources.config.current, resources.clock.business()
        try:
            body = request_bodies.parse_json(await request.body()).value
            rows, counted = _rows(body), counts_of(body)
        except UnmappableError as error:
            raise problem_of(error) from None
        people = await _people(resources, rows)
        types = senders.allowed_types(principal, _sources(config)) & IMPORTED_TYPES
        log_rows: list[Row] = []
        rejected: list[dict[str, Any]] = []

        def parse() -> Iterator[None]:
            for index, row in enumerate(rows):
                kind = counted.kind_of(row)
                try:
                    sent_events = [
                        (event, f"#/rows/{index}/{place}")
                        for place, sent in enumerate(row)
                        for event in people.expanded(sent, f"#/rows/{index}/{place}")
                    ]
                    _check_number(len(log_rows) + len(sent_events), index)
                    events = [_parse(event, source, types, now, place) for event, place in sent_events]
                    log_rows.extend(rows_of(events))
                    counted.accept(kind, len(events))
                except UnmappableError as error:
                    rejected.append({"row": index, "error": _text(error)})
                    counted.refuse(kind, error.status)
                yield

        try:
            await in_turns(parse())
        except Problem as problem:
            if not dry_run:
                await counted.refused_whole(rows, problem.status).keep(resources, [])
            raise
        if not dry_run and counted:
            await counted.keep(resources, log_rows)
        left_out = people.left_out(rows, {one["row"] for one in rejected})
        answer = {"accepted": len(rows) - len(rejected), "events": len(log_rows), "rejected": rejected}
        return answer | {"left_out": left_out}


def _rows(value: Json) -> Rows:
    """Return the rows of a body. Raises `UnmappableError` for another shape."""
    rows = value.get("rows") if isinstance(value, dict) else None
    if not isinstance(rows, list) or len(rows) > ROWS_MAX:
        raise UnmappableError("#/rows", f"is not a list of at most {ROWS_MAX} rows", 'send {"rows": [[event], ...]}')
    for index, row in enumerate(rows):
        if not (isinstance(row, list) and 0 < len(row) <= 2 and all(isinstance(event, dict) for event in row)):
            raise UnmappableError(f"#/rows/{index}", "is not a list of one or two events", "send each row as a list")
    return rows  # type: ignore[return-value]  # checked above


def _sources(config: Config) -> Mapping[str, senders.Types]:
    return {one.id: frozenset(one.types) for one in config.sources.sources if isinstance(one, ApiSource)}


def _parse(sent: dict[str, Json], source: str, types: senders.Types, now: Any, pointer: str) -> ParsedEvent:
    event = parse_event(sent, origin=source, scope=f"import:{source}\n", now=now, pointer=pointer)
    if event.type not in IMPORTED_TYPES:
        raise UnmappableError(
            f"{pointer}/type", "is not a type of lists", f"send one of: {', '.join(sorted(IMPORTED_TYPES))}"
        )
    if event.type not in types:
        raise Problem(403, "Forbidden", f"This key may not send `{event.type}`; use a key of the role manager.")
    return event


def _company(sent: Mapping[str, Json]) -> str | None:
    """Return the domain of a company that the event is about. None: it is about a person."""
    data = sent.get("data")
    if sent.get("type") != "lead.updated" or not isinstance(data, dict) or any(sent.get(name) for name in _IDENTIFIERS):
        return None
    domain = data.get(_DOMAIN)
    return None if domain is None else str(coerce.domain(domain) or "")


async def _people(resources: Resources, rows: Rows) -> "CompanyLeads":
    """Return the leads of the companies in these rows."""
    domains = sorted({domain for row in rows for sent in row if (domain := _company(sent))})
    if not domains:
        return CompanyLeads({}, complete=True)
    found, complete = await resources.reads(
        lambda connection: lead_view.addresses_at(connection, domains, LEADS_MAX, EVENTS_MAX)
    )
    return CompanyLeads(found, complete=complete)


class CompanyLeads:
    """The leads of the companies of a request, by the domain of each."""

    def __init__(self, found: Mapping[str, lead_view.DomainLeads], *, complete: bool) -> None:
        """`complete`: False: a domain that is not in `found` may have leads."""
        self._found = found
        self._complete = complete

    def expanded(self, sent: dict[str, Json], pointer: str) -> Iterator[dict[str, Json]]:
        """Yield the event of a person, or for a company one event for each lead with an address of its domain."""
        domain = _company(sent)
        if domain is None:
            yield sent
            return
        if email_kind(domain) != "business":
            fault, remedy = "is not the domain of a company", "name the company's own domain"
            raise UnmappableError(f"{pointer}/data/{_DOMAIN}", fault, remedy)
        if domain not in self._found and not self._complete:
            raise UnmappableError(pointer, _TOO_MANY, "import the row again", 413)
        for address in self._found[domain].addresses if domain in self._found else ():
            yield sent | {"id": f"{sent.get('id')}:{address}"[-400:], "email": address}

    def left_out(self, rows: Rows, rejected: Container[int]) -> list[dict[str, Any]]:
        """Return the accepted rows that do not change all leads with an address of their domain."""
        numbers = {index: self._unchanged(row) for index, row in enumerate(rows) if index not in rejected}
        return [{"row": index, "leads": number, "remedy": _LEFT_OUT} for index, number in numbers.items() if number]

    def _unchanged(self, row: list[dict[str, Json]]) -> int:
        companies = [one for sent in row if (one := self._found.get(_company(sent) or ""))]
        return sum(one.number - len(one.addresses) for one in companies)


def _check_number(events: int, row: int) -> None:
    if events > EVENTS_MAX:
        raise UnmappableError(f"#/rows/{row}", _TOO_MANY, "import the row again", 413)


def _text(error: UnmappableError) -> str:
    name = error.pointer.rpartition("/")[2]
    return f"{'row' if name.isdigit() else name} {error.fault}; {error.remedy}"

"""Checks across the configuration files: names that must exist, be unique, and be in order.

The checks read plain values instead of the models, so that another mistake in the files does not hide these.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final

from pydantic_core import PydanticCustomError

from firsthour.kernel.languages import language_code
from firsthour.kernel.normalisation.companies import company_domain
from firsthour.runtime.config import repeated_names, source_checks
from firsthour.runtime.config.documents import (
    ConfigDocuments,
    ConfigProblem,
    Document,
    at,
    defined,
    grades,
    names,
    rows,
    statuses,
    urgencies,
)
from schemas import mail
from schemas.agreement.lifecycle import ANY_STATUS
from schemas.agreement.response import ALWAYS, CHANNELS, OWNER
from schemas.conditions.fields import FIELDS
from schemas.values import EMAIL_PATTERN, Loc, did_you_mean, duration, repeated_indexes, shown

_TEAMS: Final = (("tell", "marketing"), ("tell", "sales"), ("tell", "operator"))
_MUST_EXIST: Final = ("new", "nurturing", "qualified", "assigned", "accepted", "working", "opted-out")


def _unknown(
    document: Document, used: Iterator[tuple[Loc, str]], candidates: Collection[str], noun: str, *also: str
) -> Iterator[ConfigProblem]:
    for loc, name in used:
        if name not in candidates and name not in also:
            yield document.problem(loc, f"{shown(name)} is not {noun}", did_you_mean(name, candidates))


def _repeated(
    document: Document, path: Loc, by: str, noun: str, same: Callable[[str], str] = str
) -> Iterator[ConfigProblem]:
    placed = [((*loc, by), row[by]) for loc, row in rows(document, *path) if isinstance(row.get(by), str)]
    for index in repeated_indexes([same(name) for _, name in placed]):
        loc, name = placed[index]
        yield document.problem(loc, f"{noun} {shown(name)} occurs twice", "rename or remove one of them")


def _field(document: Document, path: Loc, *fields: str) -> Iterator[tuple[Loc, str]]:
    """Yield the words in these fields of the rows at `path`."""
    for loc, row in rows(document, *path):
        for field in fields:
            yield from names(row.get(field), (*loc, field))


def _lifecycle(agreement: Document) -> Iterator[ConfigProblem]:
    defined_statuses = statuses(agreement)
    for name in _MUST_EXIST:
        if name not in defined_statuses:
            mistake = f"the status `{name}` is missing"
            yield agreement.problem(("lifecycle", "statuses"), mistake, f"add `{name}:` and its team", key=True)
    moves = ("lifecycle", "transitions")
    yield from _unknown(agreement, _field(agreement, moves, "from"), defined_statuses, "a status", ANY_STATUS)
    yield from _unknown(agreement, _field(agreement, moves, "to"), defined_statuses, "a status")
    campaigns = names(at(agreement.data, "lifecycle", "campaigns"), ("lifecycle", "campaigns"))
    yield from _unknown(agreement, campaigns, defined_statuses, "a status")
    yield from _unknown(agreement, _field(agreement, ("recycle",), "from"), defined_statuses, "a status")


def _ladder(agreement: Document) -> Iterator[ConfigProblem]:
    highest = None
    for loc, rung in rows(agreement, "response", "ladder"):
        try:
            after = duration(rung.get("at"))
        except PydanticCustomError:
            continue  # the model reports it
        if highest is not None and after < highest:
            mistake = f"this rung ({rung.get('at')}) comes before the one above it"
            yield agreement.problem((*loc, "at"), mistake, "list the rungs in the order of time")
        highest = max(after, highest or after)


def _channels(agreement: Document) -> Iterator[ConfigProblem]:
    """Yield the names in `by:` that are no channel."""
    own = at(agreement.data, "channels")
    known = [*CHANNELS, *(own if isinstance(own, Mapping) else ())]
    yield from _unknown(agreement, _by(agreement), known, "a channel")
    for place in _TEAMS:
        yield from _address(agreement, (*place, "email"), at(agreement.data, *place, "email"))


def _by(agreement: Document) -> Iterator[tuple[Loc, str]]:
    """Yield the words of every `by:` that names channels."""
    yield from _field(agreement, ("response", "ladder"), "by")
    for place in (("response", "remind"), ("response", "missed"), *_TEAMS):
        yield from names(at(agreement.data, *place, "by"), (*place, "by"))


def _quiet_hours(agreement: Document) -> Iterator[ConfigProblem]:
    """Yield the calendar and the urgencies of the quiet hours that do not exist."""
    place = ("response", "quiet_hours")
    calendars = at(agreement.data, "calendars")
    known = [*(calendars if isinstance(calendars, Mapping) else ()), OWNER]
    yield from _unknown(
        agreement, names(at(agreement.data, *place, "outside"), (*place, "outside")), known, "a calendar"
    )
    but = names(at(agreement.data, *place, "but"), (*place, "but"))
    yield from _unknown(agreement, but, urgencies(agreement), "an urgency of `response`")


def _promises(agreement: Document) -> Iterator[ConfigProblem]:
    response = at(agreement.data, "response")
    if isinstance(response, Mapping):
        promised = urgencies(agreement)
        yield from _unknown(agreement, _field(agreement, ("qualify",), "urgency"), promised, "an urgency of `response`")
        if not promised:
            remedy = "add one, such as `hot: {touch_within: 1h}`"
            yield agreement.problem(("response",), "`response` has no urgency", remedy, key=True)
        calendars = at(agreement.data, "calendars")
        counted = (
            (("response", name, "counted_in"), calendar)
            for name in promised
            if isinstance(calendar := at(response, name, "counted_in"), str)
        )
        known_calendars = [*(calendars if isinstance(calendars, Mapping) else ()), ALWAYS, OWNER]
        yield from _unknown(agreement, counted, known_calendars, "a calendar")
    least = _field(agreement, ("promises", "marketing"), "grade_at_least")
    yield from _unknown(agreement, least, grades(agreement), "a grade")
    for loc, name in _field(agreement, ("promises", "marketing"), "complete"):
        if name not in FIELDS and not name.startswith("custom."):
            yield agreement.problem(loc, f"{shown(name)} is not a field of leads", did_you_mean(name, FIELDS))


def _languages(document: Document, used: Iterator[tuple[Loc, str]]) -> Iterator[ConfigProblem]:
    """Yield the languages that no fact equals: facts have `fr`, never `fr-FR`."""
    for loc, name in used:
        code = language_code(name)
        if code != name.lower():
            yield document.problem(loc, f"{shown(name)} is not a language code", f"write `{code}`")


def _domains(team: Document) -> Iterator[ConfigProblem]:
    """Yield the domains of accounts that no fact equals."""
    for loc, row in rows(team, "accounts"):
        domain = row.get("domain")
        if not isinstance(domain, str):
            continue
        registrable = company_domain(domain)
        remedy = f"write `{registrable}`" if registrable else "write the domain of the company, such as acme.com"
        if registrable is None or domain.lower() == f"www.{registrable}" or not domain.isascii():
            yield team.problem((*loc, "domain"), f"{shown(domain)} is not the domain of a company", remedy)


def _agreement(files: ConfigDocuments) -> Iterator[ConfigProblem]:
    agreement = files.agreement
    required = (((*loc, "require"), at(rule, "require")) for loc, rule in rows(agreement, "routing", "rules"))
    for loc, require in required:
        yield from _languages(agreement, names(at(require, "languages"), (*loc, "languages")))
    yield from _lifecycle(agreement)
    yield from _ladder(agreement)
    yield from _channels(agreement)
    yield from _promises(agreement)
    yield from _quiet_hours(agreement)
    yield from repeated_names.problems(agreement)
    yield from _repeated(agreement, ("qualify",), "name", "the line")
    yield from _repeated(agreement, ("routing", "rules"), "name", "the rule")
    yield from _repeated(agreement, ("recycle",), "name", "the rule")
    yield from _repeated(agreement, ("audiences",), "name", "the audience")
    if files.team.data is not None:
        pools = defined(files.team, "pools")
        yield from _unknown(agreement, _field(agreement, ("routing", "rules"), "pool"), pools, "a pool of team.yaml")


def _address(team: Document, loc: Loc, value: object) -> Iterator[ConfigProblem]:
    """Yield an address to which no mail can be sent. The model checks its form."""
    if isinstance(value, str) and re.match(EMAIL_PATTERN, value) and (why := mail.trouble(value)) is not None:
        yield team.problem(loc, f"no mail can be sent to {shown(value)}: {why}", "give an address that takes mail")


def _covers(team: Document, loc: Loc, rep: Mapping[str, object], reps: Collection[str]) -> Iterator[ConfigProblem]:
    """Yield the covers of absences that are no rep, or the absent rep."""
    covers = list(_field(team, (*loc, "away"), "cover"))
    yield from _unknown(team, iter(covers), reps, "a rep")
    for place, cover in covers:
        if cover == rep.get("id"):
            yield team.problem(
                place, f"{shown(cover)} cannot cover their own absence", "name another rep, or remove the field"
            )


def _team(files: ConfigDocuments) -> Iterator[ConfigProblem]:
    team = files.team
    reps = defined(team, "reps")
    yield from _repeated(team, ("reps",), "id", "the rep")
    yield from _repeated(team, ("reps",), "email", "the address", str.lower)
    yield from _repeated(team, ("reps",), "slack", "the Slack id")  # a click in Slack counts for one rep
    yield from _repeated(team, ("pools",), "id", "the pool")
    yield from _repeated(team, ("accounts",), "domain", "the account", str.lower)
    yield from _languages(team, _field(team, ("reps",), "languages"))
    yield from _domains(team)
    yield from _unknown(team, _field(team, ("reps",), "manager"), reps, "a rep")
    yield from _unknown(team, _field(team, ("accounts",), "owner"), reps, "a rep")
    yield from _unknown(team, _field(team, ("pools",), "manager"), reps, "a rep")
    for loc, _ in rows(team, "pools"):
        yield from _unknown(team, _field(team, (*loc, "members"), "rep"), reps, "a rep")
        yield from _repeated(team, (*loc, "members"), "rep", "the member")
    for loc, rep in rows(team, "reps"):
        yield from _address(team, (*loc, "email"), rep.get("email"))
        yield from _covers(team, loc, rep, reps)
        if isinstance(rep.get("manager"), str) and rep.get("manager") == rep.get("id"):
            yield team.problem(
                (*loc, "manager"), f"{shown(rep['id'])} is their own manager", "name another rep, or remove the field"
            )
    if files.agreement.data is not None:
        own = at(files.agreement.data, "calendars")
        calendars = [*(own if isinstance(own, Mapping) else ()), ALWAYS]
        yield from _unknown(team, _field(team, ("reps",), "calendar"), calendars, "a calendar of agreement.yaml")


def problems(files: ConfigDocuments) -> Iterator[ConfigProblem]:
    """Yield every mistake about names in the files."""
    if files.agreement.data is not None:
        yield from _agreement(files)
    if files.team.data is not None:
        yield from _team(files)
    if files.sources.data is not None:
        yield from source_checks.problems(files.sources)

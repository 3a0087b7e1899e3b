"""Checks rules that are never reached, promises that the ladder breaks, and weights and floors that do not match."""

from collections.abc import Iterator, Mapping
from datetime import timedelta

from firsthour.kernel.languages import language_code
from firsthour.kernel.normalisation.emails import email_kind
from firsthour.runtime.config import ranges, swallowed_rules
from firsthour.runtime.config.documents import ConfigDocuments, at, names, rows, urgencies
from firsthour.runtime.config.ranges import number
from schemas.agreement.response import LADDER, OWNER
from schemas.values import Loc, duration, duration_text, shown


def agreement(files: ConfigDocuments) -> Iterator[tuple[Loc, str]]:
    """Yield the warnings about agreement.yaml."""
    yield from swallowed_rules.warnings(files.agreement)
    yield from _scoring(files)
    yield from _ladder(files)
    yield from _unspoken(files)
    yield from _pauses(files)
    yield from _budget(files)


def team(files: ConfigDocuments) -> Iterator[tuple[Loc, str]]:
    """Yield the warnings about team.yaml."""
    for loc, account in rows(files.team, "accounts"):
        domain = str(account.get("domain", "")).lower()
        kind = email_kind(domain)
        if kind != "business":
            mistake = f"{shown(domain)} is a domain of {kind} mailboxes, so every person with such an address belongs to this account"
            yield (*loc, "domain"), f"{mistake}; name the company's own domain"

    yield from _idle_pools(files)
    yield from _inactive(files)


def _inactive(files: ConfigDocuments) -> Iterator[tuple[Loc, str]]:
    """Yield the managers and covers who have left, and so are never paged."""
    left = {rep.get("id") for _, rep in rows(files.team, "reps") if not rep.get("active", True)}
    active = [(loc, rep) for loc, rep in rows(files.team, "reps") if rep.get("active", True)]
    places = [((*loc, "manager"), row.get("manager")) for loc, row in (*active, *rows(files.team, "pools"))]
    places += [
        ((*away, "cover"), at(row, "cover")) for loc, _ in active for away, row in rows(files.team, *loc, "away")
    ]
    first = {name: loc for loc, name in reversed(places) if name in left}
    for name, loc in first.items():
        yield loc, f"{shown(name)} has left (`active: false`) and gets no pages; name another rep"


def _idle_pools(files: ConfigDocuments) -> Iterator[tuple[Loc, str]]:
    """Yield the pools whose leads are never assigned: no member takes leads."""
    idle = {
        rep.get("id")
        for _, rep in rows(files.team, "reps")
        if not rep.get("active", True) or at(rep, "capacity", "open") == 0
    }
    for loc, pool in rows(files.team, "pools"):
        members = [at(member, "rep") for _, member in rows(files.team, *loc, "members")]
        if members and idle.issuperset(members):
            mistake = f"no member of the pool {shown(pool.get('id'))} takes leads (`active: false`, or a capacity of 0)"
            yield (*loc, "id"), f"{mistake}, so its leads wait in the queue; add a member who takes leads"


def _scoring(files: ConfigDocuments) -> Iterator[tuple[Loc, str]]:
    data = files.agreement.data
    whole = sum(ranges.weights(data))
    if whole > 1 + 1e-9:
        yield (
            ("scoring", "total"),
            f"the weights add up to {whole:g}; make them add up to 1, or the total exceeds the scale",
        )
    elif whole == 0:
        yield ("scoring", "total"), "the weights are both 0, so every total is 0; make them add up to 1"
    scores = ranges.scores(data)
    most = scores["fit"][1]
    grades = at(data, "scoring", "grades")
    for name, floor in grades.items() if isinstance(grades, Mapping) else ():
        if (bound := number(floor)) is not None and bound > most:
            yield (
                ("scoring", "grades", name),
                f"fit is at most {most:g}, so no lead has the grade {name}; lower its floor",
            )
    below = number(at(data, "rearm_below"))
    if below is not None and below <= 0:
        yield ("rearm_below",), "no score falls below this, so no lead that came back qualifies again; raise it"


def _ladder(files: ConfigDocuments) -> Iterator[tuple[Loc, str]]:
    """Yield the rungs that come after the promise is broken."""
    data = files.agreement.data
    promised = {name: duration(at(data, "response", name, "touch_within")) for name in urgencies(files.agreement)}
    rungs: list[tuple[Loc, timedelta]] = [(("response",), rung.at) for rung in LADDER]
    if at(data, "response", "ladder") is not None:
        written = list(rows(files.agreement, "response", "ladder"))
        rungs = [((*loc, "at"), duration(rung.get("at"))) for loc, rung in written]
        if not any(rung.get("page") == OWNER for _, rung in written):
            mistake = "no rung pages the owner, so owners do not learn of new leads"
            yield ("response", "ladder"), f"{mistake}; add `{{at: 0m, page: owner, by: [inbox]}}`"
    for loc, after in rungs:
        late = [f"{name} ({duration_text(within)})" for name, within in promised.items() if after > within]
        if late:
            rung = f"the rung at {duration_text(after)}"
            yield loc, f"{rung} comes later than the promise of {', '.join(late)}; put it before"


def _pauses(files: ConfigDocuments) -> Iterator[tuple[Loc, str]]:
    """Yield the pause for an answer of the prospect, if the attempt before it already stops the clock."""
    response = at(files.agreement.data, "response")
    if at(response, "pauses", "waiting_for_prospect") is not None and at(response, "stopped_by") != "conversation":
        mistake = "any attempt stops the clock, so it never waits for the prospect"
        yield (
            ("response", "pauses", "waiting_for_prospect"),
            f"{mistake}; write `stopped_by: conversation`, or remove it",
        )


def _budget(files: ConfigDocuments) -> Iterator[tuple[Loc, str]]:
    """Yield the time of the budget, if a page beyond the budget can wait until a promise is broken."""
    per = at(files.agreement.data, "response", "budget", "per")
    if per is None:
        return
    promised = {
        name: duration(at(files.agreement.data, "response", name, "touch_within"))
        for name in urgencies(files.agreement)
    }
    late = [f"{name} ({duration_text(within)})" for name, within in promised.items() if duration(per) > within]
    if late:
        mistake = f"a page beyond the budget waits up to {per}, longer than the promise of {', '.join(late)}"
        yield ("response", "budget", "per"), f"{mistake}; shorten it"


def _unspoken(files: ConfigDocuments) -> Iterator[tuple[Loc, str]]:
    """Yield the languages that a rule requires but no member of its pool speaks."""
    reps = {row.get("id"): row for _, row in rows(files.team, "reps")}
    pools = {row.get("id"): row for _, row in rows(files.team, "pools")}
    for loc, rule in rows(files.agreement, "routing", "rules"):
        members = [reps.get(at(member, "rep")) for member in at(pools.get(rule.get("pool")), "members") or ()]
        languages = {language_code(name) for rep in members for _, name in names(at(rep, "languages"), ())}
        for _, name in names(at(rule, "require", "languages"), ()) if members else ():
            if language_code(name) not in languages:
                mistake = f"no member of the pool {shown(rule.get('pool'))} speaks {shown(name)}"
                yield (*loc, "require", "languages"), f"{mistake}; add it to a rep of team.yaml, or remove it"

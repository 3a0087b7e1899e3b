"""Checks of the section `calendars`: public holidays that are known, hours that come, and reps who have them."""

from collections.abc import Iterator, Mapping
from typing import Any

from firsthour.kernel.public_holidays import is_known, regions_of
from firsthour.runtime.config.documents import ConfigDocuments, ConfigProblem, Document, at, rows, urgencies
from schemas.agreement.calendars import HOLIDAYS
from schemas.agreement.response import ALWAYS, OWNER
from schemas.values import Loc, did_you_mean, shown


def problems(agreement: Document) -> Iterator[ConfigProblem]:
    """Yield the mistakes in the calendars that their shape alone does not show."""
    calendars = at(agreement.data, "calendars")
    for name, calendar in calendars.items() if isinstance(calendars, Mapping) else ():
        if name == OWNER or (name == ALWAYS and not _counts_every_minute(calendar)):
            mistake = f"`{name}` has a meaning of its own in `counted_in`"
            yield agreement.problem(("calendars", name), mistake, "give the calendar another name", key=True)
        if isinstance(calendar, Mapping):
            yield from _holidays(agreement, ("calendars", name, "holidays"), calendar.get("holidays"))
            yield from _hours(agreement, ("calendars", name, "hours"), calendar.get("hours"))


def _counts_every_minute(calendar: Any) -> bool:
    """Return whether the calendar is what `counted_in: always` means, so that its name misleads no reader."""
    hours = at(calendar, "hours")
    return at(calendar, "holidays") is None and hours == {"mon-sun": ["00:00-24:00"]}


def warnings(files: ConfigDocuments) -> Iterator[tuple[Loc, str]]:
    """Yield a line for reps of team.yaml without a calendar, if promises or quiet hours follow the calendar of the owner."""
    response = at(files.agreement.data, "response")
    counted = any(at(response, name, "counted_in") == OWNER for name in urgencies(files.agreement))
    quiet = at(response, "quiet_hours")
    if not counted and not (isinstance(quiet, Mapping) and quiet.get("outside", OWNER) == OWNER):
        return
    effect = (
        "every minute counts towards a promise `counted_in: owner`" if counted else "no hours are quiet for this person"
    )
    pools = [loc for loc, _ in rows(files.team, "pools")]
    members = {at(row, "rep") for loc in pools for _, row in rows(files.team, *loc, "members")}
    reps = [(loc, rep) for loc, rep in rows(files.team, "reps") if rep.get("id") in members and not rep.get("calendar")]
    for loc, rep in reps[:1]:
        more = f" (and {len(reps) - 1} more)" if len(reps) > 1 else ""
        text = f"{shown(rep['id'])}{more} has no calendar, so {effect}"
        yield (*loc, "id"), f"{text}; add `calendar:`"


def _holidays(agreement: Document, loc: Loc, code: Any) -> Iterator[ConfigProblem]:
    if not isinstance(code, str) or not HOLIDAYS.fullmatch(code) or is_known(code):
        return
    country, _, region = code.partition("-")
    regions = regions_of(country)
    if regions is None:
        remedy = "write the code of a country, such as DE, or of one of its regions, such as DE-BE"
        yield agreement.problem(loc, f"the public holidays of {shown(code)} are not known", remedy)
    else:
        remedy = (
            did_you_mean(region, regions) if regions else f"write {country}: its regions have no holidays of their own"
        )
        yield agreement.problem(loc, f"{shown(region)} is not a region of {country}", remedy)


def _hours(agreement: Document, loc: Loc, hours: Any) -> Iterator[ConfigProblem]:
    if isinstance(hours, Mapping) and not any(hours.values()):
        remedy = 'write hours, such as `mon-fri: ["09:00-18:00"]`, or leave `hours` out for these'
        yield agreement.problem(loc, "the calendar has no working hours", remedy, key=True)

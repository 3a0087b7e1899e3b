"""Field types that several sections of an agreement share."""

import re
from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from schemas.events.outside import ABOUT_NO_LEAD, OUTSIDE_TYPES
from schemas.values import Number, Whole, did_you_mean, shown, wrong

Team = Literal["marketing", "sales"]
Text = Annotated[str, Field(min_length=1, max_length=200)]
Share = Annotated[Number, Field(gt=0, le=1)]
Points = Annotated[Number, Field(ge=-1_000_000, le=1_000_000)]
Ceiling = Annotated[Number, Field(gt=0, le=1_000_000)]
Times = Annotated[Whole, Field(ge=1, le=1_000_000)]
AtLeastOne = Field(min_length=1)
_CUSTOM_TYPE = re.compile(r"custom\.[A-Za-z0-9_.-]{1,100}")


def _day(value: object) -> object:
    if isinstance(value, (str, date)):
        return value
    raise wrong(f"{shown(value)} is not a day", "write it as 2026-12-31")


def event_type(value: str) -> str:
    """Return the type if it is one of an outside event; raise otherwise."""
    if value in OUTSIDE_TYPES or _CUSTOM_TYPE.fullmatch(value):
        return value
    raise wrong(
        f"`{value}` is not a type of event", did_you_mean(value, OUTSIDE_TYPES) + " (your own: `custom.<name>`)"
    )


Day = Annotated[date, BeforeValidator(_day)]
EventType = Annotated[str, AfterValidator(event_type)]


def _of_lead(value: str) -> str:
    if event_type(value) in ABOUT_NO_LEAD:
        raise wrong(f"`{value}` is about no lead", "name the type of an event of a person, such as `form.submitted`")
    return value


LeadEventType = Annotated[str, AfterValidator(_of_lead)]
"""The type of an event that concerns one person, so that a rule can score it or hand the person over."""

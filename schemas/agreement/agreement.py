"""The shape of `agreement.yaml`: the promises of Marketing and Sales, as FirstHour executes them.

Only `version`, `scoring`, `qualify`, `routing` and `response` are required. References between sections (to a status,
a pool, an urgency) are checked where all files are read together: `firsthour.runtime.config.reading`.
"""

from typing import Annotated, Literal

from pydantic import Field

from schemas.agreement.calendars import Calendar
from schemas.agreement.custom_fields import CustomFields
from schemas.agreement.fields import AtLeastOne, Day, Text
from schemas.agreement.lifecycle import Lifecycle
from schemas.agreement.marketing import Audience, Holds, RecycleRule, Suppression
from schemas.agreement.promises import Goal, Promises
from schemas.agreement.response import Response
from schemas.agreement.routing import Routing
from schemas.agreement.scoring import QualifyLine, Scoring
from schemas.agreement.visibility import Visibility
from schemas.agreement.ways_out import Tell, WaysOut
from schemas.conditions.condition import Condition
from schemas.values import Number, Shape


class AgreementSignature(Shape):
    """The signature of one team."""

    by: Text
    on: Day


class Signed(Shape):
    """The signatures of both teams. They have no effect."""

    marketing: AgreementSignature | None = None
    sales: AgreementSignature | None = None


class Agreement(Shape):
    """The whole agreement."""

    version: Literal[1]
    name: Text = "Agreement"
    signed: Signed = Signed()
    calendars: dict[str, Calendar] = Field(default_factory=dict)
    custom_fields: CustomFields = Field(default_factory=dict)
    scoring: Scoring
    personas: dict[str, Condition] = Field(default_factory=dict)
    qualify: Annotated[tuple[QualifyLine, ...], AtLeastOne]
    rearm_below: Number | None = None  # None: the score never re-arms
    lifecycle: Lifecycle = Lifecycle()
    segments: dict[str, Condition] = Field(default_factory=dict)
    routing: Routing
    response: Response
    tell: Tell = Tell()
    channels: WaysOut = Field(default_factory=dict)
    suppress: tuple[Suppression, ...] = ()
    recycle: tuple[RecycleRule, ...] = ()
    audiences: tuple[Audience, ...] = ()
    holds: Holds = Holds()
    promises: Promises = Promises()
    goals: tuple[Goal, ...] = ()
    visibility: Visibility = Visibility()

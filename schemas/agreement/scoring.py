"""The sections `scoring` and `qualify`: points, grades, and the lines that hand a lead to Sales."""

from datetime import timedelta
from itertools import pairwise
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from schemas.agreement.fields import Ceiling, LeadEventType, Points, Text, Times
from schemas.conditions.condition import Condition
from schemas.conditions.tree import ALWAYS
from schemas.values import Number, Shape, Span, wrong


class Limit(Shape):
    """At most `times` within any span of length `per`, in the order of event times."""

    times: Times
    per: Span


class FitRule(Shape):
    """Points for a property of the person or company."""

    points: Points
    because: Text
    when: Condition = ALWAYS


class EngagementRule(Shape):
    """Points for one event, halved with every `half_life`."""

    points: Points
    because: Text
    on: LeadEventType
    when: Condition = ALWAYS
    at_most: Limit | None = None


class Fit(Shape):
    """Fit: the points of the rules that hold, from 0 to `at_most`."""

    at_most: Ceiling = 100.0
    rules: tuple[FitRule, ...] = ()


class EngagementSection(Shape):
    """Engagement: the decaying points of events, from 0 to `at_most`."""

    at_most: Ceiling = 100.0
    half_life: Span = timedelta(days=14)
    rules: tuple[EngagementRule, ...] = ()


class Mix(Shape):
    """The weights of fit and engagement in the total."""

    fit: Annotated[Number, Field(ge=0, le=1)] = 0.5
    engagement: Annotated[Number, Field(ge=0, le=1)] = 0.5


def _falling(grades: dict[str, float]) -> dict[str, float]:
    floors = list(grades.values())
    if any(floor <= following for floor, following in pairwise(floors)):
        raise wrong("`grades` do not fall from one to the next", "list the best grade first, each with a lower floor")
    return grades


class Scoring(Shape):
    """Fit, engagement, their weights, and the grades: bands of fit by their floor, best first; D is below the last."""

    fit: Fit = Fit()
    engagement: EngagementSection = EngagementSection()
    total: Mix = Mix()
    grades: Annotated[dict[str, Number], AfterValidator(_falling)] = Field(default={"A": 70.0, "B": 50.0, "C": 30.0})


class QualifyLine(Shape):
    """Hands a lead from Marketing to Sales. With `on:` only that event meets the line, otherwise the state of the lead does."""

    name: Text
    urgency: Text
    on: LeadEventType | None = None
    when: Condition = ALWAYS

    @model_validator(mode="after")
    def _has_a_condition(self) -> Self:
        if self.on is None and self.when == ALWAYS:
            raise wrong("this line hands over every lead", "add `on:` or `when:`")
        return self

"""The sections `suppress`, `recycle`, `audiences` and `holds`: the leads that Marketing may contact, and the exceptions."""

from datetime import timedelta
from typing import Self

from pydantic import Field, model_validator

from schemas.agreement.fields import Team, Text
from schemas.conditions.condition import Condition
from schemas.conditions.tree import ALWAYS
from schemas.values import Shape, Span, Words, wrong


class Suppression(Shape):
    """Persons who are never scored, never routed and never on a list."""

    because: Text
    when: Condition

    @model_validator(mode="after")
    def _has_a_condition(self) -> Self:
        if self.when == ALWAYS:
            raise wrong("this suppresses every person", "add a condition in `when:`")
        return self


class RecycleRule(Shape):
    """Sends a lead back to Marketing if the condition `when` holds, or after the time `idle` without activity."""

    name: Text
    from_: Words = Field(alias="from", min_length=1)
    when: Condition | None = None
    idle: Span | None = None
    reason: Text

    @model_validator(mode="after")
    def _has_a_cause(self) -> Self:
        if self.when is None and self.idle is None:
            raise wrong("this rule has no condition", "add `when:` or `idle:`")
        return self


class Audience(Shape):
    """A campaign list: the leads for which `when` holds, that are not on hold, and whose status allows campaigns."""

    name: Text
    when: Condition


class Holds(Shape):
    """Holds, which exclude a lead from all campaigns: the team that may place one, and its longest duration."""

    by: Team = "sales"
    at_most: Span = timedelta(days=90)

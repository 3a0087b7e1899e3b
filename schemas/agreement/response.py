"""The section `response`: the time to the first touch per urgency, and the ladder of pages."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from schemas.agreement.fields import AtLeastOne
from schemas.values import Duration, Flag, Shape, Span, Whole, as_list, wrong

Channel = Annotated[str, Field(min_length=1, max_length=32)]
"""`slack`, `email`, `inbox`, or a name of the section `channels`."""
Channels = Annotated[
    tuple[Channel, ...], BeforeValidator(as_list, json_schema_input_type=Channel | tuple[Channel, ...]), AtLeastOne
]
ALWAYS = "always"
OWNER = "owner"


class Urgency(Shape):
    """The promised time to the first touch, counted in the hours of a calendar (`owner`: the calendar of the owner)."""

    touch_within: Span
    counted_in: str = ALWAYS


CHANNELS: tuple[Channel, ...] = ("slack", "email", "inbox")


class Rung(Shape):
    """One step of the ladder, `at` this time after the assignment: page a person, or change the owner."""

    at: Duration
    page: Literal["owner", "manager"] | None = None
    by: Channels = CHANNELS
    reassign: Flag = False

    @model_validator(mode="after")
    def _does_one_thing(self) -> Self:
        if (self.page is None) == (not self.reassign):
            raise wrong("a rung either pages a person or changes the owner", "give one of `page:` and `reassign: true`")
        if self.reassign and self.by != CHANNELS:
            raise wrong("`by` is only for `page:`", "remove it")
        return self


LADDER = (
    Rung(at=timedelta(0), page="owner"),
    Rung(at=timedelta(minutes=20), page="manager"),
    Rung(at=timedelta(minutes=30), reassign=True),
)


class Response(Shape):
    """The promised time to the first touch per urgency, and the ladder of pages until then.

    Every field not named here is an urgency, and is read as `Urgency`.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Urgency]

    stopped_by: Literal["attempt", "conversation"] = "attempt"
    ladder: tuple[Rung, ...] = LADDER
    reassign_at_most: Annotated[Whole, Field(ge=0, le=20)] = 1

    @property
    def urgencies(self) -> Mapping[str, Urgency]:
        """The promises by the name of their urgency, in the order of the file: the most urgent first."""
        return self.__pydantic_extra__

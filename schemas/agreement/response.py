"""The section `response`: the time to the first touch per urgency, and the ladder of pages."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from schemas.agreement.fields import AtLeastOne
from schemas.values import Duration, Flag, Shape, Span, Whole, Words, as_list, wrong

Channel = Annotated[str, Field(min_length=1, max_length=32)]
"""`slack`, `email`, `inbox`, or a name of the section `channels`."""
Channels = Annotated[
    tuple[Channel, ...], BeforeValidator(as_list, json_schema_input_type=Channel | tuple[Channel, ...]), AtLeastOne
]
ALWAYS = "always"
OWNER = "owner"
CHANNEL = "channel"
REMINDERS_APART = timedelta(minutes=5)
SLACK: tuple[Channel, ...] = ("slack",)
Recipient = Literal["owner", "cover", "manager", "channel"]
CHANNEL_PATTERN = r"^(#[a-z0-9_-]{1,80}|[CG][A-Z0-9]{2,30})$"
SlackChannel = Annotated[str, Field(pattern=CHANNEL_PATTERN)]
"""A channel by its name, such as `#inbound`, or by its id, such as C012AB3CD."""


class Urgency(Shape):
    """The promised time to the first touch, counted in the hours of a calendar (`owner`: the calendar of the owner)."""

    touch_within: Span
    counted_in: str = ALWAYS


CHANNELS: tuple[Channel, ...] = ("slack", "email", "inbox")


class Rung(Shape):
    """One step of the ladder, `at` this time after the assignment: page a recipient, or change the owner.

    `page: cover`: the cover named for the owner's absence, else another member of the pool on duty. `page: channel`: the
    Slack channel in `to`.
    """

    at: Duration
    page: Recipient | None = None
    to: SlackChannel | None = None
    by: Channels = CHANNELS
    reassign: Flag = False

    @model_validator(mode="before")
    @classmethod
    def _channel_by_slack(cls, data: object) -> object:
        """Let a page to a Slack channel go by Slack, unless `by` is given."""
        if isinstance(data, dict) and data.get("page") == CHANNEL and data.get("by") is None:
            return data | {"by": SLACK}
        return data

    @model_validator(mode="after")
    def _does_one_thing(self) -> Self:
        if (self.page is None) == (not self.reassign):
            raise wrong("a rung either pages a person or changes the owner", "give one of `page:` and `reassign: true`")
        if self.reassign and self.by != CHANNELS:
            raise wrong("`by` is only for `page:`", "remove it")
        if (self.page == CHANNEL) != (self.to is not None):
            raise wrong("`page: channel` and `to:` belong together", 'write {page: channel, to: "#inbound"}')
        if self.page == CHANNEL and self.by != SLACK:
            raise wrong("a channel is paged by slack", "write `by: [slack]`, or remove `by`")
        return self


class ManagerPage(Shape):
    """A page to the manager, over the channels of `by` in order."""

    page: Literal["manager"] = "manager"
    by: Channels = CHANNELS


class Reminder(ManagerPage):
    """The reminders of the manager after the last rung, until a touch is recorded or the lead leaves Sales."""

    every: Span = timedelta(hours=2)

    @model_validator(mode="after")
    def _leaves_time(self) -> Self:
        if self.every < REMINDERS_APART:
            raise wrong("reminders come at least 5 minutes apart", "write `every: 5m` or more")
        return self


LADDER = (
    Rung(at=timedelta(0), page="owner"),
    Rung(at=timedelta(minutes=20), page="manager"),
    Rung(at=timedelta(minutes=30), reassign=True),
)


class Budget(Shape):
    """How many messages a person gets in a while. The last one tells of everything that waits."""

    pages: Annotated[Whole, Field(ge=1, le=1000)]
    per: Span


class QuietHours(Shape):
    """Pages to a person outside these hours wait until the hours begin, except pages of the urgencies in `but`."""

    outside: str = OWNER  # of the person's own calendar, or the name of a calendar for all
    but: Words = ()


class PauseLimit(Shape):
    """The longest time that all pauses of one kind may take from the clock of a lead."""

    at_most: Span


class Pauses(Shape):
    """The rules that pause the clock of a lead. A kind that is absent pauses nothing.

    `snooze`: the owner postpones the lead; absent: a snooze only delays reminders. `waiting_for_prospect`: the owner wrote to
    the prospect (email, chat), under `stopped_by: conversation`.
    """

    snooze: PauseLimit | None = None
    waiting_for_prospect: PauseLimit | None = None


class Response(Shape):
    """The promised time to the first touch per urgency, and the ladder of pages until then.

    Every field not named here is an urgency, and is read as `Urgency`.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Urgency]

    stopped_by: Literal["attempt", "conversation"] = "attempt"
    ladder: tuple[Rung, ...] = LADDER
    remind: Reminder = Reminder()
    missed: ManagerPage = ManagerPage()
    pauses: Pauses = Pauses()
    reassign_at_most: Annotated[Whole, Field(ge=0, le=20)] = 1
    budget: Budget | None = None  # None: any number of pages to a person
    quiet_hours: QuietHours | None = None  # None: a page may be sent at any time

    @property
    def pause_limits(self) -> Mapping[str, timedelta]:
        """The longest time of all pauses of a kind, by the kind. A kind that is absent does not pause the clock."""
        return {kind: limit.at_most for kind, limit in self.pauses if limit is not None}

    @property
    def urgencies(self) -> Mapping[str, Urgency]:
        """The promises by the name of their urgency, in the order of the file: the most urgent first."""
        return self.__pydantic_extra__

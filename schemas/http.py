"""Bodies and answers of the HTTP interface.

Bodies with unknown fields are refused. Times must have an offset, and are converted to UTC. Answers may only gain fields.
"""

import re
from datetime import UTC, datetime
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StrictBool

T = TypeVar("T")


def _storable(text: str) -> str:
    """Replace NUL and lone surrogates by U+FFFD: JSON allows them, but databases reject them."""
    return "".join("\ufffd" if c == "\0" or "\ud800" <= c <= "\udfff" else c for c in text)


def _clean(value: object) -> object:
    return _storable(value).strip() if isinstance(value, str) else value


def _written_out(value: object) -> object:
    """Accept only text (and datetimes, from our own code): a number could be seconds or milliseconds."""
    if isinstance(value, str | datetime):
        return value
    raise ValueError("is not a time; write it as 2026-12-01T09:00:00Z")


def _to_utc(at: datetime) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError("lies outside the years 1 to 9999 in UTC; send a time between them") from None


Moment = Annotated[AwareDatetime, BeforeValidator(_written_out), AfterValidator(_to_utc)]
"""A time with an offset, converted to UTC."""

NOT_BLANK = "[^\\u0000-\\u0020\\u007f-\\u00a0\\u1680\\u2000-\\u200f\\u2028-\\u202f\\u205f-\\u206f\\u3000\\u3164]"
"""Matches a text with a visible character, in every dialect of regular expressions."""

_SEEN = re.compile(NOT_BLANK)


def _seen(text: str) -> str:
    if not _SEEN.search(text):
        raise ValueError("has no visible character; write at least one")
    return text


Reason = Annotated[
    str,
    BeforeValidator(_clean),
    Field(min_length=1, max_length=500, json_schema_extra={"pattern": NOT_BLANK}),
    AfterValidator(_seen),
]
Name = Annotated[
    str,
    BeforeValidator(_clean),
    Field(min_length=1, max_length=200, json_schema_extra={"pattern": NOT_BLANK}),
    AfterValidator(_seen),
]
Note = Annotated[str, BeforeValidator(_clean), Field(max_length=4000)]


class RequestModel(BaseModel):
    """The body of a request."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ResponseModel(BaseModel):
    """An answer."""

    model_config = ConfigDict(frozen=True)


# --- bodies ------------------------------------------------------------------------------------------------------


class TouchBody(RequestModel):
    """A contact with the lead, or an attempt."""

    channel: Literal["phone", "email", "meeting", "chat", "other"]
    answered: StrictBool = Field(description="true: the person answered; false: an attempt without an answer.")
    at: Moment | None = Field(None, description="When it happened; now, if absent.")
    note: Note | None = Field(None, description="Shown in the timeline.")


class SnoozeBody(RequestModel):
    """Postpone the reminders of a lead."""

    until: Moment = Field(description="In the future, at most the time that the agreement allows.")


class ReasonBody(RequestModel):
    """Opt a person out, until the person gives consent again."""

    reason: Reason


class StatusBody(RequestModel):
    """Set the status of a lead by a transition of the agreement."""

    status: Name
    reason: Reason | None = Field(None, description="If the transition has reasons, one of them.")
    until: Moment | None = Field(
        None, description="Of a lead that is rejected or recycled to Marketing: until then no score hands it over."
    )


class DropBody(RequestModel):
    """Drop the leads of a burst. The reason selects the transition of the agreement."""

    reason: Reason = "spam"


class ReturnBody(RequestModel):
    """Reject or recycle a lead. The reason of a reject selects the transition of the agreement."""

    reason: Reason
    until: Moment | None = Field(
        None,
        description="Of a lead that goes back to Marketing: until then no score hands it over, from then on a score does "
        "again; as the agreement says, if absent. A request of the person counts at any time.",
    )


class AssignBody(RequestModel):
    """Assign the lead to a rep."""

    rep: Name
    reason: Reason | None = Field(None, description="Shown in the timeline.")
    force: StrictBool = Field(False, description="Also beyond the rep's capacity, or while they are away.")


class AvailabilityBody(RequestModel):
    """Set whether a rep takes leads. Absences in team.yaml apply as well."""

    available: StrictBool
    until: Moment | None = Field(None, description="When an absence ends by itself; never, if absent.")
    reason: Reason | None = Field(None, description="Shown with the rep until the next change.")


# --- answers -----------------------------------------------------------------------------------------------------


class ScoreView(ResponseModel):
    """Fit, engagement as of now, and their total."""

    fit: float
    engagement: float
    total: float
    grade: str | None


class OwnerView(ResponseModel):
    """The rep who owns the lead."""

    id: str
    name: str
    email: str | None


class QueueView(ResponseModel):
    """The queue in which the lead waits, and why it has no owner."""

    pool: str
    reason: str
    since: datetime


class ClockView(ResponseModel):
    """The lead's response clock. `rung` is the last step of the ladder that fired; None before the first.

    `state` `held`: the lead is held back with its burst, and its clock starts when the burst is released; `due_at` is None.
    """

    due_at: datetime | None
    state: str
    rung: str | int | None
    paused_until: datetime | None = Field(None, description="Until then the clock does not count.")
    snoozed_until: datetime | None = Field(
        None, description="Until then pages to the owner wait, while the clock counts."
    )


class TouchCounts(ResponseModel):
    """The touches since the submit: `attempts` had no answer, `conversations` had one."""

    attempts: int
    conversations: int


class LeadView(ResponseModel):
    """A lead. `clock` may be updated a moment after `owner`."""

    id: str
    email: str | None
    name: str | None
    company: str | None
    status: str
    status_team: str | None
    score: ScoreView
    owner: OwnerView | None
    queue: QueueView | None
    clock: ClockView | None
    touches: TouchCounts
    epoch: int
    rests_until: datetime | None = Field(None, description="Until then no score hands it over.")
    created_at: datetime
    updated_at: datetime


class ActionResult(ResponseModel):
    """A lead after an action."""

    id: str
    status: str
    owner: str | None
    epoch: int
    touched_at: datetime | None
    effect: str | None = Field(
        None, description="Of a touch: its effect, or the reason for having none. Of a snooze: until when it lasts."
    )


class Listing(ResponseModel, Generic[T]):
    """A part of a list. Request the next part with `cursor=<next>`, until `next` is null."""

    items: list[T]
    next: str | None = None


class KeyCreated(ResponseModel):
    """A new API key. `key` cannot be read again."""

    id: str
    key: str
    role: str
    name: str


class ProblemItem(ResponseModel):
    """One mistake in a request. `pointer`: `#/field` in the body, `query:name`, `path:name` or `header:name`."""

    pointer: str
    detail: str


class ProblemResponse(ResponseModel):
    """An error as RFC 9457 `application/problem+json`. `type`: a fixed identifier. `instance`: the id of the request."""

    model_config = ConfigDict(frozen=True, extra="allow", title="Problem")

    type: str
    title: str
    status: int
    detail: str = ""
    instance: str | None = None
    errors: list[ProblemItem] = Field(default_factory=list)

"""The shape of `agreement.yaml`: what Marketing and Sales have promised each other, as FirstHour executes it.

Only `version`, `scoring`, `qualify`, `routing` and `response` must be there. What one part says of another (a status,
a pool, an urgency) is checked where all files are read together: `firsthour.runtime.config.reading`.
"""

import re
from collections.abc import Mapping
from datetime import date, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from schemas.conditions import ALWAYS, Condition
from schemas.events import ABOUT_NO_LEAD, OUTSIDE_TYPES
from schemas.values import Duration, Flag, Number, Shape, Span, Whole, Words, as_list, did_you_mean, shown, wrong

Team = Literal["marketing", "sales"]
Actor = Literal["system", "owner", "manager", "marketing", "sales", "anyone"]
Verb = Literal["reject", "recycle", "reassign"]
Channel = Literal["slack", "email", "inbox"]
Text = Annotated[str, Field(min_length=1, max_length=200)]
Share = Annotated[Number, Field(gt=0, le=1)]
Points = Annotated[Number, Field(ge=-1_000_000, le=1_000_000)]
Ceiling = Annotated[Number, Field(gt=0, le=1_000_000)]
Times = Annotated[Whole, Field(ge=1, le=1_000_000)]
AtLeastOne = Field(min_length=1)
Actors = Annotated[
    tuple[Actor, ...], BeforeValidator(as_list, json_schema_input_type=Actor | tuple[Actor, ...]), AtLeastOne
]
Channels = Annotated[
    tuple[Channel, ...], BeforeValidator(as_list, json_schema_input_type=Channel | tuple[Channel, ...]), AtLeastOne
]
ANY_STATUS = "any"
OWNER = "owner"
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CUSTOM_TYPE = re.compile(r"custom\.[A-Za-z0-9_.-]{1,100}")
_HOURS = re.compile(r"([01]\d|2[0-4]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)", re.ASCII)


def _day(value: object) -> object:
    if isinstance(value, (str, date)):
        return value
    raise wrong(f"{shown(value)} is not a day", "write it as 2026-12-31")


def event_type(value: str) -> str:
    """A type of event that may arrive from outside."""
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


class AgreementSignature(Shape):
    """Who signed, and when."""

    by: Text
    on: Day


class Signed(Shape):
    """Both teams' signatures, kept for the record."""

    marketing: AgreementSignature | None = None
    sales: AgreementSignature | None = None


@lru_cache(maxsize=1_024)
def _known_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _zone(name: str) -> str:
    if len(name) <= 64 and _known_zone(name):
        return name
    raise wrong(f"{shown(name)} is not a time zone", "write an IANA name such as Europe/Berlin or UTC")


def _minutes(hours: str) -> tuple[int, int]:
    found = _HOURS.fullmatch(hours)
    start, end = (int(found[1]) * 60 + int(found[2]), int(found[3]) * 60 + int(found[4])) if found else (0, 0)
    if not 0 <= start < end <= 24 * 60:
        raise wrong(f"{shown(hours)} is not a span of hours", 'write "09:00-18:00", ending after it starts')
    return start, end


def _hours(value: str) -> str:
    _minutes(value)
    return value


def _days(value: str) -> str:
    first, dash, last = value.partition("-")
    if first not in DAYS or (dash and last not in DAYS):
        raise wrong(f"{shown(value)} is not a day or a span of days", "write mon, or mon-fri")
    return value


class Calendar(Shape):
    """When people work. `hours` maps days (`mon`, `mon-fri`) to spans (`09:00-18:00`) in `timezone`."""

    timezone: Annotated[str, AfterValidator(_zone)]
    hours: dict[Annotated[str, AfterValidator(_days)], tuple[Annotated[str, AfterValidator(_hours)], ...]] = Field(
        default={"mon-fri": ("09:00-18:00",)}
    )
    holidays: Annotated[str, Field(pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$")] | None = None  # DE, or DE-BE


class Limit(Shape):
    """At most so many times within any span of this length, in the order of event times."""

    times: Times
    per: Span


class FitRule(Shape):
    """Points for who they are."""

    points: Points
    because: Text
    when: Condition = ALWAYS


class EngagementRule(Shape):
    """Points for one thing they did, halved with every `half_life`."""

    points: Points
    because: Text
    on: LeadEventType
    when: Condition = ALWAYS
    at_most: Limit | None = None


class Fit(Shape):
    """Who they are: the points of the rules that hold, from 0 to `at_most`."""

    at_most: Ceiling = 100.0
    rules: tuple[FitRule, ...] = ()


class EngagementSection(Shape):
    """What they did, decaying: from 0 to `at_most`."""

    at_most: Ceiling = 100.0
    half_life: Span = timedelta(days=14)
    rules: tuple[EngagementRule, ...] = ()


class Mix(Shape):
    """How much fit and engagement count in the total."""

    fit: Annotated[Number, Field(ge=0, le=1)] = 0.5
    engagement: Annotated[Number, Field(ge=0, le=1)] = 0.5


def _falling(grades: dict[str, float]) -> dict[str, float]:
    floors = list(grades.values())
    if any(floor <= following for floor, following in pairwise(floors)):
        raise wrong("`grades` do not fall from one to the next", "list the best grade first, each with a lower floor")
    return grades


class Scoring(Shape):
    """Fit, engagement, how they mix, and the grades: bands of fit by their floor, best first; D is below the last."""

    fit: Fit = Fit()
    engagement: EngagementSection = EngagementSection()
    total: Mix = Mix()
    grades: Annotated[dict[str, Number], AfterValidator(_falling)] = Field(default={"A": 70.0, "B": 50.0, "C": 30.0})


class QualifyLine(Shape):
    """Hands a lead from Marketing to Sales. With `on:` it is met by that event alone, without by the state of the lead."""

    name: Text
    urgency: Text
    on: LeadEventType | None = None
    when: Condition = ALWAYS

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if self.on is None and self.when == ALWAYS:
            raise wrong("this line hands over everybody", "give it `on:` or `when:`")
        return self


class Transition(Shape):
    """One way out of a status. `reason` lists the reasons allowed; none listed: none is asked for."""

    from_: Words = Field(alias="from", min_length=1)
    to: str
    by: Actors
    as_: Verb | None = Field(default=None, alias="as")
    reason: Words = ()
    when: Literal["touched", "consent.given"] | None = None

    def leaves(self, status: str) -> bool:
        """Whether this transition starts at `status` (`from: any` starts at all but its own end)."""
        return status in self.from_ or (ANY_STATUS in self.from_ and status != self.to)


STATUSES: dict[str, Literal["marketing", "sales", "nobody"]] = {
    "new": "marketing",
    "nurturing": "marketing",
    "qualified": "sales",
    "assigned": "sales",
    "accepted": "sales",
    "working": "sales",
    "opportunity": "sales",
    "customer": "sales",
    "disqualified": "marketing",
    "opted-out": "nobody",
}
_HELD = ("assigned", "accepted", "working")


def _way(start: str | tuple[str, ...], end: str, *by: Actor, **rest: object) -> Transition:
    return Transition.model_validate({"from": start, "to": end, "by": by, **rest})


TRANSITIONS: tuple[Transition, ...] = (
    _way(("new", "nurturing"), "qualified", "system"),
    _way("qualified", "assigned", "system"),
    _way("assigned", "accepted", "owner"),
    _way("assigned", "nurturing", "owner", as_="reject", reason=("not-now", "wrong-person", "no-budget", "competitor")),
    _way("assigned", "qualified", "owner", as_="reject", reason=("wrong-territory", "no-time", "conflict")),
    _way(("assigned", "accepted"), "working", "system", when="touched"),
    _way(_HELD, "qualified", "system", "manager", "owner", as_="reassign"),
    _way(_HELD, "opportunity", "owner", "system"),
    _way("nurturing", "opportunity", "system"),
    _way("opportunity", "customer", "owner", "system"),
    _way(("accepted", "working", "opportunity"), "nurturing", "owner", "system", as_="recycle",
         reason=("no-answer", "stalled", "lost")),
    _way(("new", "nurturing"), "disqualified", "marketing", reason=("spam", "duplicate", "competitor")),
    _way("disqualified", "nurturing", "marketing"),
    _way(ANY_STATUS, "opted-out", "anyone"),
    _way("opted-out", "nurturing", "system", when="consent.given"),
)  # fmt: skip


class Lifecycle(Shape):
    """The statuses, each with the team it belongs to, and the only ways between them. `campaigns`: whose leads
    campaign lists may hold."""

    statuses: dict[str, Literal["marketing", "sales", "nobody"]] = STATUSES
    transitions: tuple[Transition, ...] = TRANSITIONS
    campaigns: tuple[str, ...] = ()


class Require(Shape):
    """What a rep must bring. `languages`: all of them spoken."""

    languages: Words = ()


class RoutingRule(Shape):
    """Where a lead goes: to `pool`, or `to` the owner of its account or its previous owner, if that was `within`."""

    name: Text
    when: Condition = ALWAYS
    to: Literal["account.owner", "previous_owner"] | None = None
    pool: str | None = None
    within: Span | None = None
    require: Require = Require()

    @model_validator(mode="after")
    def _goes_one_way(self) -> Self:
        if (self.to is None) == (self.pool is None):
            raise wrong("a rule goes either to a pool or to an owner", "give one of `pool:` and `to:`")
        if self.within is not None and self.to != "previous_owner":
            raise wrong("`within` is for `to: previous_owner`", "take it out")
        return self


class QueuePolicy(Shape):
    """Who hears of it when nobody can take a lead, and after how long."""

    alert: Literal["manager"] = "manager"
    after: Duration = timedelta(minutes=15)


class Routing(Shape):
    """The first rule that holds and finds a rep wins. When none of those that hold finds one, the lead waits in the queue of
    the first pool among them."""

    rules: Annotated[tuple[RoutingRule, ...], AtLeastOne]
    never_back_to_same_rep_for: Duration = timedelta(days=30)
    queue: QueuePolicy = QueuePolicy()


class Urgency(Shape):
    """How soon somebody must have been in touch, counted in a calendar's hours (`owner`: the owner's own)."""

    touch_within: Span
    counted_in: str = "always"


CHANNELS: tuple[Channel, ...] = ("slack", "email", "inbox")


class Rung(Shape):
    """One step of the ladder, `at` so long after the assignment: page somebody, or change the owner."""

    at: Duration
    page: Literal["owner", "manager"] | None = None
    by: Channels = CHANNELS
    reassign: Flag = False

    @model_validator(mode="after")
    def _does_one_thing(self) -> Self:
        if (self.page is None) == (not self.reassign):
            raise wrong("a rung either pages somebody or changes the owner", "give one of `page:` and `reassign: true`")
        if self.reassign and self.by != CHANNELS:
            raise wrong("`by` names the channels of a page", "take it out")
        return self


LADDER = (
    Rung(at=timedelta(0), page="owner"),
    Rung(at=timedelta(minutes=20), page="manager"),
    Rung(at=timedelta(minutes=30), reassign=True),
)


class Response(Shape):
    """How soon a person must have been in touch, per urgency, and who hears of it meanwhile.

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


class Suppression(Shape):
    """People who are never scored, never routed, never on a list."""

    because: Text
    when: Condition

    @model_validator(mode="after")
    def _spares_somebody(self) -> Self:
        if self.when == ALWAYS:
            raise wrong("this would suppress everybody", "say in `when:` whom it is for")
        return self


class RecycleRule(Shape):
    """Sends a lead back to Marketing when `when` holds, or after being `idle` so long."""

    name: Text
    from_: Words = Field(alias="from", min_length=1)
    when: Condition | None = None
    idle: Span | None = None
    reason: Text

    @model_validator(mode="after")
    def _has_a_cause(self) -> Self:
        if self.when is None and self.idle is None:
            raise wrong("nothing says when this happens", "give it `when:` or `idle:`")
        return self


class Audience(Shape):
    """A campaign list: everybody of whom `when` holds, within the fences."""

    name: Text
    when: Condition


class Holds(Shape):
    """Who may keep a lead off every campaign, and for how long at most."""

    by: Team = "sales"
    at_most: Span = timedelta(days=90)


class QualifiedPromise(Shape):
    """Marketing delivers so many qualified leads per period."""

    qualified_leads: Times
    per: Literal["day", "week", "month", "quarter", "year"] = "month"
    grade_at_least: str | None = None


class CompletePromise(Shape):
    """A share of the leads handed over has these fields filled."""

    complete: Annotated[tuple[str, ...], AtLeastOne]
    share: Share


class AcceptPromise(Shape):
    """Sales accepts a share of its leads this soon."""

    accept_within: Span
    share: Share


class TouchPromise(Shape):
    """Sales is in touch with a share of its leads this soon."""

    touch_within: Span
    share: Share


class AttemptsPromise(Shape):
    """A share of the leads that do not answer gets so many attempts within this time."""

    attempts: Times
    within: Span
    share: Share


def _kind_of_promise(value: object) -> str | None:
    """The tag of a promise by the field that only its kind has. Tags are bracketed: no field is ever named so."""
    fields = value if isinstance(value, Mapping) else vars(value) if isinstance(value, Shape) else {}
    kinds = ("qualified_leads", "complete", "accept_within", "touch_within", "attempts")
    return next((f"<{kind}>" for kind in kinds if kind in fields), None)


MarketingPromise = Annotated[
    Annotated[QualifiedPromise, Tag("<qualified_leads>")] | Annotated[CompletePromise, Tag("<complete>")],
    Discriminator(
        _kind_of_promise,
        custom_error_type="wrong",
        custom_error_message="this is no promise of Marketing; it says `qualified_leads:` or `complete:`",
    ),
]
SalesPromise = Annotated[
    Annotated[AcceptPromise, Tag("<accept_within>")]
    | Annotated[TouchPromise, Tag("<touch_within>")]
    | Annotated[AttemptsPromise, Tag("<attempts>")],
    Discriminator(
        _kind_of_promise,
        custom_error_type="wrong",
        custom_error_message="this is no promise of Sales; it says `accept_within:`, `touch_within:` or `attempts:`",
    ),
]


class Promises(Shape):
    """What each team promised, for the scorecard."""

    marketing: tuple[MarketingPromise, ...] = ()
    sales: tuple[SalesPromise, ...] = ()


class Goal(Shape):
    """Revenue wanted in a period (`2026`, `2026-Q4`, `2026-11`), and Marketing's share of it."""

    period: Annotated[str, Field(pattern=r"^\d{4}(-(Q[1-4]|0[1-9]|1[0-2]))?$")]
    revenue: Annotated[Number, Field(gt=0)]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    sourced_by_marketing: Share | None = None


class Agreement(Shape):
    """The whole agreement."""

    version: Literal[1]
    name: Text = "Agreement"
    signed: Signed = Signed()
    calendars: dict[str, Calendar] = Field(default_factory=dict)
    scoring: Scoring
    personas: dict[str, Condition] = Field(default_factory=dict)
    qualify: Annotated[tuple[QualifyLine, ...], AtLeastOne]
    rearm_below: Number | None = None  # None: the score never re-arms
    lifecycle: Lifecycle = Lifecycle()
    segments: dict[str, Condition] = Field(default_factory=dict)
    routing: Routing
    response: Response
    suppress: tuple[Suppression, ...] = ()
    recycle: tuple[RecycleRule, ...] = ()
    audiences: tuple[Audience, ...] = ()
    holds: Holds = Holds()
    promises: Promises = Promises()
    goals: tuple[Goal, ...] = ()

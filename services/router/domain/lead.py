"""A lead as the router stores it: status, owner, queue place, and the state that decisions read."""

from datetime import datetime
from typing import Final

import msgspec

from firsthour.kernel.time_units import moment
from schemas.events.base import Facts
from schemas.events.leads import LeadBackground, Score, Trigger
from schemas.events.routes import LeadCard

QUALIFIED = "qualified"
ASSIGNED = "assigned"
ACCEPTED = "accepted"
WORKING = "working"
OPPORTUNITY = "opportunity"
CUSTOMER = "customer"
OPTED_OUT = "opted-out"
HELD = frozenset({ASSIGNED, ACCEPTED, WORKING})
"""The statuses that count as a rep's open load."""

BEHIND: Final = 1_000
"""Added to the rank of an urgency: the lead waits behind all others, because its source has its share of a pool."""
UNANSWERED_MAX = 50
"""Times of unanswered touches that are kept. Further ones only count."""

_NOTHING = Score(0.0, 0.0, 0.0, "")
_NO_BACKGROUND = LeadBackground()
BECAUSE_CHARS_MAX: Final = 200
_ZONES: Final = ("custom.timezone", "custom.time_zone", "custom.tz")
"""The usual names of the form field in which a script sends the time zone of the browser."""


class LeadState(msgspec.Struct, omit_defaults=True, gc=False):
    """The parts of a lead that no query selects by. Times are microseconds since the epoch."""

    facts: Facts = {}
    score: Score = _NOTHING
    phone: str | None = None
    background: LeadBackground = _NO_BACKGROUND  # of the latest event that met a line
    suppressed: str | None = None  # the agreement's reason never to route this person
    armed: bool = True  # whether a line that is met by the score alone hands the lead over
    line: str = ""  # the qualify line of the latest hand-over
    trigger: Trigger | None = None  # the event that met the line
    assigned_at: int | None = None
    reassignments: int = 0  # changes of owner by a missed clock since the submit
    asked_again: bool = False  # while owned, and the owner has not accepted since
    attempts: int = 0  # touches since the submit
    conversations: int = 0  # those of them with an answer
    unanswered: int = 0  # touches after the last conversation, by their own times
    unanswered_at: tuple[int, ...] = ()  # their times, in order; at most `UNANSWERED_MAX`
    answered_at: int | None = None  # the last conversation since the submit
    declined: dict[str, int] = {}  # by rep who had the lead and did not take it: the time
    not_again: str | None = None  # the rep who is never the next owner, also without a pause in the agreement
    previous_owner: str | None = None
    previous_left_at: int | None = None
    back: str | None = None  # how the lead came back to Marketing, as `recycle:stalled`
    rests_until: int | None = None  # before this time no score hands the lead over
    stage: str | None = None  # of its opportunity, as the CRM says
    stage_at: int | None = None  # the time of the stage
    since: int | None = None  # the time of the newest fact that changed the status
    back_at: int | None = None  # the last return to Marketing or opt-out
    opted_out_at: int | None = None  # the newest opt-out
    consented_at: int | None = None  # the newest consent


class Lead(msgspec.Struct, gc=False):
    """One lead. The fields are the columns of `router_leads`, in their order; times are microseconds since the epoch."""

    id: str
    status: str
    version: int = 0
    epoch: int = 0
    owner: str | None = None
    pool: str | None = None
    queue_pool: str | None = None  # None: not waiting; "": no routing rule matched
    queue_reason: str | None = None
    queue_since: int | None = None
    urgency: str = ""
    urgency_rank: int = 0
    submit_at: int | None = None
    touched_at: int | None = None  # the touch since the submit that ended the response clock: the first one that could
    scoring_version: int = 0
    email: str | None = None
    source: str | None = None  # of the request that brought the lead to its owner; see `shares`
    created_at: int = 0
    updated_at: int = 0
    state: LeadState = msgspec.field(default_factory=LeadState)

    @property
    def untouched(self) -> bool:
        """Whether the lead has had no touch since the submit."""
        return self.touched_at is None

    @property
    def holder(self) -> str | None:
        """The owner whose open load includes the lead. None: the lead is no open load."""
        return self.owner if self.status in HELD else None

    @property
    def place(self) -> tuple[int, int, str]:
        """The place in the queue: by urgency, then by submit."""
        return self.urgency_rank, self.submit_at or 0, self.id


def at(us: int | None) -> datetime | None:
    """Return a stored time as a datetime. None stays None."""
    return None if us is None else moment(us)


def card(lead: Lead) -> LeadCard:
    """Return the attributes of the lead that a rep sees. Each is bounded where it was learned."""
    state = lead.state
    facts, trigger, background = state.facts, state.trigger, state.background
    employees = facts.get("company.employees")
    return LeadCard(
        name=person(facts),
        email=lead.email or "",
        phone=state.phone or _text(facts, "phone"),
        title=_text(facts, "title"),
        company=_text(facts, "company.name") or _text(facts, "company.domain"),
        employees=float(employees) if isinstance(employees, int | float) else 0,
        country=_text(facts, "country"),
        company_country=_text(facts, "company.country"),
        zone=next((_text(facts, name) for name in _ZONES if name in facts), ""),
        because=_because(state.line, trigger) if trigger else state.line,
        source=trigger.source if trigger else "",
        grade=state.score.grade,
        total=state.score.total,
        request=background.request,
        activity=background.activity,
        reasons=background.reasons,
    )


def _because(line: str, trigger: Trigger) -> str:
    request = " ".join(str(trigger.fields[field]) for field in ("form", "content", "path") if field in trigger.fields)
    return f"{line}: {trigger.type} {request}".strip()[:BECAUSE_CHARS_MAX]


def title(facts: Facts) -> str:
    """Return the title of a lead in messages: name and company."""
    company = _text(facts, "company.name") or _text(facts, "company.domain")
    return ", ".join(part for part in (person(facts), company) if part)


def person(facts: Facts) -> str:
    """Return the name of the person: the full name, else first and last name."""
    name = _text(facts, "name")
    if name:
        return name
    return " ".join(part for part in (_text(facts, "first_name"), _text(facts, "last_name")) if part)


def _text(facts: Facts, field: str) -> str:
    value = facts.get(field)
    return "" if value is None else str(value)

"""The model of `team.yaml`: reps, pools, accounts with owners, and how people sign in."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from schemas.sign_in import SignIn
from schemas.values import EMAIL_PATTERN, ID_PATTERN, Flag, Shape, Whole, Words, shown, wrong

Id = Annotated[str, Field(pattern=ID_PATTERN)]
Email = Annotated[str, Field(pattern=EMAIL_PATTERN, max_length=254), AfterValidator(str.lower)]
_PHONE = re.compile(r"\+[0-9][0-9 ()./-]{4,30}")


def _phone(value: str) -> str:
    digits = re.sub(r"\D", "", value)
    if not _PHONE.fullmatch(value) or not 6 <= len(digits) <= 15:
        raise wrong(f"{shown(value)} is not a phone number", 'write it with its country, as "+49 30 1234567"')
    return f"+{digits}"


Phone = Annotated[str, AfterValidator(_phone)]
"""A phone number as E.164."""
Count = Annotated[Whole, Field(ge=1, le=1_000_000)]


def _in_utc(at: datetime) -> bool:
    """Return whether the time exists in UTC. At both ends of the calendar, an offset leads out of it."""
    try:
        at.astimezone(UTC)
    except OverflowError:
        return False
    return True


def _moment(value: object) -> date | datetime:
    if isinstance(value, datetime) and value.tzinfo and _in_utc(value):
        return value
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    text = value if isinstance(value, str) else ""
    try:
        moment = date.fromisoformat(text) if len(text) == len("2026-12-31") else datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or (isinstance(moment, datetime) and not (moment.tzinfo and _in_utc(moment))):
        raise wrong(f"{shown(value)} is not a day", "write 2026-12-31, or 2026-12-31T14:00:00+01:00 with its offset")
    return moment


NO_END = datetime.max.replace(tzinfo=UTC)
"""The end of an absence without an end."""
Moment = Annotated[date | datetime, BeforeValidator(_moment, json_schema_input_type=str)]


class Capacity(Shape):
    """The capacity of a rep: `open` leads at a time (assigned, accepted, working), and new leads per day and hour.

    Absent: no limit.
    """

    open: Annotated[Whole, Field(ge=0, le=1_000_000)] | None = None
    per_day: Count | None = None
    per_hour: Count | None = None


class Away(Shape):
    """A rep gets no leads from `from` to `to`: whole days, both included, or times.

    `cover`: the rep who answers during the absence.
    """

    from_: Moment = Field(alias="from")
    to: Moment
    cover: str | None = None

    @cached_property
    def starts(self) -> datetime:
        """The beginning of the absence in UTC. Days are days in UTC."""
        if isinstance(self.from_, datetime):
            return self.from_.astimezone(UTC)
        return datetime.combine(self.from_, time(), UTC)

    @cached_property
    def ends(self) -> datetime:
        """The end of the absence in UTC. `9999-12-31`, which means "without end", has no day after it."""
        if isinstance(self.to, datetime):
            return self.to.astimezone(UTC)
        if self.to == date.max:
            return NO_END
        return datetime.combine(self.to, time(), UTC) + timedelta(days=1)

    @model_validator(mode="after")
    def _ends_after_its_start(self) -> Self:
        if self.ends <= self.starts:
            raise wrong("this absence ends before it starts", "swap `from` and `to`")
        return self


class Rep(Shape):
    """A person who takes leads, or manages other reps."""

    id: Id
    name: Annotated[str, Field(min_length=1, max_length=200)]
    email: Email
    phone: Phone | None = None  # for channels that call or text the rep
    slack: Annotated[str, Field(pattern=r"^[A-Z0-9]{2,30}$")] | None = None  # the member id, such as U012AB3CD
    manager: str | None = None
    calendar: str | None = None
    languages: Words = ()
    capacity: Capacity = Capacity()
    away: tuple[Away, ...] = ()
    active: Flag = True  # false: the rep has left; open leads are routed again

    def cover(self, now: datetime) -> str | None:
        """Return the rep who answers during the absence at this time; None: the rep is not absent, or none is named."""
        return next((away.cover for away in self.away if away.starts <= now < away.ends and away.cover), None)

    def away_until(self, now: datetime) -> datetime | None:
        """Return the end of the absence at this time; None: the rep is not absent."""
        return max((away.ends for away in self.away if away.starts <= now < away.ends), default=None)


class Member(Shape):
    """A member of a pool; a member with twice the `weight` gets twice as many leads."""

    rep: str
    weight: Annotated[Whole, Field(ge=1, le=1_000)] = 1


class Pool(Shape):
    """Reps who get leads in turn. `manager`: told of a lead that waits; absent: the first manager among the members'."""

    id: Id
    manager: str | None = None
    members: Annotated[tuple[Member, ...], Field(min_length=1)]


class Account(Shape):
    """A company that already has an owner."""

    domain: Annotated[str, Field(pattern=r"^[^\s@/:]+\.[^\s@/:.]+$", max_length=253), AfterValidator(str.lower)]
    name: str | None = None
    owner: str


class Team(Shape):
    """The whole team."""

    reps: Annotated[tuple[Rep, ...], Field(min_length=1)]
    pools: Annotated[tuple[Pool, ...], Field(min_length=1)]
    accounts: tuple[Account, ...] = ()
    sign_in: SignIn | None = None

    @cached_property
    def rep_by_id(self) -> Mapping[str, Rep]:
        return {rep.id: rep for rep in self.reps}

    def managers(self, rep: str) -> tuple[str, ...]:
        """Return the manager of `rep`, then the manager's manager, and so on, each once."""
        chain, person = {rep: None}, self.rep_by_id.get(rep)
        while person is not None and person.manager is not None and person.manager not in chain:
            chain[person.manager] = None
            person = self.rep_by_id.get(person.manager)
        return tuple(chain)[1:]

    @cached_property
    def rep_by_email(self) -> Mapping[str, Rep]:
        return {rep.email: rep for rep in self.reps}

    @cached_property
    def pool_by_id(self) -> Mapping[str, Pool]:
        return {pool.id: pool for pool in self.pools}

    @cached_property
    def owner_by_domain(self) -> Mapping[str, str]:
        """The id of the owner, by the domain of the account."""
        return {account.domain: account.owner for account in self.accounts}

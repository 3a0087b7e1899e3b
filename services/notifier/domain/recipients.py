"""The recipient of a rung: the owner, the cover, a manager, or a Slack channel."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from types import MappingProxyType
from typing import Final, NamedTuple

from schemas.agreement.response import OWNER, Rung
from schemas.team import Pool
from services.notifier.domain.clock import ResponseClock
from services.notifier.domain.objection import Availability, absence
from services.notifier.domain.page import channel_recipient
from services.notifier.domain.terms import Terms

Absences = Mapping[str, Availability]
"""The availability of the reps who are not available, by rep."""
NO_ABSENCES: Final[Absences] = MappingProxyType({})


class Recipient(NamedTuple):
    """The recipient of a page. `person` empty: there is none, and `why` is the reason."""

    person: str
    why: str = ""


def reads_absences(clock: ResponseClock, ladder: Sequence[Rung], now: datetime) -> bool:
    """Return whether a page that is due chooses among people. The first page to an owner does not."""
    first_to_owner = clock.rep is not None and clock.next_rung == 0 and bool(ladder) and ladder[0].page == OWNER
    return not first_to_owner or now >= clock.promise_at


def recipient(rung: Rung, clock: ResponseClock, terms: Terms, absences: Absences, now: datetime) -> Recipient:
    """Return the recipient of this rung.

    Args:
        absences: the availability of reps in the records of the router.
    """
    match rung.page:
        case "channel":
            return Recipient(channel_recipient(rung.to or ""))
        case "manager":
            return manager(clock, terms, absences, now)
        case "cover":
            return _cover(rung, clock, terms, absences, now)
        case _:
            return Recipient(clock.rep or "")


def manager(clock: ResponseClock, terms: Terms, absences: Absences, now: datetime) -> Recipient:
    """Return the nearest manager of the owner who is there, else the manager of the pool. If all are away: the nearest."""
    people = [person for person in managers(clock, terms) if person != clock.rep]
    person = _first_there(people, terms, absences, now) or next(iter(people), "")
    if person:
        return Recipient(person)
    where = f"{clock.rep} has no `manager`" if clock.rep else "no pool has a `manager`"
    return Recipient("", f"no recipient: {where} in team.yaml")


def reminded(rung: Rung, clock: ResponseClock, terms: Terms, absences: Absences, now: datetime) -> Recipient:
    """Return the recipient of a reminder: a manager, else the owner. The ladder never ends in silence."""
    people = [*managers(clock, terms), *((clock.rep,) if clock.rep else ())]
    there = _first_there(people, terms, absences, now)
    return Recipient(there) if there else manager(clock, terms, absences, now)


def _first_there(people: Sequence[str], terms: Terms, absences: Absences, now: datetime) -> str | None:
    return next((one for one in people if absence(one, terms, absences.get(one), now) is None), None)


def managers(clock: ResponseClock, terms: Terms) -> Iterator[str]:
    """Yield the managers of the owner, the nearest first, or of a lead without an owner those of the reps who could take it."""
    if clock.rep is not None:
        yield from terms.team.managers(clock.rep)
        pool = _pool(clock, terms)
        if pool is not None and pool.manager is not None:
            yield pool.manager
        return
    pool = _pool(clock, terms)
    for one in [*((pool,) if pool is not None else ()), *terms.team.pools]:
        if one.manager is not None:
            yield one.manager
        yield from (boss for member in one.members for boss in terms.team.managers(member.rep))


def _pool(clock: ResponseClock, terms: Terms) -> Pool | None:
    """Return the pool of the lead, else the first pool of its owner; None: there is neither."""
    of_owner = (pool for pool in terms.team.pools if any(member.rep == clock.rep for member in pool.members))
    return terms.team.pool_by_id.get(clock.pool or "") or next(of_owner, None)


def _cover(rung: Rung, clock: ResponseClock, terms: Terms, absences: Absences, now: datetime) -> Recipient:
    owner = terms.team.rep_by_id.get(clock.rep or "")
    named = owner.cover(now) if owner is not None else None
    people = [*((named,) if named is not None else ()), *_colleagues(clock, terms)]
    for person in people:
        is_there = absence(person, terms, absences.get(person), now) is None
        if person != clock.rep and is_there and terms.reaching(person, rung.by):
            return Recipient(person)
    return Recipient("", f"no recipient: no other member of the pool of {clock.rep} is on duty")


def _colleagues(clock: ResponseClock, terms: Terms) -> list[str]:
    """Return the members of the owner's pool, in an order that differs from lead to lead and is the same on every machine."""
    pool = _pool(clock, terms)
    reps = (member.rep for member in pool.members) if pool is not None else ()
    return sorted(reps, key=lambda rep: sha256(f"{clock.lead_id} {clock.epoch} {rep}".encode()).digest())

"""The recipient of a rung: the owner, the cover, a manager, or a Slack channel."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from types import MappingProxyType
from typing import Final, NamedTuple

from schemas.agreement.response import Rung
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


def reads_absences(clock: ResponseClock, ladder: Sequence[Rung]) -> bool:
    """Return whether the next rung of the clock chooses among people. The first page of an assignment never does."""
    rung = ladder[clock.next_rung] if clock.next_rung < len(ladder) else None
    return clock.next_rung > 0 or (rung is not None and rung.page in ("cover", "manager"))


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
    people = [person for person in _managers(clock, terms) if person != clock.rep]
    there = (person for person in people if absence(person, terms, absences.get(person), now) is None)
    person = next(there, people[0] if people else "")
    return Recipient(person, "" if person else f"no recipient: {clock.rep} has no `manager` in team.yaml")


def _managers(clock: ResponseClock, terms: Terms) -> Iterator[str]:
    if clock.rep is not None:
        yield from terms.team.managers(clock.rep)
    pool = _pool(clock, terms)
    if pool is not None and pool.manager is not None:
        yield pool.manager


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

"""The changes that would free waiting leads: reps who come back, or one more open lead for each rep at capacity."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from firsthour.kernel.time_units import micros, moment
from services.router.domain.eligibility import absence, has_left
from services.router.domain.rules import RoutingRules
from services.router.domain.team_state import Presence

ReliefKind = Literal["return", "capacity", "rules", "members"]
"""`return`: absent reps come back. `capacity`: each rep at capacity may have one more open lead. `rules`: reps have room, but the
agreement excludes them from these leads. `members`: no active rep may take leads of the pool."""


@dataclass(frozen=True)
class Relief:
    """A change that would free leads of a pool.

    Attributes:
        reps: the reps that it is about, in the order of the team file.
        at: the time of the change (microseconds). None: no time is known, or a person has to make it.
        frees: the number of leads that get an owner by it, at most.
    """

    kind: ReliefKind
    reps: tuple[str, ...] = ()
    at: int | None = None
    frees: int = 0


def reliefs(rules: RoutingRules, presences: Mapping[str, Presence], pool: str, waiting: int, now: int) -> list[Relief]:
    """Return the changes that would free some of the `waiting` leads of a pool, the soonest first."""
    members = rules.reach(pool)
    reps = [rep for rep in rules.team.rep_by_id if rep in members and not has_left(rules, presences, rep, now)]
    if not reps:
        return [Relief("members")]
    absent = {rep for rep in reps if absence(rules, presences, rep, now) is not None}
    room = {rep: rules.capacity(rep) - presences.get(rep, Presence()).open for rep in reps}
    found = list(
        _returns(rules, presences, [rep for rep in reps if rep in absent and room[rep] > 0], room, waiting, now)
    )
    full = tuple(rep for rep in reps if rep not in absent and room[rep] <= 0)
    if full:
        found.append(Relief("capacity", full, None, min(waiting, sum(1 for rep in full if room[rep] + 1 > 0))))
    excluded = tuple(rep for rep in reps if rep not in absent and room[rep] > 0)
    if excluded:
        found.append(Relief("rules", excluded))
    return found


def _returns(
    rules: RoutingRules,
    presences: Mapping[str, Presence],
    absent: list[str],
    room: Mapping[str, float],
    waiting: int,
    now: int,
) -> Iterator[Relief]:
    """Yield the returns of absent reps with room, those at the same time together; those without an end come last."""
    by_time: dict[int | None, list[str]] = defaultdict(list)
    for rep in absent:
        by_time[_back_at(rules, presences, rep, now)].append(rep)
    for at in sorted(by_time, key=lambda time: (time is None, time or 0)):
        reps = by_time[at]
        yield Relief("return", tuple(reps), at, int(min(waiting, sum(room[rep] for rep in reps))))


def _back_at(rules: RoutingRules, presences: Mapping[str, Presence], rep: str, now: int) -> int | None:
    """Return when an absence ends, by both a command and the team file. None: it has no end."""
    ends: list[int | None] = []
    presence, person = presences.get(rep), rules.rep(rep)
    if presence is not None and presence.as_of(now) == "away":
        ends.append(presence.until)
    planned = person.away_until(moment(now)) if person is not None and person.away else None
    if planned is not None:
        ends.append(micros(planned))
    known = [end for end in ends if end is not None]
    return max(known) if known and len(known) == len(ends) else None

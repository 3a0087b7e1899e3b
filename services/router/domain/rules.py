"""The parts of a configuration that the router reads, prepared once per version."""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

import msgspec

from firsthour.kernel.cache import once_per_version
from firsthour.kernel.conditions.evaluation import compile_set
from firsthour.kernel.config import Config
from firsthour.kernel.time_units import EPOCH, micros
from schemas.agreement.lifecycle import Lifecycle
from schemas.agreement.routing import RoutingRule
from schemas.conditions.tree import AllOf, AnyOf, Node, Not, Test
from schemas.events.base import Value
from schemas.team import Pool, Rep, Team
from services.router.domain.lead import ASSIGNED, BEHIND, QUALIFIED
from services.router.domain.lifecycle import statuses_before

PERSONAL = frozenset(
    ("name", "first_name", "last_name", "email", "phone", "crm_id", "anonymous_id", "message", "subject", "note")
)
"""Fields that a stored decision never holds: names, identifiers, and the person's own words."""


FINGERPRINT_CHARACTERS: Final = 16


class RuleOption(msgspec.Struct, frozen=True, gc=False):
    """A member of the pool of a routing rule, by the configuration.

    `simple_below`: an available rep with fewer open leads than this is eligible at any time, without further checks.
    """

    rep: str
    weight: int
    simple_below: float
    speechless: str | None  # why the rule's `require` excludes the rep; None: not excluded


@dataclass(frozen=True)
class RoutingRules:
    """The agreement and team in force, prepared for decisions."""

    version: str
    lifecycle: Lifecycle
    initial: str  # the status of a new lead
    handover: frozenset[str]  # the statuses from which a lead can qualify
    assignable: frozenset[str]  # the statuses from which a lead can be assigned
    ranks: Mapping[str, int]  # of an urgency; the most urgent is 0
    rearm_below: float | None
    routing: tuple[RoutingRule, ...]
    matched: Callable[[Mapping[str, Value]], tuple[int, ...]]
    candidates: tuple[tuple[RuleOption, ...], ...]  # of the pool of each of `routing`
    weights: Mapping[str, Mapping[str, int]]  # by pool: the weight of each member
    rosters: Mapping[str, str]  # by pool: a fingerprint of `weights`
    reached: Mapping[str, frozenset[str]]  # by pool: its members and those of the pools of later rules
    read: frozenset[str]  # the fields that routing rules read, without personal ones
    never_back_us: int
    reassign_at_most: int
    stopped_by: str  # `attempt`: any touch ends a response clock; `conversation`: only one with an answer does
    snooze_us: int | None  # the longest snooze that pauses a clock; None: a snooze does not pause it
    team: Team
    rep_by_email: Mapping[str, str]
    shares: Mapping[str, float] = field(default_factory=dict)  # by source: the share of a pool's places

    def rank(self, urgency: str, *, behind: bool = False) -> int:
        """Return the rank of an urgency in the queue. `behind`: the lead waits behind all others."""
        return self.ranks.get(urgency, len(self.ranks)) + (BEHIND if behind else 0)

    def capacity(self, rep: str) -> float:
        """Return how many open leads a rep may have; infinite: any number. A rep outside the team has none."""
        row = self.rep(rep)
        if row is None:
            return 0
        return math.inf if row.capacity.open is None else row.capacity.open

    def rep(self, id: str) -> Rep | None:
        """Return a rep of the team. None: not in the team."""
        return self.team.rep_by_id.get(id)

    def managers(self, rep: str) -> tuple[str, ...]:
        """Return the manager of `rep`, then the manager's manager, and so on, each once."""
        return self.team.managers(rep)

    def is_manager(self, rep: str) -> bool:
        """Return whether `rep` manages a rep or a pool."""
        of_reps = any(one.manager == rep for one in self.team.reps)
        return of_reps or any(pool.manager == rep for pool in self.team.pools)

    def members(self, pool: str) -> tuple[str, ...]:
        """Return the reps of a pool in the order of the team file. An unknown pool has none."""
        row = self.team.pool_by_id.get(pool)
        return tuple(member.rep for member in row.members) if row else ()

    def reach(self, pool: str) -> frozenset[str]:
        """Return the reps who may take a lead that waits for `pool`: its members and those of the pools of later rules."""
        return self.reached.get(pool, frozenset())

    def pools_served_by(self, reps: Collection[str], pools: Collection[str]) -> set[str]:
        """Return the pools, of `pools`, whose waiting leads one of these reps may take."""
        return {pool for pool in pools if not self.reach(pool).isdisjoint(reps)}


@once_per_version
def rules_of(config: Config) -> RoutingRules:
    """Return the rules of this configuration."""
    agreement, team = config.agreement, config.team
    routing, snooze = agreement.routing.rules, agreement.response.pause_limits.get("snooze")
    return RoutingRules(
        version=config.version,
        lifecycle=agreement.lifecycle,
        initial=next(iter(agreement.lifecycle.statuses)),
        handover=statuses_before(agreement.lifecycle, QUALIFIED),
        assignable=statuses_before(agreement.lifecycle, ASSIGNED),
        ranks={name: rank for rank, name in enumerate(agreement.response.urgencies)},
        rearm_below=agreement.rearm_below,
        routing=routing,
        matched=compile_set([rule.when for rule in routing]),
        candidates=tuple(_candidates(team, rule) for rule in routing),
        weights={pool.id: {member.rep: member.weight for member in pool.members} for pool in team.pools},
        rosters={pool.id: _fingerprint(pool) for pool in team.pools},
        reached=_reached(team, routing),
        read=frozenset(field for rule in routing for field in _fields(rule.when)) - PERSONAL,
        never_back_us=micros(EPOCH + agreement.routing.never_back_to_same_rep_for),
        reassign_at_most=agreement.response.reassign_at_most,
        stopped_by=agreement.response.stopped_by,
        snooze_us=None if snooze is None else micros(EPOCH + snooze),
        team=team,
        rep_by_email={rep.email: rep.id for rep in team.reps},
        shares={
            source.id: source.quota.share_of_pool
            for source in config.sources.sources
            if source.quota is not None and source.quota.share_of_pool is not None
        },
    )


def _reached(team: Team, routing: Sequence[RoutingRule]) -> dict[str, frozenset[str]]:
    members = {pool.id: frozenset(member.rep for member in pool.members) for pool in team.pools}
    later: frozenset[str] = frozenset()
    reached: dict[str, frozenset[str]] = {}
    for rule in reversed(routing):
        if rule.pool is not None:
            later |= members[rule.pool]
            reached[rule.pool] = later
    return members | reached


def _fingerprint(pool: Pool) -> str:
    members = msgspec.json.encode([(member.rep, member.weight) for member in pool.members])
    return sha256(members).hexdigest()[:FINGERPRINT_CHARACTERS]


def _candidates(team: Team, rule: RoutingRule) -> tuple[RuleOption, ...]:
    if rule.pool is None:
        return ()
    return tuple(
        RuleOption(
            member.rep,
            member.weight,
            _simple_below(team.rep_by_id.get(member.rep)),
            _speechless(team.rep_by_id.get(member.rep), rule.require.languages),
        )
        for member in team.pool_by_id[rule.pool].members
    )


def _simple_below(rep: Rep | None) -> float:
    if rep is None or not rep.active or rep.away:
        return 0
    return math.inf if rep.capacity.open is None else rep.capacity.open


def _speechless(rep: Rep | None, languages: Sequence[str]) -> str | None:
    spoken = {language.lower() for language in rep.languages} if rep else set()
    missing = [language for language in languages if language.lower() not in spoken]
    return f"does not speak {', '.join(missing)}" if missing else None


def _fields(node: Node) -> Iterator[str]:
    match node:
        case Test():
            yield node.field
        case Not(part):
            yield from _fields(part)
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from _fields(part)

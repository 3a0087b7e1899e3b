"""What the router reads of a configuration, made once per version."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from schemas.agreement import Lifecycle, RoutingRule
from schemas.conditions import AllOf, AnyOf, Node, Not, Test
from schemas.events import Value
from schemas.team import Rep, Team
from services.router.domain.lead import QUALIFIED
from services.router.domain.lifecycle import handover
from services.runtime.clock import EPOCH, micros
from services.runtime.compiled import once_per_version
from services.runtime.conditions import compile_set
from services.runtime.config import Config

PERSONAL = frozenset({"name", "first_name", "last_name", "email", "phone", "crm_id", "anonymous_id"})
"""Fields that a stored decision never holds."""


@dataclass(frozen=True)
class Rules:
    """The agreement and team in force, ready to decide by."""

    version: str
    lifecycle: Lifecycle
    initial: str  # the status of a lead nobody has heard of
    handover: frozenset[str]  # the statuses out of which a lead can qualify
    ranks: Mapping[str, int]  # of an urgency; the most urgent is 0
    rearm_below: float | None
    routing: tuple[RoutingRule, ...]
    matched: Callable[[Mapping[str, Value]], tuple[int, ...]]
    read: frozenset[str]  # the fields that routing rules read, personal ones left out
    never_back_us: int
    reassign_at_most: int
    team: Team
    rep_by_email: Mapping[str, str]

    def rep(self, id: str) -> Rep | None:
        """Somebody of the team."""
        return self.team.rep_by_id.get(id)

    def managers(self, rep: str) -> Iterator[str]:
        """The manager of `rep`, theirs, and so on up; nobody twice."""
        seen = {rep}
        found = self.team.rep_by_id.get(rep)
        while found is not None and found.manager is not None and found.manager not in seen:
            seen.add(found.manager)
            yield found.manager
            found = self.team.rep_by_id.get(found.manager)

    def members(self, pool: str) -> tuple[str, ...]:
        """The reps of a pool, in the order of the team file; none of a pool nobody knows."""
        found = self.team.pool_by_id.get(pool)
        return tuple(member.rep for member in found.members) if found else ()


@once_per_version
def rules_of(config: Config) -> Rules:
    """The rules of this configuration."""
    agreement, team = config.agreement, config.team
    routing = agreement.routing.rules
    return Rules(
        version=config.version,
        lifecycle=agreement.lifecycle,
        initial=next(iter(agreement.lifecycle.statuses)),
        handover=handover(agreement.lifecycle, QUALIFIED),
        ranks={name: rank for rank, name in enumerate(agreement.response.urgencies)},
        rearm_below=agreement.rearm_below,
        routing=routing,
        matched=compile_set([rule.when for rule in routing]),
        read=frozenset(field for rule in routing for field in _fields(rule.when)) - PERSONAL,
        never_back_us=micros(EPOCH + agreement.routing.never_back_to_same_rep_for),
        reassign_at_most=agreement.response.reassign_at_most,
        team=team,
        rep_by_email={rep.email: rep.id for rep in team.reps},
    )


def _fields(node: Node) -> Iterator[str]:
    match node:
        case Test():
            yield node.field
        case Not(part):
            yield from _fields(part)
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from _fields(part)

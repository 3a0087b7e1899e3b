"""The leads that a rep sees, by the agreement and the team in force."""

from dataclasses import dataclass

from firsthour.kernel.cache import once_per_version
from firsthour.kernel.config import Config


@dataclass(frozen=True)
class VisibleLeads:
    """The leads that these reps own, and those that wait for these pools."""

    owners: frozenset[str]
    pools: frozenset[str]

    def includes(self, owner: str | None, queue_pool: str | None) -> bool:
        """Return whether a lead with this owner, in this queue, is visible. None: it has none."""
        return owner in self.owners or queue_pool in self.pools

    @property
    def arrays(self) -> dict[str, list[str]]:
        """The parameters of statements."""
        return {"owners": sorted(self.owners), "pools": sorted(self.pools)}


def visible_to_rep(config: Config, rep: str) -> VisibleLeads | None:
    """Return the leads that a rep sees. None: all."""
    if config.agreement.visibility.reps == "all":
        return None
    known = _known(config)
    visible = known.get(rep)
    if visible is None:
        visible = known[rep] = _visible(config, rep)
    return visible


@once_per_version
def _known(config: Config) -> dict[str, VisibleLeads]:
    """Return the memory of a version, by rep."""
    return {}


def _visible(config: Config, rep: str) -> VisibleLeads:
    team = config.team
    shared = config.agreement.visibility.reps == "pool"
    pools = [
        pool
        for pool in team.pools
        if pool.manager == rep or (shared and any(member.rep == rep for member in pool.members))
    ]
    managed = {one.id for one in team.reps if rep in team.managers(one.id)}
    members = {member.rep for pool in pools for member in pool.members}
    return VisibleLeads(frozenset({rep} | managed | members), frozenset(pool.id for pool in pools))

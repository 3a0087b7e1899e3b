"""The sender of a request, its role, and the rights of each role."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

READ: Final = "read"
"""The right to read leads, metrics and the details of readiness, and to opt a person out. Only `ingest` lacks it."""

ROLES: Final[Mapping[str, frozenset[str]]] = {
    "ingest": frozenset({"ingest"}),
    "marketing": frozenset({"ingest", READ, "marketing"}),
    "sales": frozenset({"ingest", READ, "sales"}),
    "manager": frozenset({"ingest", READ, "marketing", "sales", "manager"}),
    "admin": frozenset({"ingest", READ, "marketing", "sales", "manager", "admin"}),
}
"""The rights of each role: `ingest` < `marketing`, `sales` < `manager` < `admin`. `ingest` may only write events."""


@dataclass(frozen=True)
class Principal:
    """The sender of a request. `rep`: the key acts as this rep. `source`: the key may send the types of this source."""

    id: str
    name: str
    role: str
    rep: str | None = None
    source: str | None = None

    def allows(self, right: str) -> bool:
        """Tell whether the role has this right."""
        return right in ROLES[self.role]

    @property
    def actor(self) -> str:
        """The name of the principal in records."""
        return f"rep:{self.rep}" if self.rep else f"key:{self.name}"

    def may_act_for(self, rep: str | None) -> bool:
        """Tell whether the principal may act for this owner: as the rep, or as a manager or admin."""
        return (rep is not None and rep == self.rep) or self.allows("manager")

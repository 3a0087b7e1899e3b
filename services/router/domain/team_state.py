"""The state that leads share: the availability and load of each rep, and the lags of each pool."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import msgspec

RepState = Literal["available", "away", "deactivated"]


class Presence(msgspec.Struct, array_like=True, gc=False):
    """The state of a rep beside the team file. `open`: the number of leads that are assigned, accepted or working."""

    open: int = 0
    state: RepState = "available"
    until: int | None = None  # microseconds; the end of an absence
    published_state: RepState = "available"  # on `routes`; it follows `state`, the team file and the end of an absence
    updated_at: int = 0
    version: int = 0  # of `state` and `until`; raised and published with every change
    reason: str | None = None  # of the state

    def as_of(self, now: int) -> RepState:
        """Return the state. An absence that has ended counts as available."""
        return "available" if self.state == "away" and self.until is not None and self.until <= now else self.state


INITIAL_PRESENCE = Presence()
"""The presence of a rep without a row: available, no open leads. Read only: `TeamState.presence` returns a new one."""


Lags = Mapping[str, int]
"""The lags of a pool's members, in parts of a lead (`turns.SCALE`). A missing member has a lag of zero."""


class RotationState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The rotation of a pool.

    Attributes:
        lags: its members' lags.
        after: the id of the decision that made the last turn. Empty: none did, or an older release stored the row.
        turns: how many decisions there are since the last one that stored all members, which counts as 0.
        roster: the fingerprint of the members of that turn.
    """

    lags: Lags = {}
    after: str = ""
    turns: int = 0
    roster: str = ""


INITIAL_ROTATION = RotationState()
"""The rotation of a pool without a turn."""


@dataclass
class TeamState:
    """The presence of each rep and the rotation of each pool.

    `of_source`: by source with a share of pools: the open leads of each rep that came from it.
    """

    reps: dict[str, Presence]
    pools: dict[str, RotationState]
    of_source: dict[str, Counter[str]] = field(default_factory=dict)

    def covers(self, pools: Mapping[str, object], reps: Mapping[str, object]) -> bool:
        """Return whether it has exactly these pools, and at least these reps."""
        return self.pools.keys() == pools.keys() and self.reps.keys() >= reps.keys()

    def presence(self, rep: str) -> Presence:
        """Return the presence of `rep`, which the caller may change. A rep without a row is available without open leads."""
        return self.reps.setdefault(rep, Presence())

    def without(self, source: str | None, rep: str | None) -> "TeamState":
        """Return the state with one open lead of `source` less for `rep`, whose lead goes to another rep."""
        loads = self.of_source.get(source or "")
        if loads is None or rep is None:
            return self
        return replace(self, of_source={**self.of_source, source or "": loads - Counter({rep: 1})})

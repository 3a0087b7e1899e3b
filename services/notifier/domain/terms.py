"""The terms under which pages are sent: the agreement, the team and the channels of this installation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.agreement.response import Rung, Urgency
from schemas.mail import deliverable
from schemas.team import Team


@dataclass(frozen=True)
class Terms:
    """What the agreement, the team and this installation say about telling people."""

    ladder: Sequence[Rung]
    urgencies: Mapping[str, Urgency]
    team: Team
    channels: tuple[str, ...]  # set up in this installation

    def promise_at(self, urgency: str, submit_at: datetime) -> datetime:
        """The end of the promise; an urgency that the agreement no longer names counts as its most urgent one."""
        known = self.urgencies.get(urgency) or next(iter(self.urgencies.values()), None)
        return submit_at + (known.touch_within if known else timedelta(hours=1))

    def reaching(self, person: str, channels: Sequence[str]) -> tuple[str, ...]:
        """Return those of `channels` on which the team file gives this person an address."""
        rep = self.team.rep_by_id.get(person)
        if rep is None:
            return ()
        lacks = {"slack": rep.slack is None, "email": deliverable(rep.email) is None}
        return tuple(name for name in channels if not lacks.get(name, False))

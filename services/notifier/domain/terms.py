"""The terms under which pages are sent: the agreement, the team and the channels of this installation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.agreement.response import Rung, Urgency
from schemas.mail import deliverable
from schemas.team import Team


@dataclass(frozen=True)
class Terms:
    """The parts of the agreement and of this installation that decide on pages."""

    ladder: Sequence[Rung]
    urgencies: Mapping[str, Urgency]
    team: Team
    channels: tuple[str, ...]  # set up in this installation

    def promise_at(self, urgency: str, submit_at: datetime) -> datetime:
        """Return the end of the promise. An urgency that the agreement no longer names counts as its most urgent one."""
        terms = self.urgencies.get(urgency) or next(iter(self.urgencies.values()), None)
        return submit_at + (terms.touch_within if terms else timedelta(hours=1))

    def reaching(self, person: str, channels: Sequence[str]) -> tuple[str, ...]:
        """Return the `channels` for which the team file gives this person an address."""
        rep = self.team.rep_by_id.get(person)
        if rep is None:
            return ()
        lacks = {"slack": rep.slack is None, "email": deliverable(rep.email) is None}
        return tuple(name for name in channels if not lacks.get(name, False))

"""Records of the router, as the notifier reads them."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from schemas.events.leads import Score, Trigger
from schemas.events.routes import (
    LeadAccepted,
    LeadAssigned,
    LeadCard,
    LeadOptedOut,
    LeadQualified,
    LeadQueued,
    LeadRecycled,
    LeadReleased,
    RepAvailabilityChanged,
    TouchApplied,
)
from tests.hand_clock import HandClock

NINE = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)


class RouterRecords:
    """Makes the records of the router. Each record of a lead has the next version."""

    def __init__(self, clock: HandClock) -> None:
        self.clock = clock
        self._versions: dict[str, int] = {}

    def _routed(self, lead: str, status: str, epoch: int, was: str = "qualified") -> dict[str, Any]:
        version = self._versions[lead] = self._versions.get(lead, 0) + 1
        return {
            "lead_id": lead,
            "version": version,
            "at": self.clock.now,
            "status": status,
            "was": was,
            "epoch": epoch,
            "by": "system",
        }

    def qualified(
        self, lead: str = "l1", submit_at: datetime = NINE, epoch: int = 0, urgency: str = "hot"
    ) -> LeadQualified:
        return LeadQualified(
            **self._routed(lead, "qualified", epoch, "new"),
            line="all",
            urgency=urgency,
            submit_at=submit_at,
            score=Score(50.0, 50.0, 50.0, "B"),
            trigger=Trigger("e1", "form.submitted", submit_at, "web"),
        )

    def queued(self, lead: str = "l1", submit_at: datetime = NINE, epoch: int = 0) -> LeadQueued:
        routed = self._routed(lead, "qualified", epoch)
        return LeadQueued(**routed, pool="all", reason="no rep is free", urgency="hot", submit_at=submit_at)

    def assigned(
        self,
        lead: str = "l1",
        rep: str = "ana",
        epoch: int = 1,
        submit_at: datetime = NINE,
        reassignments: int = 0,
        touched_at: datetime | None = None,
        rep_version: int = 0,
        urgency: str = "hot",
    ) -> LeadAssigned:
        return LeadAssigned(
            **self._routed(lead, "assigned", epoch),
            rep=rep,
            decision_id="d1",
            urgency=urgency,
            submit_at=submit_at,
            assigned_at=self.clock.now,
            reassignments=reassignments,
            touched_at=touched_at,
            rep_version=rep_version,
            card=LeadCard(name="Ada", email="ada@x.example"),
        )

    def accepted(self, lead: str = "l1", rep: str = "ana", epoch: int = 1) -> LeadAccepted:
        return LeadAccepted(**self._routed(lead, "accepted", epoch, "assigned"), rep=rep)

    def released(self, lead: str = "l1", rep: str = "ana", epoch: int = 1) -> LeadReleased:
        routed = self._routed(lead, "qualified", epoch, "assigned")
        return LeadReleased(**routed, rep=rep, kind="reassign", reason="no touch was recorded")

    def touched(self, lead: str = "l1", at: datetime | None = None, epoch: int = 1) -> TouchApplied:
        routed = self._routed(lead, "working", epoch, "assigned")
        touched_at = at or self.clock.now
        return TouchApplied(**routed, channel="phone", answered=False, touched_at=touched_at, rep="ana")

    def recycled(self, lead: str = "l1", epoch: int = 1) -> LeadRecycled:
        return LeadRecycled(**self._routed(lead, "nurturing", epoch, "assigned"), kind="reject", reason="not-now")

    def opted_out(self, lead: str = "l1", epoch: int = 1) -> LeadOptedOut:
        return LeadOptedOut(**self._routed(lead, "opted-out", epoch), reason="asked")

    def rep(self, rep: str, state: str, until: datetime | None = None, version: int = 0) -> RepAvailabilityChanged:
        fields = {"rep": rep, "at": self.clock.now, "state": state, "until": until, "version": version}
        return msgspec.convert(fields, RepAvailabilityChanged)

"""The topic `actions`: requests of people and of rungs to the router, by the notifier."""

from datetime import datetime
from typing import ClassVar, Literal

from schemas import topics
from schemas.events.base import Event


class ActionRequested(Event, frozen=True, kw_only=True, gc=False):
    """A person pressed a button, or a rung fired. The router applies the action if epoch and state still match."""

    TYPE: ClassVar[str] = "action.requested"
    TOPIC: ClassVar[str] = topics.ACTIONS

    action_id: str
    action: Literal["accept", "reject", "touch", "snooze", "reassign", "hand_over", "away", "back"]
    lead_id: str  # empty: the action (away, back) concerns a rep
    epoch: int
    at: datetime
    by: str
    reason: str | None = None
    channel: str | None = None
    answered: bool = False
    until: datetime | None = None
    told: bool = True  # reassign: whether a channel had accepted a page to the owner
    rep: str | None = None  # hand_over: the next owner
    note: str | None = None  # of the person, to be kept with the action
    cover: bool = False  # the person was paged as the owner's cover, and so acts as the owner

"""The topic `events`: outside events, normalised by the gateway."""

from datetime import datetime
from typing import ClassVar

import msgspec

from schemas import topics
from schemas.events.base import Event, Facts

OUTSIDE_TYPES = (
    "form.submitted",
    "page.viewed",
    "content.downloaded",
    "email.opened",
    "email.clicked",
    "email.bounced",
    "email.unsubscribed",
    "webinar.attended",
    "trial.started",
    "meeting.booked",
    "chat.started",
    "lead.imported",
    "lead.updated",
    "consent.given",
    "consent.withdrawn",
    "touch.recorded",
    "opportunity.changed",
    "cost.recorded",
)
"""The types of outside events, besides `custom.*`."""

ABOUT_NO_LEAD = frozenset({"cost.recorded"})
"""Those of them that concern no person."""

FLAG_TIME = "time-replaced"
FLAG_FACTS = "facts-dropped"
FLAG_REP = "rep-unknown"
FLAGS = {
    FLAG_TIME: "its time was impossible; it counts as received",
    FLAG_FACTS: "fields that only FirstHour may state were dropped",
    FLAG_REP: "it named a rep who is not in the team; the name was dropped",
}
"""Flags of an outside event, with their texts in a timeline."""


class ExternalEvent(Event, frozen=True, kw_only=True, gc=False):
    """One outside event, verified, mapped and normalised.

    The type of its envelope is one of `OUTSIDE_TYPES` or `custom.*`. The id of its envelope is the uuid5 of source and
    sender's id: a retry is recognised, and two senders may use the same id.
    """

    TYPE: ClassVar[str] = "*"
    TOPIC: ClassVar[str] = topics.EVENTS

    source: str  # the authenticated source: an id of sources.yaml, or the API key's name
    source_id: str  # the sender's own id of this event
    received_at: datetime
    email: str | None = None  # normalised
    phone: str | None = None  # E.164
    crm_id: str | None = None
    anonymous_id: str | None = None
    person: Facts = msgspec.field(default_factory=dict)
    # Fields of the event: form, path, content, link, channel, answered ...
    fields: Facts = msgspec.field(default_factory=dict)
    altered: bool = False  # NUL or lone surrogates were replaced, or a future time was clamped
    flags: tuple[str, ...] = ()  # keys of `FLAGS`: the changes made on arrival
    dropped: int = 0  # number of dropped fields, see the flag `facts-dropped`
    burst: str = ""  # the burst for which its lead is held back, as id and label; empty: none
    confirms: str = ""  # the id of the burst that this event confirms by its spread

    @property
    def key(self) -> str:
        """The strongest identifier: the key of the record."""
        return self.email or self.phone or self.crm_id or self.anonymous_id or ""

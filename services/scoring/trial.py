"""Scores events for a trial: the decisions of the handlers, on what is stored. Nothing is stored."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy.engine import Connection

from firsthour.kernel.config import Config
from firsthour.kernel.time_units import micros
from firsthour.runtime.storage.records import Record
from schemas.events.leads import LeadScored, Score
from schemas.events.outside import ABOUT_NO_LEAD
from services.scoring import store
from services.scoring.domain.profile import Profile
from services.scoring.domain.rules import rules_of
from services.scoring.domain.score import ScorePart, parts_of, score_of
from services.scoring.handlers import ScoringEvent, external_of, score_event


class TriedScore(NamedTuple):
    """The effect of an event on a profile.

    `known`: the person has a lead. `before`: its score before the event. `records`: what scoring would emit, the score last.
    """

    lead: str
    known: bool
    shared: str | None
    before: Score | None
    parts: Sequence[ScorePart]
    records: Sequence[ScoringEvent]

    @property
    def scored(self) -> LeadScored:
        """The score after the event."""
        scored = self.records[-1]
        assert isinstance(scored, LeadScored)  # noqa: S101  # the score is always the last one
        return scored


def try_events(
    connection: Connection, config: Config, now: datetime, records: Sequence[Record]
) -> list[TriedScore | None]:
    """Return the effect of each event, as if those before it had happened. None: it is about no lead."""
    rules = rules_of(config)
    relevant = [record for record in records if record.envelope.type not in ABOUT_NO_LEAD]
    events = [(record.event_id, external_of(record), micros(record.envelope.time)) for record in relevant]
    identities, created = store.look_up(connection, events)
    profiles: dict[str, Profile] = {}
    tried: dict[str, TriedScore] = {}
    for record, identity in zip(relevant, identities, strict=True):
        known = identity.lead not in created
        if identity.lead not in profiles:
            stored = store.find_profile(connection, identity.lead) if known else None
            profiles[identity.lead] = stored or Profile()
        profile = profiles[identity.lead]
        before = score_of(profile, rules, now) if known else None
        scored = score_event(identity, profile, record, rules, now, Counter())
        parts = parts_of(profile, rules, now)
        tried[record.event_id] = TriedScore(identity.lead, known, identity.shared, before, parts, scored)
    return [tried.get(record.event_id) for record in records]

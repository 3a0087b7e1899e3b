"""The person of an event, resolved from the stored people of its identifiers.

An email address belongs to one person, and two addresses are never one person. Any other identifier resolves to its
person. An identifier of several people (a shared phone) resolves to a person with an open lead; among several, to the one who was active last.

An opt-out by shared identifiers applies to each of their people. Otherwise the opt-out of one person could be recorded
for another person who posted a form with the same phone number.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from schemas.events.outside import ExternalEvent

KINDS: Final = ("email", "phone", "crm_id", "anonymous_id")
"""The kinds of identifiers, the strongest first."""

SHARED_MAX: Final = 20
"""The most people of one identifier. A further person replaces the one with the lowest rank."""

Pair = tuple[str, str]
"""An identity (`kind:value`) and a lead."""


@dataclass
class Person:
    """The attributes of a person that resolution uses. `active_at`: the time of the latest event (microseconds)."""

    lead: str
    email: str | None = None
    active_at: int = 0
    open: bool = False

    @property
    def rank(self) -> tuple[bool, int, str]:
        """The sort key among people who share an identifier: the greatest is chosen."""
        return self.open, self.active_at, self.lead


class IdentityRow(NamedTuple):
    """One person of one identity, as stored."""

    identity: str
    lead: str
    email: str | None
    active_at: int | None
    open: int | None


class ResolvedIdentity(NamedTuple):
    """The lead of an event.

    Attributes:
        shared: The shared identifier that selected the lead, as a text for people. None: not shared.
        others: The leads of all other people of the event's identifiers, sorted.
        open: Whether Sales has the lead.
    """

    lead: str
    shared: str | None = None
    others: tuple[str, ...] = ()
    open: bool = False


class IdentityChanges(NamedTuple):
    """Rows to store: new identities, further people of existing ones, and people who replace others."""

    claims: list[Pair]
    added: list[Pair]
    replacements: list[tuple[str, str, str]]  # identity, lead, previous lead


@dataclass
class People:
    """The people of the identifiers of a batch, updated with each event."""

    new_id: Callable[[], str]
    created: set[str] = field(default_factory=set)
    _people: dict[str, Person] = field(default_factory=dict)
    _by_identity: dict[str, dict[str, Person]] = field(default_factory=dict)
    _stored: dict[str, list[str]] = field(default_factory=dict)

    def add_rows(self, rows: Iterable[IdentityRow]) -> None:
        """Add stored rows."""
        for row in rows:
            person = self._people.setdefault(row.lead, Person(row.lead, row.email, row.active_at or 0, bool(row.open)))
            self._by_identity.setdefault(row.identity, {})[row.lead] = person
            self._stored.setdefault(row.identity, []).append(row.lead)

    def resolve(self, event: ExternalEvent, event_id: str, at: int) -> ResolvedIdentity:
        """Resolve the lead of one event and learn its identifiers. An unknown person gets a new lead."""
        identities = identities_of(event, event_id)
        person = self._by_address(event.email, identities) if event.email else self._only_person(identities)
        if person is None and not event.email and (shared := self._most_active(identities, at)):
            return shared
        if person is None:
            person = self._create()
        person.active_at = max(person.active_at, at)
        if event.email:
            person.email = event.email
        for identity in identities:
            self._learn(identity, person)
        return ResolvedIdentity(person.lead, open=person.open)

    def _by_address(self, email: str, identities: list[str]) -> Person | None:
        people = self._by_identity.get(f"email:{email}")
        if people:
            return next(iter(people.values()))
        return self._only_person([identity for identity in identities[1:] if self._without_address(identity)])

    def _without_address(self, identity: str) -> bool:
        return all(person.email is None for person in self._by_identity.get(identity, {}).values())

    def _only_person(self, identities: list[str]) -> Person | None:
        """Return the person of the strongest identifier that has exactly one person. None: there is none."""
        for identity in identities:
            people = self._by_identity.get(identity)
            if people and len(people) == 1:
                return next(iter(people.values()))
        return None

    def _most_active(self, identities: list[str], at: int) -> ResolvedIdentity | None:
        """Choose among the people of the strongest stored identifier. No identifier is learned from the event."""
        by_identity = {identity: people for identity in identities if (people := self._by_identity.get(identity))}
        if not by_identity:
            return None
        identity, people = next(iter(by_identity.items()))
        person = max(people.values(), key=lambda candidate: candidate.rank)
        person.active_at = max(person.active_at, at)
        others = {lead for leads in by_identity.values() for lead in leads} - {person.lead}
        kind = identity.partition(":")[0]
        return ResolvedIdentity(
            person.lead, f"{kind}, shared by {len(people)} people", tuple(sorted(others)), person.open
        )

    def _create(self) -> Person:
        person = Person(self.new_id())
        self.created.add(person.lead)
        self._people[person.lead] = person
        return person

    def _learn(self, identity: str, person: Person) -> None:
        people = self._by_identity.setdefault(identity, {})
        people[person.lead] = person
        if len(people) > SHARED_MAX:
            others = [other for other in people.values() if other is not person]
            with_address = [other for other in others if other.email]  # their address still resolves to them
            del people[min(with_address or others, key=lambda other: other.rank).lead]

    def changes(self) -> IdentityChanges:
        """Return the differences from the stored rows, in the order in which rows are locked."""
        changes = IdentityChanges([], [], [])
        for identity, people in sorted(self._by_identity.items()):
            stored = self._stored.get(identity, [])
            new_leads = [lead for lead in people if lead not in stored]
            if not stored:
                changes.claims.append((identity, new_leads.pop(0)))
            absent_leads = sorted(lead for lead in stored if lead not in people)
            changes.replacements.extend(
                (identity, lead, before) for lead, before in zip(new_leads, absent_leads, strict=False)
            )
            changes.added.extend((identity, lead) for lead in sorted(new_leads[len(absent_leads) :]))
        return changes


def identities_of(event: ExternalEvent, event_id: str) -> list[str]:
    """Return `kind:value` of each identifier, the strongest first. An event without identifiers gets a new one."""
    identities = [f"{kind}:{value}" for kind in KINDS if (value := getattr(event, kind))]
    return identities or [f"event:{event_id}"]

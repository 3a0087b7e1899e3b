"""The person of an event, resolved from the stored people of its identifiers.

An email address belongs to one person, and two addresses are never one person. Any other identifier resolves to its
person. An identifier of several people (a shared phone) resolves to the person whose lead is open and who was active last.

An opt-out by shared identifiers concerns each of their people. Otherwise the opt-out of one person could be recorded for
a stranger who posted a form with the same phone number.
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
        shared: The shared identifier by which it was chosen, as a text for people; None: not shared.
        others: The leads of all other people of the event's identifiers, sorted.
    """

    lead: str
    shared: str | None = None
    others: tuple[str, ...] = ()


class IdentityChanges(NamedTuple):
    """Rows to store: new identities, further people of existing ones, and people who replace others."""

    claims: list[Pair]
    added: list[Pair]
    replaced: list[tuple[str, str, str]]  # identity, lead, the lead before


@dataclass
class People:
    """The people of the identifiers of a batch, updated with each event."""

    new_id: Callable[[], str]
    made: set[str] = field(default_factory=set)
    _people: dict[str, Person] = field(default_factory=dict)
    _of: dict[str, dict[str, Person]] = field(default_factory=dict)
    _stored: dict[str, list[str]] = field(default_factory=dict)

    def know(self, rows: Iterable[IdentityRow]) -> None:
        """Add stored rows."""
        for row in rows:
            person = self._people.setdefault(row.lead, Person(row.lead, row.email, row.active_at or 0, bool(row.open)))
            self._of.setdefault(row.identity, {})[row.lead] = person
            self._stored.setdefault(row.identity, []).append(row.lead)

    def find(self, event: ExternalEvent, event_id: str, at: int) -> ResolvedIdentity:
        """Resolve the lead of one event and learn its identifiers. An unknown person gets a new lead."""
        identities = identities_of(event, event_id)
        person = self._by_address(event.email, identities) if event.email else self._alone(identities)
        if person is None and not event.email and (found := self._of_several(identities, at)):
            return found
        if person is None:
            person = self._make()
        person.active_at = max(person.active_at, at)
        if event.email:
            person.email = event.email
        for identity in identities:
            self._learn(identity, person)
        return ResolvedIdentity(person.lead)

    def _by_address(self, email: str, identities: list[str]) -> Person | None:
        known = self._of.get(f"email:{email}")
        if known:
            return next(iter(known.values()))
        return self._alone([one for one in identities[1:] if self._without_address(one)])

    def _without_address(self, identity: str) -> bool:
        return all(person.email is None for person in self._of.get(identity, {}).values())

    def _alone(self, identities: list[str]) -> Person | None:
        """Return the person of the strongest identifier that has exactly one person; None: there is none."""
        for identity in identities:
            known = self._of.get(identity)
            if known and len(known) == 1:
                return next(iter(known.values()))
        return None

    def _of_several(self, identities: list[str], at: int) -> ResolvedIdentity | None:
        """Choose among the people of the strongest known identifier. No identifier is learned from the event."""
        known = {identity: people for identity in identities if (people := self._of.get(identity))}
        if not known:
            return None
        identity, people = next(iter(known.items()))
        person = max(people.values(), key=lambda one: one.rank)
        person.active_at = max(person.active_at, at)
        others = {lead for named in known.values() for lead in named} - {person.lead}
        kind = identity.partition(":")[0]
        return ResolvedIdentity(person.lead, f"{kind}, shared by {len(people)} people", tuple(sorted(others)))

    def _make(self) -> Person:
        person = Person(self.new_id())
        self.made.add(person.lead)
        self._people[person.lead] = person
        return person

    def _learn(self, identity: str, person: Person) -> None:
        known = self._of.setdefault(identity, {})
        known[person.lead] = person
        if len(known) > SHARED_MAX:
            others = [one for one in known.values() if one is not person]
            addressed = [one for one in others if one.email]  # they are still found by their address
            del known[min(addressed or others, key=lambda one: one.rank).lead]

    def changes(self) -> IdentityChanges:
        """Return the differences from the stored rows, in the order in which rows are locked."""
        changes = IdentityChanges([], [], [])
        for identity, known in sorted(self._of.items()):
            stored = self._stored.get(identity, [])
            fresh = [lead for lead in known if lead not in stored]
            if not stored:
                changes.claims.append((identity, fresh.pop(0)))
            gone = sorted(lead for lead in stored if lead not in known)
            changes.replaced.extend((identity, lead, before) for lead, before in zip(fresh, gone, strict=False))
            changes.added.extend((identity, lead) for lead in sorted(fresh[len(gone) :]))
        return changes


def identities_of(event: ExternalEvent, event_id: str) -> list[str]:
    """Return `kind:value` of each identifier, the strongest first. An event without identifiers gets one of its own."""
    identities = [f"{kind}:{value}" for kind in KINDS if (value := getattr(event, kind))]
    return identities or [f"event:{event_id}"]

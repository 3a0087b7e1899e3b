"""Which person an event is about. Pure: it decides from what is known of the identifiers of a batch.

An email address is one person. Another identifier that is known of one person finds that person; known of several (a
shared phone), it finds the one whose lead is open and who was active last. Two addresses are never one person.

An opt-out by shared identifiers is about each person known by them: otherwise a stranger who posts a form with a phone
number of another person would get that person's opt-out.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from schemas.events import ExternalEvent

KINDS: Final = ("email", "phone", "crm_id", "anonymous_id")
"""The identifiers, the strongest first."""

SHARED_MAX: Final = 20
"""The people of one identifier. One more takes the place of the one who would be chosen last."""

Pair = tuple[str, str]
"""An identity (`kind:value`) and a lead."""


@dataclass
class Person:
    """The part of a person that decides. `active_at`: the time of their latest event (microseconds)."""

    lead: str
    email: str | None = None
    active_at: int = 0
    open: bool = False

    @property
    def rank(self) -> tuple[bool, int, str]:
        """The greatest is chosen among people who share an identifier."""
        return self.open, self.active_at, self.lead


class IdentityRow(NamedTuple):
    """One person of one identity, as stored."""

    identity: str
    lead: str
    email: str | None
    active_at: int | None
    open: int | None


class ResolvedIdentity(NamedTuple):
    """The lead of an event. `shared`: by what it was chosen among several people, for people to read; `others`: the leads
    of all others whom the event's identifiers name, sorted."""

    lead: str
    shared: str | None = None
    others: tuple[str, ...] = ()


class IdentityChanges(NamedTuple):
    """Rows to store: new identities, further people of known ones, and people who take the place of others."""

    claims: list[Pair]
    added: list[Pair]
    replaced: list[tuple[str, str, str]]  # identity, lead, the lead before


@dataclass
class People:
    """The people behind the identifiers of a batch, as it goes on."""

    new_id: Callable[[], str]
    made: set[str] = field(default_factory=set)
    _people: dict[str, Person] = field(default_factory=dict)
    _of: dict[str, dict[str, Person]] = field(default_factory=dict)
    _stored: dict[str, list[str]] = field(default_factory=dict)

    def know(self, rows: Iterable[IdentityRow]) -> None:
        """Take in stored rows."""
        for row in rows:
            person = self._people.setdefault(row.lead, Person(row.lead, row.email, row.active_at or 0, bool(row.open)))
            self._of.setdefault(row.identity, {})[row.lead] = person
            self._stored.setdefault(row.identity, []).append(row.lead)

    def find(self, happened: ExternalEvent, event_id: str, at: int) -> ResolvedIdentity:
        """The lead of one event, whose identifiers are learned with it; a new one for an unknown person."""
        identities = identities_of(happened, event_id)
        person = self._by_address(happened.email, identities) if happened.email else self._alone(identities)
        if person is None and not happened.email and (found := self._of_several(identities, at)):
            return found
        if person is None:
            person = self._make()
        person.active_at = max(person.active_at, at)
        if happened.email:
            person.email = happened.email
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
        """The person of the strongest identifier that is known of one person."""
        for identity in identities:
            known = self._of.get(identity)
            if known and len(known) == 1:
                return next(iter(known.values()))
        return None

    def _of_several(self, identities: list[str], at: int) -> ResolvedIdentity | None:
        """The choice among people who share the strongest known identifier. Nothing is learned from it."""
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
            addressed = [one for one in others if one.email]  # their address still finds them
            del known[min(addressed or others, key=lambda one: one.rank).lead]

    def changes(self) -> IdentityChanges:
        """The differences from the stored rows, in the order in which rows are locked."""
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


def identities_of(happened: ExternalEvent, event_id: str) -> list[str]:
    """`kind:value` of each identifier, the strongest first; of an event without any, one of its own."""
    found = [f"{kind}:{value}" for kind in KINDS if (value := getattr(happened, kind))]
    return found or [f"event:{event_id}"]

"""The sentences of a page by its kind. They are our own words; `{lead}` and the like are filled in with clean text."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from services.notifier.domain.page_words import ActionName, ActionWords


@dataclass(frozen=True)
class Voice:
    """The sentences of one kind of page.

    Attributes:
        headline: before the end of the promise.
        overdue: after it.
        todo: what the recipient should do.
        footer: why the recipient gets the page.
        actions: what the recipient can do with one tap.
        asks: whether the recipient is to contact the person.
        promised: whether the page is about a promise that still counts.
        names_owner: whether the owner is among the facts.
        contacts: whether the recipient may contact the person: two people never call the same person.
    """

    headline: str
    overdue: str
    todo: tuple[str, ...]
    footer: str
    actions: tuple[ActionWords, ...] = ()
    asks: bool = False
    promised: bool = True
    names_owner: bool = True
    contacts: bool = True


ACTIONS: Final[Mapping[ActionName, ActionWords]] = {
    words.action: words
    for words in (
        ActionWords("reached", "Reached them", "You have been in touch with the person. The clock stops."),
        ActionWords("no_answer", "No answer", "You have tried to reach the person. The attempt counts."),
        ActionWords("accept", "Accept", "You take the lead. Reminders to you end, but the clock keeps running."),
        ActionWords("snooze", "Snooze", "Pages about this lead pause until a time that you choose."),
        ActionWords("hand_over", "Hand over", "A colleague gets the lead."),
        ActionWords("reject", "Not a fit", "You give the lead back with a reason."),
    )
}
_ALL: Final = tuple(ACTIONS.values())
_OF_MANAGER: Final = (ACTIONS["reached"], ACTIONS["no_answer"], ACTIONS["hand_over"])
_OF_HANDED_ON: Final = tuple(ACTIONS[name] for name in ("reached", "no_answer", "hand_over", "reject"))
_OF_COVER: Final = (ACTIONS["reached"], ACTIONS["no_answer"], ACTIONS["accept"])

_CONTACT: Final = "Contact the lead now, then record the touch: reached, or no answer."
_TO_OWNER: Final = (
    _CONTACT,
    "Need a moment? Accept the lead. Reminders to you end, but the clock keeps running.",
    "Not a fit, or not for you? Give the lead back with a reason. It then goes to someone else.",
)
_TO_MANAGER: Final = (
    "Ask the owner, or contact the lead yourself and record a touch.",
    "Owner not free? Hand the lead over to someone else.",
)
_YOURS: Final = "FirstHour sent this page because you are the owner of this lead."
_THEIRS: Final = "FirstHour sent this page because you are a manager of {owner}, the owner of this lead."
_LATE: Final = "Overdue: {call} now"
_NOT_PASSED_ON: Final = (
    "It did not change hands as you were told: its next owner or its state did not allow it, or another was faster."
)
_NO_CONTACT: Final = ("No contact yet with {lead}", "Overdue: no contact yet with {lead}")

OWNER: Final = Voice("{urgency} lead: {call}", _LATE, _TO_OWNER, _YOURS, _ALL, asks=True, names_owner=False)
REMINDED: Final = Voice("Still waiting: {call}", _LATE, _TO_OWNER, _YOURS, _ALL, asks=True, names_owner=False)
LOST: Final = Voice(
    "Moved on: {lead} is now with {owner}",
    "Moved on: {lead} is now with {owner}",
    (
        "Please do not contact the person any more: this lead is no longer yours.",
        "A contact of before still counts: record it.",
    ),
    "FirstHour sent this page because you were the owner of this lead.",
    promised=False,
    contacts=False,
)
LOST_WITHOUT_OWNER: Final = replace(LOST, headline="No longer yours: {lead}", overdue="No longer yours: {lead}")
VOICES: Final[Mapping[str, Voice]] = {
    "owner": OWNER,
    "reassigned": Voice("Now yours: {call}", _LATE, _TO_OWNER, _YOURS, _ALL, asks=True, names_owner=False),
    "again": Voice("Asked again: {call}", _LATE, _TO_OWNER, _YOURS, _ALL, asks=True, names_owner=False),
    "cover": Voice(
        "{owner} does not answer: {call}",
        _LATE,
        (_CONTACT, "Accept the lead to become its owner."),
        "FirstHour sent this page because you cover for {owner}, the owner of this lead.",
        _OF_COVER,
        asks=True,
    ),
    "channel": Voice(
        *_NO_CONTACT,
        (_CONTACT, "Accept the lead to become its owner."),
        "FirstHour sent this page to the channel because {owner}, the owner of this lead, does not answer.",
        _OF_COVER,
    ),
    "manager": Voice(*_NO_CONTACT, _TO_MANAGER, _THEIRS, _OF_MANAGER),
    "missed": Voice(*_NO_CONTACT, _TO_MANAGER, _THEIRS, _OF_MANAGER),
    "reminder": Voice(
        "Still no contact with {lead}", "Overdue: still no contact with {lead}", _TO_MANAGER, _THEIRS, _OF_MANAGER
    ),
    "queued": Voice(
        "{lead} waits: no rep can take the lead",
        "Overdue: {lead} waits, and no rep can take the lead",
        ("Hand the lead over to a rep, or contact the person yourself and record a touch.",),
        "FirstHour sent this page because you manage the reps who could take this lead.",
        _OF_MANAGER,
        names_owner=False,
    ),
    "handed_on": Voice(
        "Now yours: {lead}",
        "Now yours: {lead}",
        ("The person was contacted before you got the lead. Go on from there, and record each touch.",),
        _YOURS,
        _OF_HANDED_ON,
        promised=False,
        names_owner=False,
    ),
    "refused": Voice(
        "Not passed on: {lead} is with {owner}",
        "Not passed on: {lead} is with {owner}",
        (
            _NOT_PASSED_ON,
            "Ask the owner before you contact the person: one of you is enough.",
        ),
        "FirstHour sent this page because you have handed this lead over, accepted it or given it back.",
        _OF_MANAGER,
        promised=False,
        contacts=False,
    ),
    "next_attempt": Voice(
        "Try again: {call}",
        "Try again: {call}",
        ("Try to reach the person again, and record the touch, answered or not.",),
        "FirstHour sent this page because you are the owner of this lead, and the person has not been reached yet.",
        _OF_MANAGER,
        asks=True,
        promised=False,
        names_owner=False,
    ),
}
"""By the kind of a page."""
TRIED: Final = replace(
    VOICES["handed_on"],
    todo=("The person was tried before, and has not answered yet. Try again, and record the touch, answered or not.",),
)
"""The lead was handed on before anybody had reached the person."""
REFUSED_WITHOUT_OWNER: Final = replace(
    VOICES["refused"],
    headline="Not passed on: {lead} waits for an owner",
    overdue="Not passed on: {lead} waits for an owner",
    todo=(_NOT_PASSED_ON, "If the lead becomes yours again, you get a new message."),
)
REFUSED_TO_OWNER: Final = replace(
    VOICES["refused"],
    headline="Not passed on: {lead} is still yours",
    overdue="Not passed on: {lead} is still yours",
    todo=(_NOT_PASSED_ON, "Contact the lead, or hand it over to someone else."),
    names_owner=False,
    contacts=True,
)
_WAITS: Final = VOICES["queued"]
OF_WAITING: Final[Mapping[str, Voice]] = {
    "missed": replace(_WAITS, headline="No owner and no contact yet: {lead}", overdue="Overdue, no owner yet: {lead}"),
    "reminder": replace(_WAITS, headline="Still no owner: {lead}", overdue="Overdue, still no owner: {lead}"),
}
"""By the kind of a page about a lead without an owner."""
TO_MANAGER: Final = frozenset({"manager", "missed", "reminder"})
"""The kinds of pages to a manager. One who owns the lead is spoken to as its owner."""

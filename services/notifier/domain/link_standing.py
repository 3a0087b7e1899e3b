"""Whether a signed link still stands: it ends with its assignment, with its person, and after seven days."""

from typing import Final, NamedTuple

from schemas.team import Team
from services.notifier.domain.clock import ResponseClock
from services.notifier.domain.link import Link
from services.notifier.domain.outside_text import NAME_CHARS_MAX, unlinked
from services.notifier.domain.page import TO_OWNER, Page
from services.notifier.domain.voices import TO_MANAGER

TOUCHES: Final = frozenset({"reached", "no_answer"})
"""A touch is a fact: its link outlives the assignment, but shows nothing of the lead any more."""

_OF_OWNER: Final = TO_OWNER | {"lost", "handed_on", "next_attempt"}
"""The kinds of pages to the rep who has, or had, the lead."""

SHARED: Final = frozenset({"channel"})
"""The kinds of pages that go to a channel, so that their links are for every reader and only show the lead."""


class Refusal(NamedTuple):
    """Why a link does nothing, for the person who opened it. It names nothing of the lead."""

    status: int
    title: str
    text: str


INVALID: Final = Refusal(
    404,
    "This link is not valid",
    "It may have been cut off or changed on its way. Open it from the message again, or use the newest message.",
)
_NEWEST: Final = "Use the newest message about it."
EXPIRED: Final = Refusal(
    410,
    "This link has expired",
    "A link works for seven days. Use a newer message about the lead. If there is none, ask your manager.",
)
GONE: Final = Refusal(410, "This lead is no longer here", "Its data was deleted. There is nothing to do.")
_STRANGER: Final = Refusal(
    403, "This link is not for you", "It was made for a person who is no longer in the team. Ask the person's manager."
)


def refusal(link: Link, page: Page, clock: ResponseClock, team: Team) -> Refusal | None:
    """Return why a link that has not expired does nothing; None: it stands."""
    person = team.rep_by_id.get(page.person)
    if page.kind not in SHARED and (person is None or not person.active):
        return _STRANGER
    return None if link.action in TOUCHES else ending(page, clock, team)


def ending(page: Page, clock: ResponseClock, team: Team) -> Refusal | None:
    """Return where the lead went after the assignment of this page; None: the assignment goes on."""
    is_of_manager = page.kind == "queued" or page.kind in TO_MANAGER
    is_stranger = page.kind == "refused" and page.person not in (clock.rep, *team.managers(clock.rep or ""))
    if page.epoch == clock.epoch and (clock.rep is not None or (clock.running and is_of_manager)) and not is_stranger:
        return None
    title = "This lead is no longer yours" if page.kind in _OF_OWNER else "This message is out of date"
    if clock.opted_out:
        return Refusal(410, title, "The person does not want to be contacted any more. Please respect that.")
    owner = team.rep_by_id.get(clock.rep or "")
    if clock.rep is not None and clock.rep == page.person:
        return Refusal(410, "There is a newer message", "The lead is yours. Use the newest message about it.")
    if owner is not None:
        rest = _NEWEST if is_of_manager else "Please do not contact the person: one of you is enough."
        text = f"The lead is with {unlinked(owner.name, NAME_CHARS_MAX)} now. {rest}"
    elif clock.rep is None and clock.running:
        again = " again" if page.kind in _OF_OWNER else ""
        rest = _NEWEST if is_of_manager else f"If it becomes yours{again}, you get a new message."
        text = f"The lead waits for a new owner. {rest}"
    else:
        text = "The lead is closed, or back with Marketing. There is nothing to do."
    return Refusal(410, title, text)

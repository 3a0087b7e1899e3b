"""The links that a page offers, by its kind."""

from collections.abc import Mapping
from typing import Final

from services.notifier.domain.link import ACTIONS, LinkAction

_TOUCHES: Final[tuple[LinkAction, ...]] = ("reached", "no_answer")
_OF_KIND: Final[Mapping[str, tuple[LinkAction, ...]]] = {
    **dict.fromkeys(("owner", "reassigned", "again", "reminder"), ACTIONS),
    "cover": ("open", "accept", *_TOUCHES),
    **dict.fromkeys(("manager", "missed"), ("open", *_TOUCHES, "hand_over")),
    "lost": _TOUCHES,  # the assignment has ended, but a contact before that still counts
    **dict.fromkeys(("channel", "queued"), ("open",)),
}


def offered_by(kind: str) -> tuple[LinkAction, ...]:
    """Return the actions of the links in a page of this kind; `open` first. A kind that names no lead has none."""
    return _OF_KIND.get(kind, ())

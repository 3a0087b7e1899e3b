"""The links that a message offers."""

from typing import Final

from services.notifier.domain.link import LinkAction
from services.notifier.domain.message import Message
from services.notifier.domain.message_text import voice_of
from services.notifier.domain.standing import ALL_ACTIONS, TOUCHES

OPEN: Final = "open"
WITH_BUTTONS: Final = frozenset({"slack"})
"""The channels whose pages have buttons. Their links only open the lead."""


def offered_in(message: Message, channel: str) -> tuple[LinkAction, ...]:
    """Return the actions of the links in a message over this channel; `open` first.

    A former owner can still report a contact of before, and no longer opens the lead; as does a person whose click was refused
    because another has it. A channel has many readers, so that
    its link only shows the lead. A test page is about no lead.
    """
    if message.kind == "test":
        return ()
    voice = voice_of(message)
    if not voice.actions:
        return ("reached", "no_answer")
    if message.kind == "channel" or channel in WITH_BUTTONS:
        return (OPEN,)
    left = message.standing.actions or ALL_ACTIONS  # without those that would be refused as the lead stands
    opening = () if message.kind == "refused" and left == TOUCHES else (OPEN,)  # neither its owner nor a manager
    return (*opening, *(words.action for words in voice.actions if words.action in left))

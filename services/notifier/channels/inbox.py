"""Pages that stay here: shown in the terminal and by the API, so that everything works without an account."""

from collections.abc import Callable
from contextlib import suppress

from rich.text import Text

from services.notifier.channels.base import Outcome, Sent
from services.notifier.domain import message_text
from services.notifier.domain.message import Message

_STYLES = {"owner": "bold green", "manager": "bold red", "reassigned": "bold yellow"}


class InboxChannel:
    """Accepts every page; the page's own row is what people read."""

    name = "inbox"

    def __init__(self, show: Callable[[Message], None]) -> None:
        self._show = show

    async def send(self, message: Message) -> Outcome:
        with suppress(OSError):  # the terminal is gone; the page is not
            self._show(message)
        return Sent(f"inbox:{message.page_id}")

    async def close(self) -> None:
        """Nothing was opened."""


def terminal_line(message: Message) -> Text:
    """The page as one line for the terminal. Words from outside are cleaned, and no markup in them takes effect."""
    return Text.assemble(
        (f"{message.written_at:%H:%M:%S}  ", "dim"),
        (message_text.clean(message.person_name, message_text.NAME_CHARS_MAX), _STYLES[message.kind]),
        "  ",
        message_text.words(message).subject,
        no_wrap=True,
        overflow="ellipsis",
    )

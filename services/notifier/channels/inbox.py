"""Pages that stay inside FirstHour: shown in the terminal and by the API, so that no account is needed."""

from collections.abc import Callable
from contextlib import suppress

from rich.text import Text

from services.notifier.channels.base import Outcome, Sent
from services.notifier.domain import message_text, outside_text
from services.notifier.domain.message import Message
from services.notifier.domain.notice import Notice

_STYLES = {"owner": "bold green", "manager": "bold red", "reassigned": "bold yellow", "test": "bold cyan"}


class InboxChannel:
    """Accepts every page. People read the row of the page."""

    name = "inbox"

    def __init__(self, show: Callable[[Message], None]) -> None:
        self._show = show

    async def send(self, message: Message) -> Outcome:
        with suppress(OSError):  # a closed terminal does not make the page unsent
            self._show(message)
        return Sent(f"inbox:{message.page_id}")

    async def tell(self, notice: Notice) -> Outcome:
        """Accept the notice: people read its row."""
        return Sent(f"inbox:{notice.id}")

    async def close(self) -> None:
        """Do nothing: no connection is open."""


def terminal_line(message: Message) -> Text:
    """Return the page as one line for the terminal. Text from outside is cleaned, and markup in it has no effect."""
    return Text.assemble(
        (f"{message.written_at:%H:%M:%S}  ", "dim"),
        (outside_text.clean(message.person_name, outside_text.NAME_CHARS_MAX), _STYLES.get(message.kind, "bold")),
        "  ",
        message_text.words(message).subject,
        no_wrap=True,
        overflow="ellipsis",
    )

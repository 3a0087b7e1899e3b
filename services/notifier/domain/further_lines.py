"""The lines of a message about the pages that it carries beside its own: what each asks for, or what became of its lead."""

from typing import Final

from services.notifier.domain.link_offers import OPEN, offered_in
from services.notifier.domain.message import Message
from services.notifier.domain.message_text import settled, words
from services.notifier.domain.page_words import Further

GONE: Final = "A lead that is no longer here"


def further_line(content: Message, channel: str) -> Further:
    """Return the line about a page. `content`: that of the page as of now."""
    page, standing = words(content), content.standing
    if standing.over:
        return Further(settled(page, content).subject, content.page_id, opens=False)
    text = f"{page.headline}. {standing.text}" if standing.text else page.headline
    return Further(text, content.page_id, opens=OPEN in offered_in(content, channel))


def gone(line: Further) -> Further:
    """Return the line about a page whose lead is gone."""
    return Further(GONE, line.page_id, opens=False)

"""The HTML of a mail: no images, no scripts, nothing that is loaded. The template escapes every value."""

from services.notifier.domain.mail_parts import MailParts
from services.notifier.markup import render


def html_body(mail: MailParts) -> str:
    """Return the body of an HTML mail."""
    return render(
        "mail.html",
        words=mail.words,
        facts=mail.facts,
        contacts=mail.contacts,
        parts=mail.parts,
        actions=mail.actions,
        question=mail.question,
        says_todo=mail.says_todo,
        reply=mail.reply,
    )

"""Draws a message of Slack from its blocks as HTML. `tests/pictures.py` makes pictures of it."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from services.notifier.channels.slack import body
from services.notifier.domain.standing import ALL_ACTIONS, PageStanding
from tests.fakes.pages import page_message

SAMPLE = body(page_message(standing=PageStanding(None, ALL_ACTIONS)), clickable=True)
_DATE = re.compile(r"<!date\^\d+\^[^|]*\|([^>]*)>")
_LINK = re.compile(r"<([a-z]+:[^|>]+)\|([^>]*)>")
_STYLE = """
body { margin: 0; font: 15px/1.46 Lato, "Helvetica Neue", Arial, sans-serif; color: #1d1c1d; background: #fff }
main { display: grid; grid-template-columns: 36px 1fr; gap: 8px; padding: 16px 20px; max-width: 680px }
.icon { width: 36px; height: 36px; border-radius: 6px; background: #1a1d21; color: #fff; text-align: center; line-height: 36px }
.app { font-weight: 900 } .badge { font-size: 10px; background: #eee; color: #616061; padding: 1px 4px; border-radius: 3px }
.time { font-size: 12px; color: #616061 }
h1 { font-size: 18px; margin: 8px 0; overflow-wrap: anywhere } p { margin: 6px 0; white-space: pre-line; overflow-wrap: anywhere }
.fields { display: grid; grid-template-columns: 1fr 1fr; gap: 6px 16px; margin: 8px 0; overflow-wrap: anywhere }
.context { font-size: 12px; color: #616061; margin: 4px 0; overflow-wrap: anywhere }
.actions { display: flex; flex-wrap: wrap; gap: 8px; margin: 10px 0 }
button { font: 700 13px Lato, Arial, sans-serif; border: 1px solid #b4b3b5; border-radius: 4px; background: #fff; padding: 6px 12px; color: #1d1c1d }
.primary { background: #007a5a; border-color: #007a5a; color: #fff } .danger { color: #e01e5a; border-color: #e01e5a }
a { color: #1264a3 }
@media (max-width: 500px) { .fields { grid-template-columns: 1fr } main { padding: 12px } }
"""


def drawing(message: Mapping[str, Any], time: str = "10:02") -> str:
    """Return a message as a page of HTML, about as Slack shows it at this time. Slack escapes its texts as HTML does."""
    blocks = "".join(_BLOCKS[block["type"]](block) for block in message["blocks"])
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<title>Slack</title><style>{_STYLE}</style><main><div class="icon">F</div><div><span class="app">FirstHour</span> '
        f'<span class="badge">APP</span> <span class="time">{time}</span>{blocks}</div></main></html>'
    )


def _text(text: Mapping[str, Any]) -> str:
    words = str(text["text"])
    if text["type"] == "mrkdwn":
        words = _LINK.sub(r'<a href="\1">\2</a>', _DATE.sub(r"\1", words))
    return words


def _section(block: Mapping[str, Any]) -> str:
    fields = "".join(f"<div>{_text(field)}</div>" for field in block.get("fields", []))
    paragraph = f"<p>{_text(block['text'])}</p>" if "text" in block else ""
    return paragraph + (f'<div class="fields">{fields}</div>' if fields else "")


def _element(element: Mapping[str, Any]) -> str:
    label = _text(element["text"] if element["type"] == "button" else element["placeholder"])
    arrow = "" if element["type"] == "button" else " &#9662;"
    return f'<button class="{element.get("style", "")}">{label}{arrow}</button>'


_BLOCKS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "header": lambda block: f"<h1>{_text(block['text'])}</h1>",
    "section": _section,
    "context": lambda block: f'<div class="context">{" ".join(map(_text, block["elements"]))}</div>',
    "actions": lambda block: f'<div class="actions">{"".join(map(_element, block["elements"]))}</div>',
    "divider": lambda block: "<hr>",
}

"""The parts of Slack messages that a person can use: the buttons of a page, and the dialogs that they open."""

from collections.abc import Sequence
from typing import Any, Final

from slack_sdk.models.blocks import (
    InputBlock,
    Option,
    PlainTextInputElement,
    SectionBlock,
    StaticSelectElement,
)
from slack_sdk.models.views import View

from services.notifier.channels.slack_page import SlackBlock, own, plain
from services.notifier.domain.click import NOTE_CHARS_MAX, Action
from services.notifier.domain.slack_request import CHOICE, NOTE, PREFIX

OPTION_CHARS_MAX: Final = 75  # limits of Slack, as the next two
VALUE_CHARS_MAX: Final = 150
OPTIONS_MAX: Final = 100
_LABELS: Final[dict[Action, tuple[str, str | None]]] = {
    "accept": ("Accept", "primary"),
    "reached": ("Reached them", None),
    "no_answer": ("No answer", None),
    "reject": ("Not a fit", "danger"),
    "hand_over": ("Hand over", None),
}
_SNOOZES: Final = ((15, "15 minutes"), (30, "30 minutes"), (60, "1 hour"), (120, "2 hours"), (1_440, "1 day"))
_DIALOGS: Final = {"reject": ("Not a fit", "Why is it not a fit?"), "hand_over": ("Hand over", "Hand over to")}


def buttons(page_id: str, actions: Sequence[Action]) -> SlackBlock:
    """Return the buttons of a page. Their values hold its id and nothing of the lead."""
    elements = [_snoozes(page_id) if action == "snooze" else _button(page_id, action) for action in actions]
    return {"type": "actions", "block_id": f"{PREFIX}actions", "elements": elements}


def _button(page_id: str, action: Action) -> SlackBlock:
    label, style = _LABELS[action]
    button = {"type": "button", "text": own(label), "action_id": f"{PREFIX}{action}", "value": page_id}
    return button if style is None else {**button, "style": style}


def _snoozes(page_id: str) -> SlackBlock:
    options = [{"text": own(text), "value": f"{page_id} {minutes}"} for minutes, text in _SNOOZES]
    return {
        "type": "static_select",
        "action_id": f"{PREFIX}snooze",
        "placeholder": own("Snooze"),
        "options": options,
    }


def dialog(action: str, page_id: str, choices: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return the dialog that asks for a choice and a note. `choices`: value and text of each."""
    title, question = _DIALOGS[action]
    options = [
        Option(text=plain(text, OPTION_CHARS_MAX), value=value)
        for value, text in choices[:OPTIONS_MAX]
        if len(value) <= VALUE_CHARS_MAX
    ]
    return View(
        type="modal",
        callback_id=f"{PREFIX}{action}",
        private_metadata=page_id,
        title=plain(title, 24),
        submit=plain("Send", 24),
        close=plain("Cancel", 24),
        blocks=[
            InputBlock(
                block_id=CHOICE,
                label=plain(question, 75),
                element=StaticSelectElement(action_id=CHOICE, options=options),
            ),
            InputBlock(
                block_id=NOTE,
                label=plain("Note", 75),
                optional=True,
                element=PlainTextInputElement(action_id=NOTE, multiline=True, max_length=NOTE_CHARS_MAX),
            ),
        ],
    ).to_dict()


def notice(text: str) -> dict[str, Any]:
    """Return a dialog that only says something."""
    return View(
        type="modal",
        title=plain("FirstHour", 24),
        close=plain("Close", 24),
        blocks=[SectionBlock(text=plain(text, 3_000))],
    ).to_dict()

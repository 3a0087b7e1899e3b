"""The parts of Slack messages that a person can use: the buttons of a page, and the dialogs that they open."""

from collections.abc import Sequence
from typing import Any, Final

from slack_sdk.models.blocks import (
    InputBlock,
    Option,
    OptionGroup,
    PlainTextInputElement,
    SectionBlock,
    StaticSelectElement,
)
from slack_sdk.models.views import View

from services.notifier.channels.slack_page import SlackBlock, own, plain
from services.notifier.domain.click import NOTE_CHARS_MAX, Action
from services.notifier.domain.outside_text import clean
from services.notifier.domain.slack_request import CHOICE, NOTE, PREFIX

OPTION_CHARS_MAX: Final = 75  # limits of Slack, as the next two
VALUE_CHARS_MAX: Final = 150
OPTIONS_MAX: Final = 100
CHOICES_MAX: Final = 1_000
"""Choices of one dialog. Slack takes a hundred groups of options, but only 250 kB in all."""
_END_CHARS: Final = 30  # of the first and the last name of a group
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


def dialog(action: str, page_id: str, choices: Sequence[tuple[str, str]], remark: str = "") -> dict[str, Any]:
    """Return the dialog that asks for a choice and a note. `choices`: value and text of each. `remark`: a text about them."""
    title, question = _DIALOGS[action]
    fitting = [choice for choice in choices if len(choice[0]) <= VALUE_CHARS_MAX]
    if len(fitting) > CHOICES_MAX:
        remark = f"Only {CHOICES_MAX} of {len(fitting)} are listed: open the lead for the others. {remark}".rstrip()
    remarks = [SectionBlock(text=plain(remark, 3_000))] if remark else []
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
                element=_select(fitting[:CHOICES_MAX]),
            ),
            *remarks,
            InputBlock(
                block_id=NOTE,
                label=plain("Note", 75),
                optional=True,
                element=PlainTextInputElement(action_id=NOTE, multiline=True, max_length=NOTE_CHARS_MAX),
            ),
        ],
    ).to_dict()


def _select(choices: Sequence[tuple[str, str]]) -> StaticSelectElement:
    """Return the menu of these choices: in groups by their texts, if there are more than fit into one."""
    if len(choices) <= OPTIONS_MAX:
        return StaticSelectElement(action_id=CHOICE, options=[_option(*choice) for choice in choices])
    ordered = sorted(choices, key=lambda choice: choice[1].casefold())
    groups = [ordered[start : start + OPTIONS_MAX] for start in range(0, len(ordered), OPTIONS_MAX)]
    return StaticSelectElement(
        action_id=CHOICE,
        option_groups=[
            OptionGroup(
                label=plain(f"{clean(group[0][1], _END_CHARS)} to {clean(group[-1][1], _END_CHARS)}", OPTION_CHARS_MAX),
                options=[_option(*choice) for choice in group],
            )
            for group in groups
        ],
    )


def _option(value: str, text: str) -> Option:
    return Option(text=plain(text, OPTION_CHARS_MAX), value=value)


def notice(text: str) -> dict[str, Any]:
    """Return a dialog that only says something."""
    return View(
        type="modal",
        title=plain("FirstHour", 24),
        close=plain("Close", 24),
        blocks=[SectionBlock(text=plain(text, 3_000))],
    ).to_dict()

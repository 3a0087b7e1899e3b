"""The limits that Slack documents for messages and dialogs, and the error with which it answers beyond them."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

MESSAGE_BLOCKS_MAX = 50
VIEW_BLOCKS_MAX = 100
TEXT_CHARS_MAX = 40_000
Json = Mapping[str, Any]


def message_error(message: Json) -> str | None:
    """Return the error of Slack for these arguments of `chat.postMessage` or `chat.update`; None: it accepts them."""
    if not message.get("text") and not message.get("blocks"):
        return "no_text"
    if len(message.get("text", "")) > TEXT_CHARS_MAX:
        return "msg_too_long"
    faults = list(
        _block_faults(
            message.get("blocks", []), MESSAGE_BLOCKS_MAX, ("header", "section", "context", "actions", "divider")
        )
    )
    return "invalid_blocks" if faults else None


def view_error(view: Json) -> str | None:
    """Return the error of Slack for this dialog; None: it accepts it."""
    faults = list(_block_faults(view.get("blocks", []), VIEW_BLOCKS_MAX, ("section", "input", "context", "divider")))
    faults += [
        f"{name} is too long" for name in ("title", "submit", "close") if name in view and not _is_plain(view[name], 24)
    ]
    if view.get("type") != "modal" or "title" not in view:
        faults.append("needs a type and a title")
    if len(view.get("private_metadata", "")) > 3_000 or len(view.get("callback_id", "")) > 255:
        faults.append("too long")
    if any(block["type"] == "input" for block in view["blocks"]) and "submit" not in view:
        faults.append("a dialog with fields needs a submit button")
    return "invalid_arguments" if faults else None


def _block_faults(blocks: Any, blocks_max: int, types: tuple[str, ...]) -> Iterator[str]:
    if not isinstance(blocks, list) or len(blocks) > blocks_max:
        yield "too many blocks"
        return
    ids = [block["block_id"] for block in blocks if "block_id" in block]
    if len(ids) != len(set(ids)) or any(not 0 < len(id) <= 255 for id in ids):
        yield "block_id"
    for block in blocks:
        if block.get("type") not in types:
            yield f"type {block.get('type')}"
        else:
            yield from _CHECKS[block["type"]](block)


def _header(block: Json) -> Iterator[str]:
    if not _is_plain(block["text"], 150):
        yield "header"


def _section(block: Json) -> Iterator[str]:
    fields = block.get("fields", [])
    if "text" not in block and not fields:
        yield "a section needs text or fields"
    if "text" in block and not _is_text(block["text"], 3_000):
        yield "text of a section"
    if len(fields) > 10 or not all(_is_text(field, 2_000) for field in fields):
        yield "fields of a section"


def _context(block: Json) -> Iterator[str]:
    if not 0 < len(block["elements"]) <= 10 or not all(_is_text(one, 3_000) for one in block["elements"]):
        yield "context"


def _actions(block: Json) -> Iterator[str]:
    elements = block["elements"]
    ids = [element["action_id"] for element in elements]
    if not 0 < len(elements) <= 25 or len(ids) != len(set(ids)):
        yield "elements of actions"
    for element in elements:
        yield from _element(element)


def _input(block: Json) -> Iterator[str]:
    if not _is_plain(block["label"], 2_000):
        yield "label"
    yield from _element(block["element"])


def _element(element: Json) -> Iterator[str]:
    if not 0 < len(element["action_id"]) <= 255:
        yield "action_id"
    if element["type"] == "button":
        if not _is_plain(element["text"], 75) or len(element.get("value", "")) > 2_000:
            yield "button"
        if element.get("style", "primary") not in ("primary", "danger") or len(element.get("url", "")) > 3_000:
            yield "button"
    elif element["type"] == "static_select":
        groups = element.get("option_groups", [])
        if len(groups) > 100 or not all(
            _is_plain(group["label"], 75) and 0 < len(group["options"]) <= 100 for group in groups
        ):
            yield "option_groups"
        options = [option for group in groups for option in group["options"]] or element["options"]
        if (
            not len(options) > 0
            or (not groups and len(options) > 100)
            or ("placeholder" in element and not _is_plain(element["placeholder"], 150))
        ):
            yield "options"
        for option in options:
            if not _is_plain(option["text"], 75) or not 0 < len(option["value"]) <= 150:
                yield "option"
    elif element["type"] == "plain_text_input":
        if not 0 < element.get("max_length", 3_000) <= 3_000:
            yield "plain_text_input"
    else:
        yield f"element {element['type']}"


def _is_text(text: Json, chars_max: int) -> bool:
    return text["type"] in ("plain_text", "mrkdwn") and 0 < len(text["text"]) <= chars_max


def _is_plain(text: Json, chars_max: int) -> bool:
    return text["type"] == "plain_text" and _is_text(text, chars_max)


def _divider(block: Json) -> Iterator[str]:
    yield from ()


_CHECKS: Mapping[str, Callable[[Json], Iterator[str]]] = {
    "header": _header,
    "section": _section,
    "context": _context,
    "actions": _actions,
    "input": _input,
    "divider": _divider,
}

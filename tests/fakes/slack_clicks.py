"""Requests that Slack sends for a click, a dialog or a command, signed by Slack's own library."""

import json
from collections.abc import Mapping
from datetime import datetime
from itertools import count
from typing import Any, NamedTuple
from urllib.parse import urlencode

from slack_sdk.signature import SignatureVerifier

SIGNING_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"  # the example of Slack's documentation
_numbers = count(1)


class SlackRequest(NamedTuple):
    """A signed request: its headers and its body."""

    headers: dict[str, str]
    body: bytes


def signed(body: bytes, now: datetime, secret: str = SIGNING_SECRET) -> SlackRequest:
    """Return the request with the signature of Slack's library."""
    stamp = str(int(now.timestamp()))
    signature = SignatureVerifier(secret).generate_signature(timestamp=stamp, body=body)
    assert signature is not None
    headers = {
        "content-type": "application/x-www-form-urlencoded",
        "x-slack-request-timestamp": stamp,
        "x-slack-signature": signature,
    }
    return SlackRequest(headers, body)


def element_of(message: Mapping[str, Any], action: str) -> Mapping[str, Any]:
    """Return the button or menu of a message. Raises `LookupError` if it has none."""
    elements: list[dict[str, Any]]
    elements = [e for block in message["blocks"] if block["type"] == "actions" for e in block["elements"]]
    found = [e for e in elements if e["action_id"] == f"firsthour.{action}"]
    if not found:
        raise LookupError(f"the message has no button {action}, only {[e['action_id'] for e in elements]}")
    return found[0]


def buttons_of(message: Mapping[str, Any]) -> list[str]:
    """Return the names of the buttons and menus of a message, in order."""
    elements = [e for block in message["blocks"] if block["type"] == "actions" for e in block["elements"]]
    return [str(e["action_id"]).removeprefix("firsthour.") for e in elements]


def pressed(message: Mapping[str, Any], action: str, user: str, response_url: str, option: int = 0) -> bytes:
    """Return the body for a click on this button. `option`: the choice of a menu."""
    element = element_of(message, action)
    action_fields = {"type": element["type"], "action_id": element["action_id"], "block_id": "firsthour.actions"}
    if element["type"] == "static_select":
        chosen: dict[str, Any] = {"selected_option": element["options"][option]}
    else:
        chosen = {"value": element["value"]}
    n = next(_numbers)
    return _payload(
        {
            "type": "block_actions",
            "user": {"id": user, "username": "someone", "team_id": "T1"},
            "team": {"id": "T1", "domain": "acme"},
            "container": {"type": "message", "message_ts": "1.1", "channel_id": "D1"},
            "trigger_id": f"trigger-{n}",
            "response_url": response_url,
            "message": {"text": message["text"]},
            "state": {"values": {}},
            "actions": [{**action_fields, **chosen, "action_ts": f"1764579600.{n:06d}"}],
        }
    )


def submitted(view: Mapping[str, Any], choice: str | None, user: str, note: str | None = None) -> bytes:
    """Return the body for a dialog that was sent off."""
    option = None if choice is None else {"value": choice, "text": {"type": "plain_text", "text": choice}}
    values = {
        "choice": {"choice": {"type": "static_select", "selected_option": option}},
        "note": {"note": {"type": "plain_text_input", "value": note}},
    }
    shown = {**view, "id": f"V{next(_numbers)}", "state": {"values": values}}
    return _payload({"type": "view_submission", "user": {"id": user}, "trigger_id": "t", "view": shown})


def command(name: str, text: str, user: str) -> bytes:
    """Return the body of a slash command."""
    fields = {"command": name, "text": text, "user_id": user, "team_id": "T1", "trigger_id": f"c-{next(_numbers)}"}
    return urlencode(fields).encode()


def _payload(payload: Mapping[str, Any]) -> bytes:
    return urlencode({"payload": json.dumps(payload)}).encode()

"""The actions of a viewer on a lead: the forms that the router permits now, and the request that each form sends."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from firsthour.runtime.http.in_process import InnerAnswer, path_of
from firsthour.runtime.http.problem import Problem
from services.console.viewer import Viewer

CHANNELS: Final = ("phone", "email", "meeting", "chat", "other")
SNOOZES: Final = (10, 30, 60, 120, 240, 24 * 60)
"""Minutes of a snooze."""
NOTE_CHARS_MAX: Final = 4_000
_encode = msgspec.json.Encoder().encode


async def permitted(viewer: Viewer, lead: str) -> dict[str, Any]:
    """Return the actions that the viewer may take on a lead now, by name."""
    answer = await viewer.get(path_of("/v1/leads/{lead}/actions", lead=lead))
    return {item["action"]: item for item in answer["items"]}


async def permitted_on(viewer: Viewer, leads: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the actions that the viewer may take on each of these leads now, by lead and by name."""
    if not leads:
        return {}
    answer = await viewer.get("/v1/permitted-actions", [("lead", lead) for lead in leads])
    return {item["lead"]: {one["action"]: one for one in item["actions"]} for item in answer["items"]}


def snoozes(item: Mapping[str, Any]) -> list[int]:
    """Return the minutes to choose from; the shortest in any case."""
    longest = item["seconds_max"]
    return [minutes for minutes in SNOOZES if longest is None or minutes * 60 <= longest] or [SNOOZES[0]]


def body_of(action: str, fields: Mapping[str, str], now: datetime) -> dict[str, Any] | None:
    """Return the body of the request of an action; None: it has none. Raises `Problem` for a form of no page of ours.

    `now`: business time.
    """
    match action:
        case "accept":
            return None
        case "touch":
            body: dict[str, Any] = {
                "channel": fields.get("channel", "phone"),
                "answered": fields.get("answered") == "yes",
            }
            note = fields.get("note", "").strip()[:NOTE_CHARS_MAX]
            return {**body, "note": note} if note else body
        case "snooze":
            minutes = fields.get("minutes", "")
            if not (minutes.isascii() and minutes.isdecimal() and len(minutes) <= 5):
                raise Problem(422, "", "Choose for how long the reminders wait.")
            return {"until": (now + timedelta(minutes=int(minutes))).isoformat()}
        case "reject" | "recycle" | "opt-out":
            return {"reason": fields.get("reason", "")}
        case "status":
            reason = fields.get("reason", "").strip()
            return {"status": fields.get("status", ""), **({"reason": reason} if reason else {})}
        case "assign":
            reason = fields.get("reason", "").strip()
            force = {"force": True} if fields.get("force") == "yes" else {}
            return {"rep": fields.get("rep", ""), **force, **({"reason": reason} if reason else {})}
    raise Problem(404, "", "There is no such action.")


async def act(viewer: Viewer, lead: str, action: str, fields: Mapping[str, str], now: datetime) -> InnerAnswer:
    """Send the request of a form. A form that is sent again, as after a lost connection, takes effect once."""
    body = body_of(action, fields, now)
    path = path_of("/v1/leads/{lead}/{action}", lead=lead, action=action)
    return await viewer.send("POST", path, body=b"" if body is None else _encode(body), once=fields.get("once") or None)

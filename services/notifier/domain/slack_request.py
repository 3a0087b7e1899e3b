"""The requests that Slack sends for a click, a dialog or a command: parsed, and turned into clicks."""

from datetime import datetime, timedelta
from typing import Annotated, Final, get_args
from urllib.parse import parse_qsl
from uuid import UUID

import msgspec

from schemas.errors import FirstHourError
from schemas.team import Rep, Team
from services.notifier.domain.click import Action, Click

FIELDS_MAX: Final = 100  # of a form; Slack sends about a dozen
PREFIX: Final = "firsthour."
"""The beginning of the names of our buttons and dialogs."""
ASKING: Final = frozenset({"reject", "hand_over"})
"""The buttons that open a dialog."""
CHOICE, NOTE = "choice", "note"
_REPLAY: Final = ", so that a second request could not be told from a replay"
_Text = Annotated[str, msgspec.Meta(max_length=3_000)]


class UnreadableRequestError(FirstHourError, ValueError):
    """Raised for a body that is not one of Slack's requests."""


class _User(msgspec.Struct):
    id: _Text


class _Option(msgspec.Struct):
    value: _Text = ""


class _Element(msgspec.Struct):
    """A button, a menu or a field, with its value."""

    action_id: _Text = ""
    action_ts: _Text = ""
    value: _Text | None = None
    selected_option: _Option | None = None

    @property
    def text(self) -> str:
        return self.selected_option.value if self.selected_option else self.value or ""


class _ViewState(msgspec.Struct):
    values: dict[str, dict[str, _Element]] = {}


class _View(msgspec.Struct):
    id: _Text = ""
    callback_id: _Text = ""
    private_metadata: _Text = ""
    state: _ViewState = msgspec.field(default_factory=_ViewState)


class _Payload(msgspec.Struct):
    type: _Text
    user: _User
    trigger_id: _Text = ""
    response_url: _Text = ""
    actions: list[_Element] = []
    view: _View = msgspec.field(default_factory=_View)


class Asker(msgspec.Struct, frozen=True):
    """Where a person waits for the answer to a request, as far as it can be read."""

    type: _Text = ""
    response_url: _Text = ""

    @property
    def in_dialog(self) -> bool:
        return self.type == "view_submission"


class Pressed(msgspec.Struct, frozen=True):
    """A button or menu of a page. `page`: its id."""

    user: str
    action: Action
    page: str
    key: str
    trigger_id: str
    response_url: str
    minutes: int | None = None  # of a snooze


class Submitted(msgspec.Struct, frozen=True):
    """A dialog that was sent off. `choice`: the reason, or the rep."""

    user: str
    action: Action
    page: str
    key: str
    choice: str
    note: str


class SlashCommand(msgspec.Struct, frozen=True):
    """A slash command."""

    user: str
    name: str
    text: str
    key: str


Interaction = Pressed | Submitted
_payload = msgspec.json.Decoder(_Payload).decode
_asker = msgspec.json.Decoder(Asker).decode
_NO_PAYLOAD: Final = (msgspec.DecodeError, UnicodeError, RecursionError)
_action = {f"{PREFIX}{name}": name for name in get_args(Action)}


def read_interaction(body: bytes) -> Interaction | None:
    """Return the click or the dialog of a request; None: it needs no action, such as a link.

    Raises:
        UnreadableRequestError: The body is not a request of Slack, or is nested too deeply.
    """
    try:
        payload = _payload(_form(body).get("payload", ""))
    except _NO_PAYLOAD as error:
        raise UnreadableRequestError("the field `payload` is not an interaction of Slack") from error
    if payload.type == "block_actions" and payload.actions:
        return _pressed(payload, payload.actions[0])
    return _submitted(payload) if payload.type == "view_submission" else None


def asker_of(body: bytes) -> Asker | None:
    """Return where the person waits whose interaction cannot be read; None: that cannot be read either."""
    try:
        asker = _asker(_form(body).get("payload", ""))
    except (*_NO_PAYLOAD, UnreadableRequestError):
        return None
    return asker if asker.in_dialog or asker.response_url else None


def read_command(body: bytes) -> SlashCommand:
    """Return the command of a request. Raises `UnreadableRequestError`."""
    form = _form(body)
    name, user = form.get("command", ""), form.get("user_id", "")
    if not name.startswith("/") or not user:
        raise UnreadableRequestError("the fields `command` and `user_id` are missing")
    key = form.get("trigger_id") or form.get("response_url")
    if not key:
        raise UnreadableRequestError(f"the fields `trigger_id` and `response_url` are missing{_REPLAY}")
    return SlashCommand(user, name[1:].lower(), form.get("text", "").strip()[:200], f"{user} {key}"[:3_000])


def rep_of(team: Team, user: str) -> Rep | None:
    """Return the active rep with this Slack member id; None: there is none."""
    return next((rep for rep in team.reps if rep.slack == user and rep.active), None)


def click_of(request: Interaction, rep: Rep, lead_id: str, epoch: int, now: datetime) -> Click:
    """Return the click on the assignment of a page. `now`: business time."""
    minutes = request.minutes if isinstance(request, Pressed) else None
    choice = request.choice if isinstance(request, Submitted) else None
    return Click(
        person=rep.id,
        lead_id=lead_id,
        epoch=epoch,
        action=request.action,
        at=now,
        source="slack",
        key=request.key,
        reason=choice if request.action == "reject" else None,
        rep=choice if request.action == "hand_over" else None,
        note=request.note or None if isinstance(request, Submitted) else None,
        until=None if minutes is None else now + timedelta(minutes=minutes),
    )


def _form(body: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="strict"))
    except ValueError as error:
        raise UnreadableRequestError("the body is not a form in UTF-8") from error


def _pressed(payload: _Payload, element: _Element) -> Pressed | None:
    action = _action.get(element.action_id)
    if action is None:
        if element.action_id.startswith(PREFIX):
            raise UnreadableRequestError("the button is not known here; it may be of a newer release")
        return None  # a link, or a button of another app
    number = element.action_ts or payload.trigger_id
    if not number:
        raise UnreadableRequestError(f"the fields `action_ts` and `trigger_id` are missing{_REPLAY}")
    page, _, minutes = element.text.partition(" ")
    return Pressed(
        user=payload.user.id,
        action=action,
        page=_page(page),
        key=f"{payload.user.id} {page} {action} {number}",
        trigger_id=payload.trigger_id,
        response_url=payload.response_url,
        minutes=int(minutes) if minutes.isdecimal() and len(minutes) < 6 else None,
    )


def _submitted(payload: _Payload) -> Submitted | None:
    action = _action.get(payload.view.callback_id)
    if action is None:
        return None
    if not payload.view.id:
        raise UnreadableRequestError(f"the field `id` of the view is missing{_REPLAY}")
    fields = {name: element for block in payload.view.state.values.values() for name, element in block.items()}
    empty = _Element()
    return Submitted(
        user=payload.user.id,
        action=action,
        page=_page(payload.view.private_metadata),
        key=f"{payload.user.id} view {payload.view.id}",
        choice=fields.get(CHOICE, empty).text,
        note=fields.get(NOTE, empty).text,
    )


def _page(text: str) -> str:
    """Return the id of a page. Another text names no page."""
    try:
        return str(UUID(text))
    except ValueError:
        return ""

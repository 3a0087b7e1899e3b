"""Understands what was received, by the road it came on, and makes rows of it; again, too, for a dead letter."""

import base64
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final
from urllib.parse import quote, unquote

import msgspec

from schemas.envelope import encode
from schemas.topics import EVENTS
from services.gateway import bodies
from services.gateway.domain import cloudevents, forms, hooks
from services.gateway.domain.forms import Form
from services.gateway.domain.mapping import Understood, understand
from services.gateway.domain.values import Json, UnmappableError
from services.gateway.sources import Hook, Places, places_of
from services.runtime import deadletters, idempotency
from services.runtime.clock import EPOCH
from services.runtime.deadletters import DeadLetter
from services.runtime.log import Row
from services.runtime.problem import Problem
from services.runtime.unit import Unit
from services.runtime.version import VERSION

EVENTS_PATH: Final = "/v1/events"
FORMS_PATH: Final = "/v1/forms/"
HOOKS_PATH: Final = "/hooks/"
ENVELOPE_SOURCE: Final = "urn:firsthour:gateway"
EVENT_MEDIA: Final = f"{bodies.JSON}, {cloudevents.STRUCTURED}, {cloudevents.BATCH}"


def rows(understood: Sequence[Understood]) -> list[Row]:
    """What is appended to the log."""
    made = []
    for one in understood:
        key = one.happened.key
        body = encode(one.happened, id=one.event_id, source=ENVELOPE_SOURCE, time=one.at, key=key, type=one.type)
        made.append(Row(EVENTS, key, one.event_id, body))
    return made


# --- /v1/events ----------------------------------------------------------------------------------------------------


def events(
    body: bytes,
    media: str,
    options: bodies.Options,
    attributes: Mapping[str, Json] | None,
    *,
    key: str,
    now: datetime,
) -> list[Understood]:
    """The events of a request under the API key named `key`. `attributes`: those of a binary CloudEvent.

    Raises `UnmappableError`; `Problem` 415 for a body of another type.
    """
    if attributes is not None:
        if not bodies.is_json(media):
            bodies.refuse_type(media, bodies.JSON)
        parsed = bodies.json(body, options)
        return [_event({**attributes, "data": parsed.value}, "#", key, now, parsed.altered)]
    if media not in (bodies.JSON, cloudevents.STRUCTURED, cloudevents.BATCH):
        bodies.refuse_type(media, EVENT_MEDIA)
    parsed = bodies.json(body, options)
    found = parsed.value
    if type(found) is dict and media != cloudevents.BATCH:
        return [_event(found, "#", key, now, parsed.altered)]
    if type(found) is list and media != cloudevents.STRUCTURED:
        return [_event(one, f"#/{index}", key, now, parsed.altered) for index, one in enumerate(found)]
    wanted = "a list of events" if media == cloudevents.BATCH else "an object"
    raise UnmappableError("#", f"is not {wanted}", "see `/docs` for the shape of an event")


def _event(sent: Json, where: str, key: str, now: datetime, altered: bool) -> Understood:
    if type(sent) is not dict:
        raise UnmappableError(where, "is not an object", "see `/docs` for the shape of an event")
    if "specversion" in sent:
        sent = cloudevents.short_form(sent, _value, where)
    source = sent.get("source")
    if source is None:
        source = ""
    elif type(source) is not str:
        raise UnmappableError(f"{where}/source", "is not a text", "name what the event comes from, such as `crm`")
    return understand(sent, origin=key, scope=f"{key}\n{source}", now=now, altered=altered, where=where)


def _value(body: bytes) -> Json:
    return bodies.json(body).value


def as_structured(body: bytes, attributes: Mapping[str, Json]) -> bytes:
    """A binary CloudEvent in one piece, for keeping: what it says in headers must not be lost."""
    return msgspec.json.encode({**attributes, "data_base64": base64.b64encode(body).decode()})


# --- /v1/forms/{form} ------------------------------------------------------------------------------------------------


def form_post(
    form: Form,
    fields: Mapping[str, Json],
    *,
    id: str,
    referer: str | None,
    now: datetime,
    altered: bool,
    received: datetime,
) -> Understood:
    """The submitted form. Raises `UnmappableError`. `received` is in real time.

    Many a page sends the same hidden `id` for everybody and for ever, so an event is the same one as before only if all
    fields are, on the same day. `KEPT` of the idempotency keys sees to retries over midnight.
    """
    sent = forms.short_form(form, fields, id, referer)
    scope = f"form:{form.source}\n{form.id}\n{forms.retry_of(fields)}\n{(received - EPOCH) // idempotency.KEPT}"
    return understand(sent, origin=form.source, scope=scope, now=now, altered=altered, public=True)


# --- /hooks/{source} -------------------------------------------------------------------------------------------------


def delivery_of(hook: Hook, headers: Mapping[bytes, bytes], body: bytes) -> str:
    """What stays the same when the sender tries again: its delivery id, else the body itself."""
    if hook.standard:
        return headers.get(b"webhook-id", b"").decode("latin-1")
    return sha256(body).hexdigest()[:32]


def hook_post(hook: Hook, body: bytes, *, delivery: str, now: datetime) -> list[Understood]:
    """The events in a verified body. Raises `UnmappableError`."""
    parsed = bodies.json(body)
    if hook.entries:
        sent = hooks.short_forms(hook.entries, parsed.value, delivery)
    else:
        sent = [hooks.standard_form(parsed.value, delivery)]
    return [
        understand(
            one,
            origin=hook.id,
            scope=f"hook:{hook.id}\n{one.get('type')}",
            now=now,
            altered=parsed.altered,
            where="#" if len(sent) == 1 else f"#/{index}",
        )
        for index, one in enumerate(sent)
    ]


# --- dead letters ----------------------------------------------------------------------------------------------------


def origin_of(path: str, id: str = "") -> str:
    """Where a dead letter came in, with the id that its body alone does not tell."""
    return f"{path}#{quote(id, safe='')}" if id else path


def replay(unit: Unit, letter: DeadLetter, body: bytes | None = None) -> list[str]:
    """Understand a dead letter of the gateway again, `body` being the corrected one; the senders' ids of its events.

    Whoever sent it was authenticated then. What it says happens as of when it was received. In the unit: the rows, and
    the letter's new state. Raises `Problem`: 422 when it still cannot be understood, 409 when its source is gone.
    """
    places = places_of(unit.config, {})  # no secret is needed: the signature was checked then
    try:
        found = _again(letter, places, letter.body if body is None else body, received_at(unit, letter.at))
    except UnmappableError as wrong:
        raise problem_of(wrong) from None
    unit.rows.extend(rows(found))
    deadletters.change(unit.connection, letter.id, "retried", unit.clock.real(), f"retried on {EVENTS}")
    return [one.sent_id for one in found]


def _again(letter: DeadLetter, places: Places, body: bytes, now: datetime) -> list[Understood]:
    path, _, fragment = letter.origin.partition("#")
    id = unquote(fragment)
    media, options = bodies.content_type(letter.content_type.encode("latin-1", "replace"))
    if path == EVENTS_PATH:
        return events(body, media, options, None, key=letter.source, now=now)
    if path.startswith(FORMS_PATH) and (form := places.forms.get(path.removeprefix(FORMS_PATH))):
        fields, altered = bodies.form(body, media, options)
        given = forms.given_id(fields) or id or letter.id
        made = form_post(form, fields, id=given, referer=None, now=now, altered=altered, received=letter.at)
        return [made]
    if path.startswith(HOOKS_PATH) and (hook := places.hooks.get(path.removeprefix(HOOKS_PATH))):
        return hook_post(hook, body, delivery=id or sha256(letter.body).hexdigest()[:32], now=now)
    raise Problem(
        409, "Source gone", f"`sources.yaml` no longer names what {path} is. Add it again, or drop the letter."
    )


def received_at(unit: Unit, real: datetime) -> datetime:
    """The business time at which it was `real` time."""
    now, second = unit.now, unit.clock.real_seconds(timedelta(seconds=1))
    return now - (unit.clock.real() - real) / second if second > 0 else now


def problem_of(wrong: UnmappableError, dead_letter: str | None = None) -> Problem:
    """What the sender is told. `dead_letter`: under which id the body is kept."""
    title = {400: "Body not readable", 413: "Body too large", 415: "Unsupported media type"}.get(
        wrong.status, "Event not understood"
    )
    place = wrong.pointer.rpartition("/")[2] if "/" in wrong.pointer else ""
    kept = " The body is kept: it can be corrected and retried." if dead_letter else ""
    return Problem(
        wrong.status,
        title,
        f"{f'`{place}` ' if place else ''}{wrong.what}; {wrong.remedy}.{kept}",
        errors=[{"pointer": wrong.pointer, "detail": f"{wrong.what}; {wrong.remedy}"}],
        extensions={"dead_letter": dead_letter} if dead_letter else None,
    )


def burial(
    *, path: str, source: str, content_type: str, body: bytes, error: str, id: str = ""
) -> Callable[[Unit], str]:
    """Work for a unit: keep what could not be understood; its id."""

    def work(unit: Unit) -> str:
        return deadletters.bury(
            unit.connection,
            at=unit.clock.real(),
            consumer="gateway",
            origin=origin_of(path, id),
            source=source,
            content_type=content_type,
            body=body,
            error=error,
            code=VERSION,
        )

    return work

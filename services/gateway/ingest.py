"""Understands what was received, by the road it came on, and makes rows of it; again, too, for a dead letter."""

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final, NamedTuple
from urllib.parse import quote, unquote

import msgspec

from firsthour.kernel.time_units import EPOCH
from firsthour.runtime.eventlog import dead_letters
from firsthour.runtime.eventlog.dead_letters import DeadLetter, Retention
from firsthour.runtime.http import idempotency
from firsthour.runtime.http.problem import FieldFault, Problem
from firsthour.runtime.storage.records import Row
from firsthour.runtime.storage.unit import Unit
from firsthour.runtime.version import VERSION
from schemas.envelope import RECORD_BYTES_MAX, RecordTooLargeError, encode
from schemas.sources import TOUCH
from schemas.team import Team
from schemas.topics import EVENTS
from services.gateway import request_bodies, senders
from services.gateway.domain import cloudevents, forms, webhooks
from services.gateway.domain.coerce import Json, UnmappableError
from services.gateway.domain.forms import Form
from services.gateway.domain.mapping import ParsedEvent, parse_event
from services.gateway.sources import SourceIndex, WebhookEndpoint, source_index

EVENTS_PATH: Final = "/v1/events"
FORMS_PATH: Final = "/v1/forms/"
HOOKS_PATH: Final = "/hooks/"
UNTIMED_MAX: Final = timedelta(days=20)
"""Consumers remember for 21 days which events they have seen: until then a delivery that is sent again has no effect.

An older event may be a replay of a captured delivery, unless the signature says when it was sent."""
ENVELOPE_SOURCE: Final = "urn:firsthour:gateway"
APART_MAX: Final = 20  # bad items of one body that become letters of their own
_KEPT: Final = " The body is kept: it can be corrected and retried."
EVENT_MEDIA: Final = f"{request_bodies.JSON}, {cloudevents.STRUCTURED}, {cloudevents.BATCH}"


def rows(understood: Sequence[ParsedEvent]) -> list[Row]:
    """What is appended to the log. Raises `UnmappableError` 413 for an event that is larger than a record may be."""
    made = []
    for one in understood:
        key = one.happened.key
        try:
            body = encode(one.happened, id=one.event_id, source=ENVELOPE_SOURCE, time=one.at, key=key, type=one.type)
        except RecordTooLargeError:
            what = f"is larger than the {RECORD_BYTES_MAX // 1024} KiB that one event may have"
            raise UnmappableError("#", what, "send fewer fields, or shorter ones", 413) from None
        made.append(Row(EVENTS, key, one.event_id, body))
    return made


# --- /v1/events ----------------------------------------------------------------------------------------------------


def events(
    body: bytes,
    media: str,
    options: request_bodies.Options,
    attributes: Mapping[str, Json] | None,
    *,
    key: str,
    now: datetime,
) -> list[ParsedEvent] | Iterator[ParsedEvent]:
    """The events of a request, those of a list one by one, under the API key named `key`. `attributes`: those of a binary CloudEvent.

    Raises `UnmappableError`; `Problem` 415 for a body of another type.
    """
    if attributes is not None:
        if not request_bodies.is_json(media):
            request_bodies.reject_type(media, request_bodies.JSON)
        parsed = request_bodies.parse_json(body, options)
        return [_event({**attributes, "data": parsed.value}, "#", key, now, parsed.altered)]
    if media not in (request_bodies.JSON, cloudevents.STRUCTURED, cloudevents.BATCH):
        request_bodies.reject_type(media, EVENT_MEDIA)
    parsed = request_bodies.parse_json(body, options)
    found = parsed.value
    if type(found) is dict and media != cloudevents.BATCH:
        return [_event(found, "#", key, now, parsed.altered)]
    if type(found) is list and media != cloudevents.STRUCTURED:
        return (_event(one, f"#/{index}", key, now, parsed.altered) for index, one in enumerate(found))
    wanted = "a list of events" if media == cloudevents.BATCH else "an object"
    raise UnmappableError("#", f"is not {wanted}", "see `/docs` for the shape of an event")


def _event(sent: Json, where: str, key: str, now: datetime, altered: bool) -> ParsedEvent:
    if type(sent) is not dict:
        raise UnmappableError(where, "is not an object", "see `/docs` for the shape of an event")
    if "specversion" in sent:
        sent = cloudevents.short_form(sent, _value, where)
    source = sent.get("source")
    if source is None:
        source = ""
    elif type(source) is not str:
        raise UnmappableError(f"{where}/source", "is not a text", "name what the event comes from, such as `crm`")
    return parse_event(sent, origin=key, scope=f"{key}\n{source}", now=now, altered=altered, where=where)


def _value(body: bytes) -> Json:
    return request_bodies.parse_json(body).value


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
) -> ParsedEvent:
    """The submitted form. Raises `UnmappableError`. `received` is in real time.

    Many a page sends the same hidden `id` for everybody and for ever, so an event is the same one as before only if all
    fields are, on the same day. `KEPT` of the idempotency keys sees to retries over midnight.
    """
    sent = forms.short_form(form, fields, id, referer)
    scope = f"form:{form.source}\n{form.id}\n{forms.fields_digest(fields)}\n{(received - EPOCH) // idempotency.KEPT}"
    return parse_event(sent, origin=form.source, scope=scope, now=now, altered=altered, public=True)


# --- /hooks/{source} -------------------------------------------------------------------------------------------------


def delivery_of(hook: WebhookEndpoint, headers: Mapping[bytes, bytes], body: bytes) -> str:
    """What stays the same when the sender tries again: its delivery id, else the body itself."""
    if hook.standard:
        return headers.get(b"webhook-id", b"").decode("latin-1")
    return sha256(body).hexdigest()[:32]


class BadItem(NamedTuple):
    """An item that cannot be mapped. `id` is the delivery id to retry it under."""

    wrong: UnmappableError
    body: bytes
    id: str


def hook_items(
    hook: WebhookEndpoint,
    body: bytes,
    options: request_bodies.Options,
    team: Team,
    *,
    delivery: str,
    now: datetime,
    again: bool = False,
) -> Iterator[list[ParsedEvent] | BadItem]:
    """The events of each item of a verified body. Raises `UnmappableError` for a body that is not JSON.

    `again`: an operator retries it, and answers for its age.
    """
    parsed = request_bodies.parse_json(body, options)
    items = parsed.value if isinstance(parsed.value, list) and hook.entries else [parsed.value]
    is_list = items is parsed.value
    ids = webhooks.EventIds()
    for index, item in enumerate(items):
        where = f"#/{index}" if is_list else "#"
        # An item without an id goes by its place, which is the same for a retry when its neighbours fail.
        own = delivery if index == 0 else f"{delivery}#{index + 1}"
        try:
            if hook.entries:
                sent = webhooks.short_forms(hook.entries, item, own, ids)
            else:
                sent = [webhooks.standard_form(item, own)]
            yield [_hook_event(hook, one, team, now, parsed.altered, where, again) for one in sent]
        except UnmappableError as wrong:
            kept = msgspec.json.encode(item) if is_list else body
            yield BadItem(wrong, kept, own)


def _hook_event(
    hook: WebhookEndpoint, sent: Mapping[str, Json], team: Team, now: datetime, altered: bool, where: str, again: bool
) -> ParsedEvent:
    scope = f"hook:{hook.id}\n{sent.get('type')}"
    made = parse_event(sent, origin=hook.id, scope=scope, now=now, altered=altered, where=where)
    if not hook.timed and not again and now - made.at > UNTIMED_MAX:
        what = f"lies more than {UNTIMED_MAX.days} days back, and nothing that is signed says when it was sent"
        raise UnmappableError(f"{where}/time", what, "see that it is no replay, then retry the dead letter")
    senders.check_source_type(made, hook.id, hook.types, where)
    return senders.drop_unknown_rep(made, team) if made.type == TOUCH else made


# --- dead letters ----------------------------------------------------------------------------------------------------


def origin_of(path: str, id: str = "") -> str:
    """Where a dead letter came in, with the id that its body alone does not tell."""
    return f"{path}#{quote(id, safe='')}" if id else path


def replay(unit: Unit, letter: DeadLetter, body: bytes | None = None) -> list[str]:
    """Understand a dead letter of the gateway again, `body` being the corrected one; the senders' ids of its events.

    Whoever sent it was authenticated then. What it says happens as of when it was received. In the unit: the rows, and
    the letter's new state. Raises `Problem`: 422 when it still cannot be understood, 409 when its source is gone.
    """
    places = source_index(unit.config, {})  # no secret is needed: the signature was checked then
    try:
        corrected = letter.body if body is None else body
        found = _again(letter, places, corrected, unit.config.team, received_at(unit, letter.at))
        unit.rows.extend(rows(found))
    except UnmappableError as wrong:
        raise problem_of(wrong) from None
    dead_letters.change(unit.connection, letter.id, "retried", unit.clock.real(), f"retried on {EVENTS}")
    return [one.sent_id for one in found]


def _again(letter: DeadLetter, places: SourceIndex, body: bytes, team: Team, now: datetime) -> list[ParsedEvent]:
    path, _, fragment = letter.origin.partition("#")
    id = unquote(fragment)
    media, options = request_bodies.parse_content_type(letter.content_type.encode("latin-1", "replace"))
    if path == EVENTS_PATH:
        sent = events(body, media, options, None, key=letter.source, now=now)
        return [_again_by(one, id, team) if one.type == TOUCH else one for one in sent]
    if path.startswith(FORMS_PATH) and (form := places.forms.get(path.removeprefix(FORMS_PATH))):
        if body is not letter.body and body.lstrip().startswith(b"{"):  # corrected, in the simplest of the three ways
            media, options = request_bodies.JSON, {}
        fields, altered = request_bodies.parse_form(body, media, options)
        given = forms.submitted_id(fields) or id or letter.id
        made = form_post(form, fields, id=given, referer=None, now=now, altered=altered, received=letter.at)
        return [made]
    if path.startswith(HOOKS_PATH) and (hook := places.webhooks.get(path.removeprefix(HOOKS_PATH))):
        delivery = id or sha256(letter.body).hexdigest()[:32]
        found: list[ParsedEvent] = []
        for item in hook_items(hook, body, options, team, delivery=delivery, now=now, again=True):
            if isinstance(item, BadItem):
                raise item.wrong.anew()
            found += item
        return found
    raise Problem(
        409, "Source gone", f"`sources.yaml` no longer names what {path} is. Add it again, or drop the letter."
    )


def _again_by(touch: ParsedEvent, rep: str, team: Team) -> ParsedEvent:
    """A touch of a dead letter, as it would have counted then. `rep`: whose key sent it; empty for other keys."""
    return senders.attribute_to_rep(touch, rep) if rep else senders.drop_unknown_rep(touch, team)


def received_at(unit: Unit, real: datetime) -> datetime:
    """The business time at which it was `real` time."""
    now, second = unit.now, unit.clock.real_seconds(timedelta(seconds=1))
    return now - (unit.clock.real() - real) / second if second > 0 else now


def problem_of(wrong: UnmappableError, dead_letter: str | None = None) -> Problem:
    """What the sender is told. `dead_letter`: under which id the body is kept."""
    titles = {400: "Body not readable", 403: "Forbidden", 413: "Body too large", 415: "Unsupported media type"}
    title = titles.get(wrong.status, "Event not understood")
    place = wrong.pointer.rpartition("/")[2] if "/" in wrong.pointer else ""
    kept = _KEPT if dead_letter else ""
    return Problem(
        wrong.status,
        title,
        f"{f'`{place}` ' if place else ''}{wrong.what}; {wrong.remedy}.{kept}",
        errors=[fault_of(wrong)],
        extensions={"dead_letter": dead_letter} if dead_letter else None,
    )


def refusal_of(wrong: UnmappableError | Problem, dead_letter: str | None) -> Problem:
    """As `problem_of`, for each refusal of a form."""
    if isinstance(wrong, UnmappableError):
        return problem_of(wrong, dead_letter)
    if dead_letter:
        wrong.detail += _KEPT
        wrong.extensions["dead_letter"] = dead_letter
    return wrong


def fault_of(wrong: UnmappableError) -> FieldFault:
    """The place and the mistake."""
    return {"pointer": wrong.pointer, "detail": f"{wrong.what}; {wrong.remedy}"}


def burials(path: str, source: str, bad: Sequence[BadItem], retention: Retention) -> list[Callable[[Unit], str]]:
    """Work for a unit: keep each bad item of a list; those beyond `APART_MAX` in one letter, as a list."""
    apart, rest = list(bad[:APART_MAX]), bad[APART_MAX:]
    if rest:
        body = b"[" + b",".join(item.body for item in rest) + b"]"
        apart.append(BadItem(rest[0].wrong, body, rest[0].id))
    return [
        burial(
            path=path,
            source=source,
            content_type=request_bodies.JSON,
            body=item.body,
            error=str(item.wrong),
            id=item.id,
            retention=retention,
        )
        for item in apart
    ]


def burial(
    *,
    path: str,
    source: str,
    content_type: str,
    body: bytes,
    error: str,
    retention: Retention,
    id: str = "",
    robot: bool = False,
) -> Callable[[Unit], str]:
    """Work for a unit: keep what could not be understood; its id."""

    def work(unit: Unit) -> str:
        return dead_letters.dead_letter(
            unit.connection,
            at=unit.clock.real(),
            consumer=dead_letters.GATEWAY,
            origin=origin_of(path, id),
            source=source,
            content_type=content_type,
            body=body,
            error=error,
            code=VERSION,
            robot=robot,
            retention=retention,
        )

    return work

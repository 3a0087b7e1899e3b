"""`/v1/forms/{form}`: a submitted web form. Needs no key; the source lists the origins whose pages may post it."""

from collections.abc import Mapping
from datetime import datetime

from firsthour.kernel.time_units import EPOCH
from firsthour.runtime.clock import new_id
from firsthour.runtime.http import idempotency
from firsthour.runtime.http.problem import Problem
from services.gateway import request_bodies
from services.gateway.domain import forms
from services.gateway.domain.coerce import Json, UnmappableError
from services.gateway.domain.forms import Form
from services.gateway.domain.mapping import ParsedEvent, parse_event
from services.gateway.intake.outcome import Accepted, Rejected, RejectedBody, RetryKey, problem_of, rows_of
from services.gateway.intake.request import FORMS_PATH, IncomingRequest, idempotency_key, reject_compressed

_NULL_ORIGIN = (
    "The browser does not send the origin of the page: the page is a file, a sandboxed frame, or its site has "
    "`Referrer-Policy: no-referrer`. With `strict-origin-when-cross-origin` the browser sends it."
)


def decide(
    request: IncomingRequest, known_forms: Mapping[str, Form], now: datetime, received: datetime
) -> Accepted | Rejected:
    """Decide about a posted form. `now` is business time, `received` is real time."""
    try:
        form = form_of(request.path, request.headers.get(b"origin"), known_forms)
    except Problem as problem:
        known = known_forms.get(request.path.removeprefix(FORMS_PATH))
        return Rejected(problem, source=known.source if known else "")
    key: str | None = None
    try:
        key = idempotency_key(request.headers)
        reject_compressed(request.headers)
        return _accept(request, form, key, now, received)
    except UnmappableError as error:
        return Rejected(problem_of(error), _rejected_body(request, form, str(error), key or ""), form.source)
    except Problem as problem:
        return Rejected(problem, _rejected_body(request, form, str(problem), key or ""), form.source)


def form_of(path: str, origin: bytes | None, known_forms: Mapping[str, Form]) -> Form:
    """Return the form of this path.

    Raises:
        Problem: 404 for an unknown form, 403 for an origin that the source does not list.
    """
    form = known_forms.get(path.removeprefix(FORMS_PATH))
    if form is None:
        raise Problem(404, "Unknown form", "Add its name to `forms:` of a `kind: form` source in `sources.yaml`.")
    if origin is not None and not form.allows(origin.decode("latin-1")):
        remedy = f"Add it to `allowed_origins` of the source {form.source} in `sources.yaml`."
        if origin == b"null":
            remedy = _NULL_ORIGIN
        raise Problem(403, "Origin not allowed", f"Pages of this origin may not post here. {remedy}")
    return form


def parse_post(
    form: Form,
    fields: Mapping[str, Json],
    *,
    id: str,
    referer: str | None,
    now: datetime,
    altered: bool,
    received: datetime,
) -> ParsedEvent:
    """Parse the fields of a form. `now` is business time, `received` is real time. Raises `UnmappableError`.

    Many pages send the same hidden `id` with every post. A post is therefore the same event as an earlier one only if
    all fields and the day are the same. The idempotency keys, which are kept for `KEPT`, cover retries over midnight.
    """
    short_form = forms.short_form(form, fields, id, referer)
    day = (received - EPOCH) // idempotency.KEPT
    scope = f"form:{form.source}\n{form.id}\n{forms.fields_digest(fields)}\n{day}"
    return parse_event(short_form, origin=form.source, scope=scope, now=now, altered=altered, public=True)


def _accept(request: IncomingRequest, form: Form, key: str | None, now: datetime, received: datetime) -> Accepted:
    media, options = request_bodies.parse_content_type(request.headers.get(b"content-type", b""))
    fields, altered = request_bodies.parse_form(request.body, media, options)
    submitted_id = forms.submitted_id(fields)
    id = submitted_id or key or new_id()
    next_page = form.next_page(fields) if request.in_browser and media != request_bodies.JSON else None
    if form.is_robot(fields):  # kept, because some browsers of people fill in every field
        body = RejectedBody(request.path, form.source, _media(request), request.body, "honeypot", id, robot=True)
        return Accepted(form.source, [id], bodies=(body,), next_page=next_page)
    referer = request.headers.get(b"referer", b"").decode("latin-1")
    event = parse_post(form, fields, id=id, referer=referer, now=now, altered=altered, received=received)
    rows = rows_of([event])
    retry_key = None
    if submitted_id is not None or key is not None:
        retry_key = _retry_key(request, form, fields, id, key)
    return Accepted(form.source, [event.sent_id], [event], rows, retry_key, next_page=next_page)


def _retry_key(request: IncomingRequest, form: Form, fields: Mapping[str, Json], id: str, key: str | None) -> RetryKey:
    """Return the key of the request, else one made of the id and all fields: a hidden id is the same for many posts."""
    digest = forms.fields_digest(fields)
    own = key or idempotency.fingerprint(id.encode(), digest.encode())
    return RetryKey(f"form POST {request.path}", own, digest, _rejected_body(request, form, "", key or ""))


def _rejected_body(request: IncomingRequest, form: Form, error: str, id: str) -> RejectedBody | None:
    """Return the body to keep: a person may wait for an answer. None: the body is empty."""
    if not request.body.strip():
        return None
    return RejectedBody(request.path, form.source, _media(request), request.body, error, id)


def _media(request: IncomingRequest) -> str:
    """The whole content type, because it holds the boundary."""
    return request.headers.get(b"content-type", b"").decode("latin-1")

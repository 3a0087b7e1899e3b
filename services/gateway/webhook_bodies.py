"""Parses the bodies of webhooks: JSON, forms with brackets, multipart forms and XML."""

from typing import Final

from firsthour.runtime.http.exact_json import Parsed
from services.gateway import request_bodies
from services.gateway.domain.coerce import UnmappableError
from services.gateway.domain.nested_fields import nested
from services.gateway.domain.xml_body import parse_xml
from services.gateway.request_bodies import JSON, MULTIPART, URLENCODED, Options

XML_TYPES: Final = frozenset({"text/xml", "application/xml", "application/soap+xml"})
_BY_FORMAT: Final = {"json": JSON, "xml": "text/xml", "form": URLENCODED}


def parse_body(body: bytes, media: str, options: Options, wanted: str | None) -> Parsed:
    """Return the value of a body.

    Args:
        body: The body.
        media: The media type of the request.
        options: Its parameters.
        wanted: The format that the source states. None: the media type tells.

    Raises:
        UnmappableError: The body is not of this format, or the media type is none of these.
    """
    media = _BY_FORMAT.get(wanted or "", media) if not (wanted == "form" and media == MULTIPART) else media
    if request_bodies.is_json(media):
        return request_bodies.parse_json(body, options)
    if media in (URLENCODED, MULTIPART):
        fields, altered = request_bodies.parse_form(body, media, options)
        return Parsed(nested(fields), altered)
    if media in XML_TYPES:
        return Parsed(parse_xml(body), False)
    fault = "is not JSON, a form or XML"
    raise UnmappableError(
        "header:Content-Type", fault, "send application/json, or name the `format` of the source", 415
    )

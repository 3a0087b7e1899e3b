"""Normalises the identifiers of an event: email, phone, CRM id, anonymous id."""

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, NamedTuple

from firsthour.kernel.normalisation.emails import normalise_email
from firsthour.kernel.normalisation.malformed import MalformedError
from firsthour.kernel.normalisation.phones import normalise_phone
from firsthour.kernel.normalisation.texts import normalise_text
from schemas.events.base import Facts
from schemas.events.outside import ABOUT_NO_LEAD
from services.gateway.domain.coerce import Json, UnmappableError

ID_MAX: Final = 500  # characters
PLACEHOLDER: Final = (
    r"^\s*(user:)?([0-]*|-1|null|undefined|none|nil|nan|anonymous|unknown|guest|n/a|\[object object\])\s*$"
)
"""An id that many senders write if they have none. People with it are not one person."""
_PLACEHOLDER: Final = re.compile(PLACEHOLDER, re.IGNORECASE)
_LONGEST_PLACEHOLDER: Final = 64  # characters


def identifiers_of(
    sent: Mapping[str, Json], data: Mapping[str, Json], person: Facts, type_: str, pointer: str, public: bool
) -> tuple[str | None, str | None, str | None, str | None]:
    """Return email, phone, crm_id and anonymous_id. A malformed email or phone becomes a fact of `person`.

    Raises:
        UnmappableError: The event of this type needs an identifier, and has none. If it is `public`, only an email
            address or a phone number counts.
    """
    email, malformed_email = _email(sent, data, pointer)
    phone, malformed_phone = _phone(sent, data, person, pointer) if "phone" in sent or "phone" in data else (None, None)
    crm_id = _own_id(sent, data, "crm_id", pointer) if "crm_id" in sent or "crm_id" in data else None
    anonymous_id = (
        _own_id(sent, data, "anonymous_id", pointer) if "anonymous_id" in sent or "anonymous_id" in data else None
    )
    if not (email or phone or ((crm_id or anonymous_id) and not public)) and type_ not in ABOUT_NO_LEAD:
        malformed = malformed_email or malformed_phone
        if malformed:
            raise UnmappableError(malformed.pointer, malformed.fault, malformed.remedy)
        for name in ("crm_id", "anonymous_id"):
            if not public and _is_placeholder(_text_of(sent, data, name, pointer) or "x"):
                fault = "is a placeholder, which many people share"
                raise UnmappableError(_place(sent, name, pointer), fault, "send an id of one person, or an email")
        raise UnmappableError(
            f"{pointer}/email", "is missing", "name the person of the event: email, phone, crm_id or anonymous_id"
        )
    # A rep may be able to read a malformed identifier.
    if malformed_email and (readable := normalise_text(malformed_email.text, ID_MAX)):
        person["custom.email"] = readable
    if malformed_phone and (readable := normalise_text(malformed_phone.text, ID_MAX)):
        person["phone"] = readable
    return email, phone, crm_id, anonymous_id


class _Malformed(NamedTuple):
    """A malformed identifier. `text`: as it was sent.

    It is not an exception: a stored exception would keep its frame, and so the body, until the garbage collector runs.
    """

    pointer: str
    fault: str
    remedy: str
    text: str


def _email(sent: Mapping[str, Json], data: Mapping[str, Json], pointer: str) -> tuple[str | None, _Malformed | None]:
    text = _text_of(sent, data, "email", pointer)
    if text is None:
        return None, None
    try:
        return normalise_email(text), None
    except MalformedError as error:
        place = _place(sent, "email", pointer)
        return None, _Malformed(place, f"is not an email address: {_after_colon(error.mistake)}", error.remedy, text)


def _phone(
    sent: Mapping[str, Json], data: Mapping[str, Json], person: Facts, pointer: str
) -> tuple[str | None, _Malformed | None]:
    text = _text_of(sent, data, "phone", pointer)
    if text is None:
        return None, None
    country = str(person.get("country") or person.get("company.country") or "") or None
    try:
        return normalise_phone(text, country), None
    except MalformedError as error:
        if text[:1] == " ":  # a form decodes the unencoded plus of an international number to a blank
            with suppress(MalformedError):
                return normalise_phone("+" + text.lstrip(), None), None
        place = _place(sent, "phone", pointer)
        return None, _Malformed(place, f"is not a phone number: {_after_colon(error.mistake)}", error.remedy, text)


def _own_id(sent: Mapping[str, Json], data: Mapping[str, Json], name: str, pointer: str) -> str | None:
    text = _text_of(sent, data, name, pointer)
    return None if text is None or _is_placeholder(text) else normalise_text(text) or None


def _is_placeholder(text: str) -> bool:
    return len(text) <= _LONGEST_PLACEHOLDER and _PLACEHOLDER.match(text) is not None


def _text_of(sent: Mapping[str, Json], data: Mapping[str, Json], name: str, pointer: str) -> str | None:
    """Return the identifier as sent: at the top level, else in `data`. None: there is none."""
    value = sent.get(name)
    if value is None or value == "":
        value = data.get(name)
        if value is None or value == "":
            return None
    if type(value) is int:
        value = str(value)
    if type(value) is not str or len(value) > ID_MAX:
        fault = f"is not a text of at most {ID_MAX} characters"
        raise UnmappableError(_place(sent, name, pointer), fault, "send it as one text")
    return value


def _place(sent: Mapping[str, Json], name: str, pointer: str) -> str:
    """Return the JSON pointer of the identifier."""
    return f"{pointer}/data/{name}" if sent.get(name) in (None, "") else f"{pointer}/{name}"


def _after_colon(sentence: str) -> str:
    """Return a sentence as it is written after a colon."""
    return (sentence[:1].lower() + sentence[1:]).rstrip(".")

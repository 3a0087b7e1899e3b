"""The blocks of a page in Slack.

Text from outside stands in plain text objects. Only times, links and our own words use Slack's markup: a time as
`<!date^...>` is shown in the zone of each reader, and an age stays current. The number and the address of the lead are
links if they consist of harmless characters alone.

Blocks are plain mappings: the models of Slack's SDK would take a third of the time of a page. Tests read them with these
models.
"""

import re
from typing import Any, Final

from slack_sdk.models.blocks import PlainTextObject

from services.notifier.domain import outside_text
from services.notifier.domain.page_words import Fact, Instant, Line, Section, Words, sections, text_of

SlackBlock = dict[str, Any]
"""A block, or an object in one, as Slack takes it."""

HEADER_CHARS_MAX: Final = 150  # a limit of Slack, as the next two
FIELD_CHARS_MAX: Final = 2000
SECTION_CHARS_MAX: Final = 3000
PAIRS_MAX: Final = 5
"""Further pages in one section, which has at most ten fields."""
_AGE: Final = "{ago}"
_TIME: Final = "{date_short_pretty} at {time}"
_MARKS: Final = str.maketrans("*_~`|", "     ")
_LINKABLE: Final = re.compile(r"tel:\+[0-9]+|mailto:[A-Za-z0-9.+@-]+\?subject=[A-Za-z0-9%]+")


def page_blocks(page: Words) -> list[SlackBlock]:
    """Return the blocks of a page, without buttons."""
    blocks: list[SlackBlock] = [{"type": "header", "text": _plain(page.headline, HEADER_CHARS_MAX)}]
    if page.facts:
        blocks.append({"type": "section", "fields": [_field(fact) for fact in page.facts]})
    for part in sections(page):
        blocks += _section(part)
    if page.url:
        blocks.append({"type": "section", "text": _marked(_opening(page.url))})
    if page.footer:
        blocks.append({"type": "context", "elements": [_plain(page.footer, FIELD_CHARS_MAX)]})
    return blocks


def paragraph(text: str) -> SlackBlock:
    """Return a block of text in which Slack reads no markup."""
    return {"type": "section", "text": _plain(text, SECTION_CHARS_MAX)}


def plain(text: str, chars_max: int) -> PlainTextObject:
    """Return text in which Slack reads no markup, for the models of Slack's SDK."""
    return PlainTextObject(text=outside_text.slack(text, chars_max), emoji=False)


def own(text: str) -> SlackBlock:
    """Return a text of our own, in which Slack reads no markup."""
    return {"type": "plain_text", "text": text, "emoji": False}


def _plain(text: str, chars_max: int) -> SlackBlock:
    return {"type": "plain_text", "text": outside_text.slack(text, chars_max), "emoji": False}


def _marked(text: str) -> SlackBlock:
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _field(fact: Fact) -> SlackBlock:
    if fact.href and _LINKABLE.fullmatch(fact.href):
        return _marked(f"{_unmarked(fact.label)}: <{fact.href}|{_unmarked(text_of(fact.line))}>")
    for part in fact.line:
        if isinstance(part, Instant):
            return _marked(f"{_unmarked(fact.label)}: {''.join(map(_part, fact.line))}")
    return _plain(f"{fact.label}: {text_of(fact.line)}", FIELD_CHARS_MAX)


def _section(part: Section) -> list[SlackBlock]:
    if part.name == "activity":
        return [_line((f"{text_of(part.heading)}:",)), *(_line(("• ", *line)) for line in part.lines)]
    if any(part.urls):
        return _further(part)
    if part.name == "request":
        return [_line(part.heading), paragraph("\n".join(map(text_of, part.lines)))]
    return [paragraph("\n".join([f"{text_of(part.heading)}:", *(f"• {text_of(line)}" for line in part.lines)]))]


def _further(part: Section) -> list[SlackBlock]:
    """Return further pages, each beside its link."""
    blocks = [paragraph(f"{text_of(part.heading)}:")]
    pairs = list(zip(part.lines, part.urls, strict=True))
    for start in range(0, len(pairs), PAIRS_MAX):
        fields: list[SlackBlock] = []
        for line, url in pairs[start : start + PAIRS_MAX]:
            fields.append(_plain(f"• {text_of(line)}", FIELD_CHARS_MAX))
            fields.append(_marked(_opening(url)) if url else own("Nothing to do"))
        blocks.append({"type": "section", "fields": fields})
    return blocks


def _opening(url: str) -> str:
    return f"<{outside_text.slack(url, FIELD_CHARS_MAX - 20)}|Open the lead>"


def _line(line: Line) -> SlackBlock:
    """Return a line whose texts come from outside: they are elements apart from its times."""
    texts = "".join([part for part in line if isinstance(part, str)]).rstrip(", ")
    times = [_marked(_date(part)) for part in line if isinstance(part, Instant)]
    return {"type": "context", "elements": [_plain(texts, FIELD_CHARS_MAX), *times]}


def _part(part: str | Instant) -> str:
    return _date(part) if isinstance(part, Instant) else _unmarked(part)


def _date(instant: Instant) -> str:
    shown = _AGE if instant.ago else _TIME
    return f"<!date^{int(instant.at.timestamp())}^{shown}|{_unmarked(instant.text)}>"


def _unmarked(text: str) -> str:
    """Return our own words, in which nothing is markup."""
    return outside_text.slack(text.translate(_MARKS), FIELD_CHARS_MAX)

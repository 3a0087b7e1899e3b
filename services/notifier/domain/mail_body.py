"""The body of a mail: plain text and HTML without images, scripts or anything that is loaded."""

import html

from services.notifier.domain.page_words import Fact, Line, Section, Words, sections, text_of

_QUOTE = "margin:0;padding:4px 12px;border-left:3px solid #ccc"
_LABEL = "color:#666;padding:2px 12px 2px 0;vertical-align:top"


def plain(words: Words) -> str:
    """Return the body of a plain text mail."""
    width = max((len(fact.label) for fact in words.facts), default=0) + 2
    lines = [words.subject, "", *(f"{fact.label + ':':<{width}}{text_of(fact.line)}" for fact in words.facts)]
    for part in sections(words):
        bullet = "  " if part.name == "request" else "- "
        lines += ["", f"{text_of(part.heading)}:", *(bullet + text_of(line) for line in part.lines)]
    if words.url:
        lines += ["", f"Open the lead: {words.url}"]
    return "\n".join([*lines, "", words.footer, ""])


def html_body(words: Words) -> str:
    """Return the body of an HTML mail."""
    rows = "".join(
        f'<tr><td style="{_LABEL}">{html.escape(fact.label)}</td><td>{_value(fact)}</td></tr>' for fact in words.facts
    )
    link = f'<p><a href="{html.escape(words.url)}">Open the lead</a></p>' if words.url else ""
    return (
        '<!doctype html><html lang="en"><head><meta name="format-detection" content="telephone=no"></head>'
        '<body style="font:15px/1.4 sans-serif;color:#111">'
        f'<h1 style="font-size:18px">{html.escape(words.subject)}</h1><table>{rows}</table>'
        f"{''.join(map(_section, sections(words)))}{link}"
        f'<p style="color:#666">{html.escape(words.footer)}</p></body></html>\n'
    )


def _value(fact: Fact) -> str:
    text = _escaped(fact.line)
    return f'<a href="{html.escape(fact.href)}">{text}</a>' if fact.href else text


def _escaped(line: Line) -> str:
    return html.escape(text_of(line))


def _section(part: Section) -> str:
    heading = f"<p>{_escaped(part.heading)}:</p>"
    if part.name == "request":
        return f'{heading}<blockquote style="{_QUOTE}">{"<br>".join(map(_escaped, part.lines))}</blockquote>'
    return f"{heading}<ul>{''.join(f'<li>{_escaped(line)}</li>' for line in part.lines)}</ul>"

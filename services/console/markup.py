"""HTML of the console from templates. Every value is escaped; no template marks text as safe."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date, format_datetime, format_timedelta
from fastapi import Request, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from firsthour.kernel.normalisation.texts import without_invisible
from firsthour.runtime.clock import Clock, new_id
from services.console import static_files
from services.console.catalogue import languages, locale_of
from services.console.navigation import NavigationEntry, entries, operation_tabs
from services.console.viewer import Viewer, language_of_request, zone_of_request
from services.console.wording import FIELDS, browser, plain

_FOLDER: Final = Path(__file__).parent / "templates"
PAGE_HEADERS: Final = {
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "same-origin",  # without a referrer, browsers send forms of plain HTTP with `Origin: null`
    "x-frame-options": "DENY",
    "x-robots-tag": "noindex, nofollow",
}
"""No inline script or style, nothing from elsewhere, no frame."""


SHOWN_CHARS_MAX: Final = 2_000
"""Characters of a text on a page, unless the template marks it as `whole`."""
SHORT_CHARS_MAX: Final = 120
"""Characters of a field that strangers fill in, where a page shows many of them."""


class WholeText(str):
    """A text that a page shows in full and unchanged, such as the draft in a form."""

    __slots__ = ()


def short(value: object, chars_max: int = SHORT_CHARS_MAX) -> object:
    """Return a text of at most so many characters; another value as it is."""
    if not isinstance(value, str) or len(value) <= chars_max:
        return value
    return f"{value[: chars_max - 1].rstrip()}…"


def shown(value: object) -> object:
    """Return a value as any page shows it: a text is bounded, and has no character that is invisible or turns others around."""
    if type(value) is str:
        return without_invisible(value if len(value) <= SHOWN_CHARS_MAX else str(short(value, SHOWN_CHARS_MAX)))
    return value.encode(errors="replace").decode() if type(value) is WholeText else value


@cache
def templates(language: str) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
        finalize=shown,
    )
    environment.filters |= {"short": short, "whole": WholeText, "browser": browser}
    environment.filters["field"] = lambda name: languages()[language].gettext(FIELDS.get(name, name))
    environment.filters["said"] = lambda name: plain(str(name), languages()[language].gettext) if name else ""
    environment.install_gettext_translations(languages()[language], newstyle=True)  # type: ignore[attr-defined]
    return environment


EXACT_SECONDS: Final = 90.0
"""Up to here a span is written to the second; a longer one is written in minutes or longer units."""
ROUNDED_SECONDS: Final = 5.0
"""Longer spans are rounded, so that most clocks of a page share a text that is already made."""


@lru_cache(maxsize=4_096)
def _ago(seconds: float, locale: Locale) -> str:
    return format_timedelta(timedelta(seconds=seconds), add_direction=True, locale=locale)


class Times:
    """Writes times for one reader. `now`: business time."""

    def __init__(self, language: str, zone: ZoneInfo, now: datetime) -> None:
        self._locale, self._zone, self._now = locale_of(language), zone, now

    def at(self, moment: datetime | str) -> str:
        """Return a time in the zone of the reader, with the year if it is another one."""
        local, here = _moment(moment).astimezone(self._zone), self._now.astimezone(self._zone)
        pattern = "d MMM, HH:mm" if local.year == here.year else "d MMM y, HH:mm"
        return format_datetime(local, pattern, tzinfo=self._zone, locale=self._locale)

    def day(self, text: str) -> str:
        """Return a day of a calendar (`2026-12-31`), which is the same in each zone."""
        return format_date(date.fromisoformat(text), "d MMM y", locale=self._locale)

    def span(self, seconds: float | None) -> str:
        """Return how long something takes, to two units. Empty: unknown."""
        if seconds is None:
            return ""
        minutes = int(seconds // 60)
        if minutes < 1:
            return f"{int(seconds)} s"
        if minutes < 60:
            return f"{minutes} min"
        hours, minutes = divmod(minutes, 60)
        return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"

    def brief(self, seconds: float | None) -> str:
        """Return a span that may be shorter than a second. Empty: unknown."""
        return f"{seconds * 1_000:.0f} ms" if seconds is not None and seconds < 1 else self.span(seconds)

    def ago(self, moment: datetime | str) -> str:
        """Return how long ago a time was, or how far ahead it is."""
        seconds = (_moment(moment) - self._now).total_seconds()
        return _ago(
            round(seconds / ROUNDED_SECONDS) * ROUNDED_SECONDS if abs(seconds) > EXACT_SECONDS else seconds,
            self._locale,
        )


_FIRST, _LAST = datetime(2, 1, 1, tzinfo=UTC), datetime(9998, 12, 31, tzinfo=UTC)
"""Times beyond them have no time in each zone."""


def _moment(value: datetime | str) -> datetime:
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return min(max(moment, _FIRST), _LAST)


class Pages:
    """Renders pages for viewers."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.shown_at: datetime | None = None
        """When this process has last shown a page (real time). None: it has shown none."""
        self._speed = 1 / clock.real_seconds(timedelta(seconds=1))

    def page(self, viewer: Viewer, template: str, *, code: int = 200, **values: Any) -> Response:
        """Return a page with the navigation of this viewer."""
        text = self.text(viewer, template, **values)
        self.shown_at = self._clock.real()
        return Response(text, code, PAGE_HEADERS, media_type="text/html")

    def text(self, viewer: Viewer, template: str, **values: Any) -> str:
        """Return the HTML of a template for this viewer."""
        return "".join(self.pieces(viewer, template, **values))

    def pieces(self, viewer: Viewer, template: str, **values: Any) -> Iterator[str]:
        """Yield the HTML of a template for this viewer, a few characters at a time."""
        now = self._clock.business()
        navigation: list[NavigationEntry] = entries(viewer)
        values.setdefault("once", new_id)
        return self._render(
            viewer.language,
            template,
            viewer=viewer,
            navigation=navigation,
            tabs=operation_tabs(viewer),
            times=Times(viewer.language, viewer.zone, now),
            now=now,
            **values,
        )

    def without_viewer(self, request: Request, template: str, *, code: int = 200, **values: Any) -> Response:
        """Return a page for a person without a session."""
        language = language_of_request(request)
        times = Times(language, zone_of_request(request), self._clock.real())
        pieces = self._render(language, template, viewer=None, navigation=(), now=None, times=times, **values)
        return Response("".join(pieces), code, PAGE_HEADERS, media_type="text/html")

    def _render(self, language: str, template: str, **values: Any) -> Iterator[str]:
        values.setdefault("path", "")
        files = static_files.static_files()
        return (
            templates(language)
            .get_template(template)
            .generate(
                language=language,
                speed=self._speed,
                style=files["console.css"].url,
                script=files["console.js"].url,
                icon=files["icon.svg"].url,
                **values,
            )
        )

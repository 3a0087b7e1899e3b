"""Draws the pictures of the documents by Chromium: the page of a lead, a mail, and a message in Slack, about one lead.

`make pictures` writes them into docs/, each at the width of a desktop and of a phone. They come from a story, with time moved
by hand, so that they only change with what reps see.
"""

import asyncio
import logging
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Final

import structlog

from devtools import browser as chromium
from tests.fakes.slack_drawing import drawing
from tests.hand_clock import HandClock
from tests.story.sample_config import reps
from tests.story.world import World

Size = tuple[int, int]
SIZES: Final[Mapping[str, Mapping[str, Size]]] = {
    "lead": {"desktop": (1000, 1180), "phone": (390, 1150)},
    "mail": {"desktop": (1000, 1040), "phone": (390, 1150)},
    "slack": {"desktop": (760, 720), "phone": (390, 1090)},
}
"""The width and height of each picture in pixels, by what it shows."""
PROSPECT: Final = "marie.okafor@nordwind.example"
_ASKED_AT: Final = datetime(2026, 12, 1, 9, 17, tzinfo=UTC)  # 10:17 in Berlin
_PERSON: Final[Mapping[str, Any]] = {
    "name": "Marie Okafor",
    "title": "Head of Operations",
    "phone": "+4930901820",
    "country": "DE",
    "company__name": "Nordwind Logistik GmbH",
    "company__employees": 380,
    "message": "We move our three depots to a new system in March and compare two vendors. Could somebody call me today "
    "before 16:00? Please ask for me, not for purchasing.",
}
_OFFICE: Final = {"timezone": "Europe/Berlin", "hours": {"mon-fri": ["09:00-18:00"]}}


async def pages(directory: Path) -> dict[str, str]:
    """Return the HTML of what Ana sees of a lead, by the name of its pictures. `directory`: of the installations."""
    async with await _paged(directory / "slack", "slack") as world:
        message = drawing(world.slack.messages[0], "10:17")
    async with await _paged(directory / "mail", "email") as world:
        mail = world.smtp.mails[0].message
        world.clock.advance(minutes=4)
        lead = await world.http.get(_path(mail))
        return {"lead": lead.text, "mail": _html(mail), "slack": message}


async def _paged(directory: Path, channel: str) -> World:
    """Return an installation that has paged Ana over this channel about a person who had looked around."""
    clock = HandClock(_ASKED_AT - timedelta(days=2))
    world = await World(directory, clock, channel_names=(channel,)).open(
        agreement={"calendars": {"berlin": _OFFICE}},
        team=reps({"id": "ana", "calendar": "berlin"}, pool=("ana", "bo", "cy")),
    )
    await world.event("content.downloaded", email=PROSPECT, content="Warehouse checklist")
    for minutes, path in ((9, "/"), (7, "/pricing"), (3, "/pricing")):
        await world.wait(seconds=(_ASKED_AT - clock.now).total_seconds() - 60 * minutes)
        await world.event("page.viewed", email=PROSPECT, path=path)
    await world.wait(minutes=3)
    await world.submit_form(email=PROSPECT, **_PERSON)
    return world


def _html(mail: EmailMessage) -> str:
    body = mail.get_body(("html",))
    assert body is not None
    return str(body.get_content())


def _path(mail: EmailMessage) -> str:
    """Return the path of the link that opens the lead."""
    body = mail.get_body(("plain",))
    assert body is not None
    return "/a/" + str(body.get_content()).rpartition("Open the lead: ")[2].split()[0].rpartition("/a/")[2]


def draw(html: str, size: Size, target: Path) -> None:
    """Write the picture of a page."""
    browser = chromium.program()
    if browser is None:
        raise SystemExit("There is no Chromium; Debian, Ubuntu: apt install chromium")
    with tempfile.TemporaryDirectory() as place:
        page = Path(place) / "page.html"
        page.write_text(html, encoding="utf-8")
        command = [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *("--force-device-scale-factor=1", f"--user-data-dir={place}/profile"),
            *(f"--window-size={size[0]},{size[1]}", f"--screenshot={target}", page.as_uri()),
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=120)  # our own arguments


def main(directory: Path) -> None:
    """Write all pictures."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with tempfile.TemporaryDirectory() as place:
        shown = asyncio.run(pages(Path(place)))
    for name, html in shown.items():
        for width, size in SIZES[name].items():
            draw(html, size, directory / f"{name}-{width}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

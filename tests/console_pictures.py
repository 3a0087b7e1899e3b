"""Draws every page of the console with the data of the demo, for docs/console.md. Part of `make pictures`.

It starts a demo, signs in as an admin and as a rep, and writes a picture of each page at the width of a desk and of a phone, and
the index.
"""

import os
import pty
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from threading import Thread
from time import monotonic, sleep
from typing import Final, NamedTuple

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from devtools import browser as chromium

PLAY_SECONDS: Final = 75.0  # of real time, 75 minutes of the demo: clocks run, and some were missed
START_SECONDS: Final = 90.0
MANAGER: Final = "max"
OTHER_REP: Final = "ana"  # is shown if no clock runs
WIDTHS: Final[Mapping[int, int]] = {1280: 1_700, 360: 2_000}
"""The widths of the pictures, each with the height at which a long page is cut."""
COLOURS: Final = 256
INTRODUCTION: Final = """# The pages of the console

Each page with the invented data of `make demo`, at a width of 1280 and of 360 pixels; long pages are cut. `make pictures` draws
them again. [Signing in](sign-in.md) tells how to get there.
"""


class DrawnPage(NamedTuple):
    """A page of the index. `path` may have `{lead}`. `signed_in`: the viewer, an admin, a rep or a visitor without a session."""

    name: str
    heading: str
    path: str
    sentence: str
    signed_in: str = "admin"


PAGES: Final = (
    DrawnPage(
        "now",
        "Now",
        "/console/now",
        "The clocks that run, the promises about to be missed, the queue with what would free it, and the reps on duty.",
    ),
    DrawnPage(
        "mine", "My leads", "/console/mine", "The leads of a rep by their clocks, each with its next step.", "rep"
    ),
    DrawnPage("wall", "Wall", "/console/now?wall=true", "The page *Now* in large letters, for a display on a wall."),
    DrawnPage("leads", "Leads", "/console/leads", "All leads that the viewer may see, with search and filters."),
    DrawnPage(
        "lead",
        "Lead",
        "/console/leads/{lead}",
        "One lead: its facts, its score part by part, each decision with its reasons, its history, and the actions allowed now.",
    ),
    DrawnPage(
        "funnel",
        "Funnel",
        "/console/funnel",
        "How many leads reached each step up to revenue, and how long each step took.",
    ),
    DrawnPage(
        "response",
        "First hour",
        "/console/response",
        "How often the first hour was kept, by rep, source, hour and weekday.",
    ),
    DrawnPage("team", "Team", "/console/team", "Reps with load and availability, and pools with each member's share."),
    DrawnPage(
        "agreement",
        "Agreement",
        "/console/agreement",
        "The agreement in force in plain words, its history, and the check of a draft.",
    ),
    DrawnPage(
        "operations",
        "Operations",
        "/console/operations",
        "The state of the services, their lag, the sources and the audit.",
    ),
    DrawnPage(
        "dead-letters",
        "Operations: dead letters",
        "/console/operations/dead-letters",
        "Input that could not be understood or handled, to be retried or dropped.",
    ),
    DrawnPage(
        "pages",
        "Operations: pages",
        "/console/operations/pages",
        "Each message to a rep with its attempts, to be sent again.",
    ),
    DrawnPage(
        "webhooks",
        "Operations: webhooks",
        "/console/operations/webhooks",
        "The receivers of webhooks and their deliveries, to be sent again.",
    ),
    DrawnPage(
        "quarantine",
        "Operations: quarantine",
        "/console/operations/quarantine",
        "Forms held back because they look like those of robots, to be released or dropped.",
    ),
    DrawnPage(
        "doctor",
        "Operations: doctor",
        "/console/operations/doctor",
        "What `firsthour doctor` finds, with the remedy of each.",
    ),
    DrawnPage("keys", "Operations: keys", "/console/operations/keys", "The API keys with their roles, to be revoked."),
    DrawnPage(
        "audit",
        "Operations: audit log",
        "/console/operations/audit",
        "Actions of people: actor, action, target and result.",
    ),
    DrawnPage(
        "sessions",
        "Sessions",
        "/console/sessions",
        "The sessions of the viewer, for an admin those of all; each can be ended.",
    ),
    DrawnPage(
        "sign-in", "Sign in", "/console/sign-in", "The form for an API key or the account of a company.", "visitor"
    ),
    DrawnPage("style", "Design", "/console/style", "The colours and components that all pages are made of."),
)


def file_name(page: DrawnPage, width: int) -> str:
    """Return the name of a picture in docs/console."""
    return f"{page.name}-{width}.png"


def index() -> str:
    """Return the text of docs/console.md."""
    parts = [INTRODUCTION]
    for page in PAGES:
        pictures = "\n".join(
            f'<img src="console/{file_name(page, width)}" alt="{page.heading}, {width} pixels wide" width="{shown}">'
            for width, shown in zip(WIDTHS, (560, 200), strict=True)
        )
        parts.append(f"\n## {page.heading}\n\n`{page.path}` {page.sentence}\n\n{pictures}\n")
    return "".join(parts)


def main(docs: Path, names: list[str]) -> None:
    """Write the pictures of pages, by default of all, and the index."""
    (docs / "console").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place, _demo(Path(place)) as data, sync_playwright() as playwright:
        sleep(PLAY_SECONDS)
        opened = playwright.chromium.launch(executable_path=chromium.ensure(), args=list(chromium.FLAGS))
        link = _link(data, "admin", MANAGER)
        base, admin = link.partition("/console/")[0], _signed_in(opened, link)
        rep = _signed_in(opened, _link(data, "sales", _busy_rep(admin, base)))
        tabs = {"admin": admin, "rep": rep, "visitor": _tab(opened)}
        for page in PAGES:
            if not names or page.name in names:
                _draw(tabs[page.signed_in], page, base, docs / "console")
        opened.close()
    (docs / "console.md").write_text(index(), encoding="utf-8")


def _draw(tab: Page, page: DrawnPage, base: str, directory: Path) -> None:
    """Write the pictures of a page."""
    path = page.path
    if "{lead}" in path:
        tab.goto(f"{base}/console/leads?status=working")
        path = tab.locator("main tbody a").first.get_attribute("href") or path
    for width, height_max in WIDTHS.items():
        tab.set_viewport_size({"width": width, "height": 740})
        tab.goto(base + path)
        height = min(height_max, int(tab.evaluate("document.documentElement.scrollHeight")))
        drawn = tab.screenshot(
            full_page=True, animations="disabled", clip={"x": 0, "y": 0, "width": width, "height": height}
        )
        compressed = (
            Image.open(BytesIO(drawn))
            .convert("RGB")
            .quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        )
        compressed.save(directory / file_name(page, width), optimize=True)
        wide = int(tab.evaluate("document.documentElement.scrollWidth"))
        if wide > width:
            print(f"{page.name}: {wide} pixels wide in a window of {width}", file=sys.stderr)


def _tab(opened: Browser) -> Page:
    """Return a tab of a browser of its own."""
    return opened.new_context(timezone_id="Europe/Berlin", locale="en-GB", color_scheme="light").new_page()


def _signed_in(opened: Browser, link: str) -> Page:
    """Return a tab that has signed in by a link."""
    tab = _tab(opened)
    tab.goto(link)
    tab.get_by_role("button", name="Open the console").click()
    return tab


def _busy_rep(tab: Page, base: str) -> str:
    """Return the id of the rep of the clock that runs for longest. The ids of the demo are the first names."""
    tab.goto(f"{base}/console/now")
    owners = tab.locator("[data-region=clocks] tbody td:nth-child(2)").all_inner_texts()
    reps = [owner.split()[0].lower() for owner in owners if owner != "no owner"]
    return reps[-1] if reps else OTHER_REP


@contextmanager
def _demo(place: Path) -> Iterator[Path]:
    """Run a demo, and yield its data directory once it serves. It has a terminal, so that it serves on after its end."""
    data = place / "data"
    terminal, end_of_demo = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "firsthour", "up", "--demo", "--port", "0", "--data", str(data)],
        stdout=end_of_demo,
        stderr=end_of_demo,
        env={**os.environ, "FIRSTHOUR_LOG_LEVEL": "error", "TERM": "xterm"},
    )
    os.close(end_of_demo)
    Thread(target=_drain, args=(terminal,), daemon=True).start()
    try:
        until = monotonic() + START_SECONDS
        while not (data / "running.json").exists():
            if process.poll() is not None or monotonic() > until:
                raise SystemExit("the demo did not start; look at `firsthour up --demo`")
            sleep(0.1)
        yield data
    finally:
        process.terminate()
        process.wait(START_SECONDS)


def _drain(terminal: int) -> None:
    """Read what the demo shows, so that it can go on writing."""
    with suppress(OSError):  # Linux: the other end is closed
        while os.read(terminal, 65_536):
            pass


def _link(data: Path, role: str, rep: str) -> str:
    """Return a link that signs in."""
    command = [sys.executable, "-m", "firsthour", "console-link", "--data", str(data), "--role", role, "--rep", rep]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"https?://\S+", printed)
    if found is None:
        raise SystemExit("no link in the output of `firsthour console-link`")
    return found[0]


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])

"""Draws every page of the console with the data of the demo: `python -m devtools.console_pictures docs`.

It starts a demo with a fast clock, signs in as an admin and as a rep, opens each page that the navigation and its tabs lead to,
and writes a picture of each at the width of a desk and of a phone, and the index `console.md`.
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Final, NamedTuple

from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from devtools import browser as chromium

SPEED: Final = 600
PLAY_SECONDS: Final = 16.0  # of real time: most of the three hours of the demo
START_SECONDS: Final = 60.0
REP: Final = "ana"
SIZES: Final[dict[str, ViewportSize]] = {
    "desk": {"width": 1280, "height": 860},
    "phone": {"width": 390, "height": 844},
}
_INTRODUCTION: Final = """# The pages of the console

What each page shows, with the invented data of `make demo`. `python -m devtools.console_pictures docs` draws them again.
[Signing in](sign-in.md) tells how to get there.
"""


class DrawnPage(NamedTuple):
    """A page with its heading, the name of its pictures, and its path."""

    heading: str
    name: str
    path: str


def main(docs: Path) -> None:
    """Write the pictures and the index into a directory."""
    with tempfile.TemporaryDirectory() as place, _demo(Path(place)) as (url, data), sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium.ensure(), args=list(chromium.FLAGS))
        admin = (data / "console.link").read_text().strip()
        rep = _command(data, "console-link", "--role", "sales", "--rep", REP)
        sleep(PLAY_SECONDS)
        drawn = [*_drawn(opened, docs, re.sub(r"https?://[^/\s]+", url, rep), only="/console/mine")]
        drawn += _drawn(opened, docs, admin)
        opened.close()
    (docs / "console.md").write_text(index(drawn), encoding="utf-8")
    size = sum(file.stat().st_size for file in docs.glob("console-*.png"))
    print(f"{len(drawn)} pages, {size / 1_000:.0f} kB")


def index(drawn: list[DrawnPage]) -> str:
    """Return the text of `console.md`."""
    parts = [_INTRODUCTION]
    for page in drawn:
        pictures = " ".join(f"![{page.heading}, {size}](console-{page.name}-{size}.png)" for size in SIZES)
        parts.append(f"\n## {page.heading}\n\n`{page.path}`\n\n{pictures}\n")
    return "".join(parts)


@contextmanager
def _demo(place: Path) -> Iterator[tuple[str, Path]]:
    """Run a demo, and return its address and its data directory once it serves."""
    data = place / "data"
    command = [sys.executable, "-m", "firsthour", "up", "--demo", "--speed", str(SPEED), "--port", "0"]
    process = subprocess.Popen([*command, "--data", str(data)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        link, end = data / "console.link", monotonic() + START_SECONDS
        while not link.exists():
            if process.poll() is not None or monotonic() > end:
                raise SystemExit("the demo did not start; look at `firsthour up --demo`")
            sleep(0.1)
        yield link.read_text().partition("/console/")[0], data
    finally:
        process.terminate()
        process.wait(START_SECONDS)


def _command(data: Path, *words: str) -> str:
    """Return the link that a command prints."""
    command = [sys.executable, "-m", "firsthour", *words, "--data", str(data)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"https?://\S+/console/enter/\S+", printed)
    if found is None:
        raise SystemExit(f"no link in the output of `firsthour {words[0]}`")
    return found[0]


def _drawn(opened: Browser, docs: Path, link: str, only: str | None = None) -> Iterator[DrawnPage]:
    """Sign in by a link, draw its pages, and yield them."""
    context = opened.new_context(viewport=SIZES["desk"], timezone_id="Europe/Berlin", locale="en-GB")
    page = context.new_page()
    page.goto(link)
    page.get_by_role("button", name="Open the console").click()
    base = link.partition("/console/")[0]
    for path in [only] if only else _paths(page, base):
        page.goto(base + path)
        heading = page.locator("h1").first.inner_text().split("\n")[0]
        name = "lead" if re.fullmatch(r"/console/leads/.+", path) else path.removeprefix("/console/").replace("/", "-")
        for size, viewport in SIZES.items():
            page.set_viewport_size(viewport)
            page.screenshot(path=docs / f"console-{name}-{size}.png", animations="disabled")
        yield DrawnPage(
            "A lead" if name == "lead" else heading, name, "/console/leads/{lead}" if name == "lead" else path
        )
    context.close()


def _paths(page: Page, base: str) -> list[str]:
    """Return the paths of the navigation, those of its tabs, and that of a lead."""
    found: list[str] = []
    for path in _links(page, "nav a"):
        page.goto(base + path)
        found += [path, *(_links(page, "main nav a"))]
        if path == "/console/leads":
            found += _links(page, "main tbody a")[:1]
    return list(dict.fromkeys(found))


def _links(page: Page, selector: str) -> list[str]:
    links: list[str] = page.eval_on_selector_all(selector, "links => links.map(link => link.getAttribute('href'))")
    return [link for link in links if link.startswith("/console/")]


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""The page of a lead for readers with a keyboard, a screen reader or weak eyes (WCAG 2.2, level AA)."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.story.conftest import OpenWorld
from tests.story.test_lead_pages import CTO, LADDER, PERSON, links, page, send
from tests.story.world import World

STYLE = (Path(__file__).parents[2] / "services/notifier/templates/page.css").read_text()
TEXTS = (
    *(
        ("ink", "ground"),
        ("ink", "card"),
        ("soft", "ground"),
        ("soft", "card"),
        ("accent", "card"),
        ("accent", "ground"),
    ),
    *(("on-accent", "accent"), ("good", "good-ground"), ("warn", "warn-ground"), ("bad", "bad-ground")),
)
EDGES = (("edge", "card"), ("edge", "ground"), ("accent", "card"), ("accent", "ground"))
"""Edges of fields and buttons, and the outline of what has the focus, with what is beside them."""


class _Structure(HTMLParser):
    """The structure of a page: its headings, and the controls without a label or a text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.lang = self.title = ""
        self.headings: list[int] = []
        self.unnamed: list[str] = []
        self.tab_indexes = 0
        self._open: list[str] = []
        self._label = self._button = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self._open.append(tag)
        self.tab_indexes += "tabindex" in values
        if tag == "html":
            self.lang = values.get("lang") or ""
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "label":
            self._label = ""
        if tag in ("select", "textarea", "input") and not ("label" in self._open and self._label.strip()):
            self.unnamed.append(tag)
        if tag in ("button", "a", "summary"):
            self._button = ""

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass
        if tag in ("button", "a", "summary") and not self._button.strip():
            self.unnamed.append(tag)

    def handle_data(self, data: str) -> None:
        self._label += data
        self._button += data
        if self._open[-1:] == ["title"]:
            self.title += data


@pytest.fixture
async def mailed(open_world: OpenWorld) -> World:
    world = await open_world(channels=("email",), agreement={"response": {"ladder": LADDER}})
    await world.submit_form(email=CTO, **PERSON)
    return world


async def test_every_control_of_a_page_has_a_name(mailed: World) -> None:
    paths = links(mailed)
    shown = [await page(mailed, path) for path in (*paths.values(), "/a/forged")]
    shown += [await send(mailed, paths["Snooze"], minutes="7"), await send(mailed, paths["No answer"])]
    for answer in shown:
        structure = _Structure(answer.text)
        assert (structure.unnamed, structure.lang, structure.tab_indexes) == ([], "en", 0)
        assert structure.headings[0] == 1
        assert set(structure.headings[1:]) <= {2}
        assert structure.title


async def test_title_of_an_answer_begins_with_what_happened(mailed: World) -> None:
    answer = await send(mailed, links(mailed)["No answer"])
    assert _Structure(answer.text).title.startswith("Recorded: an attempt without an answer.")


async def test_lists_of_a_page_are_labelled_apart(mailed: World) -> None:
    shown = (await page(mailed, links(mailed)["Open the lead"])).text
    for label in ("Snooze for", "Hand over to", "Reason", "Note, sent with the button (optional)"):
        assert f"<label>{label} <" in shown


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_have_enough_contrast(scheme: str) -> None:
    colours = dict(_declared(STYLE.splitlines()[0]))
    if scheme == "dark":
        colours |= _declared(STYLE.splitlines()[1])
    assert {
        pair: _contrast(*(colours[name] for name in pair)) for pair in TEXTS if not _contrasts(colours, pair, 4.5)
    } == {}
    assert {
        pair: _contrast(*(colours[name] for name in pair)) for pair in EDGES if not _contrasts(colours, pair, 3)
    } == {}


def _declared(line: str) -> dict[str, str]:
    return dict(re.findall(r"--([a-z-]+):(#[0-9a-f]+)", line))


def _contrasts(colours: dict[str, str], pair: tuple[str, str], least: float) -> bool:
    return _contrast(*(colours[name] for name in pair)) >= least


def _contrast(one: str, other: str) -> float:
    """Return the ratio of contrast by WCAG 2.2."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[start : start + 2], 16) / 255 for start in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue

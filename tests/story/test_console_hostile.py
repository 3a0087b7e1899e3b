"""Fields that strangers fill in look harmless on every page: escaped, apart from the text around them, and bounded."""

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Final

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from firsthour.kernel.normalisation.texts import without_invisible
from tests.examples import examples
from tests.fakes.pages import ATTACKS
from tests.story.console_routes import ConsoleRoute, PageReader, console_routes
from tests.story.test_console import Browser, signed_in
from tests.story.world import World

pytestmark = pytest.mark.slow

WORLDS: Final = 20
MARK: Final = "Zq7"
"""Begins each field of a stranger, so that a test finds it again."""
PAGE_CHARS_MAX: Final = 300_000
TEXT_CHARS_MAX: Final = 2_100
FIELDS: Final = (
    "name",
    "company",
    "title",
    "message",
    "country",
    "language",
    "phone",
    "custom.x",
    "utm.source",
    "form",
)
LOADING: Final = frozenset({"img", "iframe", "object", "embed", "base", "video", "audio", "style", "frame", "applet"})
LINKING: Final = frozenset({"href", "src", "action", "formaction", "data-stream", "poster", "srcset", "xlink:href"})

LONG_CHARS: Final = 100_000
BODY_BYTES, TEXT_BYTES = 250_000, 65_000  # of the 256 KiB that a form may have, and the 64 KiB of a field

pieces = st.one_of(
    st.sampled_from([*ATTACKS, "<b onclick=alert(1)>", '" autofocus onfocus="alert(1)', "{{ 7 * 7 }}", "%(name)s {0}"]),
    st.sampled_from(["x", "<", "\u0430\u0301", "👩\u200d👩\u200d👧\u200d👦", "ab ", "\u05d0"]),
    st.text(max_size=60),
    st.text(
        "\u202e\u202d\u2066\u2067\u2069\u200f\u061ca<&'\"\x00\x07\x1b\x85\n\t\ufeff\u2028", min_size=1, max_size=40
    ),
)
hostile = st.tuples(pieces, st.sampled_from([1, 1, LONG_CHARS]))
"""A piece, and how many characters of its repetitions a field has at least."""
people = st.fixed_dictionaries({"name": hostile, "company": hostile}, optional=dict.fromkeys(FIELDS[2:], hostile))


def test_fields_of_strangers_look_harmless_on_every_page() -> None:
    @settings(
        max_examples=examples(WORLDS),
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],  # a smaller example is not worth a minute of installations
    )
    @given(st.lists(people, min_size=1, max_size=4), hostile)
    def check(submitted: list[dict[str, tuple[str, int]]], note: tuple[str, int]) -> None:
        forms = [form_of(person) for person in submitted]
        with tempfile.TemporaryDirectory() as directory:
            asyncio.run(story(World(Path(directory)), forms, whole(*note)))

    check()


def whole(piece: str, chars_min: int) -> str:
    """Return the text of a field."""
    text = MARK + (piece * chars_min)[: max(len(piece), chars_min)]
    return text.encode(errors="replace").decode()  # no request has lone surrogates


def form_of(person: dict[str, tuple[str, int]]) -> dict[str, str]:
    """Return the fields of a form, the later ones cut so that the body is accepted."""
    fields, room = {}, BODY_BYTES
    for name, value in person.items():
        text = whole(*value)
        while len(json.dumps(text)) > room or len(text.encode(errors="replace")) > TEXT_BYTES:
            text = text[: len(text) // 2]
        room -= len(json.dumps(text))
        fields[name] = text
    return fields


async def story(closed: World, submitted: list[dict[str, str]], note: str) -> None:
    """Submit forms to a new installation, let a rep act, and look at every page."""
    async with await closed.open() as world:
        for number, person in enumerate(submitted):
            body = {"email": f"zq7&'{number}@prospect.example", **person, "form": "demo-request"}
            answer = await world.ask("POST", "/v1/forms/demo-request", role=None, body=body)
            assert answer.status_code == 202, answer.text
        await world.settle()
        lead = (await world.leads())[0]
        owner = str(lead["owner"]["id"])
        await world.act(lead["email"], "touch", owner, channel="phone", answered=True, note=note)
        await world.act(lead["email"], "reject", owner, reason=note)
        await world.settle()
        routes = console_routes(world, lead=str(lead["id"]), rep=owner, id="website", name="website", source="website")
        for browser in (await signed_in(world, "admin"), await signed_in(world, "sales", owner)):
            await look_at_pages(browser, routes, note)


async def look_at_pages(browser: Browser, routes: list[ConsoleRoute], note: str) -> None:
    for route in routes:
        if route.method == "GET" and not route.is_stream:
            for query in ({}, {"email": note[:1_500], "status": note[:1_500], "q": note[:1_500], "cursor": note[:100]}):
                answer = await browser.get(route.path + encoded(query))
                assert answer.status_code < 500, route
                if answer.headers.get("content-type", "").startswith("text/html"):
                    assert_harmless(answer.text, f"{route.path} {sorted(query)}")


def encoded(query: dict[str, str]) -> str:
    pairs = [
        f"{name}={''.join(f'%{byte:02x}' for byte in value.encode(errors='replace'))}" for name, value in query.items()
    ]
    return "?" + "&".join(pairs) if pairs else ""


def assert_harmless(page: str, place: str) -> None:
    """Check a page with the texts of strangers."""
    reader = PageReader(page)
    assert len(page) <= PAGE_CHARS_MAX, (place, len(page))
    assert without_invisible(page) == page, place
    assert LOADING.isdisjoint(reader.elements), (place, reader.elements & LOADING)
    assert page.count("<script") == 1, place
    for element, name, value in reader.attributes:
        assert not name.startswith("on"), (place, element, name)
        assert name != "style", (place, element)
        if name in LINKING:
            assert value[:1] in ("/", "?", "#", ""), (place, element, name, value[:80])
            assert not value.startswith("//"), (place, element, value[:80])
    for text, isolated in reader.texts:
        assert len(text) <= TEXT_CHARS_MAX, (place, text[:80])
        assert isolated or MARK not in text, (place, text[:80])


@pytest.mark.parametrize(
    "page",
    [
        "<p>Zq7</p>",
        "<p dir=auto>\u202e</p>",
        "<img>",
        "<p onclick=x>",
        "<a href=javascript:x>",
        "<a href=//evil.example>",
        "<p style=x>",
        f"<p>{'x' * 3_000}</p>",
    ],
)
def test_harm_is_noticed(page: str) -> None:
    assert_harmless("<script></script><p dir=auto><b>Zq7</b></p>", "whole")
    with pytest.raises(AssertionError):
        assert_harmless(f"<script></script>{page}", "whole")

"""A language is one file, and times are written in its way, in the zone of the viewer."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from babel.messages.pofile import read_po, write_po

from firsthour.operations import console_texts
from services.console import catalogue, markup
from services.console.viewer import ZONE_COOKIE
from tests.story.console_routes import PageReader, console_routes
from tests.story.test_console import CTO, Browser, signed_in
from tests.story.world import World


def forget_languages() -> None:
    for remembered in (catalogue.languages, catalogue.locale_of, markup.templates):
        remembered.cache_clear()


@pytest.fixture
def german(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """Add one file, in which each text is in brackets, and return the texts."""
    texts = read_po(BytesIO(console_texts.template()), locale="de")
    for message in texts:
        if message.id:
            forms = message.id if isinstance(message.id, tuple | list) else (message.id,)
            translated = tuple(f"[{form}]" for form in forms)
            message.string = translated if len(forms) > 1 else translated[0]
    with (tmp_path / "de.po").open("wb") as file:
        write_po(file, texts)
    monkeypatch.setattr(catalogue, "FOLDER", tmp_path)
    forget_languages()
    sentences = {message.id for message in texts if isinstance(message.id, str) and message.id}
    # A single word in lower case can also be a value of the data, such as a status.
    yield {text for text in sentences if " " in text or not text.islower()} - {"FirstHour"}
    monkeypatch.undo()
    forget_languages()


async def test_language_is_one_file_and_covers_every_page(world: World, german: set[str]) -> None:
    await world.submit_form(email=CTO, name="Cora Tan", company="Tan Ltd")
    lead = (await world.lead(CTO))["id"]
    owner = str(await world.owner_of(CTO))
    pages = [route.path for route in console_routes(world, lead=lead) if route.method == "GET" and not route.is_stream]
    for browser in (Browser(world), await signed_in(world, "admin"), await signed_in(world, "sales", owner)):
        for path in ("/console/sign-in", *pages):
            page = (await browser.get(path, accept_language="de-DE,de;q=0.9,en;q=0.5")).text
            shown = {text for text, _ in PageReader(page).texts}
            assert shown.isdisjoint(german), (path, shown & german)
            assert "<html" not in page or '<html lang="de"' in page, path


async def test_times_are_in_the_zone_of_the_viewer(world: World, german: set[str]) -> None:
    await world.submit_form(email=CTO)
    browser = await signed_in(world, "manager")
    path = f"/console/leads/{(await world.lead(CTO))['id']}"
    assert "1 Dec, 09:00" in (await browser.get(path)).text
    browser.cookies[ZONE_COOKIE] = "Asia%2FKolkata"
    assert "1 Dec, 14:30" in (await browser.get(path)).text
    assert "1 Dez., 14:30" in (await browser.get(path, accept_language="de")).text
    browser.cookies[ZONE_COOKIE] = "Nowhere/At%0all"
    assert "1 Dec, 09:00" in (await browser.get(path)).text

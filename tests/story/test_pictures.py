"""The pictures of the documents: what they are drawn from, and that each is there."""

import struct
from pathlib import Path

from services.console.navigation import ENTRIES, OPERATIONS
from tests.console_pictures import PAGES, WIDTHS, file_name, index
from tests.pictures import SIZES, pages

DOCS = Path(__file__).parents[2] / "docs"
BYTES_MAX = 3_000_000


async def test_pictures_show_one_lead_in_each_place(tmp_path: Path) -> None:
    shown = await pages(tmp_path)
    assert shown.keys() == SIZES.keys()
    for html in shown.values():
        for text in (
            "Marie Okafor",
            "Nordwind Logistik GmbH",
            "Could somebody call me today",
            "Reached them",
            "11:17 CET",
        ):
            assert text in html


def test_documents_have_each_picture_in_its_size() -> None:
    for name, sizes in SIZES.items():
        for width, size in sizes.items():
            assert size_of(DOCS / f"{name}-{width}.png") == size, f"{name}-{width}: run `make pictures`"


def test_every_page_of_the_console_is_drawn() -> None:
    assert {entry.path for entry in (*ENTRIES, *OPERATIONS)} <= {page.path for page in PAGES}
    assert {path.name for path in (DOCS / "console").iterdir()} == {
        file_name(page, w) for page in PAGES for w in WIDTHS
    }
    for page in PAGES:
        for width, height_max in WIDTHS.items():
            drawn = size_of(DOCS / "console" / file_name(page, width))
            assert drawn[0] == width, f"{page.name}: run `make pictures`"
            assert drawn[1] <= height_max
    assert sum(path.stat().st_size for path in (DOCS / "console").iterdir()) < BYTES_MAX


def test_index_of_the_pages_of_the_console_is_current() -> None:
    assert (DOCS / "console.md").read_text(encoding="utf-8") == index(), "run `make pictures`"


def size_of(picture: Path) -> tuple[int, int]:
    head = picture.read_bytes()[:24]
    assert head.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", head[16:])
    return width, height

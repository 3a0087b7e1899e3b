"""The pictures of the documents: what they are drawn from, and that each is there."""

import struct
from pathlib import Path

from tests.pictures import SIZES, pages

DOCS = Path(__file__).parents[2] / "docs"


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
            head = (DOCS / f"{name}-{width}.png").read_bytes()[:24]
            assert head.startswith(b"\x89PNG")
            assert struct.unpack(">II", head[16:]) == size, f"{name}-{width}: run `make pictures`"

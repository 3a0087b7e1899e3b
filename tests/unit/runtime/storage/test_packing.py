"""The stored form of a record: smaller, and the same again when it is read."""

from datetime import UTC, datetime
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsthour.runtime.storage.packing import DICTIONARY, MARK, packed, unpacked
from schemas.envelope import encode
from schemas.events.pages import PageSent

AT = datetime(2026, 12, 1, 9, tzinfo=UTC)
LEAD = "01a22c17-966e-7f3e-8bdf-d2abd52788a1"
PAGE = encode(
    PageSent(page_id="da16e5f0", lead_id=LEAD, epoch=1, rung=0, person="ana", channel="slack", at=AT, kind="owner"),
    id="01a22c17-966f-71a7-948d-1cf01a0008b2.1",
    source="urn:firsthour:notifier",
    time=AT,
    key=LEAD,
)


@given(st.binary(max_size=2_000))
def test_packed_record_is_read_unchanged(body: bytes) -> None:
    assert unpacked(packed(body)) == body


def test_packed_record_has_a_third_of_the_bytes() -> None:
    assert len(packed(PAGE)) * 3 < len(PAGE)


def test_record_of_an_older_release_is_returned_as_it_is() -> None:
    assert unpacked(PAGE) == PAGE


@pytest.mark.parametrize("damage", [MARK, MARK + b"\xff\xff", packed(PAGE)[:40], b"", b"x"])
def test_damaged_record_is_never_read_as_another_one(damage: bytes) -> None:
    assert not unpacked(damage).endswith(b"}")


def test_dictionary_of_stored_records_never_changes() -> None:
    assert sha256(DICTIONARY).hexdigest() == "e9c8016ccc8fc9e2b788626640d42a8a542cec18167b6acc78c709be4876c844"

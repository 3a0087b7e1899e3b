"""The stored form of a record: smaller, and the same again when it is read."""

from concurrent.futures import ThreadPoolExecutor
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


def test_record_that_is_not_packed_is_returned_as_it_is() -> None:
    assert unpacked(PAGE) == PAGE


@pytest.mark.parametrize("damage", [MARK, MARK + b"\xff\xff", packed(PAGE)[:40], b"", b"x"])
def test_damaged_record_is_never_read_as_another_one(damage: bytes) -> None:
    assert not unpacked(damage).endswith(b"}")


def test_records_are_packed_in_several_threads_at_once() -> None:
    bodies = [PAGE.replace(b"ana", str(number).encode()) for number in range(2_000)]
    with ThreadPoolExecutor(4) as threads:
        stored = list(threads.map(packed, bodies))
        assert list(threads.map(unpacked, stored)) == bodies


@given(st.binary(max_size=200))
def test_damaged_record_raises_no_error(damage: bytes) -> None:
    assert isinstance(unpacked(MARK + damage), bytes)


def test_dictionary_of_stored_records_never_changes() -> None:
    assert sha256(DICTIONARY).hexdigest() == "209e36fdbeaa535d49b6160a650d32bde0fd57596dfcc5a8a7cb48ee53325dc2"

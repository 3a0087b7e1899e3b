"""Tokens of signed links: what was signed is read, and nothing else."""

import random
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.domain.link import ACTIONS, TOKEN_CHARS, Link, LinkKey, link_of, token_of

NINE = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
KEY = LinkKey(1, b"k" * 32, NINE)
OTHER = LinkKey(2, b"o" * 32, NINE)
LINK = Link("accept", "0192f3c4-0000-7000-8000-000000000001", NINE + timedelta(days=7), 7)

links = st.builds(
    Link,
    st.sampled_from(ACTIONS),
    st.uuids().map(str),
    st.integers(0, 2**32 - 1).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
    st.integers(0, 2**32 - 1),
)


@given(links)
def test_token_is_short_and_gives_the_link_back(link: Link) -> None:
    token = token_of(link, KEY)
    assert len(token) == TOKEN_CHARS
    assert link_of(token, [OTHER, KEY]) == link


def test_token_of_another_installation_is_not_read() -> None:
    same_number = LinkKey(1, b"x" * 32, NINE)
    assert link_of(token_of(LINK, same_number), [KEY, OTHER]) is None
    assert link_of(token_of(LINK, KEY), []) is None


def test_no_changed_bit_is_accepted() -> None:
    raw = bytearray(urlsafe_b64decode(token_of(LINK, KEY)))
    for bit in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        assert link_of(urlsafe_b64encode(changed).decode(), [KEY, OTHER]) is None


def test_ten_thousand_mutations_are_refused() -> None:
    chance, token = random.Random(1), token_of(LINK, KEY)
    alphabet = "ABCXYZabcxyz0189-_=+/ %.\u00e9"
    for _ in range(10_000):
        places = chance.sample(range(len(token)), chance.randint(1, 4))
        changed = "".join(chance.choice(alphabet) if n in places else char for n, char in enumerate(token))
        assert changed == token or link_of(changed, [KEY]) is None


@pytest.mark.parametrize(
    "token",
    [
        "",
        "A",
        "A" * 56,
        "-" * 56,
        "=" * 56,
        "A" * 10_000,
        "\ud800" * 56,
        "é" * 56,
        token_of(LINK, KEY)[:-1] + "=",
        "../" * 20,
    ],
)
def test_other_text_is_no_token(token: str) -> None:
    assert link_of(token, [KEY]) is None


@given(st.text(min_size=50, max_size=60))
def test_any_text_is_read_without_an_error(text: str) -> None:
    assert link_of(text, [KEY]) is None

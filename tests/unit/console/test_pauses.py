"""Live parts of pages are rendered at once after a single change, and seldom while changes do not end."""

from services.console.live import CREDIT_SECONDS_MAX, PAUSE_SECONDS, PAUSE_SECONDS_MAX, SHARE, pause_of


def test_earned_rendering_is_spent_without_a_long_pause() -> None:
    assert pause_of(CREDIT_SECONDS_MAX) == pause_of(0.0) == PAUSE_SECONDS


def test_pause_earns_the_rendering_that_was_too_much() -> None:
    seconds = 0.04
    assert pause_of(-seconds) * SHARE == seconds


def test_page_is_never_older_than_the_longest_pause() -> None:
    assert pause_of(-60.0) == PAUSE_SECONDS_MAX

"""The rank of a page: which pages are claimed before the rest."""

from services.notifier.domain.clock import ResponseClock
from services.notifier.domain.page import FIRST, REST, TO_OWNER, Page
from services.notifier.domain.terms import Terms


def rank_of(page: Page, clock: ResponseClock, terms: Terms) -> int:
    """Return the rank of a new page: `FIRST` if it tells the owner for the first time of a lead of the most urgent urgency."""
    is_first = page.kind in TO_OWNER and clock.told_at is None
    return FIRST if is_first and clock.urgency == next(iter(terms.urgencies), None) else REST

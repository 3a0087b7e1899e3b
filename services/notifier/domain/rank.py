"""The rank of a page: which pages are claimed before the rest."""

from services.notifier.domain.clock import ResponseClock, ladder_of
from services.notifier.domain.page import FIRST, REST, TO_OWNER, Page
from services.notifier.domain.terms import Terms


def rank_of(page: Page, clock: ResponseClock, terms: Terms) -> int:
    """Return the rank of a new page: `FIRST` for the first page to the owner about a lead of the most urgent urgency."""
    most_urgent = next(iter(terms.urgencies), None)
    if page.kind not in TO_OWNER or clock.urgency != most_urgent:
        return REST
    first = next((n for n, rung in enumerate(ladder_of(clock, terms)) if rung.page == "owner"), None)
    return FIRST if page.rung == first else REST

"""The budget of a person: how many messages they get in a while. The last one tells of everything that waits.

A page beyond the budget waits until the oldest message of the window is old enough. It then goes out in one message with
all other pages to the same person. A message is counted when its page is claimed, and no longer if its channel refused it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from schemas.agreement.response import Budget
from services.notifier.domain.page import Page, is_about_queue
from services.notifier.domain.terms import Terms

QUEUE_BUDGET: Final = Budget(pages=2, per=timedelta(minutes=5))
"""The budget of pages about leads that wait for an owner, where the agreement has none: a flood is one message for many."""
BUNDLED_MAX = 100
"""Pages that one message carries beside its own."""


@dataclass
class Spending:
    """The messages to each person within the window that ends now. Without a budget, nothing is counted."""

    budget: Budget | None
    now: datetime
    _sent: dict[str, list[datetime]]

    @classmethod
    def of(cls, budget: Budget | None, now: datetime, messages: Iterable[tuple[str, datetime]]) -> "Spending":
        """Return the spending, given persons and times (business time) of messages."""
        sent: dict[str, list[datetime]] = {}
        for person, at in messages:
            # A time ahead is one of a host's clock that was set back. One far ahead does not count.
            if budget is not None and now - budget.per < at <= now + budget.per:
                sent.setdefault(person, []).append(min(at, now))
        return cls(budget, now, {person: sorted(times) for person, times in sent.items()})

    def left(self, person: str) -> int | None:
        """Return how many more messages the person may get now; None: any number."""
        if self.budget is None or not person:
            return None
        return max(0, self.budget.pages - len(self._sent.get(person, ())))

    def spend(self, person: str) -> None:
        """Count a message."""
        if self.budget is not None:
            self._sent.setdefault(person, []).append(self.now)

    def free_at(self, person: str) -> datetime:
        """Return when the person may get the next message, if none is left now."""
        if self.budget is None:
            return self.now
        return self._sent[person][-self.budget.pages] + self.budget.per


def is_counted(page: Page, terms: Terms) -> bool:
    """Return whether a budget counts this page: it goes to a person, and not only to machines; see `counts`."""
    to_person = page.person in terms.team.rep_by_id and not terms.single.issuperset(page.channels)
    return to_person and counts(page.rung, terms)


def counts(rung: int, terms: Terms) -> bool:
    """Return whether a budget counts pages of this number: all by that of the agreement, else those about the queue."""
    return terms.budget is not None or is_about_queue(rung)


def budget_of(terms: Terms) -> Budget:
    """Return the budget in force."""
    return terms.budget or QUEUE_BUDGET


def last_slots(spending: Spending, due: Mapping[str, int]) -> list[str]:
    """Return the persons whose last message may be sent now. `due`: the number of due pages of each person."""
    return sorted(person for person, number in due.items() if 0 < (spending.left(person) or 0) <= number)


def fellows(carrier: Page, waiting: Sequence[Page], terms: Terms) -> list[Page]:
    """Return the waiting pages that go out with this one: to the same person, over the same channel, first rank first."""
    fitting = (
        page
        for page in waiting
        if page.state == "pending"
        and page.person == carrier.person
        and page.id != carrier.id
        and carrier.channel in page.channels
        and counts(page.rung, terms)
    )
    return sorted(fitting, key=lambda page: (page.rank, page.due_at, page.id))[:BUNDLED_MAX]

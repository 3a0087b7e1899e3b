"""Pages that no rung of the ladder sends: to one person, over the channels of the first rung that pages the owner."""

from collections.abc import Sequence
from datetime import datetime

from schemas.agreement.response import CHANNELS, OWNER, Rung
from services.notifier.domain.clock import ResponseClock
from services.notifier.domain.page import Kind, Page, page_id


def direct_page(
    clock: ResponseClock,
    kind: Kind,
    person: str,
    number: int,
    *,
    ladder: Sequence[Rung] | None,
    due_at: datetime,
    now: datetime,
    epoch: int | None = None,
    next_at: datetime | None = None,
) -> Page:
    """Return the page to this person.

    Args:
        number: Of the page in its assignment, as `page_number` returns it.
        ladder: The ladder of the lead; None: it is unknown, and the page goes over the usual channels.
        due_at: Business time, as is `now`.
        epoch: The assignment that the page is about; None: the present one.
        next_at: Real time at which the delivery looks at the page; None: at once.
    """
    of = clock.epoch if epoch is None else epoch
    first = next((rung for rung in ladder or () if rung.page == OWNER), None)
    return Page(
        id=page_id(clock.lead_id, of, number, person),
        lead_id=clock.lead_id,
        epoch=of,
        rung=number,
        kind=kind,
        person=person,
        channels=first.by if first else CHANNELS,
        due_at=due_at,
        created_at=now,
        next_at=next_at,
    )

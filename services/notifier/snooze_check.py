"""The effect of a snooze over the API. The router publishes the endpoint, and the clock belongs to the notifier."""

from datetime import datetime

from firsthour.runtime.storage.unit import Unit
from services.notifier.context import NotifierContext
from services.notifier.domain.snooze import snoozed, snoozed_until
from services.notifier.store.clocks import find_clocks


def check_snooze(unit: Unit, lead_id: str, epoch: int, until: datetime) -> datetime | str | None:
    """Return the end of a snooze that begins now, or why there is none, as a sentence.

    None: the clock of this assignment is not known yet, and the snooze counts once it is.
    """
    clock = find_clocks(unit.connection, [lead_id]).get(lead_id)
    if clock is None or clock.epoch != epoch:
        return None
    after = snoozed(clock, until, NotifierContext(()).terms(unit), unit.now)
    return after if isinstance(after, str) else snoozed_until(after, unit.now)

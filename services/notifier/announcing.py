"""What a unit that applied records of the router tells the outside: the webhooks of these records. No network here."""

from collections.abc import Mapping, Sequence

from firsthour.runtime.storage.records import Record
from firsthour.runtime.storage.unit import Unit
from schemas.events.routes import LeadEvent
from services.notifier.context import DISPATCHER, NotifierContext
from services.notifier.domain.clock import ResponseClock
from services.notifier.domain.webhook_event import dispatches, endpoints
from services.notifier.store.dispatches import add_dispatches


def announce(
    unit: Unit, batch: Sequence[Record], clocks: Mapping[str, ResponseClock], context: NotifierContext
) -> None:
    """Add the webhooks of these records, in the unit that applies them. `clocks`: those of their leads, afterwards."""
    ways = endpoints(unit.config.agreement) if context.ways_out else {}
    if not ways:
        return
    records = [(record.event_id, event) for record in batch if isinstance(event := record.event, LeadEvent)]
    cards = {lead: clock.card for lead, clock in clocks.items()}
    new = list(dispatches(ways, records, cards, unit.config.team, unit.clock.real()))
    add_dispatches(unit, new)
    if new:
        unit.wake(DISPATCHER)

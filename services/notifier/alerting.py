"""Keeps the alerts of leads up to date: raised when a page is claimed, acknowledged and resolved as the clock goes on."""

from collections.abc import Iterable, Mapping

from firsthour.runtime.storage.unit import Unit
from services.notifier.context import DISPATCHER, Claim
from services.notifier.domain.alert import SILENT, Alert, channels, dispatch_of, followed_up
from services.notifier.domain.clock import ResponseClock
from services.notifier.store.alerts import open_alerts, save_alerts
from services.notifier.store.dispatches import add_dispatches


def update_alerts(
    unit: Unit,
    claims: Iterable[Claim],
    before: Mapping[str, ResponseClock],
    after: Mapping[str, ResponseClock],
) -> None:
    """Note the alerts that these claims raise, and follow up those whose clock has changed.

    Args:
        claims: Pages that are sent after this unit.
        before: The clocks before the change, locked by this unit.
        after: The clocks that have changed.
    """
    names = channels(unit.config.agreement)
    if not names:
        return
    real = unit.clock.real()
    changed = {alert[:2]: alert for alert in followed_up(open_alerts(unit, set(after)), before, after, real)}
    add_dispatches(unit, [dispatch_of(alert) for alert in changed.values() if alert.channel in names])
    if changed:
        unit.wake(DISPATCHER)
    for claim in claims:
        page = claim.page
        if page.channel in names and page.kind not in SILENT:
            changed[page.channel, page.lead_id] = Alert(page.channel, page.lead_id, "triggered", real)
    save_alerts(unit, changed.values())


def resolve_late(unit: Unit, sent: Iterable[tuple[str, str]], clocks: Mapping[str, ResponseClock]) -> None:
    """Resolve alerts whose page arrived after the end of its clock: the service may have got the two in this order.

    `sent`: channel and lead of each page that was accepted.
    """
    names = channels(unit.config.agreement)
    real = unit.clock.real()
    late = {
        (channel, lead): Alert(channel, lead, "resolve", real)
        for channel, lead in sent
        if channel in names and lead in clocks and not clocks[lead].running
    }
    save_alerts(unit, late.values())
    add_dispatches(unit, [dispatch_of(alert) for alert in late.values()])
    if late:
        unit.wake(DISPATCHER)

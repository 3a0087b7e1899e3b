"""The alert of a lead in a service for on-call duty: raised by a page, acknowledged by an accept, resolved by a touch or the end.

The alert is noted when its page is claimed, so that it is resolved even if the sender crashes before it knows the outcome.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final, Literal, NamedTuple

import msgspec

from firsthour.kernel.time_units import micros
from schemas.agreement.agreement import Agreement
from schemas.agreement.ways_out import PagerDutyWay
from services.notifier.domain.clock import ResponseClock
from services.notifier.domain.dispatch import Dispatch, dispatch_id

AlertState = Literal["triggered", "acknowledge", "resolve"]
"""The last event of the alert, as the service names it."""
SILENT: Final = frozenset({"lost", "handed_on", "refused"})
"""Kinds of pages that ask for nothing, so that they raise no alert."""
OPEN: Final = frozenset({"triggered", "acknowledge"})


class Alert(NamedTuple):
    """The alert of one lead over one channel; `at` in real time."""

    channel: str
    lead_id: str
    state: AlertState
    at: datetime


def channels(agreement: Agreement) -> frozenset[str]:
    """Return the channels that raise alerts."""
    return frozenset(name for name, way in agreement.channels.items() if isinstance(way, PagerDutyWay))


def dedup_key(lead_id: str) -> str:
    """Return the key of the alert of a lead: one lead has one alert, whichever page raised it."""
    return f"firsthour:{lead_id}"


def followed_up(
    alerts: Iterable[Alert],
    before: Mapping[str, ResponseClock],
    after: Mapping[str, ResponseClock],
    real: datetime,
) -> Iterator[Alert]:
    """Yield the open alerts that a change of their clock acknowledges or resolves."""
    for alert in alerts:
        clock, was = after.get(alert.lead_id), before.get(alert.lead_id)
        if clock is None or alert.state not in OPEN:
            continue
        if not clock.running:
            yield alert._replace(state="resolve", at=real)
        elif alert.state == "triggered" and clock.accepted and was is not None and not was.accepted:
            yield alert._replace(state="acknowledge", at=real)


def dispatch_of(alert: Alert) -> Dispatch:
    """Return the dispatch that tells the service the state of an alert."""
    return Dispatch(
        id=dispatch_id("alert", alert.channel, alert.lead_id, alert.state, str(micros(alert.at))),
        kind="alert",
        channel=alert.channel,
        channels=(alert.channel,),
        type=alert.state,
        lead_id=alert.lead_id,
        body=msgspec.json.encode({"event_action": alert.state, "dedup_key": dedup_key(alert.lead_id)}).decode(),
        created_at=alert.at,
        next_at=alert.at,
    )

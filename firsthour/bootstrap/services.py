"""The list of the services. No other module imports all of them."""

from collections.abc import Mapping, Sequence

import services.gateway.service
import services.notifier.service
import services.reporting.service
import services.router.service
import services.scoring.service
from firsthour.bootstrap.trial_effects import trial_effects
from firsthour.runtime.eventlog.dead_letters import Retention
from firsthour.runtime.processing.service import Service
from firsthour.runtime.settings import CLOCK_SKEW_SECONDS
from schemas.topics import ALL
from services.notifier.channels.base import Channel
from services.notifier.snooze_check import check_snooze
from services.reporting.lead_events import recent_events
from services.router.unavailable import unavailable_reps

GATEWAY = "gateway"
NOTIFIER = "notifier"
ROUTER = "router"
READ_ADDRESSES = frozenset({GATEWAY, "scoring"})
"""The services that look up the company of an email address."""


def all_services(
    channels: Mapping[str, Channel],
    public_url: str | None,
    clock_skew_seconds: int = CLOCK_SKEW_SECONDS,
    *,
    ways_out: bool = True,
    inbound: Retention | None = None,
) -> tuple[Service, ...]:
    """Return every service of the system.

    `ways_out`: pages also leave over the channels of the agreement. `inbound`: the retention of dead letters of the topic to which
    other programs write. None: it is not read.
    """
    effects = trial_effects(tuple(channels), clock_skew_seconds * 1_000_000, ways_out=ways_out)
    return (
        services.gateway.service.service(effects, inbound=inbound),
        services.scoring.service.service(),
        services.router.service.service(clock_skew_seconds, check_snooze),
        services.notifier.service.service(channels, public_url, recent_events, unavailable_reps, ways_out=ways_out),
        services.reporting.service.service(),
    )


def bulk_topics(system: Sequence[Service]) -> set[str]:
    """Return the topics that every reader reads in bulk: their records may linger before they are published."""
    return {
        topic for topic in ALL if all(topic in service.linger_seconds for service in system if topic in service.hears)
    }

"""The parts of the process that units of the notifier use, and the claim that a unit hands to the delivery."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy.engine import Connection

from firsthour.kernel.config import Config
from firsthour.runtime.storage.unit import Unit
from services.notifier.domain.bulkhead import Bulkhead
from services.notifier.domain.failing import Failing
from services.notifier.domain.follow_up import follow_up_of
from services.notifier.domain.health import ChannelHealth, Refusals
from services.notifier.domain.message import Message
from services.notifier.domain.pace import Pace
from services.notifier.domain.page import Page
from services.notifier.domain.terms import Terms
from services.notifier.domain.working_hours import NO_LEAVE, Leave
from services.notifier.store.dispatches import DisabledEndpoint
from services.notifier.store.people import StoredLeave

DELIVERY = "notifier.delivery"
"""The name of the runner. A unit that adds a page wakes it."""
SET_BACK = timedelta(seconds=30)
"""A step of the host's clock to the past that counts as "set back"."""
TO_MACHINES = frozenset({"pagerduty", "webhook"})
"""Kinds of channels whose receiver is no person."""
TROUBLES_MAX = 100
"""Troubles that are remembered until the next claim."""
DISPATCHER = "notifier.dispatcher"
"""The name of the runner. A unit that adds a dispatch wakes it."""
SLACK_UPDATES = "notifier.slack"
"""The name of the runner that shows messages in Slack anew. A unit that changes the standing of a lead wakes it."""
CLOCKS = "notifier.clocks"
"""The name of the tick. A unit that records the outcome of a page wakes it."""

HOURS = "notifier.hours"
"""The name of the tick that counts clocks anew. A unit that changes the leave of a rep wakes it."""


@dataclass(frozen=True)
class Claim:
    """A page that the holder of this claim sends now, over the page's current channel, and the pages in the same message."""

    page: Page
    message: Message
    fellows: tuple[Page, ...] = ()

    @property
    def pages(self) -> tuple[Page, ...]:
        """The pages that this message delivers."""
        return (self.page, *self.fellows)


def _drop_claims(claims: Sequence[Claim]) -> None:
    """Do nothing: without a delivery, the leases end and the pages are claimed again."""


class Trouble(NamedTuple):
    """A trouble of this process that the operator is told of. `key` names the occasion."""

    key: str
    subject: str
    lines: tuple[str, ...]


def _nothing() -> None:
    """Do nothing: there is no delivery."""


def _ignore_clock(outcome: str) -> None:
    """Do nothing: there are no metrics."""


def _ignore_delay(channel: str, reason: str) -> None:
    """Do nothing: there are no metrics."""


Unavailable = Callable[[Connection, Config, datetime], Mapping[str, str]]
"""Returns why reps get no lead at a business time, by rep. Bootstrap takes it from the router."""


def _all_available(connection: Connection, config: Config, now: datetime) -> Mapping[str, str]:
    """Return nothing: the router, which checks each hand-over, is not asked before."""
    return {}


@dataclass
class NotifierContext:
    """The parts of the process that units of the notifier use. The delivery opens the bulkhead and sets the functions."""

    channels: tuple[str, ...]  # of the settings of this process
    public_url: str | None = None
    health: ChannelHealth = field(default_factory=ChannelHealth)
    refusals: Refusals = field(default_factory=Refusals)
    problems: dict[str, str] = field(default_factory=dict)  # of runners, by their name: warnings of `/readyz`
    failing_clocks: Failing = field(default_factory=lambda: Failing("clock"))
    failing_pages: Failing = field(default_factory=lambda: Failing("page"))
    pace: Pace = field(default_factory=Pace)
    ways_out: bool = True  # the channels of the agreement are used; False: in a demo
    bulkhead: Bulkhead = field(default_factory=Bulkhead)
    unavailable: Unavailable = _all_available
    troubles: list[Trouble] = field(default_factory=list)  # seen since the last claim of dispatches
    disabled: Mapping[str, DisabledEndpoint] = field(default_factory=dict)  # webhooks that are switched off
    hand: Callable[[Sequence[Claim]], None] = _drop_claims  # called on the loop, after the commit
    recovered: Callable[[], None] = _nothing  # called when a channel accepts again
    count_clock: Callable[[str], None] = _ignore_clock  # called when a clock ends: met, missed, cancelled
    count_delay: Callable[[str, str], None] = _ignore_delay  # called when a page begins to wait: channel, reason

    def note_outage(self, channel: str, why: str, real: datetime) -> None:
        """Remember that a channel went down. The operator is told of it once an hour at most."""
        key = f"down {channel} {real:%Y-%m-%dT%H}"
        if len(self.troubles) < TROUBLES_MAX:
            lines = (why, "Pages go over other channels meanwhile. /readyz and `firsthour doctor` show the state.")
            self.troubles.append(Trouble(key, f"{channel} accepts no pages", lines))

    def terms(self, unit: Unit) -> Terms:
        """Return the terms in force in this unit."""
        return self.terms_of(unit.config, StoredLeave(unit.connection))

    def terms_of(self, config: Config, leave: Leave = NO_LEAVE) -> Terms:
        """Return the terms of this configuration."""
        response, calendars = config.agreement.response, config.agreement.calendars
        return Terms(
            response.ladder,
            response.urgencies,
            config.team,
            self.usable(config),
            calendars,
            leave,
            quiet_hours=response.quiet_hours,
            budget=response.budget,
            single=frozenset(name for name, way in config.agreement.channels.items() if way.kind in TO_MACHINES),
            pauses=response.pause_limits,
            stopped_by=response.stopped_by,
            cadence=config.agreement.promises.cadence,
            follow_up=follow_up_of(response),
            bursts_told=config.agreement.tell.hears_of_bursts,
            queue_alert_after=config.agreement.routing.queue.after,
        )

    def handing_over(self, terms: Terms, connection: Connection, config: Config, now: datetime) -> Terms:
        """Return the terms with the reps who get no lead now. Only a hand-over reads them."""
        return replace(terms, unavailable=self.unavailable(connection, config, now))

    def usable(self, config: Config) -> tuple[str, ...]:
        """Return the names of all channels: those of the settings, and those of the agreement."""
        return (*self.channels, *config.agreement.channels) if self.ways_out else self.channels

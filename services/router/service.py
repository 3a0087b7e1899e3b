"""The router as data."""

from functools import partial

from firsthour.runtime.processing.service import Service, Tick
from schemas.topics import ACTIONS, LEADS
from services.router.api import router
from services.router.burst_ticks import EndBursts
from services.router.commands import SnoozeCheck
from services.router.handlers import hear_actions, hear_leads
from services.router.held import BURST_TICK
from services.router.queue import QUEUE_TICK
from services.router.store.bursts import delete_old_bursts
from services.router.team import TEAM_TICK
from services.router.ticks import ServeQueue, WatchTeam


def service(clock_skew_seconds: int, check_snooze: SnoozeCheck) -> Service:
    """Return the router: it reads scores and actions, and emits owners, places in the queue and statuses.

    Args:
        clock_skew_seconds: how far the clock of a sender of touches may be behind.
        check_snooze: tells what a snooze of a lead would do.
    """
    skew_us = clock_skew_seconds * 1_000_000
    return Service(
        name="router",
        hears={LEADS: partial(hear_leads, skew_us=skew_us), ACTIONS: partial(hear_actions, skew_us=skew_us)},
        ticks=(Tick(QUEUE_TICK, ServeQueue()), Tick(TEAM_TICK, WatchTeam()), Tick(BURST_TICK, EndBursts(), 5.0)),
        sweeps=(delete_old_bursts,),
        api=partial(router, check_snooze=check_snooze),
    )

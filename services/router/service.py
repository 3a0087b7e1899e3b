"""Gives every qualified lead one owner, or a place in the queue with a reason, and says what becomes of it."""

from schemas.topics import ACTIONS, LEADS
from services.router.api import router
from services.router.desk import QUEUE_TICK, TEAM_TICK
from services.router.handlers import hear_actions, hear_leads
from services.router.ticks import ServeQueue, WatchTeam
from services.runtime.service import Service, Tick


def service() -> Service:
    """The router as data."""
    return Service(
        name="router",
        hears={LEADS: hear_leads, ACTIONS: hear_actions},
        ticks=(Tick(QUEUE_TICK, ServeQueue()), Tick(TEAM_TICK, WatchTeam())),
        api=router,
    )

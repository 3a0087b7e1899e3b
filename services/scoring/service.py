"""Scoring, as data."""

from schemas.topics import EVENTS, ROUTES
from services.runtime.service import GATHERED_SECONDS, Service
from services.scoring.api import router
from services.scoring.handlers import hear_events, hear_routes


def service() -> Service:
    """Hears what happened and what was recycled; says who it was, their score and the lines they meet."""
    return Service(
        name="scoring",
        hears={EVENTS: hear_events, ROUTES: hear_routes},
        gathers={
            ROUTES: GATHERED_SECONDS
        },  # of all that is said there only a recycle concerns us, and that is a mark in time
        api=router,
    )

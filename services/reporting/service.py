"""Reporting, as data."""

from firsthour.runtime.processing.service import GATHERED_SECONDS, Service
from schemas.topics import ALL
from services.reporting.api import router
from services.reporting.handlers import forget, keep


def service() -> Service:
    """Hears every topic, says nothing."""
    return Service(
        name="reporting",
        hears={topic: keep(topic) for topic in ALL},
        gathers=dict.fromkeys(ALL, GATHERED_SECONDS),
        sweeps=(forget,),
        api=router,
    )

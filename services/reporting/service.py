"""Reporting as data."""

from firsthour.runtime.eventlog.log import LINGER_SECONDS
from firsthour.runtime.processing.service import Service
from schemas.topics import ALL
from services.reporting.api import router
from services.reporting.handlers import delete_old_history, record_history


def service() -> Service:
    """Return reporting: it reads every topic and emits nothing."""
    return Service(
        name="reporting",
        hears={topic: record_history(topic) for topic in ALL},
        linger_seconds=dict.fromkeys(ALL, LINGER_SECONDS),
        sweeps=(delete_old_history,),
        api=router,
    )

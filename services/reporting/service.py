"""Reporting as data."""

from firsthour.runtime.eventlog.log import LINGER_SECONDS
from firsthour.runtime.processing.service import Service, Tick
from schemas.topics import ALL
from services.reporting import source_fields
from services.reporting.api import router
from services.reporting.funnel_model import REBUILD_FUNNEL, rebuild_funnel
from services.reporting.handlers import delete_old_history, delete_old_passes, delete_old_requests, record_history
from services.reporting.reports.funnel_days import FunnelDays
from services.reporting.response_gauges import ResponseGauges
from services.reporting.response_model import CHECK_SECONDS, REBUILD, rebuild
from services.reporting.search_model import REBUILD_SEARCH, rebuild_search
from services.reporting.sources import delete_old_counts


def service() -> Service:
    """Return reporting: it reads every topic and emits nothing."""
    return Service(
        name="reporting",
        hears={topic: record_history(topic) for topic in ALL},
        linger_seconds=dict.fromkeys(ALL, LINGER_SECONDS),
        ticks=(
            Tick(REBUILD, rebuild, CHECK_SECONDS),
            Tick(REBUILD_FUNNEL, rebuild_funnel, CHECK_SECONDS),
            Tick(REBUILD_SEARCH, rebuild_search, CHECK_SECONDS),
            Tick(source_fields.CROWDED, source_fields.make_room, source_fields.CHECK_SECONDS),
        ),
        sweeps=(
            delete_old_history,
            delete_old_requests,
            delete_old_passes,
            delete_old_counts,
            source_fields.delete_old_fields,
        ),
        api=router,
        runners=lambda resources: [ResponseGauges(resources), FunnelDays(resources)],
    )

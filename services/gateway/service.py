"""The gateway as data. Requests are answered in `services.gateway.asgi`; the router here only documents them."""

from firsthour.runtime.http import idempotency
from firsthour.runtime.processing.service import Service
from services.gateway.api import router
from services.gateway.quarantine import delete_old_quarantine
from services.gateway.source_counts import delete_old_source_counts


def service() -> Service:
    """Return the service. Its sweeps delete old answers under idempotency keys, counts of sources, and quarantined events."""
    return Service(
        name="gateway", sweeps=(idempotency.sweep, delete_old_source_counts, delete_old_quarantine), api=router
    )

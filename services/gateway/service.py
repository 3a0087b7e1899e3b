"""The gateway as data. Requests are answered in `services.gateway.asgi`; the router here only documents them."""

from firsthour.runtime.http import idempotency
from firsthour.runtime.processing.service import Service
from services.gateway.api import router


def service() -> Service:
    """Return the service. Its sweep deletes old answers that are stored under idempotency keys."""
    return Service(name="gateway", sweeps=(idempotency.sweep,), api=router)

"""The gateway, as data. Its lean path is `services.gateway.asgi`; here is what time brings and what the docs show."""

from firsthour.runtime.http import idempotency
from firsthour.runtime.processing.service import Service
from services.gateway.api import router


def service() -> Service:
    """Hears HTTP, says `events`. Now and then it forgets old answers kept under idempotency keys."""
    return Service(name="gateway", sweeps=(idempotency.sweep,), api=router)

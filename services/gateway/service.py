"""The gateway as data. Requests are answered in `services.gateway.asgi`; the router here only documents them."""

from functools import partial

from firsthour.runtime.eventlog.dead_letters import Retention
from firsthour.runtime.http import idempotency
from firsthour.runtime.processing.service import Service
from schemas.topics import INBOUND
from services.gateway.api import router
from services.gateway.inbound import hear_inbound
from services.gateway.quarantine import delete_old_quarantine
from services.gateway.source_counts import delete_old_source_counts


def service(*, inbound: Retention | None = None) -> Service:
    """Return the service. Its sweeps delete old answers under idempotency keys, counts of sources, and quarantined events.

    `inbound`: the retention of dead letters of the topic to which other programs write, which only Kafka has. None: it is not read.
    """
    return Service(
        name="gateway",
        hears={INBOUND: partial(hear_inbound, retention=inbound)} if inbound else {},
        sweeps=(idempotency.sweep, delete_old_source_counts, delete_old_quarantine),
        api=router,
    )

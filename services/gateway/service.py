"""The gateway as data. Requests are answered in `services.gateway.asgi`; the router here only documents them."""

from collections.abc import Sequence
from functools import partial

from firsthour.runtime.eventlog.dead_letters import Retention
from firsthour.runtime.http import idempotency
from firsthour.runtime.processing.service import Resources, Runner, Service
from firsthour.runtime.storage import audit_log
from schemas.topics import INBOUND
from services.gateway.api import router
from services.gateway.inbound import InboundIntake
from services.gateway.quarantine import delete_old_quarantine
from services.gateway.source_api import TrialEffects, no_effects
from services.gateway.source_counts import delete_old_source_counts


def service(effects: TrialEffects = no_effects, *, inbound: Retention | None = None) -> Service:
    """Return the service. Its sweeps delete old answers under idempotency keys, old records of the audit log, counts of sources, and quarantined events.

    `effects`: returns the effect of tried events; see `TrialEffects`.

    `inbound`: the retention of dead letters of the topic to which other programs write, which only Kafka has. None: it is not read.
    """
    intake = InboundIntake(inbound) if inbound else None

    def runners(resources: Resources) -> Sequence[Runner]:
        if intake is not None:
            intake.telemetry = resources.telemetry
        return ()

    return Service(
        name="gateway",
        hears={INBOUND: intake.hear} if intake else {},
        sweeps=(idempotency.sweep, audit_log.sweep, delete_old_source_counts, delete_old_quarantine),
        api=partial(router, effects=effects),
        runners=runners,
    )

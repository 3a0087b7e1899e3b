"""Keeps a body of the gateway as a dead letter."""

from firsthour.runtime.eventlog.dead_letters import GATEWAY, Retention, dead_letter
from firsthour.runtime.storage.unit import Unit
from firsthour.runtime.version import VERSION
from services.gateway.intake.outcome import RejectedBody


def keep_body(unit: Unit, body: RejectedBody, retention: Retention, *, key: str = "", state: str = "waiting") -> str:
    """Keep this body as a dead letter. Return its id. `key`, `state`: see `dead_letter`."""
    return dead_letter(
        unit.connection,
        at=unit.clock.real(),
        consumer=GATEWAY,
        origin=body.origin,
        source=body.source,
        content_type=body.content_type,
        body=body.body,
        error=body.error,
        code=VERSION,
        key=key,
        robot=body.robot,
        state=state,
        retention=retention,
    )

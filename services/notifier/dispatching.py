"""The units of dispatches: claim them before they are sent, and record the outcomes. No network here."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from firsthour.kernel.time_units import micros
from firsthour.runtime.storage.unit import Unit
from services.notifier.channels.base import GiveUp, Gone, Outcome, Sent, TryAgain, Unusable, outcome_name
from services.notifier.context import NotifierContext, Trouble
from services.notifier.domain import dispatch as dispatching
from services.notifier.domain.dispatch import Dispatch
from services.notifier.domain.notice import OPERATOR
from services.notifier.domain.page import storable
from services.notifier.store.dispatches import (
    DisabledEndpoint,
    DispatchAttempt,
    add_dispatch_attempts,
    change_dispatches,
    disable_endpoints,
    disabled_endpoints,
    due_dispatches,
    due_notices,
    lock_dispatches,
    next_dispatch_at,
)
from services.notifier.telling import tell, tell_troubles

NOTICES_AT_ONCE: Final = 20
ATTEMPTS_KEPT_MAX: Final = 50
"""Attempts stored per dispatch. Later attempts replace the last one."""


@dataclass(frozen=True)
class DispatchClaims:
    """The result of one claiming unit.

    `next_at`: when the first dispatch was to be looked at; None: none waited. `moved`: notices that go over another channel.
    `disabled`: endpoints for which dispatches may wait.
    """

    claims: tuple[Dispatch, ...] = ()
    next_at: datetime | None = None
    moved: int = 0
    disabled: Mapping[str, DisabledEndpoint] = field(default_factory=dict)


@dataclass(frozen=True)
class DispatchResult:
    """The outcome of a claimed dispatch, in real time."""

    claim: Dispatch
    outcome: Outcome
    at: datetime
    milliseconds: int


def claim_dispatches(
    unit: Unit, context: NotifierContext, room: Mapping[str, int], troubles: Sequence[Trouble] = ()
) -> DispatchClaims:
    """Claim due dispatches, and store notices to the operator, which the next unit claims.

    Args:
        context: The health of channels.
        room: How many may be claimed, by channel. Other channels are not looked at.
        troubles: What this process has seen.
    """
    real = unit.clock.real()
    tell_troubles(unit, troubles)
    next_at = next_dispatch_at(unit)
    if next_at is None or next_at > real:
        return DispatchClaims(next_at=next_at)
    disabled = disabled_endpoints(unit.connection)
    ids = set(due_notices(unit, real, NOTICES_AT_ONCE))
    for channel, places in room.items():
        if places > 0 and channel not in disabled and context.health.may(channel, real):
            ids |= set(due_dispatches(unit, channel, real, places if context.health.up(channel) else 1))
    changed, lost, claims = [], [], []
    for dispatch in lock_dispatches(unit, ids):
        channel = dispatch.channel
        if dispatch.next_at is None or dispatch.next_at > real or room.get(channel, 1) <= 0:
            continue  # claimed by another process since the look, or its destination is busy
        if channel not in room or not context.health.may(channel, real):  # a notice, which may go another way at once
            changed.append(dispatching.refused(dispatch, f"{channel} cannot be used now", None, 1.0, real))
            continue
        if dispatch.state == "sending":
            lost.append(_attempt(dispatch, real, 0, "unknown", "the sender crashed before recording the outcome"))
        claims.append(dispatching.claimed(dispatch, real))
    for channel in {claim.channel for claim in claims}:
        context.health.trying(channel, real)
    change_dispatches(unit, [*changed, *claims])
    add_dispatch_attempts(unit, lost)
    return DispatchClaims(tuple(claims), next_at, len(changed), disabled)


def record_dispatches(unit: Unit, results: Sequence[DispatchResult], jitter: Callable[[], float]) -> None:
    """Store the outcomes of claimed dispatches. One whose claim is lost stays unchanged: another process sends it."""
    locked = {dispatch.id: dispatch for dispatch in lock_dispatches(unit, {result.claim.id for result in results})}
    real = unit.clock.real()
    changed, disabled = [], {}
    for result in results:
        dispatch = locked.get(result.claim.id)
        if dispatch is None or dispatch.state != "sending" or dispatch.tries != result.claim.tries:
            continue
        changed.append(_after(dispatch, result.outcome, jitter(), real))
        if isinstance(result.outcome, Gone):
            disabled[dispatch.channel] = DisabledEndpoint(dispatch.channel, real, result.outcome.why)
    change_dispatches(unit, changed)
    disable_endpoints(unit, disabled.values())
    _tell_ends(unit, changed, disabled.values(), real)
    add_dispatch_attempts(unit, [_result(result) for result in results])


def _tell_ends(unit: Unit, changed: Sequence[Dispatch], off: Iterable[DisabledEndpoint], real: datetime) -> None:
    """Tell the operator of endpoints that were switched off, and once an hour of webhooks that failed for good."""
    for endpoint in off:
        remedy = (
            f"Its deliveries wait: `firsthour webhooks enable {endpoint.channel}`, or remove it from the agreement."
        )
        key = f"off {endpoint.channel} {micros(endpoint.disabled_at)}"
        tell(
            unit,
            OPERATOR,
            key=key,
            subject=f"The webhook {endpoint.channel} is switched off",
            lines=(endpoint.why, remedy),
        )
    for channel in sorted({one.channel for one in changed if one.kind == "webhook" and one.state == "failed"}):
        remedy = f"Once the receiver works: `firsthour webhooks resend {channel}`."
        key = f"failed {channel} {real:%Y-%m-%dT%H}"
        tell(
            unit, OPERATOR, key=key, subject=f"A delivery to the webhook {channel} has failed for good", lines=(remedy,)
        )


def _after(dispatch: Dispatch, outcome: Outcome, jitter: float, real: datetime) -> Dispatch:
    match outcome:
        case Sent():
            return dispatching.accepted(dispatch, real)
        case TryAgain(after_seconds, why):
            return dispatching.refused(dispatch, why, after_seconds, jitter, real)
        case Unusable(why):
            return dispatching.refused(dispatch, why, None, jitter, real)
        case GiveUp(why):
            return dispatching.refused(dispatch, why, None, jitter, real, lasting=True)


def _result(result: DispatchResult) -> DispatchAttempt:
    outcome = result.outcome
    detail = outcome.provider_id if isinstance(outcome, Sent) else outcome.why
    return _attempt(result.claim, result.at, result.milliseconds, outcome_name(outcome), storable(detail))


def _attempt(dispatch: Dispatch, at: datetime, milliseconds: int, outcome: str, detail: str) -> DispatchAttempt:
    n = min(dispatch.tries, ATTEMPTS_KEPT_MAX)
    return DispatchAttempt(dispatch.id, n, dispatch.channel, at, milliseconds, outcome, detail)

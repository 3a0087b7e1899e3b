"""One dispatch: a message to a service or a team, kept until it is accepted or its last try has failed.

A dispatch is not about a rung, and no touch makes it obsolete: in this it differs from a page. All times are real time.
"""

from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID, uuid5

import msgspec
from msgspec.structs import replace

from services.notifier.domain.page import LEASE, backoff_seconds, storable

SCHEDULE_SECONDS: Final = (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""The waits before each try of a webhook, as Standard Webhooks publishes them: 10 tries over some three days."""
JITTER: Final = 0.1
"""The largest part that is added to a wait, so that the tries of many dispatches spread."""
GIVEN_UP_AFTER: Final = timedelta(days=1)
"""The time for which other dispatches are tried."""
KEPT: Final = timedelta(days=30)
_DISPATCHES: Final = UUID("0d6e5f7c-4f0a-5b6e-8a35-0c3c7a3f8f55")

Kind = Literal["webhook", "alert", "notice"]
State = Literal["pending", "sending", "sent", "failed"]


class Dispatch(msgspec.Struct, frozen=True, kw_only=True):
    """One message to one destination.

    `kind`: `webhook` is a change of a lead; `alert` acknowledges or resolves an alert of a lead; `notice` tells a team.
    """

    id: str
    kind: Kind
    channel: str  # over which it is sent next
    type: str  # of the webhook's event; `acknowledge` or `resolve`; the team that is told
    lead_id: str  # empty: it is about no lead
    body: str  # JSON
    created_at: datetime
    next_at: datetime | None  # when to look at it again, or the end of the lease; None: it has ended
    channels: tuple[str, ...] = ()  # of a notice, in order; the others have one channel
    state: State = "pending"
    tries: int = 0  # in all; also distinguishes one claim from the next
    failures: int = 0  # since the beginning or the last resend
    error: str | None = None
    ended_at: datetime | None = None


def dispatch_id(*parts: str) -> str:
    """Return the id of a dispatch: it follows from its arguments, so that nothing is dispatched twice."""
    return str(uuid5(_DISPATCHES, "\n".join(parts)))


def claimed(dispatch: Dispatch, real: datetime) -> Dispatch:
    """Return the dispatch in state `sending`. If no outcome is recorded before the lease ends, it is sent again."""
    return replace(dispatch, state="sending", next_at=real + LEASE, tries=dispatch.tries + 1)


def accepted(dispatch: Dispatch, real: datetime) -> Dispatch:
    """Return the dispatch as accepted."""
    return replace(dispatch, state="sent", next_at=None, error=None, ended_at=real)


def failed(dispatch: Dispatch, why: str, real: datetime) -> Dispatch:
    """Return the dispatch after its last try."""
    return replace(dispatch, state="failed", next_at=None, error=storable(why), ended_at=real)


def refused(
    dispatch: Dispatch, why: str, after_seconds: float | None, jitter: float, real: datetime, *, lasting: bool = False
) -> Dispatch:
    """Return the dispatch after a failure: to be sent again, or failed after its last try.

    Args:
        after_seconds: The wait that the receiver asked for; None: it asked for none.
        jitter: 0 to 1, spreads retries.
        lasting: The destination refuses this message for good. Only a webhook is tried again then: its receiver may be mended.
    """
    failures = dispatch.failures + 1
    dispatch = replace(dispatch, failures=failures)
    if dispatch.kind == "webhook":
        if failures >= len(SCHEDULE_SECONDS):
            return failed(dispatch, why, real)
        seconds = SCHEDULE_SECONDS[failures] * (1 + JITTER * jitter)
    else:
        dispatch = _on_next_channel(dispatch)
        in_first_round = failures < len(dispatch.channels)
        if (lasting and not in_first_round) or real - dispatch.created_at >= GIVEN_UP_AFTER:
            return failed(dispatch, why, real)
        seconds = 0.0 if in_first_round else backoff_seconds(failures) * jitter
        after_seconds = None if len(dispatch.channels) > 1 else after_seconds
    wait = timedelta(seconds=max(seconds, after_seconds or 0.0))
    return replace(dispatch, state="pending", next_at=real + wait, error=storable(why))


def _on_next_channel(dispatch: Dispatch) -> Dispatch:
    if len(dispatch.channels) < 2:
        return dispatch
    return replace(dispatch, channel=dispatch.channels[dispatch.failures % len(dispatch.channels)])


def resent(dispatch: Dispatch, real: datetime) -> Dispatch:
    """Return the dispatch, to be sent now, with a new schedule."""
    return replace(dispatch, state="pending", next_at=real, failures=0, error=None, ended_at=None)

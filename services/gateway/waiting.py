"""`?wait=SECONDS`: the answer to an event waits for its effect, the score and the owner of the lead.

The effect comes from other services, possibly in other processes. So the row of the lead is read again and again, by a bounded
number of requests at once.
"""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Final
from urllib.parse import parse_qs

from sqlalchemy.engine import Connection

from firsthour.runtime.http.problem import Problem
from firsthour.runtime.storage.reader import Reader
from firsthour.runtime.storage.unit import StorageError
from schemas.events.outside import ABOUT_NO_LEAD
from schemas.http import LeadView
from services.gateway.intake.outcome import Accepted
from services.gateway.replies import Reply, effect

SECONDS_MAX: Final = 10.0
WAITERS_MAX: Final = 100
"""Requests that wait at once. A further one is answered at once."""
FIRST_PAUSE_SECONDS: Final = 0.02
PAUSE_SECONDS_MAX: Final = 0.25
SKEW: Final = timedelta(milliseconds=50)
"""How far the clocks of two processes of one installation may differ."""

FindLead = Callable[[Connection, str], LeadView | None]
"""Returns the lead with this normalised address. None: unknown."""


def seconds_of(target: bytes) -> float | None:
    """Return the seconds that a request may wait, by the query of its target. None: it does not wait. Raises `Problem` 422."""
    query = target.partition(b"?")[2].decode("latin-1")
    values = parse_qs(query, max_num_fields=20).get("wait") if "wait=" in query else None
    if not values:
        return None
    text = values[-1].removesuffix("s")
    if not text.replace(".", "", 1).isascii() or not text.replace(".", "", 1).isdigit() or len(text) > 10:
        detail = f"write seconds, {SECONDS_MAX:.0f} at most, such as wait=5"
        raise Problem(
            422,
            "Unprocessable Content",
            f"`wait` is no time; {detail}.",
            errors=[{"pointer": "query:wait", "detail": detail}],
        )
    return min(float(text), SECONDS_MAX)


class Waiters:
    """The requests of a process that wait."""

    def __init__(self, reads: Reader, find: FindLead | None) -> None:
        """`find`: None: the process cannot look up leads, so no request waits."""
        self._reads, self._find = reads, find
        self._number = 0

    async def answer(self, accepted: Accepted, reply: Reply, seconds: float) -> Reply:
        """Return the effect of an accepted event, once it is known. After `seconds`, or for several events: `reply`."""
        if self._find is None or len(accepted.events) != 1 or reply.status != 202 or reply.replayed:
            return reply
        email = accepted.events[0].external.email
        if email is None or accepted.events[0].type in ABOUT_NO_LEAD or self._number >= WAITERS_MAX:
            return reply
        self._number += 1
        try:
            return await self._wait(self._find, accepted, email, seconds) or reply
        except StorageError:  # logged by the storage; the event itself is stored
            return reply
        finally:
            self._number -= 1

    async def _wait(self, find: FindLead, accepted: Accepted, email: str, seconds: float) -> Reply | None:
        since = accepted.events[0].external.received_at - SKEW
        now = asyncio.get_running_loop().time
        end, pause = now() + seconds, FIRST_PAUSE_SECONDS
        while True:
            lead = await self._reads(lambda connection: find(connection, email))
            if lead is not None and lead.updated_at >= since:
                return effect(accepted.ids, lead)
            if now() + pause > end:
                return None
            await asyncio.sleep(pause)
            pause = min(2 * pause, PAUSE_SECONDS_MAX)

"""The stages of a lead in the embedded process, from its request to the answer of Slack.

The interfaces between the parts are wrapped, so the product itself runs. A page is taken to be that of the newest
request, so most leads must be alone in the process.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Final, cast

from starlette.types import ASGIApp, Receive, Scope, Send

from firsthour.bootstrap.embedded import System
from firsthour.runtime.clock import HostClock
from firsthour.runtime.processing.chain import Chain
from firsthour.runtime.storage.records import Row
from firsthour.runtime.storage.sqlite_unit import SqliteUnit
from services.notifier.channels.base import Channel, Outcome
from services.notifier.domain.message import Message as Page

CHECKED: Final = "request checked"
HANDED_OVER: Final = "handed to the writer"
CARRIED: Final = "scored, routed, page claimed"
COMMITTED: Final = "committed, handed to the loop, its links made"
ANSWERED: Final = "message made, sent and answered"
ACKNOWLEDGED: Final = "request to 202"
WHOLE: Final = "request to the answer of Slack"
STAGES: Final = (CHECKED, HANDED_OVER, CARRIED, COMMITTED, ANSWERED, ACKNOWLEDGED, WHOLE)

_arrived: ContextVar[float] = ContextVar("arrived", default=0.0)


class StageTimes:
    """Seconds of every stage of every request, by the name of the stage."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, list[float]] = defaultdict(list)
        self._now = HostClock().monotonic
        self._waiting: dict[
            str, tuple[float, float]
        ] = {}  # by event: when its request arrived, when it was handed over
        self._carried = (0.0, 0.0)  # of the newest request: when it arrived, when its work was done

    def watch(self, system: System, channels: Iterable[Channel]) -> None:
        """Time the stages of this system, whose pages leave over these channels. Call it before the system runs."""
        self._time_intake(system)
        for channel in channels:
            self._time_pages(channel)

    def application(self, app: ASGIApp) -> ASGIApp:
        """Return this application, which then notes when a request arrives."""

        async def timed(scope: Scope, receive: Receive, send: Send) -> None:
            _arrived.set(self._now())
            await app(scope, receive, send)

        return timed

    def _time_intake(self, system: System) -> None:
        chain, append = system.chain, system.units.append

        def carry(unit: SqliteUnit) -> None:
            arrived, handed_over = self._waiting[unit.rows[0].event_id]
            start = self._now()
            chain.carry(unit)
            self._carried = arrived, self._now()
            self._note(HANDED_OVER, start - handed_over)
            self._note(CARRIED, self._carried[1] - start)

        async def timed_append(rows: list[Row]) -> None:
            event, arrived, start = rows[0].event_id, _arrived.get(), self._now()
            self._waiting[event] = arrived, start
            await append(rows)
            del self._waiting[event]
            self._note(CHECKED, start - arrived)
            self._note(ACKNOWLEDGED, self._now() - arrived)

        system.chain = cast(Chain, _Carrier(carry))
        system.units.append = timed_append  # type: ignore[method-assign]  # of this bench alone

    def _time_pages(self, channel: Channel) -> None:
        send = channel.send

        async def timed_send(message: Page) -> Outcome:
            start = self._now()
            arrived, carried = self._carried
            outcome = await send(message)
            self._note(COMMITTED, start - carried)
            self._note(ANSWERED, self._now() - start)
            self._note(WHOLE, self._now() - arrived)
            return outcome

        channel.send = timed_send  # type: ignore[method-assign]  # of this bench alone

    def take(self) -> dict[str, list[float]]:
        """Return the seconds of every stage since the last call."""
        taken, self.seconds = dict(self.seconds), defaultdict(list)
        return taken

    def _note(self, stage: str, seconds: float) -> None:
        self.seconds[stage].append(seconds)


class _Carrier:
    def __init__(self, carry: Callable[[SqliteUnit], None]) -> None:
        self.carry = carry

"""Bursts: more forms from one client address, or for one mail domain, than people send. They are held back.

A burst is confirmed by its spread, when its forms come from several clients, or from one client for several companies, at the
pace of people. Otherwise a person confirms it. Until then the router lets other leads pass those of the burst. The memory of
bursts is bounded.
"""

from datetime import datetime
from hashlib import sha256
from typing import Final, NamedTuple

import msgspec

BURST_MIN: Final = 5
"""Forms within a minute, from one client or for one domain, that are no burst yet."""
UNKNOWN_MIN: Final = 20
"""The same for a domain whose forms come from unknown clients: a proxy that is not trusted may stand before all of them."""
QUIET_SECONDS: Final = 600.0
"""A burst is over when so long no form has come."""
SPREAD_MIN: Final = 3
PACE_MAX: Final = 30
"""Forms of one client, of a burst, that a person may type. Beyond that, many companies do not confirm it: names are free."""
BURSTS_MAX: Final = 1_000
OTHERS_MAX: Final = 64
_DOMAIN: Final = "mail domain"
_CLIENT: Final = "client"


class Burst(msgspec.Struct, gc=False):
    """One burst. `others`: the clients of a domain, or the domains of a client, since it began; at most `OTHERS_MAX`."""

    id: str
    label: str
    kind: str
    ends: float  # monotonic seconds
    number: int = 0
    others: set[str] = msgspec.field(default_factory=set)
    confirmed: bool = False

    @property
    def is_spread(self) -> bool:
        """Whether its forms come from several places, most of them different."""
        at_the_pace_of_people = self.kind == _DOMAIN or self.number <= PACE_MAX
        return at_the_pace_of_people and len(self.others) >= SPREAD_MIN and 2 * len(self.others) > self.number


class BurstMark(NamedTuple):
    """The burst of a form, for the router. `held`: id and label of its burst; `confirms`: the id of a burst. Empty: none."""

    held: str = ""
    confirms: str = ""


class Bursts:
    """The bursts of one process."""

    def __init__(self) -> None:
        self._active: dict[tuple[str, str], Burst] = {}  # the oldest first

    def __len__(self) -> int:
        return len(self._active)

    def mark(
        self, domain: str, client: str, of_domain: int, of_client: int, now: float, real: datetime
    ) -> BurstMark | None:
        """Return the mark of a form. None: it belongs to no burst.

        Args:
            domain: Its mail domain. Empty: it has none.
            client: Its client. Empty: unknown.
            of_domain: The forms for this domain in this minute.
            of_client: The forms of this client in this minute.
            now: The monotonic time.
            real: The time, for the id of a burst that begins.
        """
        held = confirms = ""
        of_both = (
            (_DOMAIN, domain, client, of_domain, BURST_MIN if client else UNKNOWN_MIN),
            (_CLIENT, client, domain, of_client, BURST_MIN),
        )
        for kind, name, other, number, least in of_both:
            burst = self._burst(kind, name, number > least, now, real) if name else None
            if burst is None:
                continue
            burst.number, burst.ends = burst.number + 1, now + QUIET_SECONDS
            if other and len(burst.others) < OTHERS_MAX:
                burst.others.add(other)
            if not burst.confirmed and burst.is_spread:
                burst.confirmed, confirms = True, burst.id
            elif not burst.confirmed:
                held = f"{burst.id} {burst.label}"
        return BurstMark(held, confirms) if held or confirms else None

    def _burst(self, kind: str, name: str, begins: bool, now: float, real: datetime) -> Burst | None:
        """Return the burst of this name that goes on or begins. None: there is none."""
        burst = self._active.get((kind, name))
        if burst is not None and now < burst.ends:
            return burst
        self._active.pop((kind, name), None)
        if not begins:
            return None
        if len(self._active) >= BURSTS_MAX:
            del self._active[next(iter(self._active))]
        id = sha256(f"{kind}\n{name}\n{real:%Y-%m-%dT%H:%M}".encode()).hexdigest()[:16]
        burst = self._active[kind, name] = Burst(id, f"{kind} {shortened(kind, name)}", kind, now)
        return burst


def shortened(kind: str, name: str) -> str:
    """Return the name as people see it. The last part of an address of a client is left out: it may be that of one person."""
    return f"{name.rpartition('.')[0]}.x" if kind == _CLIENT and name.count(".") == 3 else name

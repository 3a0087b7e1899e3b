"""One page: whom it tells, over which channel next, and when to stop trying.

A channel that does not accept within `FAILOVER` is left for the next one; over the last one a page is tried
`TRIES_MAX` times. All waiting here is real time; only `due_at`, `created_at` and `sent_at` are business time.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID, uuid5

import msgspec
from msgspec.structs import replace

FAILOVER = timedelta(seconds=30)
LEASE = timedelta(seconds=10)
"""How long a claim holds; longer than any channel's timeout."""
BACKOFF_SECONDS_MAX = 60.0
TRIES_MAX = 6
ERROR_CHARS_MAX = 500
PACED = {"slack": timedelta(seconds=1)}
"""The least time between two pages to one person over a channel that refuses more."""
SLOTS_KEPT_MAX = 10_000

_PAGES = UUID("6f6b2f0e-7a53-5d0b-9e0e-6a1d0c9a4f11")

Kind = Literal["owner", "manager", "reassigned"]
State = Literal["pending", "sending", "sent", "failed", "cancelled"]
TO_OWNER: frozenset[str] = frozenset({"owner", "reassigned"})


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One message to one person about one rung of one assignment."""

    id: str
    lead_id: str
    epoch: int
    rung: int
    kind: Kind
    person: str  # rep id; empty when there is nobody, which `error` explains
    channels: tuple[str, ...]  # in the order of the rung's `by`, never empty
    due_at: datetime
    created_at: datetime
    channel_index: int = 0
    state: State = "pending"
    next_at: datetime | None = None  # when somebody must look at it again; None once nobody must
    first_try_at: datetime | None = None  # of the current channel
    lease_until: datetime | None = None
    tries: int = 0  # over the current channel
    deliveries: int = 0  # over all; also tells one claim from the next
    provider_id: str | None = None
    error: str | None = None
    sent_at: datetime | None = None

    @property
    def channel(self) -> str:
        return self.channels[self.channel_index]

    @property
    def on_last_channel(self) -> bool:
        return self.channel_index + 1 >= len(self.channels)


def page_id(lead_id: str, epoch: int, rung: int, person: str) -> str:
    """The same for the same page, whoever works it out: a rung that fired twice could still not page twice."""
    return str(uuid5(_PAGES, f"{lead_id} {epoch} {rung} {person}"))


def claimed(page: Page, real: datetime) -> Page:
    """Being sent; should nobody say how that went until the lease ends, it is sent again."""
    until = real + LEASE
    return replace(
        page,
        state="sending",
        next_at=until,
        lease_until=until,
        first_try_at=page.first_try_at or real,
        tries=page.tries + 1,
        deliveries=page.deliveries + 1,
    )


def in_time(page: Page, real: datetime) -> Page:
    """The page as it may be claimed: on the next channel, if the current one had its time."""
    if page.first_try_at is not None and real >= page.first_try_at + FAILOVER and not page.on_last_channel:
        return _next_channel(page, real, page.error or "not accepted in time")
    return page


def postponed(page: Page, until: datetime, real: datetime) -> Page:
    """Not yet: the channel would refuse it for being one too many."""
    return replace(page, state="pending", next_at=until, lease_until=None, first_try_at=page.first_try_at or real)


def accepted(page: Page, provider_id: str, at: datetime) -> Page:
    """The channel took it, at this moment of business time."""
    done = replace(page, state="sent", provider_id=storable(provider_id), sent_at=at, error=None)
    return replace(done, next_at=None, lease_until=None)


def refused_for_now(page: Page, why: str, after_seconds: float | None, jitter: float, real: datetime) -> Page:
    """Once more over this channel, or at once over the next when this one has had its time. `jitter`: 0 to 1."""
    wait = timedelta(seconds=max(after_seconds or 0.0, backoff_seconds(page.tries) * jitter))
    if not page.on_last_channel:
        if real + wait >= (page.first_try_at or real) + FAILOVER:
            return _next_channel(page, real, why)
    elif page.tries >= TRIES_MAX:
        return _ended(page, "failed", why)
    return replace(page, state="pending", next_at=real + wait, lease_until=None, error=storable(why))


def refused_for_good(page: Page, why: str, real: datetime) -> Page:
    """The next channel at once; after the last one nobody can be told."""
    return _ended(page, "failed", why) if page.on_last_channel else _next_channel(page, real, why)


def cancelled(page: Page, why: str) -> Page:
    """Not to be sent, and why."""
    return _ended(page, "cancelled", why)


def backoff_seconds(tries: int) -> float:
    """The longest wait after so many tries: 1, 4, 16, then 60 s. Six tries outlast a minute without the other side."""
    return min(BACKOFF_SECONDS_MAX, 4.0 ** min(tries - 1, 10))


def storable(text: str) -> str:
    """What any database takes: no NUL, no lone surrogates, not too long."""
    return text.replace("\0", " ").encode(errors="replace").decode()[:ERROR_CHARS_MAX]


def _next_channel(page: Page, real: datetime, why: str) -> Page:
    moved = replace(page, channel_index=page.channel_index + 1, tries=0, first_try_at=None)
    return replace(moved, state="pending", next_at=real, lease_until=None, error=storable(why))


def _ended(page: Page, state: State, why: str) -> Page:
    return replace(page, state=state, next_at=None, lease_until=None, error=storable(why))


@dataclass
class Pace:
    """Who may be told again when, over the channels of `PACED`. In memory: after a restart it starts afresh, and
    the other side's own limit (a `TryAgain` with its wait) is what remains."""

    _free: dict[tuple[str, str], datetime] = field(default_factory=dict)
    _booked: dict[str, datetime] = field(default_factory=dict)

    def slot(self, page: Page, real: datetime) -> datetime | None:
        """When this page may go, booked for it; None when the next channel is sooner than its turn."""
        gap = PACED.get(page.channel)
        booked = self._booked.pop(page.id, None)
        if gap is None or (booked is not None and booked <= real):
            return real
        if len(self._booked) > SLOTS_KEPT_MAX:  # of pages that were cancelled meanwhile
            self._booked = {id: at for id, at in self._booked.items() if at > real}
            self._free = {key: at for key, at in self._free.items() if at > real}
        at = booked or max(real, self._free.get((page.channel, page.person), real))
        if not page.on_last_channel and at >= (page.first_try_at or real) + FAILOVER:
            return None
        if booked is None:
            self._free[page.channel, page.person] = at + gap
        if at > real:
            self._booked[page.id] = at
        return at


def moved_on(page: Page, real: datetime) -> Page:
    """On the next channel at once, since the current one has too much to say to this person."""
    return _next_channel(page, real, f"{page.channel} has too many pages waiting for this person")

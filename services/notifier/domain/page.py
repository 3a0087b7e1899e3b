"""One page: whom it tells, over which channel next, and when to try again.

A page is tried until a channel accepts it or it is no longer true. A channel that does not accept within `FAILOVER` is left
for the next one; after one round of all channels they take turns, ever more seldom, until a round takes a minute. All
waiting here is real time; only `due_at`, `created_at` and `sent_at` are business time.
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
REFUSED_SECONDS = 600.0
"""How long a page waits after every channel refused it for its person: the address may be corrected meanwhile."""
WAIT = timedelta(seconds=15)
WAIT_MAX = timedelta(minutes=10)
"""How long a page waits without a try while no channel of its own is up. The more pages wait, the longer: see `waiting`."""
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
    channels: tuple[str, ...]  # as the rung's `by` names them, never empty; not each is set up, or reaches the person
    due_at: datetime
    created_at: datetime
    channel_index: int = 0  # goes on past the last channel: every channel once is a round
    state: State = "pending"
    next_at: datetime | None = None  # when somebody must look at it again; None once nobody must
    first_try_at: datetime | None = None  # of the current channel
    tries: int = 0  # over the current channel
    refusals: int = 0  # in a row, by channels that will not take it for this person; kept once all have refused
    deliveries: int = 0  # over all; also tells one claim from the next
    provider_id: str | None = None
    error: str | None = None
    sent_at: datetime | None = None

    @property
    def channel(self) -> str:
        return self.channels[self.channel_index % len(self.channels)]

    @property
    def in_first_round(self) -> bool:
        return self.channel_index < len(self.channels)


def page_id(lead_id: str, epoch: int, rung: int, person: str) -> str:
    """The same for the same page, whoever works it out: a rung that fired twice could still not page twice."""
    return str(uuid5(_PAGES, f"{lead_id} {epoch} {rung} {person}"))


def claimed(page: Page, real: datetime) -> Page:
    """Being sent; should nobody say how that went until the lease ends, it is sent again."""
    return replace(
        page,
        state="sending",
        next_at=real + LEASE,
        first_try_at=page.first_try_at or real,
        tries=page.tries + 1,
        deliveries=page.deliveries + 1,
    )


def in_time(page: Page, real: datetime) -> Page:
    """The page as it may be claimed: on the next channel, if the current one had its time."""
    had_its_time = page.first_try_at is not None and real >= page.first_try_at + FAILOVER
    return moved(page) if had_its_time and len(page.channels) > 1 else page


def moved(page: Page, by: int = 1) -> Page:
    """The page on the channel so many further."""
    return replace(page, channel_index=page.channel_index + by, tries=0, first_try_at=None) if by else page


def postponed(page: Page, until: datetime, real: datetime) -> Page:
    """Not yet: the channel would refuse it for being one too many."""
    return replace(page, state="pending", next_at=until, first_try_at=page.first_try_at or real)


def waiting(page: Page, why: str, real: datetime) -> Page:
    """Not now: no channel of this page is up. A page that is looked at late is one of many, and waits longer, so that
    so many looks a second are enough however many wait."""
    late = max(real - page.next_at, timedelta(0)) if page.next_at is not None else timedelta(0)
    wait = min(max(WAIT, 4 * late), WAIT_MAX)
    return replace(page, state="pending", next_at=real + wait, error=storable(why))


def accepted(page: Page, provider_id: str, at: datetime) -> Page:
    """The channel took it, at this moment of business time."""
    return replace(page, state="sent", provider_id=storable(provider_id), sent_at=at, error=None, next_at=None)


def refused_for_now(page: Page, why: str, after_seconds: float | None, jitter: float, real: datetime, of: int) -> Page:
    """Once more over this channel; over the next one when this one has had its time. `jitter`: 0 to 1. `of` here and
    below: how many channels could tell the person."""
    page = _not_refused(page, of)
    if not page.in_first_round:
        wait = _pause_seconds(page, jitter, of)
        if of == 1:
            wait = max(after_seconds or 0.0, wait)
        return _again(moved(page), why, real + timedelta(seconds=wait))
    pause = timedelta(seconds=max(after_seconds or 0.0, backoff_seconds(page.tries) * jitter))
    if len(page.channels) > 1 and real + pause >= (page.first_try_at or real) + FAILOVER:
        return _turned(page, why, jitter, real, of)
    return _again(page, why, real + pause)


def refused_by_channel(page: Page, why: str, jitter: float, real: datetime, of: int, *, other_up: bool) -> Page:
    """The channel is down, or refuses us: the next one, at once if that one is up."""
    return _turned(_not_refused(page, of), why, 0.0 if other_up else jitter, real, of)


def refused_for_good(page: Page, why: str, jitter: float, real: datetime, of: int) -> Page:
    """The channel will not take it for this person: the next one. When all have said so, all over again much later."""
    page = replace(page, refusals=page.refusals + 1)
    if page.refusals >= of:
        return _again(moved(page), why, real + timedelta(seconds=REFUSED_SECONDS * (1.0 + jitter)))
    return _turned(page, why, jitter, real, of)


def _not_refused(page: Page, of: int) -> Page:
    return replace(page, refusals=0) if page.refusals < of else page


def _turned(page: Page, why: str, jitter: float, real: datetime, of: int) -> Page:
    """On the next channel: at once in the first round, later after a pause."""
    page = moved(page)
    seconds = 0.0 if page.in_first_round else _pause_seconds(page, jitter, of)
    return _again(page, why, real + timedelta(seconds=seconds))


def _pause_seconds(page: Page, jitter: float, of: int) -> float:
    """A share of the round, so that each channel has its turn within `BACKOFF_SECONDS_MAX`: a recovered one waits no longer,
    however many there are."""
    return backoff_seconds(page.deliveries) * jitter / of


def _again(page: Page, why: str, at: datetime) -> Page:
    return replace(page, state="pending", next_at=at, error=storable(why))


def cancelled(page: Page, why: str) -> Page:
    """Not to be sent, and why."""
    return replace(page, state="cancelled", next_at=None, error=storable(why))


def backoff_seconds(tries: int) -> float:
    """The longest wait after so many tries: 1, 4, 16, then 60 s."""
    return min(BACKOFF_SECONDS_MAX, 4.0 ** min(tries - 1, 10))


def storable(text: str) -> str:
    """What any database takes: no NUL, no lone surrogates, not too long."""
    return text.replace("\0", " ").encode(errors="replace").decode()[:ERROR_CHARS_MAX]


@dataclass
class Pace:
    """Who may be told again when, over the channels of `PACED`. In memory: after a restart it starts afresh, and
    the other side's own limit (a `TryAgain` with its wait) is what remains."""

    _free: dict[tuple[str, str], datetime] = field(default_factory=dict)
    _booked: dict[str, datetime] = field(default_factory=dict)

    def slot(self, page: Page, real: datetime, *, alone: bool) -> datetime | None:
        """When this page may go, booked for it; None when the next channel is sooner than its turn. `alone`: there is no
        other channel for it now."""
        gap = PACED.get(page.channel)
        booked = self._booked.pop(page.id, None)
        if gap is None or (booked is not None and booked <= real):
            return real
        if len(self._booked) > SLOTS_KEPT_MAX:  # of pages that were cancelled meanwhile
            self._booked = {id: at for id, at in self._booked.items() if at > real}
            self._free = {key: at for key, at in self._free.items() if at > real}
        at = booked or max(real, self._free.get((page.channel, page.person), real))
        if not alone and at >= (page.first_try_at or real) + FAILOVER:
            return None
        if booked is None:
            self._free[page.channel, page.person] = at + gap
        if at > real:
            self._booked[page.id] = at
        return at

    def set_back(self) -> None:
        """Start afresh: the host's clock was set back, and every time that is kept lies too far ahead."""
        self._free.clear()
        self._booked.clear()

"""One page: its recipient, its next channel, and when to try again.

A page is tried until a channel accepts it or it is cancelled. After `FAILOVER` without acceptance the page moves to the
next channel. After one round of all channels the intervals grow, until a round takes a minute. All waiting here is real
time; only `due_at`, `created_at` and `sent_at` are business time.
"""

from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID, uuid5

import msgspec
from msgspec.structs import replace

FAILOVER = timedelta(seconds=30)
LEASE = timedelta(seconds=10)
"""The duration of a claim: longer than the timeout of any channel."""
BACKOFF_SECONDS_MAX = 60.0
REFUSED_SECONDS = 600.0
"""The wait after every channel has rejected the recipient: the address may be corrected meanwhile."""
WAIT = timedelta(seconds=15)
WAIT_MAX = timedelta(minutes=10)
"""The wait while no channel of the page is up, from `WAIT` to `WAIT_MAX`. It grows with the number of pages: see `waiting`."""
ERROR_CHARS_MAX = 500
ALTHOUGH: Final = "sent although "
"""The beginning of `error` of a page to a person who is away. It stays once the page is sent."""
FIRST, REST = 0, 1
"""The ranks of pages: the first page about a lead of the most urgent urgency is claimed before the rest."""

_PAGES = UUID("6f6b2f0e-7a53-5d0b-9e0e-6a1d0c9a4f11")

Kind = Literal[
    "owner",
    "cover",
    "manager",
    "channel",
    "reassigned",
    "reminder",
    "missed",
    "queued",
    "again",
    "lost",
    "handed_on",
    "refused",
    "next_attempt",
    "test",
]
State = Literal["pending", "sending", "sent", "failed", "cancelled"]
Delay = Literal["", "rate_limit", "busy", "down", "quiet_hours", "budget"]
TO_OWNER: frozenset[str] = frozenset({"owner", "reassigned", "again"})


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One message to one person about one rung of one assignment."""

    id: str
    lead_id: str
    epoch: int
    rung: int  # see `page_number`
    kind: Kind
    person: str  # rep id, or a Slack channel (kind `channel`); empty: there is no recipient, and `error` says why
    # From the rung's `by`, never empty. A channel may not be set up, or may have no address of the person.
    channels: tuple[str, ...]
    due_at: datetime
    created_at: datetime
    channel_index: int = 0  # counts on after the last channel: one round is every channel once
    state: State = "pending"
    next_at: datetime | None = None  # when to look at the page again, or the end of the lease; None: the page has ended
    first_try_at: datetime | None = None  # of the current channel
    tries: int = 0  # over the current channel
    refusals: int = 0  # in a row, by channels that reject the recipient; kept once all have
    deliveries: int = 0  # over all channels; also distinguishes one claim from the next
    provider_id: str | None = None
    error: str | None = None
    sent_at: datetime | None = None
    claimed_at: datetime | None = None  # the last claim (business time), while the page is sent or being sent
    carrier: str | None = None  # the page in whose message this one is sent; None: it has a message of its own
    rank: int = REST
    delay: Delay = ""  # what a pending page waits for, while no attempt has failed; `error` says it to people

    @property
    def channel(self) -> str:
        """The current channel."""
        return self.channels[self.channel_index % len(self.channels)]

    @property
    def in_first_round(self) -> bool:
        """Whether some channel was not tried yet."""
        return self.channel_index < len(self.channels)


def channel_recipient(to: str) -> str:
    """Return the recipient `person` of a page to this Slack channel: it begins with `#`, which no rep id does."""
    return to if to.startswith("#") else f"#{to}"


def slack_channel(recipient: str) -> str:
    """Return the Slack channel of a recipient that `channel_recipient` made: `#name`, or the id without the `#`."""
    return recipient if recipient[1:2].islower() or not recipient[1:].isalnum() else recipient[1:]


REQUEST_PAGES: Final = 1_000_000
"""Page numbers for each request of the person within one assignment."""
WAITING: Final = 500_000
"""The number of the first page about a lead without an owner."""
MISSED: Final = 900_000
"""The number of the notice of a missed promise."""

LOST: Final = 900_001
"""The number of the notice to a rep who lost the lead."""

HANDED_ON: Final = 900_002
"""The number of the page to the next owner of a lead whose person was contacted before."""

REFUSED: Final = 900_003
"""The first number of the notices to people whose click did not pass the lead on. Each click has its own."""


def page_number(request: int, index: int) -> int:
    """Return the number `rung` of a page: the `index` of its rung, counted on after the ladder by reminders, or of a notice."""
    return request * REQUEST_PAGES + index


def index_of(rung: int) -> int:
    """Return the index of a page number."""
    return rung % REQUEST_PAGES


def is_about_queue(rung: int) -> bool:
    """Return whether a page of this number is about a lead without an owner: the alert of the queue, or its reminder."""
    return WAITING <= index_of(rung) < MISSED


def page_id(lead_id: str, epoch: int, rung: int, person: str) -> str:
    """Return the id of a page: it follows from its arguments, so that a rung that fires twice makes one page."""
    return str(uuid5(_PAGES, f"{lead_id} {epoch} {rung} {person}"))


def claimed(page: Page, real: datetime, now: datetime, carrier: str | None = None) -> Page:
    """Return the page in state `sending`. If no outcome is recorded before the lease ends, it is sent again."""
    return replace(
        page,
        state="sending",
        next_at=real + LEASE,
        first_try_at=page.first_try_at or real,
        tries=page.tries + 1,
        deliveries=page.deliveries + 1,
        claimed_at=now,
        carrier=carrier,
        delay="",
    )


def carried(page: Page, carrier: Page, real: datetime, now: datetime) -> Page:
    """Return the page, claimed in the message of another page to the same person."""
    offset = (page.channels.index(carrier.channel) - page.channel_index) % len(page.channels)
    return claimed(moved(page, offset), real, now, carrier.id)


def in_time(page: Page, real: datetime) -> Page:
    """Return the page, moved to the next channel if the current one was tried for `FAILOVER`."""
    had_its_time = page.first_try_at is not None and real >= page.first_try_at + FAILOVER
    return moved(page) if had_its_time and len(page.channels) > 1 else page


def moved(page: Page, by: int = 1) -> Page:
    """Return the page, moved on by so many channels."""
    return replace(page, channel_index=page.channel_index + by, tries=0, first_try_at=None) if by else page


def postponed(page: Page, until: datetime, real: datetime, why: str) -> Page:
    """Return the page, to be sent at `until`: the channel would exceed its rate limit before."""
    return _delayed(page, "rate_limit", why, until, real)


def queued(page: Page, real: datetime) -> Page:
    """Return the page, to be sent once its channel has a free slot. After `FAILOVER` it is looked at again."""
    return _delayed(page, "busy", f"{page.channel} is busy with earlier pages", real, real)


def tried_now(page: Page, real: datetime) -> Page:
    """Return a waiting page, to be tried at once over its current channel. What was tried before still counts."""
    return replace(page, next_at=real, delay="")


def held(page: Page, delay: Delay, until: datetime, why: str) -> Page:
    """Return the page, not to be sent to this person before `until`. The time over its channel then begins anew."""
    return replace(_pending(page, until, why), first_try_at=None, tries=0, delay=delay)


def _delayed(page: Page, delay: Delay, why: str, until: datetime, real: datetime) -> Page:
    return replace(_pending(page, until, why), first_try_at=page.first_try_at or real, delay=delay)


def _pending(page: Page, next_at: datetime, why: str) -> Page:
    return replace(page, state="pending", next_at=next_at, claimed_at=None, carrier=None, error=storable(why))


def waiting(page: Page, why: str, real: datetime) -> Page:
    """Return the page, waiting because none of its channels is up.

    The wait grows with the lateness of this look, so that the number of looks per second is bounded.
    """
    late = max(real - page.next_at, timedelta(0)) if page.next_at is not None else timedelta(0)
    wait = min(max(WAIT, 4 * late), WAIT_MAX)
    return replace(_pending(page, real + wait, why), delay="down")


def accepted(page: Page, provider_id: str, at: datetime) -> Page:
    """Return the page as accepted by the channel; `at` in business time."""
    error = page.error if page.error is not None and page.error.startswith(ALTHOUGH) else None
    return replace(page, state="sent", provider_id=storable(provider_id), sent_at=at, error=error, next_at=None)


def refused_for_now(page: Page, why: str, after_seconds: float | None, jitter: float, real: datetime, of: int) -> Page:
    """Return the page after a temporary failure: on this channel again, or on the next one after `FAILOVER`.

    Args:
        after_seconds: The wait that the provider asked for; None: it asked for none.
        jitter: 0 to 1, spreads retries.
        of: The number of channels that are usable for the recipient (here and below).
    """
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
    """Return the page on the next channel, because this one is down. It is due at once if another channel is up."""
    return _turned(_not_refused(page, of), why, 0.0 if other_up else jitter, real, of)


def refused_for_good(page: Page, why: str, jitter: float, real: datetime, of: int) -> Page:
    """Return the page on the next channel, because this one rejects the recipient. After all have, the page waits long."""
    page = replace(page, refusals=page.refusals + 1)
    if page.refusals >= of:
        return _again(moved(page), why, real + timedelta(seconds=REFUSED_SECONDS * (1.0 + jitter)))
    return _turned(page, why, jitter, real, of)


def _not_refused(page: Page, of: int) -> Page:
    return replace(page, refusals=0) if page.refusals < of else page


def _turned(page: Page, why: str, jitter: float, real: datetime, of: int) -> Page:
    """Return the page on the next channel: due at once in the first round, after a pause later."""
    page = moved(page)
    seconds = 0.0 if page.in_first_round else _pause_seconds(page, jitter, of)
    return _again(page, why, real + timedelta(seconds=seconds))


def _pause_seconds(page: Page, jitter: float, of: int) -> float:
    """Return the share of one channel in a round of at most `BACKOFF_SECONDS_MAX`, so that each channel is tried in time."""
    return backoff_seconds(page.deliveries) * jitter / of


def _again(page: Page, why: str, at: datetime) -> Page:
    return _pending(page, at, why)


def cancelled(page: Page, why: str) -> Page:
    """Return the page as cancelled; `why` is shown to people."""
    return replace(page, state="cancelled", next_at=None, claimed_at=None, carrier=None, error=storable(why))


def backoff_seconds(tries: int) -> float:
    """Return the longest wait after so many tries: 1, 4, 16, then 60 s."""
    return min(BACKOFF_SECONDS_MAX, 4.0 ** min(tries - 1, 10))


def storable(text: str, chars_max: int = ERROR_CHARS_MAX) -> str:
    """Return the text without NUL and lone surrogates, cut to `chars_max`, so that every database accepts it."""
    return text[:chars_max].replace("\0", " ").encode(errors="replace").decode()

"""Limits at the door: requests of a source, posts of forms from a client address, and for a mail domain.

What is beyond a limit is answered 429. The tables are bounded, so that no sender can make them grow.
"""

from math import ceil
from typing import Final

from firsthour.kernel.normalisation.emails import email_kind
from firsthour.runtime.http.client_address import public_sender
from firsthour.runtime.http.problem import Problem
from schemas.sources import Quota

KEYS_MAX: Final = 10_000
MINUTE_SECONDS: Final = 60.0
QUOTAS_AT_THE_DOOR: Final = 10
"""A source is refused from this many times its `per_minute` on. Between the two, it is accepted and sorted."""


class Windows:
    """Counts by key. All counts begin anew after a fixed time, or when there are too many keys."""

    def __init__(self, seconds: float, keys_max: int = KEYS_MAX) -> None:
        self._seconds, self._keys_max = seconds, keys_max
        self._counts: dict[str, int] = {}
        self.end = 0.0
        """When all counts begin anew, in monotonic seconds."""

    def __len__(self) -> int:
        return len(self._counts)

    def number(self, key: str) -> int:
        """Return the number of this key in the window of the last `add`."""
        return self._counts.get(key, 0)

    def add(self, key: str, now: float, number: int = 1) -> int:
        """Count, and return the number of this key in this window."""
        if now >= self.end or len(self._counts) > self._keys_max:
            self._counts, self.end = {}, now + self._seconds
        counted = self._counts.get(key, 0) + number
        self._counts[key] = counted
        return counted


class DoorLimits:
    """The limits of one process. Its times are monotonic seconds."""

    def __init__(self, posts_per_minute: int) -> None:
        """`posts_per_minute`: posts of forms from one client address, and for one mail domain."""
        self._posts = posts_per_minute
        self._addresses, self._domains = Windows(MINUTE_SECONDS), Windows(MINUTE_SECONDS)
        self._sources = Windows(MINUTE_SECONDS)
        self._relayed_domains, self._relayed_clients = Windows(MINUTE_SECONDS), Windows(MINUTE_SECONDS)

    def of_client(self, client: str) -> int:
        """Return the posts of this client in this minute."""
        return self._addresses.number(client)

    def check_address(self, address: str, now: float) -> None:
        """Count a post of a form. Raises `Problem` 429.

        Addresses that are not of the internet are not counted: they may be those of a proxy, behind which all clients are.
        """
        sender = public_sender(address)
        if sender and self._addresses.add(sender, now) > self._posts:
            raise _too_many("from this address", self._addresses, now)

    def check_domain(self, domain: str, now: float) -> int:
        """Count a form with this mail domain. Return their number in this minute. Raises `Problem` 429."""
        number = self._domains.add(domain, now)
        if number > self._posts:
            raise _too_many("for this mail domain", self._domains, now)
        return number

    def count_relayed(self, domain: str, client: str, now: float) -> tuple[int, int]:
        """Count a request that a program passed on. Return the numbers of its domain and of its client in this minute.

        Nothing is refused: the program has proven itself. Empty names are not counted.
        """
        of_domain = self._relayed_domains.add(domain, now) if domain else 0
        return of_domain, self._relayed_clients.add(client, now) if client else 0

    def check_source(self, source: str, quota: Quota, events: int, now: float) -> None:
        """Count the events of a request. Raises `Problem` 429 beyond ten times the quota of a minute."""
        if quota.per_minute is None:
            return
        if self._sources.add(source, now, events) > quota.per_minute * QUOTAS_AT_THE_DOOR:
            raise _too_many(f"for the source {source}", self._sources, now)


def mail_domain(email: str | None) -> str:
    """Return the domain of an address. Empty: there is none, or its mailboxes are free, so that it names no company."""
    domain = email.rpartition("@")[2] if email else ""
    return "" if not domain or email_kind(domain) == "free" else domain


def _too_many(of: str, windows: Windows, now: float) -> Problem:
    seconds = max(1, ceil(windows.end - now))
    return Problem(
        429,
        "",
        f"Too many requests came {of}. Send again in {seconds} s.",
        headers={"Retry-After": str(seconds)},
    )

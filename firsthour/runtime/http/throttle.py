"""Counts failed attempts per address in a bounded table."""

from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from math import ceil
from typing import Final

from firsthour.runtime.clock import Clock

ATTEMPTS_MAX: Final = 20
WINDOW_SECONDS: Final = 60.0
ADDRESSES_MAX: Final = 10_000
_NETWORK_BITS: Final = 64  # of an IPv6 address; one subscriber has all addresses of such a network


@dataclass
class Throttle:
    """Counts failures in windows of `WINDOW_SECONDS`. When the table is full, the oldest window is dropped."""

    clock: Clock
    _windows: dict[str, tuple[float, int]] = field(default_factory=dict)  # (end, failures), the oldest first

    def failed(self, address: str) -> int | None:
        """Count a failure. Return the seconds until the next window if there are too many. None: there are not."""
        now, source = self.clock.monotonic(), network(address)
        end, failures = self._windows.get(source, (0.0, 0))
        if now >= end:
            self._windows.pop(source, None)
            end, failures = now + WINDOW_SECONDS, 0
            if len(self._windows) >= ADDRESSES_MAX:
                del self._windows[next(iter(self._windows))]
        self._windows[source] = end, failures + 1
        return ceil(end - now) if failures >= ATTEMPTS_MAX else None


def network(address: str) -> str:
    """Return the network of one sender: an IPv4 address, or an IPv6 network of 64 bits."""
    try:
        ip = ip_address(address)
    except ValueError:
        return address[:100]
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return f"{int(ip) >> (128 - _NETWORK_BITS):x}::/{_NETWORK_BITS}"
    return str(ip)

"""Addresses of hosts that a file or a person named: private ones are refused, and the checked address is the one connected to.

A name that is looked up again for the connection could lead elsewhere then. So the connection is made to the address that
was checked, under the name of the host.
"""

import asyncio
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

from schemas.errors import FirstHourError

ADDRESSES_MAX: Final = 3
"""Addresses of a host that are tried for one call."""
_NAT64: Final = IPv6Network("64:ff9b::/96")
_OF_THE_HOST: Final = frozenset({IPv4Address("168.63.129.16")})
"""Addresses of the public network that lead to services of the machine's own cloud, such as its metadata."""
_6TO4: Final = IPv6Network("2002::/16")
Address = IPv4Address | IPv6Address


class PrivateAddressError(FirstHourError):
    """Raised for a host with an address that is not on the public network."""


class UnknownHostError(FirstHourError):
    """Raised for a host without an address."""


def is_public(address: Address) -> bool:
    """Return whether the address is on the public network. An IPv6 address that stands for an IPv4 one counts as that one."""
    if isinstance(address, IPv6Address):
        inner = _inner(address)
        if inner is not None:
            return is_public(inner)
        if address.is_site_local:  # `is_global` is true for these
            return False
    return address not in _OF_THE_HOST and address.is_global and not address.is_multicast and not address.is_reserved


def _inner(address: IPv6Address) -> IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return IPv4Address(address.packed[-4:])
    if address in _6TO4:
        return IPv4Address(address.packed[2:6])
    return address.teredo[1] if address.teredo else None


async def addresses_of(host: str, port: int, *, private_allowed: bool) -> Sequence[str]:
    """Return some addresses of the host, those of IPv4 first.

    Raises:
        PrivateAddressError: one of its addresses is private, and these are not allowed.
        UnknownHostError: it has none.
    """
    try:
        answers = await asyncio.get_running_loop().getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UnknownHostError(f"the host has no address ({type(error).__name__})") from None
    # `%` separates the zone of a link-local address
    addresses = sorted({ip_address(str(answer[4][0]).partition("%")[0]) for answer in answers}, key=_order)
    if not private_allowed and not all(map(is_public, addresses)):
        raise PrivateAddressError("the host has a private address")
    if not addresses:
        raise UnknownHostError("the host has no address")
    return [str(address) for address in addresses[:ADDRESSES_MAX]]


def _order(address: Address) -> tuple[int, bytes]:
    return address.version, address.packed

"""The address of the client behind proxies, and the network that counts as one sender."""

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Network = IPv4Network | IPv6Network

FORWARDED: Final = b"x-forwarded-for"
HOPS_MAX: Final = 10
"""Addresses at the end of the header that are read: a client may send any number of them."""
ADDRESS_CHARS_MAX: Final = 100
_MAPPED: Final = "::ffff:"
_OCTET: Final = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4: Final = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}", re.ASCII).fullmatch
_LOCAL_IPV4: Final = re.compile(
    r"(?:127|10)\.|192\.168\.|169\.254\.|172\.(?:1[6-9]|2\d|3[01])\.|100\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.",
    re.ASCII,
).match
_CACHED: Final = 4_096
_NETWORK_BITS: Final = 64  # of an IPv6 address; one subscriber has all addresses of such a network
_LOCAL: Final[tuple[Network, ...]] = tuple(ip_network(text) for text in ("::1/128", "fc00::/7", "fe80::/10"))


class TrustedProxies:
    """The proxies whose `X-Forwarded-For` is believed."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self._hosts = frozenset(str(one.network_address) for one in networks if one.num_addresses == 1)
        self._networks = tuple(one for one in networks if one.num_addresses > 1)
        self._is_in_network = lru_cache(_CACHED)(self._look_up)  # proxies are few, and each sends many requests

    def client(self, peer: str, forwarded: bytes) -> str:
        """Return the address of the client: the last one in the header that is no trusted proxy.

        Args:
            peer: The address of the connection. If it is no trusted proxy, the header is not read.
            forwarded: The value of `X-Forwarded-For`, with those of repeated headers in order; empty: there is none.
        """
        if not forwarded or not self.trusts(peer):
            return peer
        if b"," not in forwarded:  # one proxy, as before most installations
            return _address(forwarded.decode("latin-1").strip()) or peer
        client = peer
        for hop in reversed(forwarded.decode("latin-1").rsplit(",", HOPS_MAX)[-HOPS_MAX:]):
            address = _address(hop.strip())
            if address is None:
                break
            client = address
            if not self.trusts(address):
                break
        return client

    def trusts(self, address: str) -> bool:
        """Return whether this is the address of a trusted proxy."""
        if address in self._hosts:
            return True
        if not self._networks and not address.startswith(_MAPPED):
            return False
        return self._is_in_network(address[:ADDRESS_CHARS_MAX])

    def _look_up(self, address: str) -> bool:
        try:
            ip = ip_address(address)
        except ValueError:
            return False
        if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
            return self.trusts(str(ip.ipv4_mapped))
        return any(ip in network for network in self._networks)


def _address(text: str) -> str | None:
    """Return an address without its port. None: it is none."""
    if len(text) > ADDRESS_CHARS_MAX:
        return None
    if _IPV4(text):  # the usual case; the library takes ten times as long
        return text
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ip_address(text))
    except ValueError:
        return None


def network(address: str) -> str:
    """Return the network of one sender: an IPv4 address, or an IPv6 network of 64 bits."""
    try:
        ip = ip_address(address)
    except ValueError:
        return address[:ADDRESS_CHARS_MAX]
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return f"{int(ip) >> (128 - _NETWORK_BITS):x}::/{_NETWORK_BITS}"
    return str(ip)


@lru_cache(_CACHED)
def public_sender(address: str) -> str:
    """Return the network of a sender on the internet. Empty: the address is local, or none; it may be an untrusted proxy."""
    if _IPV4(address):
        return "" if _LOCAL_IPV4(address) else address
    try:
        ip = ip_address(address)
    except ValueError:
        return ""
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        return public_sender(str(ip.ipv4_mapped))
    return "" if any(ip in one for one in _LOCAL) else network(address)

"""Connects to a host by whichever of its addresses answers first."""

import asyncio
import socket
import ssl
from collections.abc import Iterable
from itertools import chain, zip_longest
from typing import Any, Final

from firsthour.runtime.http.client_connection import ClientConnection

HEAD_START_SECONDS: Final = 0.25
"""How long an address is tried before the next one is tried beside it (RFC 8305)."""

AddressInfo = tuple[Any, Any, int, str, Any]
"""One answer of `getaddrinfo`."""


async def connect(host: str, port: int, tls: ssl.SSLContext | None) -> ClientConnection:
    """Return a new connection. `tls` None: in plain text. Raises `OSError`, also for a certificate that is not of this host."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    connected = await first_connected(in_turn(found))
    try:
        _, connection = await loop.create_connection(
            ClientConnection, sock=connected, ssl=tls, server_hostname=host if tls else None
        )
    except BaseException:
        connected.close()
        raise
    return connection


def in_turn(found: Iterable[AddressInfo]) -> list[AddressInfo]:
    """Return the addresses with those of IPv6 and IPv4 in turn, each family in its order."""
    families: dict[int, list[AddressInfo]] = {}
    for info in found:
        families.setdefault(info[0], []).append(info)
    return [info for info in chain.from_iterable(zip_longest(*families.values())) if info is not None]


async def first_connected(addresses: Iterable[AddressInfo]) -> socket.socket:
    """Return a socket that is connected to one of these addresses. Raises the last `OSError` if none can be."""
    attempts: set[asyncio.Task[OSError | None]] = set()
    opened: list[socket.socket] = []
    failure = OSError("the host has no address")
    try:
        for address in [*addresses, None]:  # None: wait for all that are left
            if address is not None:
                attempts.add(asyncio.create_task(_connect(address, opened)))
            while attempts:
                seconds = None if address is None else HEAD_START_SECONDS
                done, attempts = await asyncio.wait(attempts, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
                if opened:
                    return opened.pop(0)
                failure = next((error for task in done if (error := task.result()) is not None), failure)
                if address is not None:
                    break
        raise failure
    finally:
        for attempt in attempts:
            attempt.cancel()
        for unused in opened:
            unused.close()


async def _connect(address: AddressInfo, opened: list[socket.socket]) -> OSError | None:
    """Add a connected socket to `opened`, or return why there is none."""
    family, kind, protocol, _, place = address
    attempt = socket.socket(family, kind, protocol)
    try:
        attempt.setblocking(False)
        attempt.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(attempt, place)
    except OSError as error:
        attempt.close()
        return error
    except BaseException:
        attempt.close()
        raise
    opened.append(attempt)
    return None

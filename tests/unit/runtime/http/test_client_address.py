"""The address of a client behind proxies."""

from ipaddress import ip_network

import pytest

from firsthour.runtime.http.client_address import HOPS_MAX, TrustedProxies, public_sender

PROXIES = TrustedProxies([ip_network("127.0.0.1"), ip_network("10.0.0.0/8")])


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("127.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("198.51.100.1", "198.51.100.7", "198.51.100.1"),  # anyone may send the header
        ("127.0.0.1", "203.0.113.1, 198.51.100.7, 10.2.3.4", "198.51.100.7"),  # what the client claims comes first
        ("127.0.0.1", "10.2.3.4", "10.2.3.4"),
        ("::ffff:10.1.1.1", "198.51.100.7", "198.51.100.7"),
        ("127.0.0.1", "198.51.100.7:4711", "198.51.100.7"),
        ("127.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
        ("127.0.0.1", "198.51.100.7, unknown", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.007", "127.0.0.1"),
        ("::ffff:127.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("127.0.0.1", "x" * 5_000, "127.0.0.1"),
        ("127.0.0.1", ", ,", "127.0.0.1"),
    ],
)
def test_client_is_the_last_address_that_is_no_trusted_proxy(peer: str, forwarded: str, client: str) -> None:
    assert PROXIES.client(peer, forwarded.encode()) == client


def test_number_of_proxies_is_bounded() -> None:
    chain = ", ".join(["198.51.100.7", *["10.0.0.1"] * HOPS_MAX])
    assert PROXIES.client("127.0.0.1", chain.encode()) == "10.0.0.1"


@pytest.mark.parametrize(
    ("address", "sender"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("2001:db8::1", "20010db800000000::/64"),
        ("100.63.255.255", "100.63.255.255"),
        ("100.128.0.0", "100.128.0.0"),
        ("172.15.0.1", "172.15.0.1"),
        ("172.32.0.1", "172.32.0.1"),
        *((local, "") for local in ("127.0.0.1", "10.1.2.3", "172.16.0.1", "172.31.9.9", "192.168.1.1", "169.254.1.1")),
        *(
            (local, "")
            for local in ("100.64.0.0", "100.127.255.255", "::1", "fd00::1", "fe80::1", "::ffff:10.0.0.1", "", "x")
        ),
    ],
)
def test_sender_on_the_internet_is_told_from_a_local_address(address: str, sender: str) -> None:
    assert public_sender(address) == sender

"""Which addresses webhooks may reach. Whoever may put a webhook chooses a URL, and must not reach by it what only this
service can (server-side request forgery)."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address

_WORDS: Mapping[str, tuple[str, ...]] = {
    "loopback": ("127.0.0.0/8", "::1/128"),
    # RFC 1918, RFC 6598 and RFC 4193.
    "private": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"),
}
_PUBLIC = "public"
_METADATA = frozenset(
    # What clouds tell their machines of themselves, credentials among it, at addresses that aren't link-local: Azure,
    # Alibaba Cloud, Oracle Cloud, AWS, Google Cloud.
    map(ip_address, ("168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254"))
)
_TRANSLATED = IPv6Network("64:ff9b::/96")
"""IPv4 addresses as NAT64 is asked for them (RFC 6052)."""
_GLOBAL = IPv6Network("2000::/3")
"""All that is public of IPv6 (RFC 4291, 2.4). Outside of it IPv4 addresses can be hidden in other ways (RFC 8215, RFC
7915)."""


class AddressRefused(OSError):
    """This address may not be reached."""


class Networks:
    """What may be reached: `public`, `private` and `loopback` addresses, and networks such as `10.1.0.0/16`. What is
    link-local, and what clouds keep for their own, only where a network names it."""

    def __init__(self, allowed: Iterable[str]) -> None:
        """Raises ValueError for what is neither a word nor a network."""
        names = [name for name in map(str.strip, allowed) if name]
        self._public = _PUBLIC in names
        self._groups = [ip_network(each) for name in names if name in _WORDS for each in _WORDS[name]]
        self._named = [ip_network(name) for name in names if name != _PUBLIC and name not in _WORDS]

    def allow(self, host: str) -> bool:
        """Whether an address, in its usual form, may be reached."""
        address = _meant(ip_address(host.partition("%")[0]))
        if any(address in network for network in self._named):
            return True
        if address in _METADATA:
            return False
        if any(address in network for network in self._groups):
            return True
        if isinstance(address, IPv6Address) and address not in _GLOBAL:
            return False
        return self._public and address.is_global and not address.is_multicast

    def socket(self, info: tuple[int, int, int, str, tuple[object, ...]]) -> socket.socket:
        """A socket to connect to an address that was resolved: so it's this one that is checked, and not one that the
        name had a moment ago. Raises `AddressRefused`."""
        family, kind, protocol, _, (host, *_) = info
        if not self.allow(str(host)):
            raise AddressRefused
        return socket.socket(family, kind, protocol)


def _meant(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, or itself."""
    if isinstance(address, IPv6Address):
        if inside := address.ipv4_mapped or address.sixtofour:
            return inside
        if address in _TRANSLATED:
            return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address

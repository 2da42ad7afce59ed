"""Where an address leads, and whether it may be contacted.

Each host gets one spelling before anything is compared, so that what was checked is what `fetcher` contacts.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from annotriage.errors import MediaError, SettingError
from annotriage.states import Failure

PORTS = {"http": 80, "https": 443}
PUBLIC_V6 = ipaddress.ip_network("2000::/3")  # what is given out for the internet; IPv4 in disguise lies outside, but for 6to4
NOT_PUBLIC = tuple(map(ipaddress.ip_network, ("2002::/16", "3fff::/20", "192.0.0.0/24", "192.88.99.0/24")))  # 6to4, documents, protocols
FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True)
class Origin:
    """Where an address leads: scheme, host (a name in lower-case ASCII, or an IP address in its usual spelling) and port."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Origin:
        """The origin of an http(s) address, however it is spelled. Raises MediaError if it is none."""
        try:
            return read_url(url)[0]
        except MediaError as error:
            raise MediaError(error.failure, f"{shown(url)}: {error}") from error

    def __str__(self) -> str:
        """As in a Host header: with the port, unless it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


@dataclass(frozen=True)
class HostRule:
    """One entry of the list of hosts. port: None = any. below: it stands for all names below `host`, not for `host` itself."""

    host: str
    port: int | None
    below: bool

    @classmethod
    def read(cls, entry: str) -> HostRule:
        """The rule in an entry of the setting media_hosts. Raises SettingError if it is no host."""
        text = entry.strip()
        below = text.startswith("*.")
        name = text.removeprefix("*.")
        if name.count(":") > 1 and "[" not in name:
            name = f"[{name}]"
        try:
            parts = _split_url(f"http://{name}")
            host = _host(parts)
        except MediaError as error:
            raise SettingError(f"setting media_hosts: {entry!r}: {error}; name a host, as cdn.example.com or *.example.com") from error
        if parts.netloc != name or (below and is_address(host)):
            raise SettingError(f"setting media_hosts: {entry!r} is no host; name one, as cdn.example.com, *.example.com or 10.0.0.7:8080")
        return cls(host, parts.port, below)

    def covers(self, origin: Origin) -> bool:
        """Whether the origin is one of those that the entry stands for."""
        same = origin.host.endswith(f".{self.host}") if self.below else origin.host == self.host
        return same and self.port in (None, origin.port)


def read_url(url: str) -> tuple[Origin, str]:
    """Where an address leads and what to ask for there. Raises MediaError, not naming the address, if it is no http(s) one."""
    parts = _split_url(url)
    port = parts.port or PORTS[parts.scheme]
    return Origin(parts.scheme, _host(parts), port), (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def shown(url: str) -> str:
    """The address for messages and logs: without query, fragment and password, where secrets and signatures are."""
    text = re.sub(r"//[^/\\]*@", "//", re.split("[?#]", url, maxsplit=1)[0])
    text = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    return text if len(text) <= 200 else f"{text[:197]}..."


def is_address(host: str) -> bool:
    """Whether a host in its one spelling is an IP address, not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_public(text: str) -> bool:
    """Whether an address is one of the internet's, for one machine, and does not stand for another address."""
    address = ipaddress.ip_address(text)
    if not address.is_global or address.is_multicast or address.is_reserved or address.is_unspecified:
        return False
    return (address.version == 4 or address in PUBLIC_V6) and not any(address in network for network in NOT_PUBLIC)


def _split_url(url: str) -> SplitResult:
    if FORBIDDEN.search(url):
        raise MediaError(Failure.ADDRESS, "the address holds a control character; correct the item's data")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise MediaError(Failure.ADDRESS, f"is no valid address ({error}); correct the item's data") from error
    if parts.scheme not in PORTS:
        raise MediaError(Failure.ADDRESS, "is no http or https address; only these are fetched")
    if "@" in parts.netloc:
        raise MediaError(Failure.ADDRESS, "the address holds a user name or password; remove it and what follows up to the @")
    if not parts.hostname or port == 0:
        raise MediaError(Failure.ADDRESS, "the address names no host or the port 0; correct the item's data")
    return parts


def _host(parts: SplitResult) -> str:
    """The host in its one spelling: what is compared with the list is what is contacted."""
    host = parts.hostname or ""
    try:
        if "[" in parts.netloc:
            if "%" in host:
                raise ValueError("a network interface in an IP address")
            return str(ipaddress.IPv6Address(host))
        name = host.encode("idna").decode("ascii").lower().removesuffix(".")
        if not re.fullmatch(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", name) or len(name) > 253:
            raise ValueError("not made of letters, digits, hyphens and dots")
        if re.fullmatch(r"\d+|0x[0-9a-f]*", name.rpartition(".")[2]):  # 127.1, 0x7f000001 and 017700000001 are IP addresses too
            return socket.inet_ntoa(socket.inet_aton(name))
        return name
    except (ValueError, OSError) as error:
        raise MediaError(Failure.ADDRESS, f"has no valid host ({error}); correct the item's data") from error

"""The guarded fetcher of media: the bytes behind an address, or the reason why there are none.

Whoever can create an item writes its address, so addresses are taken for hostile: only listed hosts are contacted, at the very
address that was checked, for a bounded time, up to a bounded size; and each redirect is checked like the address it started from.
"""

from __future__ import annotations

import logging
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

from urllib3 import BaseHTTPResponse, HTTPConnectionPool, Retry, Timeout
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    InvalidHeader,
    NewConnectionError,
    ProtocolError,
    SSLError,
)

from annotriage.errors import MediaError, MediaUnavailable
from annotriage.media import deadline
from annotriage.media.object_store import is_stored
from annotriage.media.url_policy import HostRule, Origin, is_address, is_public, read_url, shown
from annotriage.states import Failure

__all__ = ["Fetcher", "Limits", "Origin"]

KEPT_HOSTS = 64  # pools of connections, and with them idle sockets, however many hosts a wildcard covers
NAME_SECONDS = 60.0  # how long the addresses of a name are kept
KEPT_NAMES = 4096
CHUNK = 2**16  # bytes

logging.getLogger("urllib3").setLevel(logging.ERROR)  # its other lines show whole addresses, the signatures in them included


@dataclass(frozen=True)
class Limits:
    """How much one file may cost.

    seconds: for everything, from resolving the name to the last byte, redirects included; it ends also what only trickles.
    connect_seconds: for one connection to be opened. size: bytes, sent and unpacked. redirects: how many are followed.
    """

    seconds: float = 30.0
    connect_seconds: float = 5.0
    size: int = 64 * 2**20
    redirects: int = 3


class Fetcher:
    """Fetches media over kept connections; any number of threads may use one.

    allowed: hosts that may be contacted: "images.example.com", "*.example.com" (all below it), "10.0.0.7", with a port
        ("cdn.example.com:8443") on that port alone. Addresses that are not public (loopback, private, link-local ...) are
        contacted only for a host that is listed as it is, not by a wildcard.
    trusted: base addresses ("http://127.0.0.1:8080"), allowed as well and private if need be, each with a function that gives
        the headers (credentials) of a request, called with its path and query; only requests to that very origin carry them.
    connections: open at most per host, and kept.
    Raises SettingError if `allowed` names what is no host, MediaError if a base address of `trusted` is none.
    """

    def __init__(
        self,
        allowed: Sequence[str],
        *,
        trusted: Mapping[str, Callable[[str], Mapping[str, str]]] = {},
        limits: Limits = Limits(),
        connections: int = 8,
    ) -> None:
        self._rules = [HostRule.read(entry) for entry in allowed if not is_stored(entry)]  # buckets are for `object_store`
        self._trusted = {Origin.of(base): headers for base, headers in trusted.items()}
        self._limits = limits
        self._names = _Names()
        self._pools = deadline.pool_manager(KEPT_HOSTS, connections)

    def get(self, url: str, where: str) -> bytes:
        """The content of a file. where: names the item in errors, as "task 41".

        Raises MediaUnavailable if trying again later may help (timeouts, broken connections, 429, 5xx), else MediaError; and
        whatever a function of `trusted` raises.
        """
        deadline.start(self._limits.seconds)
        hops = [url]
        try:
            return self._follow(hops)
        except MediaError as error:
            failure = error
        except (HTTPError, TimeoutError) as error:
            failure = _explained(error, self._limits)
            failure.__cause__ = error
        failure.args = (f"{where}: {' redirects to '.join(map(shown, hops))}: {failure}",)
        raise failure

    def close(self) -> None:
        """Close the kept connections."""
        self._pools.clear()

    def _follow(self, hops: list[str]) -> bytes:
        """The content at the end of the redirects, which are appended to `hops`."""
        while len(hops) <= self._limits.redirects + 1:
            found = self._ask(hops[-1])
            if isinstance(found, bytes):
                return found
            hops.append(found)
        raise MediaError(
            Failure.ADDRESS, f"more than {self._limits.redirects} redirects; put the address in the data to which they lead in the end"
        )

    def _ask(self, url: str) -> bytes | str:
        """The content of an address, or the address to which it redirects."""
        origin, target = read_url(url)
        credentials = self._trusted[origin](target) if origin in self._trusted else {}
        response = self._connect(origin, target, credentials)
        try:
            if response.status == 200:
                return self._read(response)
            if (response.length_remaining or 0) <= CHUNK:  # read to its end, so that the connection can be kept
                response.read1(CHUNK, decode_content=False)
            if response.status in (301, 302, 303, 307, 308) and (location := response.headers.get("Location")):
                return _joined(url, location)
            raise _refusal(response, bool(credentials))
        finally:
            response.close()  # drops the connection, unless the answer was read to its end
            response.release_conn()

    def _connect(self, origin: Origin, target: str, credentials: Mapping[str, str]) -> BaseHTTPResponse:
        """The answer of the first of the host's addresses that takes the connection."""
        addresses = self._addresses(origin)
        headers = {"User-Agent": "annotriage", "Accept": "*/*", "Accept-Encoding": "identity", **credentials, "Host": str(origin)}
        for address in addresses:
            # The pool is asked for the checked address, so that nobody can resolve the name anew; TLS still asks for the name.
            pool = self._pools.connection_from_host(address, origin.port, origin.scheme, {"server_hostname": origin.host})
            try:
                return _request(pool, target, headers, self._limits.connect_seconds)
            except (NewConnectionError, ConnectTimeoutError) as error:
                self._names.avoid(origin.host, address)
                failed = error
        raise MediaUnavailable(
            f"{origin} does not take connections ({', '.join(addresses)}); check that it runs and can be reached from here"
        ) from failed

    def _addresses(self, origin: Origin) -> list[str]:
        """The addresses of the host that may be contacted. Raises MediaError if there are none."""
        rules = [rule for rule in self._rules if rule.covers(origin)]
        if not rules and origin not in self._trusted:
            entry = str(origin) if any(rule.host == origin.host for rule in self._rules) else origin.host
            raise MediaError(Failure.FORBIDDEN, f"its host is not on the list; add {entry} to the setting media_hosts")
        addresses = self._names.resolve(origin.host)
        if origin in self._trusted or any(not rule.below for rule in rules):
            return addresses
        public = [address for address in addresses if is_public(address)]
        if not public:
            raise MediaError(
                Failure.FORBIDDEN,
                f"its host has the address {addresses[0]}, which is not a public one;"
                f" if it is meant to be fetched from, add {origin.host} itself to the setting media_hosts",
            )
        return public

    def _read(self, response: BaseHTTPResponse) -> bytes:
        limit = self._limits.size
        too_large = MediaError(Failure.TOO_LARGE, f"is larger than {_size(limit)}; make the file smaller or raise the setting media_mb")
        if (response.length_remaining or 0) > limit:
            raise too_large
        content = bytearray()
        while part := response.read1(min(CHUNK, response.length_remaining or CHUNK), decode_content=False):
            content += part
            if len(content) > limit:
                raise too_large
        encoding = response.headers.get("Content-Encoding", "").strip().lower()
        if encoding in ("", "identity"):
            return bytes(content)
        if encoding not in ("gzip", "x-gzip", "deflate"):
            raise MediaError(
                Failure.UNREADABLE, f"is sent in the encoding {encoding!r:.40}, which was not asked for; have its server send it plain"
            )
        unpacked = _unpacked(bytes(content), limit + 1)
        if len(unpacked) > limit:
            raise too_large
        return unpacked


class _Names:
    """Names and their addresses, the one to try first in front; kept for a minute, so that connections can be kept too."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, list[str]]] = {}
        self._lock = threading.Lock()

    def resolve(self, host: str) -> list[str]:
        if is_address(host):
            return [host]
        with self._lock:
            until, before = self._known.get(host, (0.0, []))
        if time.monotonic() < until:
            return before
        try:
            found = deadline.look_up(host)
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise
            raise MediaUnavailable(f"its host {host} has no known address ({error.strerror}); check the name") from error
        # A name of many addresses gives them in a different order each time: the one with kept connections stays in front.
        addresses = sorted(found, key=lambda address: address not in before[:1])
        with self._lock:
            if len(self._known) >= KEPT_NAMES:
                self._known.clear()
            self._known[host] = time.monotonic() + NAME_SECONDS, addresses
        return addresses

    def avoid(self, host: str, address: str) -> None:
        """Put an address that did not answer last; forget the name if it is the only one."""
        with self._lock:
            until, addresses = self._known.pop(host, (0.0, []))
            if len(addresses) > 1:
                self._known[host] = until, sorted(addresses, key=address.__eq__)


def _request(pool: HTTPConnectionPool, target: str, headers: dict[str, str], connect_seconds: float) -> BaseHTTPResponse:
    def send() -> BaseHTTPResponse:
        left = deadline.left()
        options: dict[str, Any] = {"retries": False, "redirect": False, "preload_content": False, "pool_timeout": left}
        return pool.urlopen("GET", target, headers=headers, timeout=Timeout(connect=min(connect_seconds, left), read=left), **options)

    try:
        return send()
    except ProtocolError:  # most often a kept connection that the server closed just now
        return send()


def _unpacked(content: bytes, limit: int) -> bytes:
    """Gzip or zlib unpacked, `limit` bytes at most."""
    unpack = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        unpacked = unpack.decompress(content, limit)
    except zlib.error as error:
        raise MediaError(Failure.UNREADABLE, f"cannot be unpacked ({error}); have its server send it plain") from error
    if len(unpacked) < limit and not unpack.eof:
        raise MediaError(Failure.UNREADABLE, "is packed and breaks off before its end; store the file again")
    return unpacked


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise MediaError(
            Failure.ADDRESS, f"redirects to what is no address ({error}); correct the item's data, or how its server redirects"
        ) from error


def _refusal(response: BaseHTTPResponse, credentials: bool) -> MediaError:
    """What an answer other than 200 means for whoever looks after the items. credentials: whether the request carried any."""
    status = response.status
    if status == 401 and credentials:
        return MediaUnavailable("answered 401: the credentials for this server are not accepted; renew the token")
    if status == 401:
        return MediaError(
            Failure.REFUSED, "answered 401: it wants credentials, and there are none for this address; sign the address or open the file"
        )
    if status == 403:
        return MediaError(
            Failure.REFUSED, "answered 403: it may not be read; give access to it, or sign the address again if its signature has run out"
        )
    if status in (404, 410):
        return MediaError(Failure.GONE, f"answered {status}: there is no such file; put it back or correct the item's data")
    if status == 429:
        return MediaUnavailable("answered 429: too many requests; try again later, over fewer connections", _retry_after(response))
    if status >= 500 or status == 408:
        return MediaUnavailable(f"answered {status}: its server has a problem; try again later or look at its log", _retry_after(response))
    return MediaError(
        Failure.REFUSED, f"answered {status} where a file (200) was expected; open the address in a browser to see what it is"
    )


def _retry_after(response: BaseHTTPResponse) -> float | None:
    try:
        return Retry().get_retry_after(response)
    except (InvalidHeader, ValueError, OverflowError):
        return None


def _explained(error: HTTPError | TimeoutError, limits: Limits) -> MediaError:
    """A failed connection in the words of this house."""
    cause = error.args[-1] if error.args else error
    if isinstance(error, SSLError) and isinstance(cause, ssl.SSLCertVerificationError):
        return MediaError(
            Failure.REFUSED,
            f"the server's certificate is not accepted ({cause.verify_message}); renew it, or if it is from an authority of"
            " your own, name that authority's file in the environment variable SSL_CERT_FILE",
        )
    if deadline.is_over():
        return MediaUnavailable(f"took longer than {limits.seconds:g} s; try again later, or raise the setting media_seconds")
    return MediaUnavailable(f"the connection broke ({cause!r:.120}); try again later")


def _size(count: int) -> str:
    return f"{count / 2**20:g} MB" if count >= 2**20 else f"{count} bytes"

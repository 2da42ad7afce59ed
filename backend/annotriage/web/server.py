"""waitress, with a limit on whatever a stranger can make it hold: connections, the time that they take, and bytes before a password.

When there are too many connections, the one that has kept us waiting longest makes room: whoever asks quickly is always answered.
"""

from __future__ import annotations

import copy
import math
import socket
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher
from waitress.utilities import RequestEntityTooLarge

from annotriage.settings import ServiceSettings

THREADS = 16
CONNECTIONS = 500  # open at the same time
SPARE = 100  # further ones while every connection is being answered
HEAD_SECONDS = 10.0  # until the whole head of a request is there
BODY_SECONDS = 30.0  # until its body is there, and longer for what has arrived at
SLOWEST = 32 * 2**10  # bytes a second
IDLE_SECONDS = 60.0  # without a request, or without taking what it is answered
LONGEST_HEAD = 32 * 2**10  # bytes

MostBytes = Callable[[str, str, Mapping[str, str], str], int]


def server_of(app: Any, listener: socket.socket, settings: ServiceSettings, most_bytes: MostBytes) -> TcpWSGIServer:
    """A server of an app on a bound socket; `run` serves until it is interrupted.

    most_bytes: (method, path, headers, peer) -> the largest body that is read; headers by their names in capitals with _ between words.
    """
    adjustments = Adjustments(
        sockets=[listener],
        threads=THREADS,
        max_request_header_size=LONGEST_HEAD,
        connection_limit=CONNECTIONS + SPARE,
        asyncore_use_poll=True,
        cleanup_interval=1,
        trusted_proxy=settings.trusted_proxy or None,
        # Not X-Forwarded-For: whether a request came through the proxy is told by the address it came from. It is kept for the guard.
        trusted_proxy_headers={"x-forwarded-proto", "x-forwarded-host"} if settings.trusted_proxy else set(),
        clear_untrusted_proxy_headers=False,
        ident=None,
    )
    dispatcher = ThreadedTaskDispatcher()
    dispatcher.set_thread_count(THREADS)
    bound = (listener.family, listener.type, listener.proto, listener.getsockname())
    server = _Server(app, {}, True, listener, dispatcher=dispatcher, adj=adjustments, bind_socket=False, sockinfo=bound)
    server.most_bytes = most_bytes
    return server


class _Request(HTTPRequestParser):  # type: ignore[misc]
    """A request as it arrives: once its head is there, it is known how much may follow."""

    adj: Any
    error: Any

    def __init__(self, most_bytes: MostBytes, peer: str, adjustments: Adjustments) -> None:
        super().__init__(adjustments)
        self._most_bytes, self._peer = most_bytes, peer
        self.begun = time.time()

    def parse_header(self, header_plus: bytes) -> None:
        super().parse_header(header_plus)
        if self.chunked or self.content_length:
            path = self.path.encode("latin-1").decode(errors="replace")
            self.adj = copy.copy(self.adj)
            self.adj.max_request_body_size = 1 + self._most_bytes(self.command, path, self.headers, self._peer)

    def received(self, data: bytes) -> int:
        consumed = int(super().received(data))
        if isinstance(self.error, RequestEntityTooLarge):
            self.error = RequestEntityTooLarge(
                f"the body is larger than {self.adj.max_request_body_size - 1:,} bytes, the most that is read here of this sender."
                " Give the service's user and password, send less at once, or raise the setting max_request_mb."
            )
        return consumed

    @property
    def due(self) -> float:
        """When it should be here as a whole, in seconds since 1970."""
        return self.begun + (BODY_SECONDS + self.body_bytes_received / SLOWEST if self.headers_finished else HEAD_SECONDS)


class _Channel(HTTPChannel):  # type: ignore[misc]
    """A connection."""

    def __init__(self, server: _Server, connection: socket.socket, address: Any, adjustments: Adjustments, map: Any) -> None:
        peer = str(address[0]) if isinstance(address, tuple) else ""
        self.parser_class = partial(_Request, server.most_bytes, peer)
        super().__init__(server, connection, address, adjustments, map=map)

    @property
    def waits_since(self) -> float:
        """Since when it owes us a whole request, in seconds since 1970; inf if it is being answered."""
        if self.requests or self.total_outbufs_len:
            return math.inf
        return float(self.last_activity if self.request is None else self.request.begun)

    def is_late(self, now: float) -> bool:
        """Whether it holds back its request for too long, or does not take what it is answered."""
        if self.total_outbufs_len:
            return bool(now > self.last_activity + IDLE_SECONDS)
        if self.requests:
            return False
        if self.request is not None:
            return bool(now > self.request.due)
        silent = HEAD_SECONDS if self.last_activity == self.creation_time else IDLE_SECONDS
        return bool(now > self.last_activity + silent)


class _Server(TcpWSGIServer):  # type: ignore[misc]
    channel_class = _Channel
    most_bytes: MostBytes

    def maintenance(self, now: float) -> None:
        """Let go of connections that are late."""
        for channel in list(self.active_channels.values()):
            if channel.is_late(now):
                channel.handle_close()

    def handle_accept(self) -> None:
        """Take a connection in; where there are too many, another one goes."""
        super().handle_accept()
        if len(self.active_channels) > CONNECTIONS:
            longest = min(self.active_channels.values(), key=lambda channel: channel.waits_since)
            if longest.waits_since < math.inf:
                longest.handle_close()

"""One deadline for all that a thread does to fetch a file: resolving, connecting, redirects, reading.

The timeouts of sockets start anew with every piece that arrives, so that a server which sends one byte a
second would hold a worker for hours; these sockets ask before each piece how much is left of the whole.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from concurrent.futures import Future
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_end: ContextVar[float] = ContextVar("end")  # by the monotonic clock, of what this thread fetches


def start(seconds: float) -> None:
    """From now on this thread has so many seconds."""
    _end.set(time.monotonic() + seconds)


def left() -> float:
    """Seconds left to this thread. Raises TimeoutError if there are none."""
    seconds = _end.get() - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("the time is over")
    return seconds


def is_over() -> bool:
    """Whether no time is left to this thread."""
    return _end.get() <= time.monotonic()


def look_up(host: str) -> list[str]:
    """The IP addresses of a name. Raises OSError if it has none, TimeoutError if the time is over first.

    The system's resolver knows no timeout: it is asked in a thread, which is left behind when the time is over.
    """
    answer: Future[list[str]] = Future()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            answer.set_result(list(dict.fromkeys(str(entry[4][0]) for entry in found)))
        except OSError as error:
            answer.set_exception(error)

    threading.Thread(target=ask, name="annotriage-look-up", daemon=True).start()
    return answer.result(left())


def pool_manager(hosts: int, connections: int) -> PoolManager:
    """Pools of kept connections, of so many hosts at most, with so many connections each, whose answers keep to the deadline.

    Threads that find all connections to a host taken wait for one. No proxy is used, whatever the environment says.
    """
    tls = cache(_certified)  # for all hosts

    class TlsPool(HTTPSConnectionPool):
        def __init__(self, host: str, port: int | None = None, **options: Any) -> None:
            super().__init__(host, port, ssl_context=tls(), **options)

    manager = PoolManager(hosts, maxsize=connections, block=True)
    manager.pool_classes_by_scheme = {"http": _Pool, "https": TlsPool}
    return manager


def _certified() -> ssl.SSLContext:
    """Made when the first host is asked by https: to read the authorities' certificates takes as long as fetching some pictures."""
    tls = ssl.create_default_context()
    tls.sslsocket_class = _TlsSocket
    return tls


class _Socket(socket.socket):
    """Waits for each piece of an answer, its head included, no longer than is left for the file."""

    def recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> int:
        self.settimeout(left())
        return super().recv_into(buffer, nbytes, flags)


class _TlsSocket(ssl.SSLSocket):
    """The same under TLS."""

    def recv_into(self, buffer: WriteableBuffer, nbytes: int | None = None, flags: int = 0) -> int:
        self.settimeout(left())
        return super().recv_into(buffer, nbytes, flags)


class _Connection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        plain = super()._new_conn()
        timeout = plain.gettimeout()
        timed = _Socket(plain.family, plain.type, plain.proto, plain.detach())
        timed.settimeout(timeout)
        return timed


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection

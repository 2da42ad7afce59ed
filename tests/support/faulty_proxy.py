"""A proxy on a loopback port, in front of Label Studio or of the service, that hands calls on, or does what a bad day does to them."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

HOP = ("connection", "transfer-encoding", "keep-alive", "content-length", "date", "server", "host")  # what each hop says itself


@dataclass(frozen=True)
class Answer:
    """What a call is answered. cut: bytes of the content that arrive before the connection breaks off; None for all."""

    status: int
    headers: tuple[tuple[str, str], ...]
    content: bytes
    cut: int | None = None


@dataclass(frozen=True)
class Call:
    """A call on its way."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    content: bytes
    upstream: str

    def forward(self, content: bytes | None = None) -> Answer:
        """Hand it on, with other content if some is given. Raises OSError if nobody is there."""
        parts = urlsplit(self.upstream)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=120)
        try:
            headers = {name: value for name, value in self.headers if name.lower() not in HOP}
            connection.request(self.method, self.path, self.content if content is None else content, headers)
            answer = connection.getresponse()
            return Answer(answer.status, tuple(answer.getheaders()), answer.read())
        finally:
            connection.close()


Behaviour = Callable[[Call], Answer | None]


def passing(call: Call) -> Answer | None:
    """A good day."""
    return call.forward()


class FaultyProxy:
    """The proxy of one address. behave: what is done with each call; its answer, None breaks the connection off."""

    def __init__(self, upstream: str) -> None:
        self.upstream, self.behave = upstream, passing
        self._port = 0
        self._server: ThreadingHTTPServer | None = None
        self.start()
        self.url = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Listen, on the port of last time."""
        self._server = _Server(("127.0.0.1", self._port), _handler(self))
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Refuse connections, as a server that does not run."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @contextmanager
    def behaving(self, behave: Behaviour) -> Iterator[None]:
        """Another behaviour for a block."""
        self.behave = behave
        try:
            yield
        finally:
            self.behave = passing


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 200

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever called is gone, or whoever was called: both happen in storms."""


def _handler(proxy: FaultyProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def reply(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = None
            with suppress(OSError, http.client.HTTPException):
                answer = proxy.behave(Call(self.command, self.path, tuple(self.headers.items()), content, proxy.upstream))
            self.close_connection = True
            if answer is None:
                with suppress(OSError):
                    self.connection.shutdown(socket.SHUT_RDWR)
                return
            said = [f"HTTP/1.1 {answer.status} _", f"Content-Length: {len(answer.content)}", "Connection: close"]
            said += [f"{name}: {value}" for name, value in answer.headers if name.lower() not in HOP or name.lower() == "date"]
            self.wfile.write("\r\n".join(said).encode("latin-1") + b"\r\n\r\n" + answer.content[: answer.cut])

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = reply  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    return Handler

"""A web server on loopback with a picture at every address."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

from loopback import serving_with


@contextmanager
def serving(pictures: Iterable[bytes]) -> Iterator[str]:
    """Its address while it runs. Each request gets the next of the pictures, which are JPEG; after the last comes the first again."""
    following, lock = itertools.cycle(pictures), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # as web servers have it: else a picture waits for the receipt of its head, 40 ms

        def do_GET(self) -> None:
            with lock:
                content = next(following)
            self.send_response(200)
            self.send_header("Content-Type", "image/jpeg")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with serving_with(Handler) as address:
        yield address

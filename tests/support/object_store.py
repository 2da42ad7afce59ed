"""An object store that speaks as much of S3's protocol over HTTP as listing and reading need, on loopback; it can throttle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from loopback import serving_with


class ObjectStore:
    """files: contents by "bucket/key". throttled: how many requests for objects are still answered 503. asked: the objects asked for."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.throttled = 0
        self.asked: list[str] = []

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Its address while it runs."""
        store = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                bucket, _, key = unquote(parts.path).strip("/").partition("/")
                if "list-type=2" in parts.query:
                    self._answer(200, store.listing(bucket, parse_qs(parts.query)).encode(), "application/xml")
                else:
                    self._object(f"{bucket}/{key}")

            do_HEAD = do_GET  # noqa: N815

            def _object(self, name: str) -> None:
                store.asked.append(name)
                if store.throttled > 0:
                    store.throttled -= 1
                    self._answer(503, b"<Error><Code>SlowDown</Code><Message>Reduce your request rate</Message></Error>", "application/xml")
                elif name not in store.files:
                    self._answer(404, b"<Error><Code>NoSuchKey</Code><Message>no such key</Message></Error>", "application/xml")
                else:
                    content, given = store.files[name], self.headers.get("Range")
                    if given is None:
                        self._answer(200, content, "application/octet-stream")
                        return
                    start, _, end = given.removeprefix("bytes=").partition("-")
                    self._answer(206, content[int(start) : int(end or len(content)) + 1], "application/octet-stream")

            def _answer(self, status: int, content: bytes, kind: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Last-Modified", "Mon, 30 Nov 2026 00:00:00 GMT")
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                pass

        with serving_with(Handler) as address:
            yield address

    def listing(self, bucket: str, asked: dict[str, list[str]]) -> str:
        """The answer to ListObjectsV2."""
        prefix, delimiter = asked.get("prefix", [""])[0], asked.get("delimiter", [""])[0]
        found = sorted(name.partition("/")[2] for name in self.files if name.startswith(f"{bucket}/{prefix}"))
        direct = [key for key in found if not delimiter or delimiter not in key[len(prefix) :]]
        folders = sorted({prefix + key[len(prefix) :].partition(delimiter)[0] + delimiter for key in found if key not in direct})
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.files[f'{bucket}/{key}'])}</Size>"
            "<LastModified>2026-11-30T00:00:00.000Z</LastModified><ETag>x</ETag><StorageClass>STANDARD</StorageClass></Contents>"
            for key in direct
        )
        common = "".join(f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>" for folder in folders)
        head = f"<Name>{bucket}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(direct)}</KeyCount><IsTruncated>false</IsTruncated>"
        return f'<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{head}{contents}{common}</ListBucketResult>'

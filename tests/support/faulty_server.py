"""A server on a loopback port that answers as a test says, to show what becomes of bad days."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Faulty:
    """A server on a loopback port. answers: what to do with the next requests, in turn; the last one goes on."""

    def __init__(self):
        self.answers, self.seen = [(200, {}, {})], []
        faulty = self

        class Handler(BaseHTTPRequestHandler):
            def reply(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                faulty.seen.append((self.command, self.path, dict(self.headers), json.loads(body) if body else None))
                answer = faulty.answers.pop(0) if len(faulty.answers) > 1 else faulty.answers[0]
                if callable(answer):
                    answer = answer(faulty.seen[-1])
                if answer is None:
                    self.close_connection = True
                    return
                status, headers, content = answer
                content = content.encode() if isinstance(content, str) else json.dumps(content).encode()
                self.send_response(status)
                for name, value in ({"Content-Type": "application/json", "Content-Length": len(content)} | headers).items():
                    self.send_header(name, str(value))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PATCH = do_DELETE = reply  # noqa: N815

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def faulty():
    server = Faulty()
    yield server
    server.server.shutdown()
    server.server.server_close()

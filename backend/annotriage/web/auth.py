"""Who may call the service: whoever knows its password (HTTP Basic) or, for the webhook alone, the webhook's secret.

Credentials are compared in constant time and never logged. Guessing is slowed down per client address; an address from which the right
credentials came before is never refused, so that nobody can lock out the labeling tool from beside it.
"""

from __future__ import annotations

import hmac
import threading
import time

from flask import request
from werkzeug.exceptions import TooManyRequests

from annotriage.labeling_tool import SECRET_HEADER
from annotriage.service.operations.process import Process

CHALLENGE = {"WWW-Authenticate": 'Basic realm="annotriage", charset="UTF-8"'}
TRIES = 30  # wrong attempts from one address, within a minute
WINDOW = 60.0  # seconds
REMEMBERED = 10_000  # addresses
LONGEST_ADDRESS = 64


class Guard:
    """Looks at the request at hand; one for the whole app, so that guesses count together. Threadsafe.

    The secrets are read once, when it is made.
    """

    def __init__(self, process: Process) -> None:
        self._user, self._password = process.settings.user.encode(), process.password.encode()
        self._secret = process.webhook_secret.encode()
        self._proxy = process.settings.trusted_proxy
        self._lock = threading.Lock()
        self._trusted: dict[str, None] = {}  # addresses, the oldest first
        self._failures: dict[str, list[float]] = {}

    def authenticated(self) -> bool:
        """Whether it carries the user's name and password. Raises TooManyRequests for an address that only ever guesses."""
        given = request.authorization
        if given is None or given.type != "basic":
            return False
        return self.admits(given.username or "", given.password or "")

    def admits(self, user: str, password: str) -> bool:
        """Whether these are the user's name and password. Raises TooManyRequests for an address that only ever guesses."""
        address = self._client_address()
        self._refuse_guessing(address)
        right = hmac.compare_digest(user.encode(), self._user) & hmac.compare_digest(password.encode(), self._password)
        self._remember(address, right)
        return right

    def is_webhook(self) -> bool:
        """Whether it carries the webhook's secret."""
        return hmac.compare_digest(request.headers.get(SECRET_HEADER, "").encode(), self._secret)

    def _client_address(self) -> str:
        """Where the request came from; the trusted proxy says so in the last entry of X-Forwarded-For, earlier ones are anybody's."""
        peer = request.remote_addr or ""
        if self._proxy and peer == self._proxy:
            return request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()[:LONGEST_ADDRESS] or peer
        return peer

    def _refuse_guessing(self, address: str) -> None:
        with self._lock:
            failures = self._failures.get(address, ())
            if address in self._trusted or len(failures) < TRIES:
                return
            wait = failures[-TRIES] + WINDOW - time.monotonic()
        if wait > 0:
            raise TooManyRequests("Too many wrong passwords came from this address; wait a minute.", retry_after=int(wait) + 1)

    def _remember(self, address: str, right: bool) -> None:
        if right and address in self._trusted:
            return
        with self._lock:
            if right:
                self._failures.pop(address, None)
                self._trusted[address] = None
            else:
                self._failures[address] = [*self._failures.get(address, ())[-TRIES:], time.monotonic()]
            for kept in (self._trusted, self._failures):
                while len(kept) > REMEMBERED:
                    del kept[next(iter(kept))]

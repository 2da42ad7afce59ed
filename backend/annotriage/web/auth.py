"""Who may call the service: whoever knows its password or that of an account (HTTP Basic) or, for the webhook alone, the webhook's secret.

Credentials are compared in constant time and never logged. Guessing is slowed down in two ways. An address that only ever guesses is
refused for a while. And once there were many guesses, every further try waits for its turn, with the right password, too: so guessing
is slow from many addresses, and from one that once knew the password, and nobody is locked out. Addresses that know the password and
do not guess wait for nobody: strangers elsewhere cannot slow down the labeling tool.
"""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from collections.abc import Mapping

from flask import request
from werkzeug.datastructures import Authorization
from werkzeug.exceptions import TooManyRequests

from annotriage.labeling_tool import SECRET_HEADER
from annotriage.service.operations.process import Process
from annotriage.states import Role
from annotriage.store.people import hash_of, is_password, role_of
from annotriage.web.storable import why_unstorable

CHALLENGE = {"WWW-Authenticate": 'Basic realm="annotriage", charset="UTF-8"'}
TRIES = 30  # wrong attempts within a minute: of one address until it is refused, of all until each further one waits
WINDOW = 60.0  # seconds
TURN = 0.25  # seconds between tries, once they wait for their turn
LONGEST_WAIT = 2.0  # seconds; whoever would wait longer is sent away, so that threads are left for others
REMEMBERED = 10_000  # addresses
LONGEST_ADDRESS = 64
STRANGERS = "*"


class Guard:
    """Looks at the request at hand; one for the whole app, so that guesses count together. Threadsafe.

    The secrets are read once, when it is made.
    """

    def __init__(self, process: Process) -> None:
        self._user, self._password = process.settings.user.encode(), process.password.encode()
        self._secret = process.webhook_secret.encode()
        self._proxy = process.settings.trusted_proxy
        self._store, self._salt = process.store, secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._proved: dict[bytes, None] = {}  # marks of names and passwords that were right
        self._trusted: dict[str, None] = {}  # addresses, the oldest first
        self._failures: dict[str, list[float]] = {}  # by address; STRANGERS for all that are not trusted
        self._turns: dict[str, float] = {}  # when the last one who waits has its turn, by whose guesses it waits for

    def authenticated(self) -> bool:
        """Whether it carries the name and password of the service's own user. Raises TooManyRequests where too much was guessed."""
        given = request.authorization
        return given is not None and (given.username or "").encode() == self._user and self.role() is not None

    def role(self) -> Role | None:
        """What whoever's name and password it carries may do; None if it carries none. Raises TooManyRequests as `admits`."""
        given = request.authorization
        if given is None or given.type != "basic":
            return None
        return self.admits(given.username or "", given.password or "")

    def admits(self, user: str, password: str) -> Role | None:
        """What somebody with this name and password may do, after a pause where much was guessed; None if they are wrong.

        Raises TooManyRequests where too much was.
        """
        address = self._client_address(request.remote_addr or "", request.headers.get("X-Forwarded-For", ""))
        self._refuse_guessing(address)
        if (wait := self._wait(address)) > 0:  # a sleep of nothing, too, gives the processor away
            time.sleep(wait)
        role = self._role(user, password)
        self._remember(address, role is not None)
        return role

    def is_webhook(self) -> bool:
        """Whether it carries the webhook's secret."""
        return self._is_secret(request.headers.get(SECRET_HEADER, ""))

    def foresees(self, headers: Mapping[str, str], peer: str) -> bool:
        """Whether a request whose body is still to come carries credentials; a try like any other, but one that never waits.

        headers: by their names in capitals with _ between words. peer: the address that it comes from.
        """
        if self._is_secret(headers.get(SECRET_HEADER.upper().replace("-", "_"), "")):
            return True
        given = Authorization.from_header(headers.get("AUTHORIZATION"))
        if given is None or given.type != "basic":
            return False
        address = self._client_address(peer, headers.get("X_FORWARDED_FOR", ""))
        try:
            self._refuse_guessing(address)
            if self._wait(address) > 0:
                return False
            right = self._role(given.username or "", given.password or "") is not None
            self._remember(address, right)
            return right
        except TooManyRequests:
            return False

    def _is_secret(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._secret)

    def _is_service(self, user: str, password: str) -> bool:
        return hmac.compare_digest(user.encode(), self._user) & hmac.compare_digest(password.encode(), self._password)

    def _role(self, user: str, password: str) -> Role | None:
        """Of the service's own user, or of a person with an account."""
        if self._is_service(user, password):
            return Role.ADMINISTER
        if user.encode() == self._user or why_unstorable([user]):
            return None
        kept = self._hash_of(user)
        mark = self._mark(user, password, kept)
        if mark not in self._proved:  # a hash is slow on purpose: programs that ask again and again are not to wait each time
            if not is_password(kept, password):
                return None
            with self._lock:
                self._proved[mark] = None
                while len(self._proved) > REMEMBERED:
                    del self._proved[next(iter(self._proved))]
        with self._store.reading() as connection:
            return role_of(connection, user)

    def _hash_of(self, user: str) -> str | None:
        if why_unstorable([user]):
            return None
        with self._store.reading() as connection:
            return hash_of(connection, user)

    def _mark(self, user: str, password: str, kept: str | None) -> bytes:
        """What stands for a name and a password that were found right with that hash."""
        return hmac.new(self._salt, "\0".join((user, password, kept or "")).encode("utf-8", "surrogatepass"), "sha256").digest()

    def _client_address(self, peer: str, forwarded: str) -> str:
        """Where a request came from; the trusted proxy says so in the last entry of X-Forwarded-For, earlier ones are anybody's."""
        if self._proxy and peer == self._proxy:
            return forwarded.rpartition(",")[2].strip()[:LONGEST_ADDRESS] or peer
        return peer

    def _refuse_guessing(self, address: str) -> None:
        with self._lock:
            if address in self._trusted:
                return
            wait = self._guessed_for(address)
        if wait > 0:
            raise TooManyRequests("Too many wrong passwords came from this address; wait a minute.", retry_after=int(wait) + 1)

    def _wait(self, address: str) -> float:
        """Seconds until it is this one's turn. Raises TooManyRequests if that is too long."""
        with self._lock:
            whose = address if address in self._trusted else STRANGERS
            if self._guessed_for(whose) <= 0:
                return 0.0
            now = time.monotonic()
            wait = max(0.0, self._turns.get(whose, now - TURN) + TURN - now)
            if wait > LONGEST_WAIT:
                raise TooManyRequests("Too many wrong passwords recently; try again in a moment.", retry_after=int(LONGEST_WAIT))
            self._turns[whose] = now + wait
            return wait

    def _guessed_for(self, whose: str) -> float:
        """Seconds for which there will have been too many guesses; 0 or less if there were not."""
        failures = self._failures.get(whose, ())
        return 0.0 if len(failures) < TRIES else failures[-TRIES] + WINDOW - time.monotonic()

    def _remember(self, address: str, right: bool) -> None:
        if right and address in self._trusted:
            return
        with self._lock:
            if right:
                self._failures.pop(address, None)
                self._trusted[address] = None
            else:
                for whose in (address,) if address in self._trusted else (address, STRANGERS):
                    failures = self._failures.pop(whose, [])  # to the end: those who guess now are forgotten last
                    self._failures[whose] = [*failures[1 - TRIES :], time.monotonic()]
            for kept in (self._trusted, self._failures, self._turns):
                while len(kept) > REMEMBERED:
                    del kept[next(iter(kept))]

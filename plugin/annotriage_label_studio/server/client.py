"""Calls of one Label Studio's REST API: JSON in, JSON out, errors that say what to do.

Every reading and every delivery of the walk `data -> model -> latent -> triage -> store -> delivery` that touches Label Studio
goes through here; which calls there are is known to the modules that make them. Add `include="id,data"` to what is read: the
server then computes and sends these fields alone, five times faster on a page of tasks. End paths with a slash: without it
Label Studio refuses addresses of more than 16 kB.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError, ProxyError
from urllib3.exceptions import SSLError as TLSError

from annotriage.errors import OutcomeUnknown, SettingError, ToolError, ToolGone, ToolRefused, ToolUnavailable
from annotriage_label_studio.server.tokens import Token

CONNECT_SECONDS = 5.0
PAUSES = (0.3, 1.0)  # seconds before a reading that the server could not answer is asked for again
LONGEST_PAUSE = 10.0  # seconds; a server that asks for more is told to the caller
PASSING = (429, 500, 502, 503, 504)
LONGEST_TEXT = 300  # characters of what Label Studio says that are passed on
BROKEN = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError)
BEFORE_SENDING = (NewConnectionError, ConnectTimeoutError, ProxyError, TLSError)


class Client:
    """One Label Studio server, with one account's token; threadsafe.

    url: http(s)://host[:port], and the path if Label Studio lies under one. token: a personal access token or a legacy token.
    seconds: how long an answer may take to begin. Raises SettingError if `url` is no such address.
    """

    def __init__(self, url: str, token: str, *, seconds: float = 60.0) -> None:
        self.url = _checked(url)
        self._seconds = seconds
        self._local = threading.local()
        self._token = Token(token, lambda body: self._ask("POST", "/api/token/refresh/", body, {}, None, seconds))

    def headers(self) -> dict[str, str]:
        """Credentials for this moment. Raises ToolRefused if the token is of no use, ToolUnavailable if that could not be asked."""
        return self._token.headers()

    def get(self, path: str, **params: Any) -> Any:
        """What Label Studio answers; asked for again after a moment if it is overloaded or failed.

        Raises, as every call here: ToolRefused for the token or the account's rights, ToolGone for what does not exist,
        ToolUnavailable if it may be there later, ToolError for everything else that it refuses.
        """
        for pause in PAUSES:
            try:
                return self._call("GET", path, None, params)
            except _NotNow as error:
                if error.pause is not None and error.pause > LONGEST_PAUSE:
                    raise
                time.sleep(pause if error.pause is None else error.pause)
        return self._call("GET", path, None, params)

    def post(self, path: str, json: Any, *, seconds: float | None = None, **params: Any) -> Any:
        """Sent once. An OutcomeUnknown may have been carried out: read back before sending it again.

        seconds: for calls that take the server longer than others.
        """
        return self._call("POST", path, json, params, seconds)

    def patch(self, path: str, json: Any, **params: Any) -> Any:
        """As `post`."""
        return self._call("PATCH", path, json, params)

    def delete(self, path: str, json: Any = None, *, seconds: float | None = None, **params: Any) -> Any:
        """As `post`."""
        return self._call("DELETE", path, json, params, seconds)

    def now(self) -> float:
        """The server's own time, to the second, from the date of an answer. Raises ToolError if it gives none."""
        call = f"GET {self.url}/health"
        try:
            with self._session() as session:
                answer = session.get(f"{self.url}/health", auth=_as_it_is, timeout=CONNECT_SECONDS, allow_redirects=False)
        except BROKEN as error:
            raise _unreached(call, error, CONNECT_SECONDS) from error
        try:
            return parsedate_to_datetime(answer.headers["Date"]).timestamp()
        except (KeyError, ValueError) as error:
            raise ToolError(f"{call}: the answer has no date, so that the clocks cannot be compared") from error

    def _call(self, method: str, path: str, json: Any, params: Mapping[str, Any], seconds: float | None = None) -> Any:
        headers = self.headers()
        try:
            return self._ask(method, path, json, params, headers, seconds or self._seconds)
        except _TokenRefused:  # nothing was done; an access token may have been revoked before its time
            if not self._token.renew(headers):
                raise
        return self._ask(method, path, json, params, self.headers(), seconds or self._seconds)

    def _ask(self, method: str, path: str, json: Any, params: Mapping[str, Any], headers: Mapping[str, str] | None, seconds: float) -> Any:
        call = f"{method} {self.url}{path}"
        try:
            with self._session() as session:
                answer = session.request(
                    method,
                    self.url + path,
                    json=json,
                    params=params,
                    headers=headers,
                    auth=_as_it_is,
                    timeout=(CONNECT_SECONDS, seconds),
                    allow_redirects=False,
                )
        except BROKEN as error:
            raise _unreached(call, error, seconds) from error
        if not answer.ok or answer.is_redirect:
            raise _refusal(call, answer, self._token)
        if not answer.content:
            return None
        try:
            return answer.json()
        except ValueError as error:
            text = f"{call} was answered with something other than JSON ({_html_title(answer.text)!r}). Is Label Studio at {self.url}?"
            raise OutcomeUnknown(text) from error

    @contextlib.contextmanager
    def _session(self) -> Iterator[requests.Session]:
        """A connection: over https each thread keeps one; over http each call has a new one.

        Label Studio's own server answers on a kept connection 44 ms late: it writes head and body apart, which Nagle's algorithm
        and delayed acknowledgement turn into a wait. A proxy with https has no such trouble, and a handshake costs more there.
        """
        if self.url.startswith("http:"):
            with requests.Session() as session:
                yield session
            return
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
        yield self._local.session


class _NotNow(ToolUnavailable):
    """Refused before anything was done. pause: seconds that the server asks for."""

    pause: float | None = None


class _NotNowOrDone(_NotNow, OutcomeUnknown):
    """The same of a proxy, behind which the call may be carried out all the same."""


class _TokenRefused(ToolRefused):
    """401, not 403: the token itself is refused."""


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Without it requests would put a password of ~/.netrc in the place of the token."""
    return request


def _checked(url: str) -> str:
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise SettingError(f"{url!r} is no address of a Label Studio; it looks like http://label-studio.example.com:8080")
    return url.strip().rstrip("/")


def _unreached(call: str, error: requests.RequestException, seconds: float) -> ToolUnavailable:
    cause = error.args[0] if error.args else None
    reason = cause.reason if isinstance(cause, MaxRetryError) else cause
    if isinstance(error, requests.ReadTimeout):
        return OutcomeUnknown(f"{call}: no answer after {seconds:g} s; Label Studio is overloaded, or hangs")
    sent = not isinstance(reason, BEFORE_SENDING)
    what = "the connection broke off before the answer" if sent else "Label Studio is not reached"
    detail = str(reason or error).rpartition("): ")[2]  # without the connection's own name
    kind = OutcomeUnknown if sent else ToolUnavailable
    return kind(f"{call}: {what} ({_cut(detail)}). Is it running, and the address right?")


def _refusal(call: str, answer: requests.Response, token: Token) -> ToolError:
    """The error that an answer stands for."""
    status = answer.status_code
    said = token.hide(_cut(_words(answer).rstrip(".")))
    text = f"{call}: Label Studio answered {status} {answer.reason}: {said or 'nothing'}"
    if answer.is_redirect:
        return ToolError(f"{call} is redirected to {answer.headers['Location'].partition('?')[0]}; set the address of Label Studio to that")
    if status in PASSING:
        pause = answer.headers.get("Retry-After", "")
        refused = _NotNow(text) if status == 429 else _NotNowOrDone(text)
        refused.pause = float(pause) if pause.isdigit() else None
        return refused
    if status >= 500:
        return OutcomeUnknown(text)
    if status == 401:
        return _TokenRefused(f"{text}. {token.advice(said)}")
    if status == 403:
        return ToolRefused(f"{text}. The token's account may not do this, or the server's settings forbid it")
    if status == 404 and "json" in answer.headers.get("Content-Type", ""):
        return ToolGone(f"{text}. It was deleted, or the token's account is of another organization")
    if status == 404:
        return ToolError(f"{call}: there is no such page; is Label Studio at this address, of version 1.20 or later?")
    return ToolError(text)


def _words(answer: requests.Response) -> str:
    """What an error answer says for people: its detail, and what was wrong with which field."""
    try:
        body = answer.json()
    except ValueError:
        return _html_title(answer.text)
    if not isinstance(body, dict):
        return _flat(body)
    details = body.get("validation_errors") or {key: value for key, value in body.items() if key not in _ENVELOPE}
    return ": ".join(filter(None, (_flat(body.get("detail")), _flat(details))))


_ENVELOPE = {"id", "status_code", "version", "detail", "exc_info", "validation_errors"}  # what an error answer of Label Studio has always


def _flat(said: Any) -> str:
    if isinstance(said, dict):
        return "; ".join(f"{key}: {_flat(value)}" if key != "non_field_errors" else _flat(value) for key, value in said.items())
    if isinstance(said, list):
        return ", ".join(_flat(one) for one in said)
    return "" if said is None else " ".join(str(said).split())


def _html_title(page: str) -> str:
    title = page.partition("<title>")[2].partition("</title>")[0]
    return " ".join((title or page[:LONGEST_TEXT]).split())


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}..."

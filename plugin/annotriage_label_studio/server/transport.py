"""The one way to Label Studio: an httpx client that keeps our rules, under the SDK's calls and under those made by hand.

Over plain http each call has a connection of its own: Label Studio's own server answers on a kept one 44 ms late, as it writes head and
body apart, which Nagle's algorithm and delayed acknowledgement turn into a wait. Over https, behind a proxy, connections are kept: a
handshake costs more there. Readings are asked for again if the server is overloaded; writes are sent once, and raise OutcomeUnknown if
no answer says what came of them. Redirects are refused, cookies forgotten. The environment's proxies and certificates are used, its
~/.netrc is not: the password in it would replace the token. No message holds the token or an address's query.
"""

from __future__ import annotations

import os
import ssl
import time
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any

import httpx

from annotriage.errors import OutcomeUnknown, ToolError, ToolGone, ToolRefused, ToolUnavailable
from annotriage_label_studio.server.shapes import shape_fault
from annotriage_label_studio.server.tokens import Token

CONNECT_SECONDS = 5.0
PAUSES = (0.3, 1.0)  # seconds before a reading that the server could not answer is asked for again
LONGEST_PAUSE = 10.0  # seconds; a server that asks for more is told to the caller
OVERLOADED = (429, 500, 502, 503, 504)
LONGEST_TEXT = 300  # characters of what Label Studio says that are passed on
NOT_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
)
PARSED = "parsed"  # in `extensions` of an answer: what it says, read once
READING = {"reading": True}  # `extensions` of a request that changes nothing though it is no GET


class Transport(httpx.Client):
    """Requests to the Label Studio at `url`, an http(s) address, with one account's token; threadsafe.

    seconds: how long an answer may take to begin. An answer is a success, or an error: ToolRefused for the token or the account's
    rights, ToolGone for what does not exist, ToolUnavailable if it may be there later, OutcomeUnknown if a write may have been carried
    out, ToolError for everything else that Label Studio refuses.
    """

    def __init__(self, url: str, token: str, *, seconds: float) -> None:
        self.token = Token(token, self._exchange)
        self._refresh = f"{url}/api/token/refresh/"
        kept = 0 if url.startswith("http:") else 20
        super().__init__(
            auth=self.token,
            timeout=waiting(seconds),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=kept),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            verify=_certificates(url),
            follow_redirects=False,
        )

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """The answer, if it is a success."""
        for pause in PAUSES if _is_reading(request) else ():
            try:
                return self._send(request, options)
            except _Overloaded as error:
                if error.pause is not None and error.pause > LONGEST_PAUSE:
                    raise
                time.sleep(pause if error.pause is None else error.pause)
        return self._send(request, options)

    def _send(self, request: httpx.Request, options: dict[str, Any]) -> httpx.Response:
        try:
            answer = super().send(request, **options)
        except httpx.HTTPError as error:
            raise _unreached(request, error) from error
        if not answer.is_success:
            raise _refusal(answer, self.token)
        if answer.content and not _is_json(answer):
            raise _not_json(answer)
        if fault := shape_fault(request.method, request.url.path, dict(request.url.params), parsed(answer)):
            kind = ToolUnavailable if _is_reading(request) else OutcomeUnknown
            raise kind(
                f"{_call(request)} was not answered as Label Studio answers: {fault}. Is a proxy in between, or the version another?"
            )
        return answer

    def _exchange(self, token: dict[str, str]) -> str:
        answer = self.post(self._refresh, json=token, auth=httpx.Auth(), extensions=READING)
        body = parsed(answer)
        if not isinstance(body, dict) or "access" not in body:
            raise _not_json(answer)
        return str(body["access"])


class _Overloaded(ToolUnavailable):
    """Not answered for now. pause: seconds that the server asks for."""

    pause: float | None = None


class ServerFailed(_Overloaded):
    """The server failed in answering a reading (500), each time it was asked: what was asked for may be at fault."""


class _OverloadedOrDone(_Overloaded, OutcomeUnknown):
    """The same of a write, which a proxy may report although it is being carried out."""


def waiting(seconds: float) -> httpx.Timeout:
    """A time limit for a server that takes so long to answer; whether it is there at all shows sooner."""
    return httpx.Timeout(seconds, connect=CONNECT_SECONDS)


def parsed(answer: httpx.Response) -> Any:
    """What an answer says; None if it has no content."""
    if not answer.content:
        return None
    try:
        if PARSED not in answer.extensions:
            answer.extensions[PARSED] = answer.json()
        return answer.extensions[PARSED]
    except (ValueError, RecursionError) as error:
        raise _not_json(answer) from error


def _certificates(url: str) -> ssl.SSLContext | bool:
    """The certificates that the environment names for Python programs, by either of two names; else httpx's own choice.

    None over plain http, where nobody asks for them: to read them takes as long as some calls.
    """
    if url.startswith("http:"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    named = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    if not named:
        return True
    return ssl.create_default_context(capath=named) if Path(named).is_dir() else ssl.create_default_context(cafile=named)


def _is_reading(request: httpx.Request) -> bool:
    return request.method == "GET" or "reading" in request.extensions


def _is_json(answer: httpx.Response) -> bool:
    return "json" in answer.headers.get("Content-Type", "")


def _call(request: httpx.Request) -> str:
    return f"{request.method} {request.url.copy_with(query=None)}"


def _not_json(answer: httpx.Response) -> ToolUnavailable:
    """The error for a success that is no Label Studio's: a proxy's sign-in page, perhaps."""
    kind = ToolUnavailable if _is_reading(answer.request) else OutcomeUnknown
    found = _html_title(answer.text)
    return kind(f"{_call(answer.request)} was answered with something other than JSON ({found!r}). Is Label Studio at this address?")


def _unreached(request: httpx.Request, error: httpx.HTTPError) -> ToolUnavailable:
    kind = ToolUnavailable if _is_reading(request) or isinstance(error, NOT_SENT) else OutcomeUnknown
    if isinstance(error, httpx.ReadTimeout):
        seconds = request.extensions["timeout"]["read"]
        return kind(f"{_call(request)}: no answer after {seconds:g} s; Label Studio is overloaded, or hangs")
    what = "Label Studio is not reached" if isinstance(error, NOT_SENT) else "the connection broke off before the answer"
    return kind(f"{_call(request)}: {what} ({_cut(str(error) or type(error).__name__)}). Is it running, and the address right?")


def _refusal(answer: httpx.Response, token: Token) -> ToolError:
    """The error that an answer stands for."""
    call, reading = _call(answer.request), _is_reading(answer.request)
    status = answer.status_code
    said = token.hide(_cut(_words(answer).rstrip(".")))
    text = f"{call}: Label Studio answered {status} {answer.reason_phrase}: {said or 'nothing'}"
    if answer.has_redirect_location:
        return ToolError(f"{call} is redirected to {answer.headers['Location'].partition('?')[0]}; set the address of Label Studio to that")
    if status in OVERLOADED:
        pause = answer.headers.get("Retry-After", "")
        kind = ServerFailed if reading and status == 500 else _Overloaded if reading or status == 429 else _OverloadedOrDone
        refused = kind(text)
        refused.pause = float(pause) if pause.isdigit() else None
        return refused
    if status >= 500:
        return ToolUnavailable(text) if reading else OutcomeUnknown(text)
    if status == 401:
        return ToolRefused(f"{text}. {token.advice(said)}")
    if status == 403:
        return ToolRefused(f"{text}. The token's account may not do this, or the server's settings forbid it")
    if status == 404 and _is_json(answer):
        return ToolGone(f"{text}. It was deleted, or the token's account is of another organization")
    if status == 404:
        return ToolError(f"{call}: there is no such page; is Label Studio at this address, of version 1.20 or later?")
    return ToolError(text)


def _words(answer: httpx.Response) -> str:
    """What an error answer says for people: its detail, and what was wrong with which field."""
    try:
        body = answer.json()
        if not isinstance(body, dict):
            return _flat(body)
        details = body.get("validation_errors") or {key: value for key, value in body.items() if key not in _ENVELOPE}
        return ": ".join(filter(None, (_flat(body.get("detail")), _flat(details))))
    except (ValueError, RecursionError):
        return _html_title(answer.text)


_ENVELOPE = {"id", "status_code", "version", "detail", "exc_info", "validation_errors"}  # what an error answer of Label Studio has always


def _flat(said: Any) -> str:
    if isinstance(said, dict):
        return "; ".join(f"{key}: {_flat(value)}" if key != "non_field_errors" else _flat(value) for key, value in said.items())
    if isinstance(said, list):
        return ", ".join(map(_flat, said))
    return "" if said is None else " ".join(str(said).split())


def _html_title(page: str) -> str:
    title = page.partition("<title>")[2].partition("</title>")[0]
    return " ".join((title or page[:LONGEST_TEXT]).split())


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}..."

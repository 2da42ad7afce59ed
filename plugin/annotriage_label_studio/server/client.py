"""One Label Studio server: the SDK's typed calls, and calls by hand where the SDK is slow or lacks them; both by one transport.

By hand go task lists, imports of tasks and predictions, and the Data Manager's actions: the SDK makes an object of every row, has no
`include=` for a project, and gives no answer of an action. Add `include="id,data"` to what is read: the server then computes and sends
these fields alone, five times faster on a page of tasks. End paths with a slash: without it Label Studio refuses addresses of more
than 16 kB.
"""

from __future__ import annotations

import json as jsonlib
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from annotriage.errors import SettingError, ToolError
from annotriage_label_studio.server.transport import Transport, parsed, waiting

if TYPE_CHECKING:
    from label_studio_sdk.base_client import LabelStudioBase


HEALTH_SECONDS = 5.0


class Client:
    """One Label Studio server, with one account's token; threadsafe.

    url: http(s)://host[:port], and the path if Label Studio lies under one. token: a personal access token or a legacy token.
    seconds: how long an answer may take to begin. Every call raises as `Transport` does. Raises SettingError if `url` is no such
    address.
    """

    def __init__(self, url: str, token: str, *, seconds: float = 60.0) -> None:
        self.url = _checked(url)
        self._seconds = seconds
        self._transport = Transport(self.url, token, seconds=seconds)

    @cached_property
    def sdk(self) -> LabelStudioBase:
        """The SDK's client. Loaded now: it takes 0.3 s. Its subclass LabelStudio adds exports as tables, and pandas for them."""
        from label_studio_sdk.base_client import LabelStudioBase

        return LabelStudioBase(base_url=self.url, api_key="the transport's own", httpx_client=self._transport, max_retries=0)

    def headers(self) -> dict[str, str]:
        """Credentials for this moment. Raises ToolRefused if the token is of no use, ToolUnavailable if that could not be asked."""
        return self._transport.token.headers()

    def get(self, path: str, **params: Any) -> Any:
        """What Label Studio answers; asked for again after a moment if it is overloaded or failed."""
        return self._call("GET", path, None, params)

    def post(self, path: str, json: Any, *, seconds: float | None = None, **params: Any) -> Any:
        """Sent once. seconds: for calls that take the server longer than others."""
        return self._call("POST", path, json, params, seconds)

    def patch(self, path: str, json: Any, **params: Any) -> Any:
        """Sent once."""
        return self._call("PATCH", path, json, params)

    def delete(self, path: str, json: Any = None, *, seconds: float | None = None, **params: Any) -> Any:
        """Sent once."""
        return self._call("DELETE", path, json, params, seconds)

    def now(self) -> float:
        """The server's own time, to the second, from the date of an answer. Raises ToolError if it gives none."""
        answer = self._transport.get(f"{self.url}/health", auth=httpx.Auth(), timeout=waiting(HEALTH_SECONDS))
        try:
            return parsedate_to_datetime(answer.headers["Date"]).timestamp()
        except (KeyError, ValueError) as error:
            raise ToolError(f"GET {self.url}/health: the answer has no date, so the clocks cannot be compared") from error

    def _call(self, method: str, path: str, json: Any, params: dict[str, Any], seconds: float | None = None) -> Any:
        body = None if json is None else jsonlib.dumps(json, allow_nan=False)  # httpx's own refuses the lone surrogates of some task data
        answer = self._transport.request(
            method,
            self.url + path,
            content=body,
            headers={} if body is None else {"Content-Type": "application/json"},
            params=params,
            timeout=waiting(seconds or self._seconds),
        )
        return parsed(answer)


def _checked(url: str) -> str:
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise SettingError(f"{url!r} is no address of a Label Studio; it looks like http://label-studio.example.com:8080")
    return url.strip().rstrip("/")

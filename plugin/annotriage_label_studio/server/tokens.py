"""Label Studio's two kinds of tokens: legacy tokens, sent as they are, and personal access tokens, exchanged every five minutes.

A personal access token is a JSON Web Token of the type "refresh": as a credential it is of no use, it only buys access tokens. The SDK
would renew these by the local clock, which may differ from the server's, and not after a refusal.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Generator, Mapping
from typing import Any

import httpx

from annotriage.errors import SettingError, ToolRefused

MARGIN = 30.0  # seconds before its end at which an access token is renewed: the longest that a request waits to be read
LIFETIME = 300.0  # seconds, of an access token that does not say
MAKE_ONE = "make a personal access token in Label Studio under Account & Settings > Personal Access Token"
NO_TOKEN = (
    "setting label_studio_token is empty: annotriage needs an account of its own in Label Studio. Make one, copy a personal access"
    " token from its Account & Settings, and set ANNOTRIAGE_LABEL_STUDIO_TOKEN to it"
)


class Token(httpx.Auth):
    """A token of either kind, as httpx takes it; threadsafe.

    exchange: posts {"refresh": personal access token} to the server and returns the access token that it answers.
    """

    def __init__(self, token: str, exchange: Callable[[dict[str, str]], str]) -> None:
        self._token = token.strip()
        self._exchange = exchange
        self._kind = _claims(self._token).get("token_type", "legacy")
        self._access = ""
        self._ends = 0.0  # by time.monotonic(): the server's clock may differ from ours
        self._lock = threading.Lock()

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """The request with credentials; with new ones if these are refused, as an access token may be revoked before its time."""
        credentials = self.headers()
        request.headers.update(credentials)
        answer = yield request
        if answer.status_code == 401 and self._renew(credentials):
            request.headers.update(self.headers())
            yield request

    def headers(self) -> dict[str, str]:
        """Credentials for this moment. Raises SettingError without a token, ToolRefused if there can be none, what `exchange` raises."""
        if not self._token:
            raise SettingError(NO_TOKEN)
        if not self._token.isascii() or any(sign.isspace() for sign in self._token):
            raise ToolRefused(f"the token of Label Studio has signs that no token has; {MAKE_ONE}")
        if self._kind == "legacy":
            return {"Authorization": f"Token {self._token}"}
        if self._kind != "refresh":
            raise ToolRefused(f"the token of Label Studio is a short-lived one, of the kind {self._kind!r}; {MAKE_ONE}")
        with self._lock:  # one thread asks, the others wait for its answer
            if time.monotonic() >= self._ends:
                self._access = self._exchange({"refresh": self._token})
                claims = _claims(self._access)
                lifetime = float(claims["exp"]) - float(claims["iat"]) if {"exp", "iat"} <= claims.keys() else LIFETIME
                self._ends = time.monotonic() + max(lifetime - MARGIN, lifetime / 2)
            return {"Authorization": f"Bearer {self._access}"}

    def advice(self, said: str) -> str:
        """What to do when the server refused the token with these words. It answers 401 whatever the cause, and tells it in words alone."""
        if self._kind == "legacy" and "legacy token" in said.lower():
            return f"Legacy tokens are switched off in this organization: {MAKE_ONE} (an administrator may switch them on there, too)"
        if self._kind == "legacy":
            return f"The token is wrong, or was reset: {MAKE_ONE}"
        if "not provided" in said:
            return "Personal access tokens are perhaps switched off in this organization; an administrator switches them on"
        return f"The personal access token was revoked, has expired, or is another server's: {MAKE_ONE}"

    def hide(self, text: str) -> str:
        """The text without any token."""
        for secret in filter(None, (self._token, self._access)):
            text = text.replace(secret, "(token)")
        return text

    def _renew(self, refused: Mapping[str, str]) -> bool:
        """After a refusal of these credentials: whether others may be had."""
        if self._kind != "refresh":
            return False
        with self._lock:
            if refused.get("Authorization") == f"Bearer {self._access}":
                self._ends = 0.0
        return True


def _claims(token: str) -> dict[str, Any]:
    """What a JSON Web Token says of itself; nothing if it is none. Its signature is the server's business."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}

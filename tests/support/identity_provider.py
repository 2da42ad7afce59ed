"""A small OpenID Connect provider on loopback: real HTTP, tokens really signed (RS256), PKCE and codes really checked.

It signs everybody in as `claims` say, without asking. What a bad provider or an attacker in its place sends is changed by `spoil`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256


def encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


class Key:
    """An RSA key with a name."""

    def __init__(self, name: str) -> None:
        self.name, self._key = name, rsa.generate_private_key(65537, 2048)

    def public(self) -> dict[str, str]:
        numbers = self._key.public_key().public_numbers()
        n, e = (number.to_bytes((number.bit_length() + 7) // 8, "big") for number in (numbers.n, numbers.e))
        return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.name, "n": encoded(n), "e": encoded(e)}

    def token(self, claims: dict[str, Any], **header: str) -> str:
        parts = [{"alg": "RS256", "kid": self.name, **header}, claims]
        signed = ".".join(encoded(json.dumps(part).encode()) for part in parts)
        return f"{signed}.{encoded(self._key.sign(signed.encode(), padding.PKCS1v15(), SHA256()))}"


class Provider:
    """claims: of whoever signs in. keys: whose public halves it shows; the last one signs. metadata: what its document says besides.

    spoil: (claims) -> the ID token that is sent in their place. calls: the paths that were asked for.
    """

    def __init__(self, client: str = "annotriage", secret: str = "a secret of the tests") -> None:
        self.client, self.secret = client, secret
        self.reset(Key("first"))
        self._codes: dict[str, dict[str, str]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.issuer = f"http://127.0.0.1:{self._server.server_port}/realm"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def reset(self, key: Key) -> None:
        """Forget what a test changed."""
        self.keys, self.calls = [key], []
        self.claims: dict[str, Any] = {"sub": "248289", "email": "ada@example.com"}
        self.metadata: dict[str, Any] = {}
        self.spoil: Callable[[dict[str, Any]], str] = lambda claims: self.keys[-1].token(claims)

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def sign_in(self, address: str) -> str:
        """What a browser is sent back to, with a code, after its person has signed in at that address. Refuses what it must."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert address.startswith(f"{self.issuer}/authorize?")
        assert (asked["response_type"], asked["client_id"], asked["code_challenge_method"]) == ("code", self.client, "S256")
        assert "openid" in asked["scope"].split()
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def document(self) -> dict[str, Any]:
        places = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys", "end_session_endpoint": "leave"}
        document = {"issuer": self.issuer, "id_token_signing_alg_values_supported": ["RS256"]}
        return document | {name: f"{self.issuer}/{path}" for name, path in places.items()} | self.metadata

    def exchange(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        """A code for tokens: once, and only to the client that began."""
        basic = f"Basic {base64.b64encode(f'{quote(self.client)}:{quote(self.secret)}'.encode()).decode()}"
        plain = f"Basic {base64.b64encode(f'{self.client}:{self.secret}'.encode()).decode()}"
        asked = self._codes.pop(form.get("code", ""), None)
        if authorization not in (basic, plain):
            return 401, {"error": "invalid_client"}
        verifier = encoded(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if asked is None or verifier != asked["code_challenge"] or form.get("redirect_uri") != asked["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": self.client, "iat": now, "exp": now + 300, "nonce": asked["nonce"], **self.claims}
        return 200, {"access_token": secrets.token_urlsafe(16), "token_type": "Bearer", "expires_in": 300, "id_token": self.spoil(claims)}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answers = {
                    "/realm/.well-known/openid-configuration": provider.document,
                    "/realm/keys": lambda: {"keys": [key.public() for key in provider.keys]},
                }
                self._answer(*((200, answers[self.path]()) if self.path in answers else (404, {})))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                form = {name: values[0] for name, values in parse_qs(body).items()}
                self._answer(*provider.exchange(form, self.headers.get("Authorization", "")))

            def _answer(self, status: int, found: dict[str, Any]) -> None:
                provider.calls.append(self.path)
                content = json.dumps(found).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        return Handler

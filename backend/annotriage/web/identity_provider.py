"""Signing in at an identity provider, by OpenID Connect: the authorization code flow with PKCE.

The provider is trusted to say who somebody is, and nothing else: where it sends people and what it signs is checked. Whatever an answer
lacks is a refusal. Sources: OpenID Connect Core 1.0, 3.1.2 and 3.1.3; OpenID Connect Discovery 1.0, 4; RFC 7636; RFC 9207. Authlib and
joserfc, of the extra `oidc`, make the requests and check the tokens.
"""

from __future__ import annotations

import hmac
import importlib.util
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from annotriage.errors import SettingError
from annotriage.service.operations.process import people_address
from annotriage.settings import ServiceSettings, is_safe_provider
from annotriage.states import Role

BACK = "/sign-in/provider/back"
TIMEOUT = 10.0  # seconds for each request to the provider
AT_ONCE = 4  # people who are signed in at the same time: a slow provider keeps no more threads
FRESH = 3600.0  # seconds for which the provider's document and keys are kept
AGAIN = 30.0  # seconds after which keys are asked for once more where one is unknown, and a document that was refused
IN_TIME = 600.0  # seconds that somebody may take at the provider
LEEWAY = 60  # seconds between its clock and ours
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")  # nobody signs with our secret
ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")
LONGEST = 500  # characters of what a provider says of an error


class Refused(Exception):
    """Somebody is not let in; the message is for them."""


class ProviderUnusable(Exception):
    """The provider does not answer, or not as OpenID Connect wants it; the message is for whoever looks after the service."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Whom the provider vouches for. role: what their groups may do here, or everybody from there; None for nothing."""

    name: str
    role: Role | None


class IdentityProvider:
    """The provider of the settings. Threadsafe. Raises SettingError if they cannot work, or the extra `oidc` is not installed."""

    def __init__(self, settings: ServiceSettings) -> None:
        if not settings.oidc_client:
            raise SettingError("setting oidc_client: oidc_issuer needs it; it is the client's id, as the provider gave it")
        if importlib.util.find_spec("authlib") is None:
            raise SettingError("setting oidc_issuer: needs Authlib, which is not installed: pip install 'annotriage[oidc]'")
        self._settings, self._address = settings, people_address(settings)
        self._roles = {group.strip(): Role(role) for group, role in (pair.rsplit("=", 1) for pair in settings.oidc_roles)}
        self._everybody = None if settings.oidc_role == "none" else Role(settings.oidc_role)
        self._lock, self._places = threading.Lock(), threading.BoundedSemaphore(AT_ONCE)
        self._document: tuple[float, dict[str, Any] | ProviderUnusable] | None = None
        self._keys: tuple[float, list[Any]] | None = None
        self._asked_again = -AGAIN  # when keys were last fetched because one was unknown

    def begin(self) -> tuple[str, dict[str, Any]]:
        """Where a browser is to go, and what it must bring back to `finish`, kept in its session. Raises ProviderUnusable, Refused."""
        with self._place():
            document = self._metadata()
        kept = {name: secrets.token_urlsafe(32) for name in ("state", "nonce", "verifier")}
        with self._session(document) as session:
            address, _ = session.create_authorization_url(
                document["authorization_endpoint"], state=kept["state"], nonce=kept["nonce"], code_verifier=kept["verifier"]
            )
        return str(address), {**kept, "at": time.time()}

    def finish(self, kept: Mapping[str, Any] | None, answer: Mapping[str, str]) -> Visitor:
        """Who somebody is whom the provider has sent back. kept: what `begin` gave; answer: the query of their address.

        Raises Refused, ProviderUnusable.
        """
        if not kept or not hmac.compare_digest(str(kept["state"]).encode(), answer.get("state", "").encode()):
            raise Refused(
                f"This browser did not begin to sign in here, or did so twice. Begin at {self._address}/sign-in, and allow cookies."
            )
        if not 0 <= time.time() - float(kept["at"]) <= IN_TIME:
            raise Refused("Signing in took too long; begin again.")
        if answer.get("iss", self._settings.oidc_issuer) != self._settings.oidc_issuer:
            raise Refused("Another provider has answered; begin again.")
        if "error" in answer or not answer.get("code"):
            said = " ".join(filter(None, (answer.get("error"), answer.get("error_description"))))[:LONGEST]
            raise Refused(f"The identity provider refused the sign-in: {said or 'it sent no code'}.")
        with self._place():
            document = self._metadata()
            token = self._exchange(document, answer["code"], str(kept["verifier"]))
            return self._visitor(self._checked(document, token, str(kept["nonce"])))

    def place_to_leave(self) -> str | None:
        """Where people sign out of the provider itself; None if it has no such place, or has not been asked yet."""
        with self._lock:
            document = self._document
        if document is None or isinstance(document[1], ProviderUnusable):
            return None
        place = document[1].get("end_session_endpoint")
        if not isinstance(place, str) or not is_safe_provider(place):
            return None
        return f"{place}{'&' if urlsplit(place).query else '?'}{urlencode({'client_id': self._settings.oidc_client})}"

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise Refused("Many people are signing in at this moment; try again in a few seconds.")
        try:
            yield
        finally:
            self._places.release()

    def _metadata(self) -> dict[str, Any]:
        """What the provider says of itself. Raises ProviderUnusable."""
        with self._lock:
            found = self._document
        if found is not None:
            at, document = found
            unusable = isinstance(document, ProviderUnusable)
            if time.monotonic() - at < (AGAIN if unusable else FRESH):
                if isinstance(document, ProviderUnusable):
                    raise document
                return document
        fetched: dict[str, Any] | ProviderUnusable
        try:
            fetched = self._described()
        except ProviderUnusable as error:
            fetched = error
        with self._lock:
            self._document = (time.monotonic(), fetched)
        if isinstance(fetched, ProviderUnusable):
            raise fetched
        return fetched

    def _described(self) -> dict[str, Any]:
        issuer = self._settings.oidc_issuer
        document = self._fetched(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if document.get("issuer") != issuer:
            raise ProviderUnusable(f"It calls itself {str(document.get('issuer'))[:LONGEST]}; set oidc_issuer to that if it is yours.")
        for name in ENDPOINTS:
            if not isinstance(document.get(name), str) or not is_safe_provider(document[name]):
                raise ProviderUnusable(f"Its {name} is no https address.")
        if not self._algorithms(document):
            raise ProviderUnusable(f"It signs with none of {', '.join(ALGORITHMS)}.")
        return document

    def _algorithms(self, document: Mapping[str, Any]) -> list[str]:
        named = document.get("id_token_signing_alg_values_supported", ["RS256"])
        return [name for name in ALGORITHMS if isinstance(named, list) and name in named]

    def _fetched(self, address: str) -> dict[str, Any]:
        import requests

        try:
            with self._session({}) as session:
                answer = session.get(address, withhold_token=True, allow_redirects=False)
                found = answer.json() if answer.status_code == 200 else None
        except (requests.RequestException, ValueError, RecursionError) as error:
            raise ProviderUnusable(f"{address} does not answer with JSON ({type(error).__name__}).") from error
        if not isinstance(found, dict):
            raise ProviderUnusable(f"{address} answers {answer.status_code} and no JSON object.")
        return found

    @contextmanager
    def _session(self, document: Mapping[str, Any]) -> Iterator[Any]:
        from authlib.integrations.requests_client import OAuth2Session

        secret = self._settings.oidc_secret
        offered = document.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        method = "client_secret_post" if isinstance(offered, list) and "client_secret_basic" not in offered else "client_secret_basic"
        with OAuth2Session(
            self._settings.oidc_client,
            secret or None,
            token_endpoint_auth_method=method if secret else "none",
            scope=" ".join(self._settings.oidc_scopes),
            redirect_uri=self._address + BACK,
            code_challenge_method="S256",
            default_timeout=TIMEOUT,
        ) as session:
            yield session

    def _exchange(self, document: Mapping[str, Any], code: str, verifier: str) -> Mapping[str, Any]:
        """The tokens for a code."""
        import requests
        from authlib.common.errors import AuthlibBaseError

        try:
            with self._session(document) as session:
                token = session.fetch_token(
                    document["token_endpoint"],
                    grant_type="authorization_code",
                    code=code,
                    code_verifier=verifier,
                    allow_redirects=False,
                )
        except AuthlibBaseError as error:
            if error.error in ("invalid_client", "unauthorized_client"):
                raise ProviderUnusable("It does not know this service: look at oidc_client and oidc_secret.") from error
            raise Refused("The identity provider does not know this sign-in any more; begin again.") from error
        except (requests.RequestException, ValueError, TypeError, RecursionError) as error:
            raise ProviderUnusable(f"Its token endpoint does not answer as it must ({type(error).__name__}).") from error
        if not isinstance(token, Mapping):
            raise ProviderUnusable("Its token endpoint does not answer as it must.")
        return token

    def _checked(self, document: Mapping[str, Any], token: Mapping[str, Any], nonce: str) -> dict[str, Any]:
        """The claims of an ID token that is for us, of now, and signed by the provider. Raises Refused."""
        from authlib.oidc.core import CodeIDToken
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet
        from joserfc.jws import JWSRegistry

        given = token.get("id_token")
        if not isinstance(given, str):
            raise Refused("The identity provider sent no ID token; it must be asked for the scope openid (oidc_scopes).")
        registry = JWSRegistry(algorithms=self._algorithms(document), strict_check_header=False)
        client = self._settings.oidc_client
        wanted = {"iss": {"essential": True, "value": self._settings.oidc_issuer}, "aud": {"essential": True, "value": client}}
        facts = {"nonce": nonce, "client_id": client, "access_token": token.get("access_token")}
        try:
            decoded = None
            for keys in self._key_sets(document):
                try:
                    decoded = jwt.decode(given, KeySet.import_key_set({"keys": keys}), registry=registry)
                    break
                except (JoseError, ValueError):
                    continue
            if decoded is None:
                raise Refused("The identity provider's ID token is not signed with a key of it; nobody is let in.")
            CodeIDToken(decoded.claims, decoded.header, wanted, facts).validate(leeway=LEEWAY)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise Refused(f"The identity provider's ID token proves nothing here ({type(error).__name__}); begin again.") from error
        return dict(decoded.claims)

    def _key_sets(self, document: Mapping[str, Any]) -> Iterator[list[Any]]:
        """The provider's keys as they are known, then as they are now, unless that was asked a moment ago."""
        now = time.monotonic()
        with self._lock:
            known = self._keys if self._keys is not None and now - self._keys[0] < FRESH else None
        if known is not None:
            yield known[1]
            with self._lock:
                if now - self._asked_again < AGAIN:
                    return
                self._asked_again = now
        named = self._fetched(document["jwks_uri"]).get("keys")
        keys = [key for key in named if _signs(key)] if isinstance(named, list) else []
        with self._lock:
            self._keys = (time.monotonic(), keys)
        yield keys

    def _visitor(self, claims: Mapping[str, Any]) -> Visitor:
        claim = self._settings.oidc_name
        name = _claim(claims, claim)
        if not isinstance(name, str) or not name.strip():
            raise Refused(
                f"The identity provider's ID token does not say who you are: it has no {claim} (settings oidc_name, oidc_scopes)."
            )
        if claim == "email" and claims.get("email_verified", True) not in (True, "true"):
            raise Refused("The identity provider has not verified your mail address.")
        return Visitor(name.strip(), self._role(_claim(claims, self._settings.oidc_groups)))

    def _role(self, groups: Any) -> Role | None:
        """The greatest of what their groups may do, and everybody."""
        named = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
        granted = [self._roles[group] for group in named if isinstance(group, str) and group in self._roles]
        granted += [self._everybody] if self._everybody is not None else []
        return max(granted, key=list(Role).index, default=None)


def _signs(key: Any) -> bool:
    """Whether this is a public key for signatures, of a kind that we take."""
    return isinstance(key, dict) and key.get("kty") in ("RSA", "EC", "OKP") and key.get("use", "sig") == "sig"


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its name, or by the names on the way to it with dots between them."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found

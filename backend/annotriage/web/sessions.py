"""Who looks at the dashboard: whoever signed in with a name and password or at an identity provider, or whom a trusted proxy vouches for.

The proxy's names are those of accounts; as long as there are none, it alone says who is let in. Whom an identity provider vouches for
may do what an account of that name may, or else what their groups may; nobody comes in so as somebody with a password.

A session lies in the store, under a key that only its cookie's token and the password give together: it ends at once when a visitor signs
out or the password changes, whoever has copied the cookie. Scripts cannot read the cookie. Every request that changes something carries a
second token, as a form's field or as a header, so that no other site can make it in a visitor's name.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import time
from datetime import timedelta
from urllib.parse import urlsplit

from flask import Blueprint, Flask, current_app, g, redirect, render_template, request, session, url_for
from flask.sessions import SecureCookieSessionInterface
from flask.typing import ResponseReturnValue

from annotriage.service.operations.log import log
from annotriage.service.operations.process import Process
from annotriage.states import Role
from annotriage.store.people import anybody, hash_of, name_fault, role_of, write_deed
from annotriage.store.secrets import secret_of
from annotriage.store.sessions import Session, begin_session, end_session, prolong_session, session_of
from annotriage.web.auth import CHALLENGE, Guard
from annotriage.web.identity_provider import BACK, IdentityProvider, ProviderUnusable, Refused, Visitor
from annotriage.web.problems import problem
from annotriage.web.storable import why_unstorable

COOKIE = "annotriage"
LIFETIME = timedelta(hours=12)  # without a visit
PROLONGED = 3600.0  # seconds between writing down that there was one
TOKEN, BEGUN = "token", "provider"  # in the cookie: what names the session; what a browser brings back from the identity provider
CSRF_FIELD, CSRF_HEADER = "csrf", "X-CSRF-Token"
SAFE = ("GET", "HEAD", "OPTIONS")
VISITOR = "annotriage-visitor"  # in the app's extensions: who looks
OPEN = ("web.sign_in", "web.sign_in_at_provider", "web.back_from_provider", "web.static", "web.shared")  # endpoints for everybody


class _Cookies(SecureCookieSessionInterface):
    def get_cookie_secure(self, app: Flask) -> bool:
        return request.is_secure


class Sessions:
    """Signing in and out, and the check before every request. Threadsafe."""

    def __init__(self, app: Flask, process: Process, guard: Guard) -> None:
        self._guard, self._proxy, self._store = guard, process.settings.trusted_proxy, process.store
        self._user = process.settings.user
        self._provider = IdentityProvider(process.settings) if process.settings.oidc_issuer else None
        app.secret_key = secret_of(process.store, "session")
        self._secret = f"{app.secret_key}:{process.password}".encode()
        app.session_interface = _Cookies()
        app.config.update(
            SESSION_COOKIE_NAME=COOKIE,
            SESSION_COOKIE_HTTPONLY=True,
            SESSION_COOKIE_SAMESITE="Lax",
            PERMANENT_SESSION_LIFETIME=LIFETIME,
            SESSION_REFRESH_EACH_REQUEST=False,  # a picture's late answer would bring back the cookie of before, and a notice be lost
        )
        app.jinja_env.globals["csrf_token"] = csrf_token
        app.jinja_env.globals["visitor"] = self.visitor
        app.extensions[VISITOR] = self.visitor

    def visitor(self) -> str | None:
        """The name of whoever looks, None for a stranger."""
        named = self._proxied()
        if named is not None:
            return named
        found = self._session()
        return None if found is None else found.user

    def role(self) -> Role | None:
        """What whoever looks may do; None for a stranger, also one whom the proxy vouches for and who has no account."""
        named, found = self._proxied(), None
        if named is None:
            found = self._session()
            if found is None:
                return None
            named = found.user
        granted = None if found is None else found.granted
        if named == self._user and granted is None:
            return Role.ADMINISTER
        if why_unstorable([named]):
            return None
        with self._store.reading() as connection:
            role = role_of(connection, named)
            if role is not None or found is not None:
                return role or granted
            return None if anybody(connection) else Role.ADMINISTER

    def _proxied(self) -> str | None:
        """Whom the trusted proxy names."""
        if self._proxy and request.remote_addr == self._proxy:
            return request.headers.get("X-Forwarded-User", "").strip() or None
        return None

    def _session(self) -> Session | None:
        """The session at hand."""
        if TOKEN not in session:
            return None
        if "signed_in" not in g:
            g.signed_in = None  # so that the page about a database that does not answer asks nothing more
            g.signed_in = self._signed_in(self._key())
        found: Session | None = g.signed_in
        return found

    def _signed_in(self, key: str) -> Session | None:
        with self._store.reading() as connection:
            found = session_of(connection, key)
        if found is None or found.granted is not None:  # whom a provider vouches for is asked again in time
            return found
        if found.ends_at < time.time() + LIFETIME.total_seconds() - PROLONGED:
            with self._store.writing() as connection:
                prolong_session(connection, key, LIFETIME.total_seconds())
            session.modified = True  # the cookie lasts as long
        return found

    def _key(self) -> str:
        """The key in the store of the session at hand."""
        return hmac.new(self._secret, str(session.get(TOKEN, "")).encode(), hashlib.sha256).hexdigest()

    def admit(self) -> ResponseReturnValue | None:
        """None lets a request pass that carries none of the service's credentials; else what it is answered."""
        if request.endpoint in OPEN and request.method in SAFE:
            return None
        if request.endpoint not in OPEN and self.visitor() is None:
            if request.method in SAFE and wants_page():
                return redirect(url_for("web.sign_in", next=request.full_path.rstrip("?")))
            return problem(401, "sign in first, or give the user and the password of the service", {} if wants_page() else CHALLENGE)
        return self.refuse_forged()

    def refuse_forged(self) -> ResponseReturnValue | None:
        """Whatever changes something on behalf of a session must carry its token."""
        if request.method in SAFE:
            return None
        if fault := why_unstorable(list(request.form.values())):
            return problem(422, f"the form {fault}")
        given = request.headers.get(CSRF_HEADER) or request.form.get(CSRF_FIELD, "")
        if hmac.compare_digest(str(session.get("csrf", "")).encode(), given.encode()) and given:
            return None
        return problem(403, "this form is not from this service, or its session has ended; load the page again and repeat what you did")

    def routes(self, pages: Blueprint) -> None:
        """The pages for signing in and out."""

        @pages.before_request
        def check() -> ResponseReturnValue | None:
            # Browsers repeat Basic credentials by themselves: these do not make a form genuine.
            return self.refuse_forged()

        @pages.route("/sign-in", methods=["GET", "POST"])
        def sign_in() -> ResponseReturnValue:
            target = local(request.values.get("next", ""))
            if request.method == "GET":
                return self._sign_in_page(target) if self.visitor() is None else redirect(target)
            user = request.form.get("user", "")
            if self._guard.admits(user, request.form.get("password", "")) is None:
                return self._sign_in_page(target, failed=True, user=user), 403
            self._begin(Session(user, None, 0.0))
            return redirect(target, 303)

        @pages.post("/sign-out")
        def sign_out() -> ResponseReturnValue:
            found = self._session()
            with self._store.writing() as connection:
                end_session(connection, self._key())
            session.clear()
            at_provider = found is not None and found.granted is not None
            return redirect(url_for("web.sign_in", left="here" if at_provider else None), 303)

        if self._provider is not None:
            self._provider_routes(pages, self._provider)

    def _provider_routes(self, pages: Blueprint, provider: IdentityProvider) -> None:
        """To the identity provider and back. Both change nothing for whoever is signed in, and so are addresses that links lead to."""

        @pages.get("/sign-in/provider")
        def sign_in_at_provider() -> ResponseReturnValue:
            target = local(request.args.get("next", ""))
            try:
                address, kept = provider.begin()
            except (Refused, ProviderUnusable) as error:
                return self._turned_away(target, error)
            session[BEGUN] = {**kept, "next": target}
            return redirect(address)

        @pages.get(BACK)
        def back_from_provider() -> ResponseReturnValue:
            kept = session.pop(BEGUN, None)
            target = local(str((kept or {}).get("next", "")))
            try:
                visitor = provider.finish(kept, request.args)
                granted = self._granted(visitor)
            except (Refused, ProviderUnusable) as error:
                return self._turned_away(target, error)
            self._begin(Session(visitor.name, granted, 0.0))
            return redirect(target, 303)

    def _granted(self, visitor: Visitor) -> Role:
        """What somebody may do whom the provider vouches for. Raises Refused."""
        if name_fault(visitor.name, self._user) or why_unstorable([visitor.name]):
            raise Refused("The name that the identity provider gives you cannot be one here.")
        with self._store.reading() as connection:
            role, kept = role_of(connection, visitor.name), hash_of(connection, visitor.name)
        if kept is not None:
            raise Refused(f"{visitor.name} signs in with a password here; an account for the identity provider has none.")
        granted = role or visitor.role
        if granted is None:
            raise Refused(
                f"You have no account here as {visitor.name}; whoever administers annotriage gives you one:"
                f" annotriage people add {visitor.name} --no-password"
            )
        return granted

    def _begin(self, found: Session) -> None:
        """Begin a session; the one before, if there was any, is not that of this visitor."""
        session.clear()
        session.permanent = True
        session.update({TOKEN: secrets.token_urlsafe(24), "csrf": secrets.token_urlsafe(24)})
        with self._store.writing() as connection:
            begin_session(connection, self._key(), found.user, LIFETIME.total_seconds(), found.granted)
            if request.method in SAFE:  # of others it is written down what they do
                write_deed(connection, found.user, "sign in", request.path, 303)

    def _sign_in_page(self, target: str, **shown: object) -> str:
        provider = self._provider
        leave = provider.place_to_leave() if provider is not None and "left" in request.args else None
        return render_template("sign_in.html", next=target, provider=provider is not None, leave=leave, **shown)

    def _turned_away(self, target: str, error: Exception) -> ResponseReturnValue:
        """The sign-in page with the reason, which is also in the log."""
        log("sign-in at the provider failed", level=logging.WARNING, error=error)
        if isinstance(error, Refused):
            return self._sign_in_page(target, trouble=str(error)), 403
        return self._sign_in_page(target, trouble=f"The identity provider cannot be used now. {error}"), 502


def visitor_name() -> str:
    """Who acts, for the history: whom this request proved to come from, and nobody whom it only names; "" for a stranger."""
    return str(g.get("person") or current_app.extensions[VISITOR]() or "")


def visitor_may(role: Role) -> bool:
    """Whether whoever looks may do at least that much."""
    found: Role | None = g.get("role")
    return found is not None and found.may(role)


def csrf_token() -> str:
    """The token of this session, made when a form first needs it."""
    if "csrf" not in session:
        session["csrf"] = secrets.token_urlsafe(24)
        session.permanent = True
    return str(session["csrf"])


def local(target: str) -> str:
    """The target if it is a path of this service, else the first page."""
    parts = urlsplit(target)
    plain = target.startswith("/") and not target.startswith(("//", "/\\")) and not any(ord(character) < 32 for character in target)
    return target if plain and not parts.scheme and not parts.netloc else "/"


def wants_page() -> bool:
    """Whether a person's browser asks, for something that is not part of the API."""
    if request.path.startswith("/api/") or request.blueprint not in (None, "web"):
        return False
    return request.accept_mimetypes.best_match(["application/json", "text/html"], "application/json") == "text/html"

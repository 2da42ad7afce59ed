"""Signing in at an identity provider by OpenID Connect, a real one on loopback: who gets in, as whom, and what is refused."""

from __future__ import annotations

import importlib.util
import json
import time
from urllib.parse import parse_qs, urlsplit

import pytest
from identity_provider import Key, Provider, encoded
from memory_tool import MemoryServer
from web import PAGE, sign_in, token

from annotriage.errors import SettingError
from annotriage.service.operations.process import Process
from annotriage.settings import ServiceSettings
from annotriage.states import Role
from annotriage.store import people, schema
from annotriage.web.app import create_app
from annotriage.web.identity_provider import IdentityProvider

pytestmark = pytest.mark.skipif(importlib.util.find_spec("authlib") is None, reason="no Authlib: install annotriage[oidc]")


@pytest.fixture(scope="module")
def keys():
    return {name: Key(name) for name in ("first", "second")}


@pytest.fixture(scope="module")
def running():
    provider = Provider()
    yield provider
    provider.close()


@pytest.fixture
def provider(running, keys):
    """The provider, as it is by itself."""
    running.reset(keys["first"])
    return running


def start(folder, provider, **settings):
    usual = {
        "oidc_issuer": provider.issuer,
        "oidc_client": provider.client,
        "oidc_secret": provider.secret,
        "oidc_role": "look",
        "public_url": "http://localhost",
    }
    given = {"database": f"sqlite:///{folder}/s.db", "label_studio_token": "u", "password": "right", **usual, **settings}
    process = Process(ServiceSettings(**given), "web")
    process.server = MemoryServer()
    return process


@pytest.fixture
def service(tmp_path, provider):
    """A service whose people sign in at the provider: its app, and the process."""
    made = []

    def service(**settings):
        made.append(start(tmp_path, provider, **settings))
        return create_app(made[-1]), made[-1]

    yield service
    for process in made:
        process.leave()


@pytest.fixture(scope="module")
def usual(tmp_path_factory, running, keys):
    """The app of a service with nothing special, which tests share."""
    running.reset(keys["first"])
    process = start(tmp_path_factory.mktemp("usual"), running)
    yield create_app(process)
    process.leave()


def begin(client, next="/system"):
    """Where the button on the sign-in page leads."""
    sent = client.get("/sign-in/provider", query_string={"next": next}, headers=PAGE)
    assert sent.status_code == 302, sent.text
    return sent.location


def back(client, address):
    return client.get(address.removeprefix("http://localhost"), headers=PAGE)


def through(client, provider, **given):
    """Sign in at the provider and come back."""
    return back(client, provider.sign_in(begin(client, **given)))


def test_a_person_signs_in_at_the_provider_and_out_again(service, provider):
    app, process = service()
    client = app.test_client()
    page = client.get("/sign-in?next=/system", headers=PAGE).text
    assert 'href="/sign-in/provider?next=/system"' in page
    answer = through(client, provider)
    assert (answer.status_code, answer.location) == (303, "/system")
    page = client.get("/system", headers=PAGE)
    assert (page.status_code, "ada@example.com" in page.text) == (200, True)
    with process.store.reading() as connection:
        (deed,) = people.deeds(connection)
    assert (deed.person, deed.action, deed.path, deed.status) == ("ada@example.com", "sign in", "/sign-in/provider/back", 303)
    left = client.post("/sign-out", data={"csrf": token(client, "/")}, headers=PAGE, follow_redirects=True)
    assert f"{provider.issuer}/leave?client_id=annotriage" in left.text
    assert client.get("/system", headers=PAGE).status_code == 302


def test_without_a_provider_there_is_no_button_and_no_way_in(service):
    app, _ = service(oidc_issuer="")
    client = app.test_client()
    assert "/sign-in/provider" not in client.get("/sign-in", headers=PAGE).text
    for path in ("/sign-in/provider", "/sign-in/provider/back?code=1&state=2"):
        assert client.get(path, headers=PAGE).location.startswith("/sign-in?next="), "as for any address that is none"
        assert client.get(path, headers=PAGE, auth=("annotriage", "right")).status_code == 404


def test_what_is_asked_of_the_provider_is_different_each_time(usual, provider):
    asked = [parse_qs(urlsplit(begin(usual.test_client())).query) for _ in range(2)]
    for name in ("state", "nonce", "code_challenge"):
        assert asked[0][name] != asked[1][name]
        assert len(asked[0][name][0]) >= 32
    assert asked[0]["redirect_uri"] == ["http://localhost/sign-in/provider/back"]


NOW = int(time.time())
SPOILT = {
    "another nonce": lambda provider, keys, claims: provider.keys[0].token(claims | {"nonce": "another"}),
    "no nonce": lambda provider, keys, claims: provider.keys[0].token({k: v for k, v in claims.items() if k != "nonce"}),
    "another audience": lambda provider, keys, claims: provider.keys[0].token(claims | {"aud": "another"}),
    "several audiences": lambda provider, keys, claims: provider.keys[0].token(claims | {"aud": [provider.client, "another"]}),
    "for another party": lambda provider, keys, claims: provider.keys[0].token(claims | {"azp": "another"}),
    "no audience": lambda provider, keys, claims: provider.keys[0].token({k: v for k, v in claims.items() if k != "aud"}),
    "expired": lambda provider, keys, claims: provider.keys[0].token(claims | {"iat": NOW - 7200, "exp": NOW - 3600}),
    "never ends": lambda provider, keys, claims: provider.keys[0].token({k: v for k, v in claims.items() if k != "exp"}),
    "of the future": lambda provider, keys, claims: provider.keys[0].token(claims | {"iat": NOW + 7200, "exp": NOW + 10_000}),
    "another issuer": lambda provider, keys, claims: provider.keys[0].token(claims | {"iss": "https://evil.example.com"}),
    "no issuer": lambda provider, keys, claims: provider.keys[0].token({k: v for k, v in claims.items() if k != "iss"}),
    "an unknown key": lambda provider, keys, claims: keys["second"].token(claims),
    "an unknown key under a known name": lambda provider, keys, claims: keys["second"].token(claims, kid="first"),
    "not signed": lambda provider, keys, claims: ".".join(
        [encoded(b'{"alg": "none", "kid": "first"}'), encoded(json.dumps(claims).encode()), ""]
    ),
    "signed with what everybody knows": lambda provider, keys, claims: keys["first"].token(claims, alg="HS256"),
    "another access token's": lambda provider, keys, claims: provider.keys[0].token(claims | {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}),
    "changed": lambda provider, keys, claims: provider.keys[0].token(claims)[:-8] + "AAAAAAAA",
    "garbage": lambda provider, keys, claims: "garbage",
    "no text": lambda provider, keys, claims: 7,
    "no name": lambda provider, keys, claims: provider.keys[0].token({k: v for k, v in claims.items() if k != "email"}),
    "an unproven address": lambda provider, keys, claims: provider.keys[0].token(claims | {"email_verified": False}),
    "a name of another type": lambda provider, keys, claims: provider.keys[0].token(claims | {"email": {"$ne": 1}}),
    "the service's own user": lambda provider, keys, claims: provider.keys[0].token(claims | {"email": "annotriage"}),
    "a name that cannot be": lambda provider, keys, claims: provider.keys[0].token(claims | {"email": "a:b\u0000"}),
    "groups of another type": lambda provider, keys, claims: provider.keys[0].token(claims | {"groups": 7, "email": ""}),
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_token_that_proves_nothing_lets_nobody_in(usual, provider, keys, how):
    client = usual.test_client()
    provider.spoil = lambda claims: SPOILT[how](provider, keys, claims)
    answer = through(client, provider)
    assert (answer.status_code, 'role="alert"' in answer.text) == (403, True), answer.text
    assert client.get("/system", headers=PAGE).status_code == 302


def test_an_answer_is_taken_once_in_the_browser_that_asked_and_in_time(usual, provider, monkeypatch):
    client, other = usual.test_client(), usual.test_client()
    answer = provider.sign_in(begin(client))
    assert back(other, answer).status_code == 403, "a browser that asked nothing"
    begin(other)
    assert back(other, answer).status_code == 403, "one that asked something else"
    assert back(client, answer.replace("state=", "state=x")).status_code == 403
    assert back(client, answer).status_code == 403, "after a wrong answer it is asked anew"
    answer = provider.sign_in(begin(client))
    assert back(client, answer).status_code == 303
    assert back(client, answer).status_code == 403, "twice"
    late = usual.test_client()
    answer = provider.sign_in(begin(late))
    now = time.time()
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: now + 3600)
        assert back(late, answer).status_code == 403
    named = usual.test_client()
    answer = provider.sign_in(begin(named))
    assert back(named, f"{answer}&iss=https://evil.example.com").status_code == 403


def test_the_code_is_worth_nothing_without_the_verifier(usual, provider):
    client, thief = usual.test_client(), usual.test_client()
    code = parse_qs(urlsplit(provider.sign_in(begin(client))).query)["code"][0]
    state = parse_qs(urlsplit(begin(thief)).query)["state"][0]
    assert back(thief, f"/sign-in/provider/back?code={code}&state={state}").status_code == 403


def test_a_new_key_of_the_provider_is_fetched(service, provider, keys):
    app, _ = service()
    assert through(app.test_client(), provider).status_code == 303
    provider.keys = [keys["first"], keys["second"]]
    assert through(app.test_client(), provider).status_code == 303
    fetched = provider.calls.count("/realm/keys")
    provider.keys = [keys["second"]]
    provider.spoil = lambda claims: keys["first"].token(claims, kid="made up")
    for _ in range(3):
        assert through(app.test_client(), provider).status_code == 403
    assert provider.calls.count("/realm/keys") <= fetched + 1, "no sender of wrong tokens makes it ask again and again"


@pytest.mark.parametrize(
    ("groups", "role"),
    [
        (["staff", "label-admins"], Role.ADMINISTER),
        (["staff"], Role.DECIDE),
        ("staff", Role.DECIDE),
        ([], None),
        (["Staff"], None),
        (None, None),
        ([["staff"], 7], None),
    ],
)
def test_groups_become_roles(service, provider, groups, role):
    app, _ = service(oidc_groups="realm_access.roles", oidc_roles="staff=decide, label-admins=administer", oidc_role="none")
    provider.claims["realm_access"] = {"roles": groups}
    client = app.test_client()
    answer = through(client, provider)
    if role is None:
        assert answer.status_code == 403
        assert "annotriage people add" in answer.text
    else:
        assert client.get("/system/accounts", headers=PAGE).status_code == (200 if role == Role.ADMINISTER else 403)
        assert client.post("/system/clear-inbox", data={"csrf": token(client, "/")}, headers=PAGE).status_code == (
            303 if role == Role.ADMINISTER else 403
        )


def test_an_account_decides_before_the_groups_do_and_at_once(service, provider):
    app, process = service(oidc_role="administer")
    with process.store.writing() as connection:
        people.set_person(connection, "ada@example.com", Role.LOOK, None, service_user="annotriage")
    client = app.test_client()
    assert through(client, provider).status_code == 303
    assert client.get("/system/accounts", headers=PAGE).status_code == 403
    with process.store.writing() as connection:
        people.remove_person(connection, "ada@example.com")
    assert client.get("/", headers=PAGE).status_code == 302


def test_nobody_comes_in_as_somebody_with_a_password(service, provider):
    app, process = service(oidc_name="preferred_username")
    with process.store.writing() as connection:
        people.set_person(connection, "ann", Role.ADMINISTER, "correct horse", service_user="annotriage")
    provider.claims["preferred_username"] = "ann"
    client = app.test_client()
    refused = through(client, provider)
    assert (refused.status_code, "password" in refused.text) == (403, True)
    assert sign_in(client, "correct horse", user="ann").status_code == 303


def test_what_a_provider_grants_is_of_its_own_visitor_alone(service, provider):
    app, process = service(oidc_role="administer", trusted_proxy="10.0.0.7")
    with process.store.writing() as connection:
        people.set_person(connection, "bob", Role.LOOK, None, service_user="annotriage")
    client = app.test_client()
    through(client, provider)
    proxied = {"environ_base": {"REMOTE_ADDR": "10.0.0.7"}}
    assert client.get("/system/accounts", headers=PAGE).status_code == 200
    for name in ("bob", "eve"):
        assert client.get("/system/accounts", headers={"X-Forwarded-User": name, **PAGE}, **proxied).status_code == 403


def test_a_session_of_the_provider_ends_in_time_whoever_visits(service, provider, monkeypatch):
    app, process = service()
    client = app.test_client()
    through(client, provider)
    with process.store.reading() as connection:
        (ends_at,) = connection.execute(schema.session.select().with_only_columns(schema.session.c.ends_at)).scalars()
    now = time.time()
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: now + 6 * 3600)
        assert client.get("/system", headers=PAGE).status_code == 200
        with process.store.reading() as connection:
            (still,) = connection.execute(schema.session.select().with_only_columns(schema.session.c.ends_at)).scalars()
    assert still == ends_at


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://evil.example.com"},
        {"token_endpoint": "http://evil.example.com/token"},
        {"jwks_uri": "file:///etc/passwd"},
        {"authorization_endpoint": None},
        {"id_token_signing_alg_values_supported": ["HS256", "none"]},
    ],
)
def test_a_provider_whose_document_is_wrong_is_not_used(service, provider, metadata):
    provider.metadata = metadata
    app, _ = service()
    answer = app.test_client().get("/sign-in/provider", headers=PAGE)
    assert (answer.status_code, "provider" in answer.text) == (502, True)


def test_a_provider_that_is_down_is_said_and_passwords_go_on(service, provider):
    app, _ = service(oidc_issuer="http://127.0.0.1:9/realm")
    client = app.test_client()
    answer = client.get("/sign-in/provider", headers=PAGE)
    assert (answer.status_code, "does not answer" in answer.text) == (502, True)
    assert sign_in(client, "right").status_code == 303


def test_an_error_of_the_provider_is_told_and_is_only_text(usual, provider):
    client = usual.test_client()
    state = parse_qs(urlsplit(begin(client)).query)["state"][0]
    answer = client.get(
        "/sign-in/provider/back", query_string={"error": "access_denied", "error_description": "<b>no</b>", "state": state}, headers=PAGE
    )
    assert (answer.status_code, "access_denied" in answer.text, "<b>no</b>" in answer.text) == (403, True, False)


def test_the_client_secret_is_checked_and_never_shown(service, provider, caplog):
    caplog.set_level("INFO")
    app, _ = service(oidc_secret="a wrong secret")
    answer = through(app.test_client(), provider)
    assert (answer.status_code, "oidc_secret" in answer.text) == (502, True)
    logged = repr([(record.getMessage(), record.__dict__.get("fields")) for record in caplog.records])
    assert "a wrong secret" not in logged + answer.text
    assert "code=" not in logged


@pytest.mark.parametrize(
    "settings",
    [
        {"oidc_issuer": "http://accounts.example.com"},
        {"oidc_issuer": "https://accounts.example.com/?a=b"},
        {"oidc_issuer": "accounts.example.com"},
        {"oidc_roles": "staff"},
        {"oidc_roles": "staff=king"},
        {"oidc_role": "king"},
        {"public_url": "javascript:x"},
        {"oidc_client": ""},
        {"oidc_scopes": "email"},
        {"oidc_name": ""},
        {"oidc_secret": "a\nb"},
    ],
)
def test_settings_that_cannot_work_are_refused_at_start(settings):
    with pytest.raises(SettingError, match=next(iter(settings))):
        IdentityProvider(ServiceSettings(**{"oidc_issuer": "https://accounts.example.com", "oidc_client": "x", **settings}))

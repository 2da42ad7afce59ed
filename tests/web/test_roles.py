"""People with accounts: each may do what their role says, everywhere, at once; and what they do is written down."""

from __future__ import annotations

import csv
import io

import pytest
from memory_tool import MemoryServer
from web import PAGE, sign_in, token

from annotriage.service.operations.process import Process
from annotriage.settings import ServiceSettings
from annotriage.states import Role
from annotriage.store import people
from annotriage.web import auth
from annotriage.web.app import create_app
from annotriage.web.roles import ADMINISTERING, DECIDING, FOR_ALL, LOOKING, PRIVATE, needed
from annotriage.web.sessions import SAFE

PASSWORD = "correct horse"
SERVICE = ("annotriage", "right password")


@pytest.fixture
def process(sqlite):
    process = Process(ServiceSettings(database=sqlite, label_studio_token="u", password=SERVICE[1], trusted_proxy="10.0.0.7"), "web")
    process.server = MemoryServer()
    with process.store.writing() as connection:
        for role in Role:
            people.set_person(connection, f"may {role}", role, PASSWORD, service_user=process.settings.user)
    yield process
    process.leave()


@pytest.fixture
def app(process):
    return create_app(process)


def as_person(role):
    return {"auth": (f"may {role}", PASSWORD)}


def test_every_address_that_changes_something_takes_a_role_that_somebody_chose(app):
    changing = {rule.endpoint for rule in app.url_map.iter_rules() if set(rule.methods) - {*SAFE}}
    ours = {endpoint for endpoint in changing if endpoint.partition(".")[0] in ("web", "api")}
    assert ours == {*DECIDING, *ADMINISTERING, *FOR_ALL, *LOOKING}
    assert set(PRIVATE) <= {rule.endpoint for rule in app.url_map.iter_rules()}
    assert needed("POST", "web.something_new") == Role.ADMINISTER


@pytest.mark.parametrize(
    ("method", "path", "least"),
    [
        ("GET", "/api/projects", Role.LOOK),
        ("GET", "/metrics", Role.LOOK),
        ("POST", "/api/projects/9/pause", Role.DECIDE),
        ("POST", "/api/projects/9/gold", Role.DECIDE),
        ("POST", "/api/projects/9/erasures", Role.ADMINISTER),
        ("POST", "/api/datasets/x/items", Role.ADMINISTER),
        ("GET", "/system/accounts.json", Role.ADMINISTER),
        ("GET", "/system/deeds.csv", Role.ADMINISTER),
    ],
)
def test_the_api_goes_by_roles(app, method, path, least):
    for role in Role:
        answer = app.test_client().open(path, method=method, json={} if method == "POST" else None, **as_person(role))
        assert (answer.status_code != 403) == role.may(least), (role, answer.text)
        assert answer.status_code != 401
        if answer.status_code == 403:
            assert f"may {role}, and this takes one that may {least}" in answer.json["detail"]


def test_a_person_signs_in_and_is_refused_what_is_not_theirs(app):
    client = app.test_client()
    assert sign_in(client, PASSWORD, user="may look").status_code == 303
    page = client.get("/system", headers=PAGE)
    assert (page.status_code, "may look" in page.text) == (200, True)
    refused = client.post("/system/clear-inbox", data={"csrf": token(client, "/")}, headers=PAGE)
    assert refused.status_code == 403
    assert "Your account may look" in refused.text


def test_what_changes_in_an_account_holds_at_once(app, process):
    client = app.test_client()
    sign_in(client, PASSWORD, user="may decide")
    assert client.get("/", headers=PAGE).status_code == 200
    basic = as_person(Role.DECIDE)
    assert client.get("/api/projects", **basic).status_code == 200
    with process.store.writing() as connection:
        people.remove_person(connection, "may decide")
    assert client.get("/", headers=PAGE).status_code == 302
    assert app.test_client().get("/api/projects", **basic).status_code == 401


def test_a_wrong_password_or_no_account_lets_nobody_in(app):
    for user, password in (
        ("may look", "wrong password"),
        ("nobody", PASSWORD),
        ("may look", ""),
        ("x\0", PASSWORD),
    ):
        assert sign_in(app.test_client(), password, user=user).status_code in (403, 422)
    assert app.test_client().get("/api/projects", auth=("may look", "wrong password")).status_code == 401


def test_whom_a_proxy_signs_in_needs_no_password_and_has_none(app, process):
    with process.store.writing() as connection:
        people.set_person(connection, "ada", Role.DECIDE, None, service_user="annotriage")
    client = app.test_client()
    assert sign_in(client, "", user="ada").status_code == 403
    through = {"environ_base": {"REMOTE_ADDR": "10.0.0.7"}}
    assert client.get("/", headers={"X-Forwarded-User": "ada", **PAGE}, **through).status_code == 200
    refused = client.get("/system/accounts", headers={"X-Forwarded-User": "ada", **PAGE}, **through)
    assert (refused.status_code, "may decide" in refused.text) == (403, True)
    stranger = client.get("/", headers={"X-Forwarded-User": "eve", **PAGE}, **through)
    assert (stranger.status_code, "annotriage people add" in stranger.text) == (403, True)
    assert client.get("/system/accounts", headers={"X-Forwarded-User": "annotriage", **PAGE}, **through).status_code == 200


def test_as_long_as_there_are_no_accounts_the_proxy_alone_says_who_is_let_in(app, process):
    with process.store.writing() as connection:
        for role in Role:
            people.remove_person(connection, f"may {role}")
    through = {"environ_base": {"REMOTE_ADDR": "10.0.0.7"}, "headers": {"X-Forwarded-User": "eve", **PAGE}}
    assert app.test_client().get("/system/accounts", **through).status_code == 200


def test_whoever_removes_the_last_account_is_told_what_that_opens(app, process):
    client = app.test_client()
    sign_in(client, SERVICE[1])
    given = {"csrf": token(client, "/")}
    for role, told in zip(Role, (False, False, True), strict=True):
        page = client.post("/system/accounts/remove", data={**given, "name": f"may {role}"}, headers=PAGE, follow_redirects=True)
        assert ("whomever the proxy names may do everything. Give" in page.text) == told


def test_what_the_labeling_tool_calls_is_for_the_services_own_user(app):
    assert app.test_client().get("/versions", auth=SERVICE).status_code != 401
    assert app.test_client().get("/versions", **as_person(Role.ADMINISTER)).status_code == 401


def test_accounts_are_given_and_taken_on_their_page_and_it_is_written_down(app, process):
    client = app.test_client()
    sign_in(client, PASSWORD, user="may administer")
    given = {"csrf": token(client, "/"), "name": "ann", "role": "decide", "password": "battery staple"}
    assert client.post("/system/accounts", data=given, headers=PAGE).status_code == 303
    assert "ann may decide from now on." in client.get("/system/accounts", headers=PAGE).text
    assert client.post("/system/accounts", data={**given, "role": "king"}, headers=PAGE).status_code == 422
    assert client.post("/system/accounts", data={**given, "password": "short"}, headers=PAGE).status_code == 422
    assert sign_in(app.test_client(), "battery staple", user="ann").status_code == 303
    assert client.post("/system/accounts/remove", data={"csrf": given["csrf"], "name": "ann"}, headers=PAGE).status_code == 303
    assert sign_in(app.test_client(), "battery staple", user="ann").status_code == 403
    client.post("/api/projects/9/pause", **as_person(Role.LOOK))
    rows = list(csv.DictReader(io.StringIO(client.get("/system/deeds.csv").text)))[::-1]
    told = [(row["person"], row["action"], row["status"]) for row in rows]
    assert told == [
        ("may administer", "sign in", "303"),
        ("may administer", "set account", "303"),
        ("may administer", "set account", "422"),
        ("may administer", "set account", "422"),
        ("ann", "sign in", "303"),
        ("may administer", "remove account", "303"),
        ("may look", "pause", "403"),
    ]
    assert "staple" not in client.get("/system/deeds.csv").text


def test_nobody_writes_deeds_in_the_name_of_another(app, process):
    for user, password in ((f"may {Role.ADMINISTER}", "wrong password"), ("nobody", PASSWORD), SERVICE):
        app.test_client().post("/api/projects/9/pause", auth=(user, password))
    client = app.test_client()
    sign_in(client, PASSWORD, user="may look")
    client.post("/api/projects/9/pause", **as_person(Role.DECIDE))
    with process.store.reading() as connection:
        told = [(deed.person, deed.action, deed.status) for deed in people.deeds(connection)][::-1]
    assert told == [("annotriage", "pause", 404), ("may look", "sign in", 303), ("may decide", "pause", 404)]


def test_a_program_that_asks_again_and_again_does_not_wait_for_the_hash_each_time(app, monkeypatch):
    tried = []
    monkeypatch.setattr(auth, "is_password", lambda kept, given: tried.append(given) or people.is_password(kept, given))
    for _ in range(3):
        assert app.test_client().get("/api/projects", **as_person(Role.LOOK)).status_code == 200
    assert tried == [PASSWORD]

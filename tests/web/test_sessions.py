"""Who gets in, and what no other site can do in a visitor's name."""

from __future__ import annotations

import re
import socket
import threading
import time

import pytest
import requests
from memory_tool import MemoryServer
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from waiting import PATIENCE
from web import PAGE, sign_in, token

from annotriage.service.operations.process import Process
from annotriage.settings import ServiceSettings
from annotriage.states import Role
from annotriage.store.people import set_person
from annotriage.store.secrets import secret_of
from annotriage.web.app import create_app, create_server
from annotriage.web.sessions import local

PATHS = ("/", "/system", "/projects/1/guarantee", "/projects/1/items.csv", "/nowhere", "/changes")


@pytest.fixture
def web(sqlite):
    """A client of an empty service's app; web.sign_in() signs in with the right password."""
    made = []

    def web(**settings):
        settings = {"database": sqlite, "label_studio_token": "unused", "password": "right", **settings}
        process = Process(ServiceSettings(**settings), "web")
        process.server = MemoryServer()
        made.append(process)
        client = create_app(process).test_client()
        client.process = process
        return client

    yield web
    for process in made:
        process.leave()


@pytest.mark.parametrize("path", PATHS)
def test_a_stranger_is_sent_to_sign_in_and_from_there_to_what_was_asked_for(web, path):
    client = web()
    sent = client.get(path, headers=PAGE)
    assert (sent.status_code, sent.location) == (302, f"/sign-in?next={path}")
    assert sign_in(client, next=path).location == path


def test_programs_get_a_problem_and_the_api_stays_as_it_was(web):
    client = web()
    for path in ("/api/projects", "/system"):
        answer = client.get(path)
        assert (answer.status_code, answer.mimetype) == (401, "application/problem+json")
    assert client.get("/api/projects", auth=("annotriage", "right")).json == {"projects": []}


def test_a_wrong_password_is_told_and_lets_nobody_in(web):
    client = web()
    refused = sign_in(client, "wrong")
    assert refused.status_code == 403
    assert "wrong" in refused.text
    assert client.get("/", headers=PAGE).status_code == 302


def test_guessing_is_slowed_down(web):
    client = web()
    assert [sign_in(client, f"guess {n}").status_code for n in range(31)] == [403] * 30 + [429]


def test_guesses_count_once_wherever_they_are_made(web):
    client = web()
    assert {client.get("/api/projects", auth=("annotriage", "guess")).status_code for _ in range(15)} == {401}
    assert [sign_in(client, f"guess {n}").status_code for n in range(16)] == [403] * 15 + [429]
    assert client.get("/api/projects", auth=("annotriage", "guess")).status_code == 429


def test_behind_the_proxy_each_client_is_slowed_down_by_itself(web):
    client = web(trusted_proxy="10.0.0.7")

    def guess(headers, peer="10.0.0.7", password="guess"):
        return client.get("/api/projects", auth=("annotriage", password), headers=headers, environ_base={"REMOTE_ADDR": peer}).status_code

    assert [guess({"X-Forwarded-For": "192.0.2.1"}) for _ in range(31)] == [401] * 30 + [429]
    assert guess({"X-Forwarded-For": "192.0.2.2"}) == 401, "another client of the same proxy"
    assert guess({"X-Forwarded-For": "192.0.2.9, 192.0.2.1"}) == 429, "what a client itself writes before the proxy's entry"
    assert guess({"X-Forwarded-For": "192.0.2.2"}, password="right") == 200
    assert guess({}) == 401, "a proxy that names nobody"


def test_the_server_hands_on_what_the_proxy_says_of_its_clients(web):
    client = web(trusted_proxy="127.0.0.1", host="127.0.0.1")
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = create_server(client.process, listener)
    threading.Thread(target=server.run, daemon=True).start()

    def guess(address):
        return requests.get(
            f"{url}/api/projects", auth=("annotriage", "guess"), headers={"X-Forwarded-For": address}, timeout=PATIENCE
        ).status_code

    assert [guess("192.0.2.1") for _ in range(31)] == [401] * 30 + [429]
    assert guess("192.0.2.2") == 401
    server.close()


def test_what_a_client_sends_beside_the_proxys_header_names_nobody(web):
    client = web(trusted_proxy="127.0.0.1", host="127.0.0.1")
    with client.process.store.writing() as connection:
        for name, role in (("ann", Role.LOOK), ("root", Role.ADMINISTER)):
            set_person(connection, name, role, None, service_user="annotriage")
    listener = socket.create_server(("127.0.0.1", 0))
    server = create_server(client.process, listener)
    threading.Thread(target=server.run, daemon=True).start()

    def asked(*headers):
        with socket.create_connection(listener.getsockname(), timeout=PATIENCE) as connection:
            lines = ["GET /system/accounts.json HTTP/1.1", "Host: localhost", "Connection: close", *headers]
            connection.sendall("".join(f"{line}\r\n" for line in [*lines, ""]).encode())
            return int(connection.makefile("rb").readline().split()[1])

    assert asked("X-Forwarded-User: root") == 200
    assert asked("X-Forwarded-User: ann") == 403
    assert asked("X-Forwarded-User: ann", "X_Forwarded_User: root") == 403
    assert asked("X-Forwarded-User: ann", "X-Forwarded-User: root") == 403, "two names are no name"
    assert asked("X-Forwarded-User: ann", "X-Forwarded-User : root") in (400, 403)
    assert asked("X_Forwarded_User: root") == asked() == 401
    server.close()


def test_nobody_but_the_proxy_says_where_a_request_came_from(web):
    for client in (web(trusted_proxy="10.0.0.7"), web()):
        named = [{"X-Forwarded-For": f"192.0.2.{n}"} for n in range(31)]
        answers = [
            client.get("/api/projects", auth=("annotriage", "guess"), headers=headers, environ_base={"REMOTE_ADDR": "10.0.0.8"})
            for headers in named
        ]
        assert [answer.status_code for answer in answers] == [401] * 30 + [429]


def test_signing_out_ends_the_session(web):
    client = web()
    sign_in(client)
    assert client.get("/", headers=PAGE).status_code == 200
    assert client.post("/sign-out", data={"csrf": token(client, "/")}, headers=PAGE).status_code == 303
    assert client.get("/", headers=PAGE).status_code == 302


@pytest.mark.parametrize("end", ["sign out", "time"])
def test_a_copied_cookie_is_worth_nothing_once_the_session_has_ended(web, monkeypatch, end):
    client, thief = web(), web()
    sign_in(client)
    thief.set_cookie("annotriage", client.get_cookie("annotriage").value)
    assert thief.get("/", headers=PAGE).status_code == 200
    if end == "time":
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + 12 * 3600 + 60)
    else:
        client.post("/sign-out", data={"csrf": token(client, "/")}, headers=PAGE)
    assert thief.get("/", headers=PAGE).status_code == 302


def test_a_session_lasts_as_long_as_there_are_visits(web, monkeypatch):
    client = web()
    sign_in(client)
    now = time.time()
    for hours in range(0, 30, 6):
        monkeypatch.setattr(time, "time", lambda hours=hours: now + hours * 3600)
        assert client.get("/", headers=PAGE).status_code == 200


def test_an_answer_that_changes_nothing_leaves_the_cookie_alone(web, monkeypatch):
    """The late answer to a picture must not bring back a cookie without the notice that was put into it meanwhile."""
    client = web()
    sign_in(client)
    client.get("/", headers=PAGE)
    assert "Set-Cookie" not in client.get("/", headers=PAGE).headers
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 11 * 3600)
    assert "Expires=" in client.get("/", headers=PAGE).headers["Set-Cookie"]


def test_what_lies_in_the_database_lets_nobody_in(web):
    client, thief = web(), web()
    sign_in(client)
    with client.process.store.reading() as connection:
        key = connection.execute(text("SELECT key FROM session")).scalar_one()
    with thief.session_transaction() as made:
        made["token"] = key
    assert thief.get("/", headers=PAGE).status_code == 302


def test_a_new_password_ends_all_sessions(web):
    client = web()
    sign_in(client)
    cookie = client.get_cookie("annotriage").value
    other = web(password="another")
    other.set_cookie("annotriage", cookie)
    assert other.get("/", headers=PAGE).status_code == 302


def test_a_session_cannot_be_made_up(web):
    client = web()
    client.set_cookie("annotriage", "eyJ1c2VyIjoiYW5ub3RyaWFnZSJ9.aaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbb")
    assert client.get("/", headers=PAGE).status_code == 302


def test_the_cookie_is_out_of_reach_of_scripts_and_of_plain_http_where_it_came_over_https(web):
    client = web()
    plain = client.get("/sign-in", headers=PAGE).headers["Set-Cookie"]
    assert "HttpOnly" in plain
    assert "SameSite=Lax" in plain
    assert "Secure" not in plain
    client.delete_cookie("annotriage")
    assert "Secure" in client.get("/sign-in", headers=PAGE, base_url="https://localhost").headers["Set-Cookie"]


@pytest.mark.parametrize("path", ["/sign-in", "/sign-out", "/projects/1/pause", "/projects/1/settings", "/system/clear-inbox"])
@pytest.mark.parametrize("given", ["nothing", "another session's token"])
def test_forged_forms_are_refused(web, path, given):
    client, other = web(), web()
    sign_in(client)
    form = {} if given == "nothing" else {"csrf": token(other)}
    answer = client.post(path, data={"user": "annotriage", "password": "right", **form}, headers=PAGE)
    assert answer.status_code == 403
    assert "is not from this service" in answer.text


def test_a_browser_that_knows_the_password_cannot_be_made_to_act_either(web):
    assert web().post("/projects/1/pause", auth=("annotriage", "right")).status_code == 403


def test_scripts_of_the_pages_send_the_token_as_a_header(web):
    client = web()
    sign_in(client)
    answer = client.post("/system/clear-inbox", headers={"X-CSRF-Token": token(client, "/")})
    assert answer.status_code == 303


@pytest.mark.parametrize(
    "target", ["//evil.example/x", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "", "/\n/evil", "x"]
)
def test_nobody_is_sent_elsewhere_after_signing_in(web, target):
    assert local(target) == "/"
    assert sign_in(web(), next=target).location == "/"


def test_only_the_trusted_proxy_vouches_for_people(web):
    signed = {"X-Forwarded-User": "ada", **PAGE}
    behind = web(trusted_proxy="10.0.0.7")
    vouched = behind.get("/", headers=signed, environ_base={"REMOTE_ADDR": "10.0.0.7"})
    assert vouched.status_code == 200
    assert "ada" in vouched.text
    assert behind.get("/", headers=signed, environ_base={"REMOTE_ADDR": "10.0.0.8"}).status_code == 302
    assert behind.get("/", headers=PAGE, environ_base={"REMOTE_ADDR": "10.0.0.7"}).status_code == 302
    assert web().get("/", headers=signed, environ_base={"REMOTE_ADDR": "127.0.0.1"}).status_code == 302


def test_whom_the_proxy_vouches_for_cannot_be_made_to_act_by_another_site(web):
    behind = web(trusted_proxy="10.0.0.7")
    through = {"headers": {"X-Forwarded-User": "ada", **PAGE}, "environ_base": {"REMOTE_ADDR": "10.0.0.7"}}
    assert behind.post("/system/clear-inbox", **through).status_code == 403
    given = re.search(r'name="csrf" value="([^"]+)"', behind.get("/", **through).text).group(1)
    assert behind.post("/system/clear-inbox", data={"csrf": given}, **through).status_code == 303


def test_every_page_keeps_to_itself(web):
    client = web()
    sign_in(client)
    for path in ("/", "/system", "/sign-in", "/nowhere", "/static/page.js"):
        headers = client.get(path, headers=PAGE, buffered=True).headers
        assert "script-src 'self'" in headers["Content-Security-Policy"]
        assert "unsafe-eval" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
    assert client.get("/", headers=PAGE).headers["Cache-Control"] == "no-store"
    assert client.get("/static/page.js", buffered=True).headers["Cache-Control"] == "no-cache"


def test_errors_are_pages_for_people_and_problems_for_programs(web):
    client = web()
    sign_in(client)
    page = client.get("/projects/77/guarantee", headers=PAGE)
    assert (page.status_code, page.mimetype) == (404, "text/html")
    assert "Project 77 is not connected" in page.text
    assert client.get("/nowhere", headers=PAGE).status_code == 404
    assert client.get("/projects/77/guarantee").mimetype == "application/problem+json"
    assert client.get("/api/nowhere", headers=PAGE).mimetype == "application/problem+json"


def test_a_database_that_does_not_answer_is_said_on_a_page(web, monkeypatch):
    client = web()
    sign_in(client)

    def down():
        raise OperationalError("SELECT 1", {}, Exception("no connection"))

    monkeypatch.setattr(client.process.store, "reading", down)
    answer = client.get("/", headers=PAGE)
    assert (answer.status_code, answer.mimetype) == (503, "text/html")
    assert "The database does not answer" in answer.text


def test_the_key_of_the_sessions_is_kept_in_the_store_and_never_shown(web):
    client = web()
    sign_in(client)
    key = secret_of(client.process.store, "session")
    assert key not in "".join(client.get(path, headers=PAGE).text for path in ("/", "/system"))

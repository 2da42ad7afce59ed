"""Who may call the service."""

from __future__ import annotations

import base64
import time

import pytest
from web import Web

from annotriage.labeling_tool import SECRET_HEADER
from annotriage.web import auth

PROTECTED = ("/ready", "/metrics", "/api/projects", "/api/openapi.json", "/setup", "/versions", "/nowhere")


@pytest.fixture
def web(process):
    return Web(process)


def basic(words):
    return {"Authorization": f"Basic {base64.b64encode(words).decode()}"}


def test_health_is_open_to_everyone(web):
    assert web.get("/health", headers={}).status_code == 200


@pytest.mark.parametrize("path", PROTECTED)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic(b"annotriage:wrong"),
        basic(b"annotriage"),
        basic(b"\xff\xfe:\xff"),
        {"Authorization": "Basic %%%"},
        {"Authorization": "Bearer token"},
        {SECRET_HEADER: "wrong"},
    ],
)
def test_nothing_else_is(web, path, headers):
    answer = web.get(path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")
    assert answer.mimetype == "application/problem+json"


def test_the_secret_of_the_webhook_opens_the_webhook_alone(web, process):
    headers = {SECRET_HEADER: process.webhook_secret}
    assert web.post("/webhook", headers=headers, data=b"{}").status_code == 200
    assert web.get("/api/projects", headers=headers).status_code == 401
    assert web.post("/webhook", headers={SECRET_HEADER: "wrong"}, data=b"{}").status_code == 401


def test_a_user_of_another_name_is_not_let_in(web):
    assert web.get("/api/projects", headers=web.credentials(user="admin")).status_code == 401
    assert web.get("/api/projects").status_code == 200


def test_guessing_is_stopped_after_a_while(web):
    def guess():
        return web.get("/api/projects", headers=basic(b"annotriage:guess"), environ_base={"REMOTE_ADDR": "10.0.0.9"})

    assert {guess().status_code for _ in range(auth.TRIES)} == {401}
    answer = guess()
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= 61
    right = web.get("/api/projects", environ_base={"REMOTE_ADDR": "10.0.0.9"})
    assert right.status_code == 429  # so that the right one cannot be told from wrong ones
    assert web.get("/api/projects", environ_base={"REMOTE_ADDR": "10.0.0.8"}).status_code == 200


def test_nobody_can_lock_out_an_address_that_knows_the_password(web, monkeypatch):
    monkeypatch.setattr(auth, "TURN", 0.001)
    assert web.get("/api/projects").status_code == 200
    for _ in range(2 * auth.TRIES):
        web.get("/api/projects", headers=basic(b"annotriage:guess"))
    assert web.get("/api/projects").status_code == 200


def sleeps(monkeypatch):
    """The pauses that requests make, instead of making them."""
    made = []
    monkeypatch.setattr(auth.time, "sleep", made.append)
    return made


def test_guessing_is_slow_from_an_address_that_once_knew_the_password(web, monkeypatch):
    pauses = sleeps(monkeypatch)
    assert web.get("/api/projects").status_code == 200
    for _ in range(auth.TRIES):
        web.get("/api/projects", headers=basic(b"annotriage:guess"))
    assert pauses == []
    answers = [web.get("/api/projects", headers=basic(b"annotriage:guess")) for _ in range(100)]
    assert max(pauses) == pytest.approx(auth.LONGEST_WAIT, abs=auth.TURN)
    assert answers[-1].status_code == 429, "nobody waits for ever: threads are left for others"
    assert int(answers[-1].headers["Retry-After"]) <= 2, "a delay, no lock-out"


def test_guessing_is_slow_from_many_addresses_together_and_nobody_else_waits_for_it(web, monkeypatch):
    pauses = sleeps(monkeypatch)
    assert web.get("/api/projects").status_code == 200
    for number in range(auth.TRIES + 100):
        web.get("/api/projects", headers=basic(b"annotriage:guess"), environ_base={"REMOTE_ADDR": f"10.0.{number}.9"})
    assert max(pauses) > 1.0
    pauses.clear()
    assert web.get("/api/projects").status_code == 200
    assert pauses == [], "where the password is known"


def test_guessing_may_go_on_after_a_while(web, monkeypatch):
    now = [time.monotonic()]
    monkeypatch.setattr(auth.time, "monotonic", lambda: now[0])
    for _ in range(auth.TRIES):
        web.get("/api/projects", headers=basic(b"annotriage:guess"), environ_base={"REMOTE_ADDR": "10.0.0.9"})
    assert web.get("/api/projects", environ_base={"REMOTE_ADDR": "10.0.0.9"}).status_code == 429
    now[0] += auth.WINDOW
    assert web.get("/api/projects", environ_base={"REMOTE_ADDR": "10.0.0.9"}).status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_page_of_another_site_cannot_act_through_a_browser_that_knows_the_password(web, site):
    for path in ("/api/projects/3/pause", "/api/datasets/new/items", "/train"):
        answer = web.client.post(path, headers=web.credentials() | {"Sec-Fetch-Site": site})
        assert answer.status_code == 403
    assert web.get("/api/projects", headers=web.credentials() | {"Sec-Fetch-Site": site}).status_code == 200
    assert web.post("/api/projects/3/pause", headers=web.credentials() | {"Sec-Fetch-Site": "same-origin"}).status_code == 404


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "https://evil.example:9090", "null", "http://[", "http://localhost.evil.example"]
)
def test_over_plain_http_the_origin_tells_another_sites_page(web, origin):
    for path in ("/api/projects/3/pause", "/api/datasets/new/items", "/train", "/sign-in"):
        assert web.client.post(path, headers=web.credentials() | {"Origin": origin}).status_code == 403
    assert web.get("/api/projects", headers=web.credentials() | {"Origin": origin}).status_code == 200
    assert web.post("/api/projects/3/pause", headers=web.credentials() | {"Origin": "http://localhost"}).status_code == 404


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"])
def test_the_api_takes_nothing_that_a_plain_form_can_send(web, kind):
    answer = web.post("/api/projects/3/pause", content_type=kind, data=b'{"reason": "="}')
    assert answer.status_code == 415
    assert "Content-Type: application/json" in answer.json["detail"]
    pushed = web.post("/api/datasets/new/items", content_type=kind, data=b'{"project": "="}')
    assert pushed.status_code == (422 if kind.startswith("multipart") else 415)


def test_no_credential_reaches_the_log(web, process, caplog):
    caplog.set_level("INFO")
    secret = "a-secret-that-someone-mistyped"
    web.get("/api/projects", headers=basic(f"annotriage:{secret}".encode()))
    web.get("/api/projects")
    web.post("/webhook", headers={SECRET_HEADER: process.webhook_secret}, data=secret.encode())
    web.post("/setup", json={"project": "7.1", "access_token": secret})
    web.post("/predict", data=secret.encode())
    logged = repr([(record.getMessage(), record.__dict__.get("fields")) for record in caplog.records])
    assert "/api/projects" in logged
    assert [text for text in (secret, process.password, process.webhook_secret) if text in logged] == []

"""Calls of Label Studio: its own errors, told; its two kinds of tokens; what happens on a bad day."""

from __future__ import annotations

import base64
import json
import math
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from faulty_server import faulty
from waiting import PATIENCE, wait_until

from annotriage.errors import OutcomeUnknown, SettingError, ToolError, ToolGone, ToolRefused, ToolUnavailable
from annotriage_label_studio.server.client import Client

__all__ = ["faulty"]  # a fixture

WHO = "/api/current-user/whoami"
LEGACY = "0123456789abcdef0123456789abcdef01234567"


# -- the real server


@pytest.fixture(params=["legacy", "personal"])
def client(request, label_studio):
    return Client(label_studio.url, label_studio.token if request.param == "legacy" else label_studio.personal_token())


def test_either_kind_of_token_reads_and_writes(client, label_studio):
    project = label_studio.project()
    client.patch(f"/api/projects/{project}/", {"title": "Given a name"})
    assert client.get(f"/api/projects/{project}/", include="title") == {"title": "Given a name"}
    (task,) = client.post(f"/api/projects/{project}/import", [{"image": "a.png"}], return_task_ids="true")["task_ids"]
    assert client.delete(f"/api/tasks/{task}/") is None
    with pytest.raises(ToolGone, match=f"GET .*/api/tasks/{task}/: Label Studio answered 404 Not Found: .*It was deleted"):
        client.get(f"/api/tasks/{task}/")


def test_headers_fetch_media_from_label_studio(client, label_studio):
    project = label_studio.project()
    picture = {"file": ("a.png", b"\x89PNG\r\n\x1a\n", "image/png")}
    upload = requests.post(f"{label_studio.url}/api/projects/{project}/import", files=picture, headers=client.headers(), timeout=PATIENCE)
    assert upload.status_code == 201
    media = client.get("/api/tasks/", project=project)["tasks"][0]["data"]["image"]
    assert requests.get(label_studio.url + media, headers=client.headers(), timeout=PATIENCE).content == picture["file"][1]
    assert requests.get(label_studio.url + media, timeout=PATIENCE).status_code == 401


def test_what_label_studio_finds_wrong_is_told(client, label_studio):
    project = label_studio.project()
    with pytest.raises(ToolError, match=r"400 Bad Request: Validation error: title: Ensure this field has at least 3 characters$"):
        client.patch(f"/api/projects/{project}/", {"title": "x"})


def test_a_legacy_token_where_they_are_switched_off_is_told(label_studio):
    admin = Client(label_studio.url, label_studio.personal_token())
    settings = admin.get("/api/jwt/settings")
    admin.post("/api/jwt/settings", settings | {"legacy_api_tokens_enabled": False})
    try:
        with pytest.raises(ToolRefused, match=r"Legacy tokens are switched off .* Account & Settings > Personal Access Token") as caught:
            Client(label_studio.url, label_studio.token).get(WHO)
        assert label_studio.token not in str(caught.value)
    finally:
        admin.post("/api/jwt/settings", settings)


def test_a_wrong_legacy_token_is_told(label_studio):
    with pytest.raises(ToolRefused, match=r"401 Unauthorized: Invalid token. The token is wrong, or was reset"):
        Client(label_studio.url, LEGACY).get(WHO)


def test_a_revoked_personal_token_is_told(label_studio):
    token = label_studio.user().personal_token
    client = Client(label_studio.url, token)
    client.post("/api/token/blacklist/", {"refresh": token})
    with pytest.raises(ToolRefused, match=r"Token is blacklisted. The personal access token was revoked"):
        Client(label_studio.url, token).get(WHO)


def test_an_access_token_is_no_token_to_configure(label_studio):
    access = Client(label_studio.url, label_studio.personal_token()).headers()["Authorization"].removeprefix("Bearer ")
    with pytest.raises(ToolRefused, match="a short-lived one, of the kind 'access'; make a personal access token"):
        Client(label_studio.url, access).get(WHO)


def test_a_call_of_a_label_studio_nearby_takes_milliseconds(label_studio):
    client, plain = Client(label_studio.url, label_studio.token), {"Authorization": f"Token {label_studio.token}", "Connection": "close"}

    def seconds(call):
        began = time.perf_counter()
        call()
        return time.perf_counter() - began

    def ours():
        client.get(WHO, include="id")

    def fresh():
        assert requests.get(f"{label_studio.url}{WHO}", {"include": "id"}, headers=plain, timeout=PATIENCE).ok

    least = [math.inf, math.inf]

    def as_soon():  # on a kept connection each waits 44 ms for an acknowledgement, however fast the machine
        least[:] = (min(known, seconds(call)) for known, call in zip(least, (ours, fresh), strict=True))
        return least[0] < least[1] + 0.02

    wait_until(as_soon, every=0, what="for a call that takes no longer than on a connection of its own")


# -- a server that does what the test says


def web_token(**claims):
    parts = ({"alg": "HS256"}, claims)
    return ".".join([*(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts), "signature"])


def test_a_reading_is_asked_for_again_when_the_server_stumbles(faulty):
    faulty.answers = [(503, {}, {}), (429, {"Retry-After": "0"}, {}), (200, {}, {"id": 1})]
    assert Client(faulty.url, LEGACY).get("/api/projects/1/") == {"id": 1}
    assert len(faulty.seen) == 3


def test_a_reading_is_given_up_after_three_times(faulty):
    faulty.answers = [(500, {}, {"detail": "boom"})]
    with pytest.raises(ToolUnavailable, match="answered 500 Internal Server Error: boom"):
        Client(faulty.url, LEGACY).get("/api/projects/1/")
    assert len(faulty.seen) == 3


def test_a_long_wait_is_left_to_the_caller(faulty):
    faulty.answers = [(429, {"Retry-After": "3600"}, {})]
    with pytest.raises(ToolUnavailable):
        Client(faulty.url, LEGACY).get("/api/projects/1/")
    assert len(faulty.seen) == 1


@pytest.mark.parametrize(
    ("answer", "sent"),
    [
        ((500, {}, {}), True),
        ((504, {}, "<html><title>Gateway Time-out</title></html>"), True),
        ((429, {}, {}), False),
        ((200, {}, "<html><title>Sign in</title></html>"), True),
        ((200, {"Content-Length": 50}, "{"), True),
        (None, True),
    ],
)
def test_a_write_is_sent_once_and_says_whether_it_may_be_done(faulty, answer, sent):
    faulty.answers = [answer]
    with pytest.raises(ToolUnavailable) as caught:
        Client(faulty.url, LEGACY).post("/api/projects/1/import", [])
    assert (isinstance(caught.value, OutcomeUnknown), len(faulty.seen)) == (sent, 1)


def test_an_answer_that_does_not_come_may_come_to_pass(faulty):
    over = threading.Event()
    faulty.answers = [lambda _: over.wait(PATIENCE) and None]
    with pytest.raises(ToolUnavailable, match=r"no answer after 0\.2 s") as caught:
        Client(faulty.url, LEGACY).post("/api/projects/1/import", [], seconds=0.2)
    assert isinstance(caught.value, OutcomeUnknown)
    over.set()


def test_where_nobody_listens_nothing_was_sent():
    with socket.socket() as bound:  # and not listening
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(ToolUnavailable, match=r"is not reached \(.*Connection refused\)\. Is it running") as caught:
            Client(f"http://127.0.0.1:{bound.getsockname()[1]}", LEGACY).post("/api/projects/1/import", [])
    assert not isinstance(caught.value, OutcomeUnknown)


def test_a_reading_whose_answer_is_lost_leaves_nothing_unknown(faulty):
    faulty.answers = [None]
    with pytest.raises(ToolUnavailable, match="the connection broke off") as caught:
        Client(faulty.url, LEGACY).get("/api/projects/1/")
    assert not isinstance(caught.value, OutcomeUnknown)


@pytest.mark.parametrize("exchange", [None, (500, {}, {}), (200, {}, "<html></html>")])
def test_a_write_whose_token_could_not_be_exchanged_was_not_sent(faulty, exchange):
    faulty.answers = [exchange]
    with pytest.raises(ToolUnavailable, match="/api/token/refresh/") as caught:
        Client(faulty.url, web_token(token_type="refresh")).post("/api/projects/1/import", [])
    assert not isinstance(caught.value, OutcomeUnknown)
    assert {path for _, path, _, _ in faulty.seen} == {"/api/token/refresh/"}


def test_a_redirect_is_not_followed_but_told(faulty):
    faulty.answers = [(301, {"Location": "https://label-studio.example.com/api/x/?page=1"}, "")]
    with pytest.raises(ToolError, match=r"is redirected to https://label-studio.example.com/api/x/; set the address"):
        Client(faulty.url, LEGACY).get("/api/x/")


def test_a_page_that_is_no_label_studio_is_told(faulty):
    faulty.answers = [(404, {"Content-Type": "text/html"}, "<html><title>nginx</title></html>")]
    with pytest.raises(ToolError, match="is Label Studio at this address") as caught:
        Client(faulty.url, LEGACY).get("/api/x/")
    assert type(caught.value) is ToolError


def test_no_message_holds_a_token_or_is_endless(faulty):
    faulty.answers = [(400, {}, {"detail": f"bad header Token {LEGACY} " + "x" * 5000})]
    with pytest.raises(ToolError) as caught:
        Client(faulty.url, LEGACY).get("/api/x/")
    assert LEGACY not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_an_access_token_is_asked_for_once_by_many_threads_and_again_before_it_ends(faulty, monkeypatch):
    now = int(time.time()) - 86400  # the server's clock is a day behind

    def answer(request):
        if request[1] == "/api/token/refresh/":
            return 200, {}, {"access": web_token(token_type="access", iat=now, exp=now + 300)}
        return 200, {}, {}

    faulty.answers = [answer]
    client = Client(faulty.url, web_token(token_type="refresh"))
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(client.get, ["/api/x/"] * 40))
    assert [path for _, path, _, _ in faulty.seen].count("/api/token/refresh/") == 1
    clock = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: clock() + 299)
    client.get("/api/x/")
    client.get("/api/x/")
    assert [path for _, path, _, _ in faulty.seen].count("/api/token/refresh/") == 2


def test_an_access_token_that_was_revoked_early_is_bought_anew_even_for_a_write(faulty):
    bought = []

    def answer(request):
        if request[1] == "/api/token/refresh/":
            bought.append(web_token(token_type="access", iat=0, exp=300, jti=len(bought)))
            return 200, {}, {"access": bought[-1]}
        return (201, {}, {"created": 1}) if len(bought) == 2 else (401, {}, {"detail": "Given token not valid"})

    faulty.answers = [answer]
    assert Client(faulty.url, web_token(token_type="refresh")).post("/api/x/", []) == {"created": 1}
    assert faulty.seen[-1][2]["Authorization"] == f"Bearer {bought[1]}"


def test_a_password_in_netrc_does_not_replace_the_token(faulty, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password else\n", "utf-8")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    Client(faulty.url, LEGACY).get("/api/x/")
    assert faulty.seen[-1][2]["Authorization"] == f"Token {LEGACY}"


@pytest.mark.parametrize("token", ["two words", "ünicode", "a\nb: c"])
def test_a_token_that_cannot_be_one_is_told_before_anything_is_sent(faulty, token):
    with pytest.raises(ToolRefused, match="has signs that no token has"):
        Client(faulty.url, token).get("/api/x/")
    assert faulty.seen == []


def test_without_a_token_the_setting_is_named_and_nothing_is_sent(faulty):
    with pytest.raises(SettingError, match="setting label_studio_token is empty"):
        Client(faulty.url, " ").get("/api/x/")
    assert faulty.seen == []


@pytest.mark.parametrize("url", ["", "localhost:8080", "ftp://host", "http://", "http://user:secret@host", "http://host/?a=b"])
def test_an_address_that_cannot_be_one_is_refused(url):
    with pytest.raises(SettingError, match="is no address of a Label Studio"):
        Client(url, LEGACY)


def test_a_label_studio_under_a_path_is_called_there(faulty):
    Client(f"{faulty.url}/labels/", LEGACY).get("/api/x/")
    assert faulty.seen[-1][1] == "/labels/api/x/"


def test_a_cookie_of_the_server_is_not_sent_back(faulty):
    faulty.answers = [(200, {"Set-Cookie": "sessionid=1; Path=/"}, {})]
    client = Client(faulty.url, LEGACY)
    client.get("/api/x/")
    client.get("/api/x/")
    assert "Cookie" not in faulty.seen[-1][2]


def test_text_that_no_encoding_has_is_sent_as_it_is(faulty):
    Client(faulty.url, LEGACY).patch("/api/x/", {"name": "a\ud800"})
    assert faulty.seen[-1][3] == {"name": "a\ud800"}


# -- the same rules under the SDK's calls


def test_the_sdk_reads_again_when_the_server_stumbles(faulty):
    faulty.answers = [(503, {}, {}), (200, {}, {"id": 1, "title": "Pets"})]
    assert Client(faulty.url, LEGACY).sdk.projects.get(1).title == "Pets"
    assert [(method, path) for method, path, _, _ in faulty.seen] == [("GET", "/api/projects/1/")] * 2


@pytest.mark.parametrize("answer", [(503, {}, {}), (408, {}, {}), None])
def test_the_sdk_sends_a_write_once(faulty, answer):
    faulty.answers = [answer]
    with pytest.raises(ToolError):
        Client(faulty.url, LEGACY).sdk.webhooks.create(url="http://127.0.0.1:1/webhook")
    assert len(faulty.seen) == 1


def test_the_sdk_has_the_token_of_the_moment(faulty):
    access = web_token(token_type="access", iat=0, exp=300)
    faulty.answers = [lambda request: (200, {}, {"access": access} if request[0] == "POST" else [])]
    Client(faulty.url, web_token(token_type="refresh")).sdk.webhooks.list(project="1")
    assert faulty.seen[-1][2]["Authorization"] == f"Bearer {access}"


def test_the_sdk_tells_what_label_studio_finds_wrong(client):
    with pytest.raises(ToolGone, match="It was deleted"):
        client.sdk.projects.get(999_999)

"""The web server in front of the app: what strangers hold back or pour in keeps nobody else from an answer."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest
import requests
from waiting import PATIENCE

from annotriage.labeling_tool import SECRET_HEADER
from annotriage.states import Role
from annotriage.store.people import set_person
from annotriage.web import server as server_module
from annotriage.web.app import create_server


@pytest.fixture
def served(process):
    """The service on a port of its own: its address, and a function that opens a connection and sends the beginning of a request."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = create_server(process, listener)
    threading.Thread(target=server.run, daemon=True).start()
    port = listener.getsockname()[1]
    with contextlib.ExitStack() as opened:

        def begin(text=b""):
            connection = opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE))
            connection.sendall(text)
            return connection

        yield f"http://127.0.0.1:{port}", begin
    server.close()


def is_closed(connection):
    """Whether the server ends a connection; waits for that."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_slow_connections_block_nobody(served):
    url, begin = served
    slow = [begin(b"GET / HTTP/1.1\r\nHost: x\r\n") for _ in range(150)]
    assert requests.get(f"{url}/health", timeout=PATIENCE).status_code == 200
    assert len(slow) == 150


def test_where_there_are_too_many_connections_the_slowest_makes_room(served, monkeypatch):
    monkeypatch.setattr(server_module, "CONNECTIONS", 20)
    url, begin = served
    slow = [begin(b"POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n" if number % 2 else b"") for number in range(50)]
    assert requests.get(f"{url}/health", timeout=PATIENCE).status_code == 200
    assert is_closed(slow[0])


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n", b"POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\na="]
)
def test_what_is_held_back_for_too_long_is_not_waited_for(served, monkeypatch, sent):
    monkeypatch.setattr(server_module, "HEAD_SECONDS", 0.5)
    monkeypatch.setattr(server_module, "BODY_SECONDS", 0.5)
    url, begin = served
    late = begin(sent)
    assert is_closed(late)
    monkeypatch.undo()  # on a busy machine whoever asks may take half a second as well
    assert requests.get(f"{url}/health", timeout=PATIENCE).status_code == 200


def test_a_connection_that_asks_nothing_more_is_let_go(served, monkeypatch):
    monkeypatch.setattr(server_module, "IDLE_SECONDS", 0.5)
    _, begin = served
    connection = begin(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    while not is_closed(connection):  # its answer, and then the end
        pass


@pytest.mark.parametrize("path", ["/webhook", "/predict", "/api/datasets/new/items"])
def test_nobody_without_a_password_sends_more_than_a_form(served, process, path):
    url, _ = served
    body = b'{"x": "' + b"x" * 100_000 + b'"}'
    wrong = [{}, {SECRET_HEADER: "wrong"}, {"Authorization": "Basic %%%"}, {"Authorization": "Basic YTpi"}]
    for headers in wrong:
        with contextlib.suppress(requests.ConnectionError):  # closed while we still send
            answer = requests.post(url + path, data=body, headers={"Content-Type": "application/json", **headers}, timeout=PATIENCE)
            assert answer.status_code == 413
            assert "max_request_mb" in answer.text
    known = {"data": body, "headers": {"Content-Type": "application/json"}, "timeout": PATIENCE}
    assert requests.post(url + path, auth=(process.settings.user, process.password), **known).status_code in (200, 422)
    known["headers"][SECRET_HEADER] = process.webhook_secret
    if path == "/webhook":
        assert requests.post(url + path, **known).status_code == 200


def test_whoever_has_an_account_sends_much_from_the_first_request_on(served, process):
    url, _ = served
    with process.store.writing() as connection:
        set_person(connection, "ann", Role.ADMINISTER, "correct horse", service_user=process.settings.user)
    body, headers = b'{"x": "' + b"x" * 100_000 + b'"}', {"Content-Type": "application/json"}
    answer = requests.post(f"{url}/api/datasets/new/items", data=body, headers=headers, auth=("ann", "correct horse"), timeout=PATIENCE)
    assert answer.status_code == 422


def test_a_large_form_is_refused_before_it_is_read(served):
    _, begin = served
    connection = begin(b"POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\n\r\n")
    assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_a_body_without_a_length_ends_at_the_limit_as_well(served):
    _, begin = served
    connection = begin(b"POST /sign-in HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    connection.sendall(b"11000\r\n" + b"a" * 0x11000 + b"\r\n")
    assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_a_long_head_is_refused(served):
    _, begin = served
    connection = begin(b"GET / HTTP/1.1\r\nX: " + b"x" * 40_000)
    assert connection.recv(4096).startswith(b"HTTP/1.0 431 ")

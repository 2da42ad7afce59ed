"""What goes wrong beside the service: Label Studio down, its token refused, media hosts that misbehave, webhooks that nobody sent.

Each is told by doctor and in the API, what may pass is tried again, and every task has exactly one prediction in the end.
"""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
from label_studio import LabelStudio, Person
from PIL import Image
from running import RunningService, free_port
from waiting import PATIENCE, wait_until

from annotriage.labeling_tool import SECRET_HEADER
from annotriage.store.secrets import secret_of
from annotriage_label_studio.demo import server as label_studio_server

CONFIG = (
    '<View><Image name="image" value="$image"/><Choices name="label" toName="image">'
    + "".join(f'<Choice value="{digit}"/>' for digit in range(8))
    + "</Choices></View>"
)


@pytest.fixture(scope="module")
def own_server(start_label_studio, tmp_path_factory):
    """A Label Studio that a test may stop and start: its folder, and a way to start it on the port it had."""
    folder = tmp_path_factory.mktemp("own") / "label-studio"
    port = free_port()
    try:
        yield start_label_studio(folder, port), lambda: start_label_studio(folder, port)
    finally:
        label_studio_server.stop(folder)


@pytest.fixture(scope="module")
def own_label_studio(own_server):
    server, _ = own_server
    return LabelStudio(server.url, server.token, Person(server.url, server.email, server.password))


@pytest.fixture(scope="module")
def media_host():
    """A host of media on 127.0.0.1 that answers as a path says: /slow, /endless, /404, /401, /text, or a picture."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Misbehaving)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


class _Misbehaving(BaseHTTPRequestHandler):
    def do_GET(self):
        with suppress(OSError):
            status = {"/404": 404, "/401": 401}.get(self.path, 200)
            self.send_response(status)
            self.end_headers()
            if self.path == "/slow":
                for _ in range(100):
                    self.wfile.write(b"x")
                    time.sleep(0.2)
            elif self.path == "/endless":
                while True:
                    self.wfile.write(b"x" * 2**16)
            elif self.path == "/text":
                self.wfile.write(b"no picture")
            elif status == 200:
                self.wfile.write(_picture())

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def service(own_label_studio, media_host, tmp_path_factory):
    service = RunningService(
        tmp_path_factory.mktemp("faults"),
        own_label_studio.url,
        own_label_studio.token,
        media_hosts=[media_host],
        media_seconds=2.0,
        media_mb=1,
    )
    service.start()
    yield service
    service.stop()


@pytest.fixture(scope="module")
def project(own_label_studio, service, digits_reference, tmp_path_factory):
    """A connected project, one for all: each test looks at tasks of its own alone."""
    return _connected(own_label_studio, service, digits_reference, tmp_path_factory.mktemp("connected"))


def _connected(label_studio, service, reference, folder):
    reference.save(folder / "digits")
    id = label_studio.project(config=CONFIG)
    service.command("connect", "--project", id, "--reference", folder / "digits")
    return id


def test_label_studio_that_is_down_for_a_while_is_waited_for(own_server, own_label_studio, service, project):
    ids = own_label_studio.import_tasks(project, [{"image": _uri()} for _ in range(150)])
    with _stopped(own_server):
        _wait_until_something_fails(service)
        told = service.command("doctor", check=False)
        assert "WRONG  server" in told
        assert "refused" in told
    _wait_for_one_each(own_label_studio, project, ids)
    assert service.get(f"/api/projects/{project}")["project"]["problem"] is None


def test_a_token_that_is_refused_is_told_and_waited_for(own_label_studio, service, project):
    person = own_label_studio.admin
    person.call("POST", "/api/jwt/settings", {"api_tokens_enabled": True, "legacy_api_tokens_enabled": False})
    try:
        _wait_until_something_fails(service)
        told = service.command("doctor", check=False)
        assert "token" in told
        wait_until(
            lambda: "token: " in (service.get(f"/api/projects/{project}")["service"] or ""),
            what="for the service's next look at Label Studio",
        )
        assert "WRONG  the service's access: token" in service.command("doctor", check=False)
        assert own_label_studio.token not in told + service.tail(1000)
    finally:
        person.call("POST", "/api/jwt/settings", {"api_tokens_enabled": True, "legacy_api_tokens_enabled": True})
    ids = own_label_studio.import_tasks(project, [{"image": _uri()} for _ in range(10)])
    _wait_for_one_each(own_label_studio, project, ids)


@pytest.mark.parametrize(
    ("path", "reason"), [("/404", "404"), ("/401", "401"), ("/text", "no image"), ("/endless", "larger than"), ("/gone.png", "")]
)
def test_media_hosts_that_misbehave_make_failed_items_and_hold_up_no_others(own_label_studio, service, project, media_host, path, reason):
    tasks = [{"image": _uri()}, {"image": f"http://{media_host}{path}"}, {"image": _uri()}]
    ids = own_label_studio.import_tasks(project, tasks)
    _wait_for_one_each(own_label_studio, project, ids)
    items = [service.get(f"/api/projects/{project}/items/{id}")["item"] for id in ids]
    assert [row["route"] == "failed" for row in items] == [False, bool(reason), False]
    assert not reason or reason in items[1]["verdict"]["reason"]  # what the model says of a spot check is hidden


def test_a_host_that_trickles_is_given_up_in_time_and_told(own_label_studio, service, project, media_host):
    ids = own_label_studio.import_tasks(project, [{"image": f"http://{media_host}/slow"}, {"image": _uri()}])
    wait_until(lambda: _judged(service, project, ids[1]), what="for the other task")
    wait_until(lambda: _judged(service, project, ids[0]), 2 * PATIENCE, 1.0, "for the slow one to fail for the time being")
    assert "tried again" in service.get(f"/api/projects/{project}/items/{ids[0]}")["item"]["verdict"]["reason"]


def test_webhooks_are_believed_with_their_secret_alone(own_label_studio, service, project):
    ids = own_label_studio.import_tasks(project, [{"image": _uri()} for _ in range(5)])
    body = {"action": "TASKS_CREATED", "tasks": [{"id": id, "data": {"image": _uri()}} for id in ids], "project": {"id": project}}
    assert requests.post(f"{service.url}/webhook", json=body, timeout=PATIENCE).status_code == 401
    assert requests.post(f"{service.url}/webhook", json=body, headers={SECRET_HEADER: "guessed"}, timeout=PATIENCE).status_code == 401
    store = service.store()
    secret = {SECRET_HEADER: secret_of(store, "webhook")}
    store.close()
    for _ in range(3):  # replayed
        assert requests.post(f"{service.url}/webhook", json=body, headers=secret, timeout=PATIENCE).ok
    cut, headers = json.dumps(body)[:40], secret | {"Content-Type": "application/json"}
    assert requests.post(f"{service.url}/webhook", data=cut, headers=headers, timeout=PATIENCE).status_code < 500
    _wait_for_one_each(own_label_studio, project, ids)
    wait_until(lambda: "webhook" in service.command("doctor", check=False), every=1.0, what="for doctor to tell of the cut one")


def test_a_deleted_project_ends_quietly(own_label_studio, service, digits_reference, tmp_path):
    project = _connected(own_label_studio, service, digits_reference, tmp_path)
    ids = own_label_studio.import_tasks(project, [{"image": _uri()} for _ in range(3)])
    _wait_for_one_each(own_label_studio, project, ids)
    own_label_studio.call("DELETE", f"/api/projects/{project}/")
    wait_until(lambda: service.get(f"/api/projects/{project}")["project"]["gone"], every=0.5, what="for the project to be gone")
    assert str(project) in service.command("doctor", check=False)


@contextmanager
def _stopped(own_server):
    server, start = own_server
    label_studio_server.stop(server.folder)
    try:
        yield
    finally:
        start()


def _wait_until_something_fails(service):
    """Wait until the service has met the fault, and has said so in its log."""
    before = len(service.log.read_text("utf-8"))
    wait_until(lambda: " failed" in service.log.read_text("utf-8")[before:], what="for the service to meet the fault")


def _wait_for_one_each(label_studio, project, ids):
    def counts():
        tasks = label_studio.call("GET", "/api/tasks/", project=project, fields="all", page_size=1000)["tasks"]
        return {task["id"]: len(task["predictions"]) for task in tasks}

    wait_until(lambda: counts().items() >= dict.fromkeys(ids, 1).items(), every=0.5, what=f"for one prediction on each of {len(ids)} tasks")


def _judged(service, project, task):
    answer = service.call("GET", f"/api/projects/{project}/items/{task}")
    return answer.ok and answer.json()["item"]["route"] is not None


def _picture():
    from sklearn.datasets import load_digits

    content = io.BytesIO()
    Image.fromarray((load_digits().images[3] * 15).astype("uint8")).save(content, "PNG")
    return content.getvalue()


def _uri():
    return "data:image/png;base64," + base64.b64encode(_picture()).decode()

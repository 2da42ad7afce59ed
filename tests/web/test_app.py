"""The web process as a whole: every error is a problem with a fix, and operators see how it stands."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import outages
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text
from web import Web

from annotriage.service.intake.following import Follower
from annotriage.service.operations.log import start_log
from annotriage.service.operations.loops import heartbeat
from annotriage.store import inbox, work
from annotriage.store.projects import change_project


@pytest.fixture
def web(process):
    return Web(process)


def figures(web):
    """Every sample of /metrics, by name and labels."""
    families = text_string_to_metric_families(web.get("/metrics").text)
    return {(sample.name, *sorted(sample.labels.values())): sample.value for family in families for sample in family.samples}


@pytest.mark.parametrize(
    ("method", "path", "status", "said"),
    [
        ("GET", "/nowhere", 404, "/api/openapi.json lists what there is"),
        ("DELETE", "/api/projects", 405, "use GET"),
        ("GET", "/api/projects/7", 404, "annotriage connect --project 7"),
        ("GET", "/api/projects/7/items/1", 404, "not connected"),
        ("POST", "/api/datasets/new/items", 422, "not JSON"),
        ("POST", "/setup", 422, "not JSON"),
    ],
)
def test_every_error_is_a_problem_that_says_what_to_do(web, method, path, status, said):
    answer = web.open(method, path)
    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")
    assert answer.json["status"] == status
    assert said in answer.json["detail"]


def test_a_body_that_is_too_large_is_refused_and_the_setting_named(process):
    process.settings = replace(process.settings, max_request_mb=1)
    answer = Web(process).post("/api/datasets/new/items", data=b"x" * (2**20 + 1), content_type="application/json")
    assert answer.status_code == 413
    assert "max_request_mb" in answer.json["detail"]
    assert "1 MB" in answer.json["detail"]


@pytest.mark.parametrize("path", ["/sign-in", "/projects/1/pause", "/projects/1/queue/reroute", "/api/projects/1/pause"])
def test_a_form_is_small_whoever_sends_it(web, path):
    kind = "application/json" if path.startswith("/api") else "application/x-www-form-urlencoded"
    answer = web.client.post(path, data=b"a&" * 40_000, content_type=kind, headers={})
    assert answer.status_code == 413
    answer = web.client.post(path, data=b"a&" * 40_000, content_type=kind, headers=web.credentials())
    assert answer.status_code == 413
    assert "64 kB" in answer.json["detail"]


def test_a_form_of_too_many_parts_says_so(web, connect):
    connect()
    fields = {f"field{number}": "x" for number in range(1_000)}
    answer = web.post("/api/datasets/new/items", data={"project": "1", **fields}, content_type="multipart/form-data")
    assert answer.status_code == 413
    assert "1,000 parts" in answer.json["detail"]


@pytest.mark.parametrize(
    "path", ["/api/projects", "/api/openapi.json", "/api/nowhere", "/health", "/ready", "/metrics", "/versions", "/nowhere"]
)
@pytest.mark.parametrize("known", [True, False])
def test_every_answer_keeps_to_itself_and_is_what_it_says(web, path, known):
    answer = web.get(path, headers=None if known else {})
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_an_error_that_nobody_foresaw_shows_nothing_of_itself_and_is_logged(web, process, connect, caplog):
    project, _ = connect()
    with process.store.writing() as connection:
        change_project(connection, project.id, options={"no": "options"})
    answer = web.get("/api/projects/1/queue")
    assert (answer.status_code, answer.mimetype) == (500, "application/problem+json")
    assert "options" not in answer.text
    assert "KeyError" in caplog.text


def test_a_database_that_does_not_answer_is_said_to_be_so(web, process):
    with process.store.writing() as connection:
        connection.execute(text("ALTER TABLE project RENAME TO lost"))
    answer = web.get("/api/projects")
    assert answer.status_code == 503
    assert "annotriage doctor" in answer.json["detail"]
    assert "SELECT" not in answer.text


def test_it_is_ready_once_a_worker_lives_beside_it(web, process):
    with process.store.writing() as connection:
        work.beat(connection, "another replica's", "worker", "elsewhere", 1)
    assert web.get("/ready").status_code == 503, "each replica answers for itself"
    told = web.get("/health/ready", headers={})
    assert (told.status_code, told.json) == (503, {"status": "DOWN"}), "a stranger learns that, and not why"
    with process.store.writing() as connection:
        work.beat(connection, "someone", "worker", process.host, 1)
    assert web.get("/ready").json == {"ready": True}
    assert web.get("/health/ready", headers={}).status_code == 200


def test_it_is_not_ready_while_its_database_cannot_be_written_to(web, process, monkeypatch):
    monkeypatch.setattr("annotriage.store.database.BUSY_SECONDS", 0.0)
    heart = heartbeat(process)
    with process.store.writing() as connection:
        work.beat(connection, "someone", "worker", process.host, process.pid)
    heart.round()
    assert web.get("/ready").status_code == 200
    with outages.unusable(process.settings.database):
        heart.round()
        answer = web.get("/ready")
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
        assert web.get("/health/ready", headers={}).status_code == 503
    assert "cannot be written to" in answer.json["detail"]
    heartbeat(process).round()
    assert web.get("/ready").status_code == 200


def test_a_webhook_that_cannot_be_kept_is_refused_for_now(web, process, monkeypatch):
    monkeypatch.setattr("annotriage.store.database.BUSY_SECONDS", 0.0)
    with outages.unusable(process.store.inbox.engine.url.render_as_string(hide_password=False)):
        answer = web.post("/webhook", json={"action": "PROJECT_UPDATED", "project": {"id": 1}})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")


def test_an_inbox_that_is_full_refuses_webhooks_until_it_is_read(process, monkeypatch):
    monkeypatch.setattr("annotriage.store.inbox.MOST_UNREAD", 3)
    monkeypatch.setattr("annotriage.service.judging.predicting.FULL_SECONDS", 0.0)
    web, event = Web(process), {"action": "PROJECT_UPDATED", "project": {"id": 1}}
    answers = [web.post("/webhook", json=event) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 4 + [503] * 2
    assert answers[-1].headers["Retry-After"]
    assert "the polls bring what it told" in answers[-1].json["detail"]
    Follower(process).read_inbox()
    assert web.post("/webhook", json=event).status_code == 200


def test_the_metrics_are_those_of_the_store(web, process, connect, worker, picture, mixed):
    connect(sample_share=0.0, audit_share=0.0)
    _, tool = connect("2", sample_share=0.0, audit_share=0.0)
    for image in [*mixed[0][:20], *mixed[0][-20:]]:
        tool.add(picture(image))
    worker.settle()
    for image in mixed[0][20:25]:
        tool.add(picture(image))
    worker.follow()
    with process.store.inbox.writing() as connection:
        inbox.put(connection, b"?")
    found = figures(web)
    routes = {route: found.get(("annotriage_items", "2", route), 0) for route in ("auto", "uncertain", "outlier", "failed")}
    assert sum(routes.values()) == 40
    assert found[("annotriage_queue_length", "2")] == 40 - routes["auto"]
    assert found[("annotriage_work_waiting", "2")] == 5
    assert found[("annotriage_work_waiting", "1")] == 0
    assert found[("annotriage_inbox", "new")] == 1
    assert found[("annotriage_stopped", "2", "paused")] == 0
    assert 0 <= found[("annotriage_seconds_since_poll", "2")] < 100
    web.get("/api/projects")
    assert figures(web)[("annotriage_requests_total", "/api/projects", "200", "GET")] == 1


def test_the_log_is_one_line_of_json_per_event_with_project_and_item(web, connect, worker, picture, mixed, capsys):
    _, tool = connect()
    task = tool.add(picture(mixed[0][0]))
    worker.settle()
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        start_log("web")
        web.get(f"/api/projects/1/items/{task.id}?secret=1")
        web.get("/health")
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    lines = {line: json.loads(line) for line in capsys.readouterr().err.splitlines()}
    ((line, found),) = ((line, said) for line, said in lines.items() if said["event"] == "request")  # threads of former tests may say more
    assert (found["event"], found["role"], found["project"], found["item"], found["status"]) == ("request", "web", "1", task.id, 422)
    assert "secret" not in line

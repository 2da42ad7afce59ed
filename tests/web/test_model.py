"""The tab Model: what the model is, and what jobs find inside it, shown without a word on what is blind."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import text
from web import sign_in

from annotriage.service.operations.jobs import INSIGHT_KINDS, run_queued
from annotriage.states import InsightKind
from annotriage.store import jobs
from annotriage.store.insights import insight_of, job_kind


@pytest.fixture
def model(copied, serve_dashboard):
    """A dashboard: a signed-in client, and the dashboard itself."""
    dashboard = serve_dashboard(*copied, password="right")
    client = dashboard.app.test_client()
    sign_in(client, "right")
    return client, dashboard


def post(client, path, page):
    token = re.search(r'name="csrf" value="([^"]+)"', client.get(page).text).group(1)
    return client.post(path, data={"csrf": token}, follow_redirects=True)


def look(dashboard):
    """Run the jobs that look into models."""
    service = dashboard.service()
    while run_queued(service.process, INSIGHT_KINDS):
        pass
    service.close()


def found(dashboard, kind):
    with dashboard.process.store.reading() as connection:
        return insight_of(connection, 1, kind)


def test_the_first_page_says_what_the_model_is(model, digits_reference):
    client, _ = model
    page = client.get("/projects/1/model").text
    for said in (digits_reference.model.hash, "run by onnxruntime", "images of 8 × 8 pixels, grey", "hidden1", "8 classes", "model.onnx"):
        assert said in page, said


def test_questions_are_asked_by_a_click_and_answered_on_what_people_answered(model):
    client, dashboard = model
    assert "Nobody has asked the model yet." in client.get("/projects/1/model/diagnosis").text
    assert "The model is being looked into" in post(client, "/projects/1/model/diagnosis/start", "/projects/1/model/diagnosis").text
    look(dashboard)
    twin = client.get("/projects/1/model/diagnosis.json").json
    facts = twin["diagnosis"]["insight"]["facts"]
    assert (twin["diagnosis"]["current"], twin["diagnosis"]["job"]["state"]) == (True, "done")
    assert [answer["query"] for answer in facts["answers"]] == [
        "layer-means", "top-neurons-of-errors", "errors-against-correct", "logits-and-layers", "taken-for",
    ]  # fmt: skip
    page = client.get("/projects/1/model/diagnosis").text
    assert all(answer["title"] in page for answer in facts["answers"])
    assert page.count("<svg") >= len(facts["answers"])


def test_an_item_whose_answer_was_taken_back_is_shown_no_more(model):
    client, dashboard = model
    with dashboard.process.store.writing() as connection:  # so that there is an error to show
        id = connection.execute(
            text("SELECT id FROM item WHERE project_id = 1 AND answer = 'resolved' AND NOT machine LIMIT 1")
        ).scalar_one()
        connection.execute(text("UPDATE item SET labels = :wrong WHERE id = :id"), {"wrong": '["1"]', "id": id})
        connection.execute(text("DELETE FROM spot_check WHERE item_id = :id"), {"id": id})
    post(client, "/projects/1/model/diagnosis/start", "/projects/1/model/diagnosis")
    look(dashboard)

    def shown():
        faces = client.get("/projects/1/model/diagnosis.json").json["faces"]
        return {face["item_id"] for answer in faces for face in answer}

    assert id in shown()
    with dashboard.process.store.writing() as connection:
        connection.execute(text("UPDATE item SET answer = 'open' WHERE id = :id"), {"id": id})
    assert id not in shown()


def test_what_cannot_be_found_says_why_and_a_look_can_be_cancelled(model):
    client, dashboard = model
    page = "/projects/2/model/diagnosis"
    post(client, "/projects/2/model/diagnosis/start", page)
    assert "Cancelled" in post(client, "/projects/2/model/diagnosis/cancel", page).text
    look(dashboard)
    with dashboard.process.store.reading() as connection:
        asked = jobs.jobs_of(connection, 2)
    assert [job.state for job in asked if job.kind == job_kind(InsightKind.DIAGNOSIS)] == ["cancelled"]
    post(client, "/projects/2/model/diagnosis/start", page)
    look(dashboard)
    assert "people have answered no items yet" in client.get(page).text
    assert post(client, "/projects/1/model/horoscope/start", page).status_code == 422


def test_erasing_an_item_takes_along_what_was_found(model):
    client, dashboard = model
    post(client, "/projects/1/model/diagnosis/start", "/projects/1/model/diagnosis")
    look(dashboard)
    from annotriage.store import erasing
    from annotriage.store.projects import project_of

    with dashboard.process.store.writing() as connection:
        project = project_of(connection, "1")
        erasing.erase(connection, project, list(erasing.doomed(connection, project, ["1"]).values()))
    assert found(dashboard, InsightKind.DIAGNOSIS) is None

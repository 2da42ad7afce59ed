"""The page Training: a new model is asked for, compared, let take over and given back by clicks."""

from __future__ import annotations

import re

import numpy as np
import pytest
from sqlalchemy import update
from web import sign_in

from annotriage.service.operations.jobs import TRAINING_KINDS, run_queued
from annotriage.states import EventKind
from annotriage.store import jobs
from annotriage.store.events import note
from annotriage.store.projects import change_project, project_of
from annotriage.store.schema import training


@pytest.fixture
def trainable(copied, serve_dashboard, digits, tmp_path):
    """A dashboard whose first project knows where its training data is: a signed-in client, and the dashboard."""
    np.savez(tmp_path / "train.npz", x=digits.train[0], y=digits.train[1])
    dashboard = serve_dashboard(*copied, password="right")
    with dashboard.process.store.writing() as connection:
        project = project_of(connection, "1")
        change_project(connection, project.id, options=project.options.__dict__ | {"training_data": str(tmp_path / "train.npz")})
    client = dashboard.app.test_client()
    sign_in(client, "right")
    return client, dashboard


def post(client, path, page, **fields):
    token = re.search(r'name="csrf" value="([^"]+)"', page).group(1)
    return client.post(path, data={"csrf": token, **fields}, follow_redirects=True)


def test_a_model_is_asked_for_compared_and_let_take_over(trainable):
    client, dashboard = trainable
    first = client.get("/projects/1/training").text
    assert "Train a new model</button>" in first
    asked = post(client, "/projects/1/training/start", first, epochs="5", perplexity="kl").text
    assert "Training begins within seconds" in asked
    assert "Train a new model</button>" not in asked
    run_queued(dashboard.process, TRAINING_KINDS)
    page = client.get("/projects/1/training").text
    assert "Let it take over</button>" in page
    shown = client.get("/projects/1/training.json").json["training"]["trained"]
    assert (shown["facts"]["plan"]["epochs"], shown["facts"]["plan"]["perplexity"]) == (5, "kl")
    assert f"{shown['facts']['comparison']['new']['right']} of {shown['facts']['comparison']['new']['n']}" in page
    for takes_over, said, button in (
        ("undecided", "not shown to be better", "Answer spot checks"),
        ("no", "The new model is worse", "Answer what waits"),
        ("yes", "The new model is better", "Let it take over"),
    ):
        facts = shown["facts"] | {"comparison": shown["facts"]["comparison"] | {"takes_over": takes_over}}
        with dashboard.process.store.writing() as connection:
            connection.execute(update(training).values(facts=facts))
        page = client.get("/projects/1/training").text
        step = client.get("/projects/1/training.json").json["next_step"]["own"]
        headline = re.search(r'class="headline">([^<]+)', page).group(1)
        assert said in headline
        assert said in step["sentence"], "the next step and the headline say the same"
        assert re.findall(r'primary"[^>]*>([^<]+)', page) == [button]
    report = client.get(f"/projects/1/training/{shown['id']}/report.html")
    assert (report.mimetype, "attachment" in report.headers["Content-Disposition"]) == ("text/html", True)
    assert "The course of the training" in report.text
    taking = post(client, f"/projects/1/training/{shown['id']}/take-over", page).text
    assert "A model is taking over" in taking
    assert "Let it take over</button>" not in taking
    assert "lets annotriage digits" in client.get("/projects/1/guarantee").text


def test_where_the_advice_is_to_train_a_click_leads_there(trainable):
    client, _ = trainable
    said = set()
    for line in client.get("/api/projects/1/datasets?limit=20").json["datasets"]:
        path = f"/projects/1/diversity{{}}?dataset={line['dataset']['id']}"
        given = client.get(path.format(".json")).json["advice"]
        advice = next((piece["answer"] for piece in given if piece["question"] == "train"), None)
        shown = re.search(r'aria-labelledby="advice".*?</section>', client.get(path.format("")).text, re.DOTALL).group()
        assert ('href="/projects/1/training"' in shown) == (advice == "yes")
        said.add(advice)
    assert "yes" in said


def test_a_training_is_cancelled_and_numbers_that_cannot_work_are_refused(trainable):
    client, _ = trainable
    first = client.get("/projects/1/training").text
    for wrong in ("0", "-3", "many", "1001", "²", "0000000005000", "9" * 5_000):
        answer = post(client, "/projects/1/training/start", first, epochs=wrong)
        assert (answer.status_code, "whole number from 1 to 1,000" in answer.text) == (422, True), wrong
    assert post(client, "/projects/1/training/start", first, perplexity="loud").status_code == 422
    asked = post(client, "/projects/1/training/start", first).text
    assert "The training was cancelled" in post(client, "/projects/1/training/cancel", asked).text
    assert "had ended already" in post(client, "/projects/1/training/cancel", asked).text
    assert "Train a new model</button>" in client.get("/projects/1/training").text


def test_a_failed_training_says_why_and_one_that_cannot_be_says_what_is_missing(trainable):
    client, dashboard = trainable
    page = client.get("/projects/2/training").text
    assert "Nobody has said where the training set is." in page
    assert post(client, "/projects/2/training/start", page).status_code == 409
    with dashboard.process.store.writing() as connection:
        project = project_of(connection, "1")
        change_project(connection, project.id, options=project.options.__dict__ | {"training_data": "/nowhere/train.npz"})
    post(client, "/projects/1/training/start", client.get("/projects/1/training").text)
    run_queued(dashboard.process, TRAINING_KINDS)
    assert "The last training failed: " in client.get("/projects/1/training").text


@pytest.mark.browser
def test_a_training_is_asked_for_as_filled_in_and_how_far_it_is_shows_while_it_runs(trainable, open_page):
    _, dashboard = trainable
    page = open_page(f"{dashboard.url}/projects/1/training", storage_state=dashboard.session())
    page.get_by_text("How it is trained").click()
    page.get_by_label("Passes over the items").fill("7")
    page.get_by_role("heading", name="A new model").click()
    with dashboard.process.store.writing() as connection:
        project = project_of(connection, "1")
        data = project.options.training_data.replace("train.npz", "./train.npz")
        change_project(connection, project.id, options=project.options.__dict__ | {"training_data": data})
        note(connection, project.id, EventKind.PROBLEM, error="something that pages show")
    page.get_by_text("/./train.npz").wait_for()
    assert page.get_by_label("Passes over the items").input_value() == "7", "what was filled in outlives a refresh"
    with page.expect_navigation():
        page.get_by_role("button", name="Train a new model").click()
    page.get_by_text("Training begins within seconds").wait_for()
    with dashboard.process.store.reading() as connection:
        assert jobs.jobs_of(connection, project.id)[0].payload["epochs"] == 7
    run_queued(dashboard.process, TRAINING_KINDS)
    page.get_by_role("button", name="Let it take over").wait_for()
    with page.expect_navigation():
        page.get_by_role("button", name="Let it take over").click()
    page.get_by_text("A model is taking over").first.wait_for()

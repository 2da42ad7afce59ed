"""A new class out of a group: the change is shown before it is made, is made once, and can be undone."""

from __future__ import annotations

import re

import pytest
from browsers import follow, text
from web import sign_in, token

from annotriage.advice.event_words import event_sentence
from annotriage.errors import OutcomeUnknown, ToolRefused
from annotriage.store.events import history
from annotriage.store.projects import change_project, project_of

PAGE = "/projects/1/groups/new-class"
NAME = "stripes & <b>dots</b>"


@pytest.mark.browser
def test_the_change_is_shown_made_and_undone(signed_in, dashboard, barriers):
    there = dashboard.tool.projects["1"]
    before = there.config
    page = signed_in("/projects/1/groups")
    page.get_by_label("What people would call group 1").fill(f" {NAME} ")
    follow(page, page.locator("section.group >> nth=0").get_by_role("button", name="New class"))
    assert there.config == before, "looking changes nothing"
    assert NAME in text(page, "pre.change")
    assert barriers(page) == []
    follow(page, page.get_by_role("button", name="Add"))
    assert f"offers {NAME} now" in text(page, "#notices")
    assert NAME in there.choices().labels
    follow(page, page.get_by_role("button", name="Undo adding the class"))
    assert "Undone" in text(page, "#notices")
    assert there.config == before
    assert page.get_by_role("button", name="Undo adding the class").count() == 0
    with dashboard.process.store.reading() as connection:
        said = [event_sentence(event.kind, event.facts) for event in history(connection, project_of(connection, "1").id)[:2]]
    assert said == [
        f"{dashboard.user} took the class {NAME} out of the labeling config again",
        f"{dashboard.user} added the class {NAME} to the labeling config",
    ]


@pytest.fixture
def client(dashboard):
    client = dashboard.app.test_client()
    sign_in(client, dashboard.password, user=dashboard.user)
    return client


def test_a_change_that_nobody_has_seen_is_not_made(client, dashboard):
    there = dashboard.tool.projects["1"]
    shown = client.get(f"{PAGE}.json?name=stripes").json
    form = {"csrf": token(client, PAGE), "name": "stripes", "mark": shown["mark"]}
    there.config = '<View><Choice value="dots"/></View>'
    assert client.post(f"{PAGE}/add", data=form).status_code == 409
    assert client.post(f"{PAGE}/add", data={**form, "mark": ""}).status_code == 409
    assert "stripes" not in there.choices().labels


def test_what_cannot_be_added_says_why(client, dashboard):
    assert "is offered already" in client.get(f"{PAGE}?name=3").text
    with dashboard.process.store.writing() as connection:
        change_project(connection, project_of(connection, "1").id, watch=True)
    page = client.get(f"{PAGE}?name=stripes").text
    assert "nothing is written into this project" in page
    assert not re.search(r"<button[^>]*>Add ", page)


def test_a_class_that_people_have_answered_with_stays(client, dashboard):
    there = dashboard.tool.projects["1"]
    shown = client.get(f"{PAGE}.json?name=stripes").json
    form = {"csrf": token(client, PAGE), "name": "stripes", "mark": shown["mark"]}
    assert client.post(f"{PAGE}/add", data=form).status_code == 303

    def refuse(name):
        if name == "change_config":
            raise ToolRefused("project 1: These labels still exist in annotations: stripes=1")

    there.faults = refuse
    answer = client.post(f"{PAGE}/take-back", data=form)
    assert "still exist in annotations" in answer.text
    assert answer.status_code >= 400
    there.faults = lambda name: None
    assert [one["label"] for one in client.get("/projects/1/groups.json").json["added"]] == ["stripes"]
    assert client.post(f"{PAGE}/take-back", data={**form, "name": "3"}).status_code == 409
    assert "3" in there.choices().labels


def test_a_class_whose_adding_failed_is_in_no_history_and_one_whose_answer_was_lost_can_be_taken_back(client, dashboard):
    there = dashboard.tool.projects["1"]
    shown = client.get(f"{PAGE}.json?name=stripes").json
    form = {"csrf": token(client, PAGE), "name": "stripes", "mark": shown["mark"]}

    def fail_with(error):
        def fail(name):
            if name == "change_config":
                raise error

        there.faults = fail

    def added():
        there.faults = lambda name: None
        return [one["label"] for one in client.get("/projects/1/groups.json").json["added"]]

    fail_with(ToolRefused("not this"))
    assert client.post(f"{PAGE}/add", data=form).status_code >= 400
    assert added() == []
    fail_with(OutcomeUnknown("the connection broke off"))
    assert client.post(f"{PAGE}/add", data=form).status_code >= 400
    assert added() == ["stripes"]

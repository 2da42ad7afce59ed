"""What to do next: each page says its own step first, with the one blue button that its head has, and its twin says the same."""

from __future__ import annotations

import re
from html import unescape

import pytest
from sqlalchemy import select, update

from annotriage.advice.answer_words import PERSON_FIRST
from annotriage.advice.guarantee_words import GO_ON
from annotriage.states import Role
from annotriage.store import jobs, label_audits, people, work
from annotriage.store.filters import Filters
from annotriage.store.projects import project_of
from annotriage.store.queue import queue_page
from annotriage.store.schema import item, snapshot, spot_check

AUTH, LOOKER = ("annotriage", "right"), ("looker", "right password")
PAGES = ("overview", "map", "queue", "items", "diversity", "groups", "guarantee", "label-audit", "people", "training", "compare")


@pytest.fixture
def dashboard(copied, serve_dashboard):
    return serve_dashboard(*copied, password=AUTH[1])


@pytest.fixture
def head(dashboard):
    """The head of a page: its sentence, the address of its blue button, and what stands there small; as the page has it and its twin."""
    client = dashboard.app.test_client()

    def head(page, auth=AUTH):
        path, _, query = page.partition("?")
        shown = client.get(f"/projects/1/{page}", auth=auth, headers={"Accept": "text/html"}).text
        twin = client.get(f"/projects/1/{path}.json?{query}", auth=auth).json["next_step"]
        part = unescape(shown.partition('<div id="next-step"')[2].partition("</div>")[0])
        buttons = re.findall(r'<a class="button primary" href="([^"]*)"', part)
        assert len(buttons) <= 1, page
        own = twin["own"]
        if own is None:
            assert 'class="next"' not in part, page
        else:
            assert own["sentence"] in part, page
            assert bool(own["button"]) == len(buttons), page
        if "Most useful in this project:" in part:
            assert twin["project"]["sentence"] in part
            assert not buttons, "one wish a page"
        return own, buttons[0] if buttons else "", part

    return head


def test_every_page_has_one_blue_button_at_most_in_its_head_and_its_twin_says_the_same(head):
    found = {page: head(page) for page in (*PAGES, "settings")}
    assert found["overview"][1], "the project's most useful step"
    for page in ("items", "settings"):
        assert found[page][0] is None
        assert "Most useful in this project:" in found[page][2]
    for page in ("queue", "groups", "guarantee", "people"):
        assert found[page][1], page


def test_the_queue_begins_with_the_strangest_that_waits(head, dashboard):
    with dashboard.process.store.reading() as connection:
        rows = queue_page(connection, project_of(connection, "1")).rows
    first = next(row for row in rows if row.route == "outlier")
    assert head("queue")[1] == f"/projects/1/queue?route=outlier#item-{first.id}", "where it is answered"
    assert head("queue?state=out")[0] is None, "nobody is asked about what was taken out"
    with dashboard.process.store.writing() as connection:
        connection.execute(update(item).where(item.c.route == "outlier").values(answer="resolved"))
    left = next(row for row in rows if row.route != "outlier")
    assert head("queue")[1] == f"/projects/1/queue#item-{left.id}", "then with what comes first"


def test_the_spot_checks_begin_with_one_that_anybody_may_answer(head, dashboard):
    def order():
        with dashboard.process.store.reading() as connection:
            return queue_page(connection, project_of(connection, "1"), filters=Filters(route="spot check")).rows

    first, second, *_ = order()
    with dashboard.process.store.writing() as connection:
        connection.execute(update(spot_check).where(spot_check.c.item_id == first.id).values(state="disagreed"))
    assert head("queue?route=spot+check")[1] == f"/projects/1/queue?route=spot+check#item-{second.id}"
    with dashboard.process.store.writing() as connection:
        connection.execute(update(spot_check).where(spot_check.c.state == "open").values(state="disagreed"))
    assert "a second person" in head("queue?route=spot+check")[0]["sentence"]


@pytest.mark.parametrize("headline", [PERSON_FIRST, "automatically where the model is sure"])
def test_where_a_person_should_look_first_it_is_said_that_labels_stay_automatic_meanwhile(dashboard, headline):
    client = dashboard.app.test_client()
    with dashboard.process.store.writing() as connection:
        for id, facts in connection.execute(select(snapshot.c.id, snapshot.c.facts)).all():
            advice = [{**piece, "headline": headline} if piece["question"] == "annotate" else piece for piece in facts["advice"]]
            connection.execute(update(snapshot).where(snapshot.c.id == id).values(facts={**facts, "advice": advice}))
    state = client.get("/projects/1/overview.json", auth=AUTH).json["card"]["state"]
    assert state["word"] == "on"
    assert (GO_ON in state["beyond"]) is (headline == PERSON_FIRST)


def test_a_labeling_tool_that_cannot_be_used_is_said_on_every_page_at_once(dashboard):
    client, said = dashboard.app.test_client(), "Label Studio refused the token"
    pages = ("/", "/projects/1/overview", "/projects/1/queue", "/projects/1/guarantee")

    def told():
        return [said in client.get(page, auth=AUTH, headers={"Accept": "text/html"}).text for page in pages]

    assert told() == [False] * len(pages)
    with dashboard.process.store.writing() as connection:
        work.beat(connection, "somebody", "worker", "here", 1, said)
    assert told() == [True] * len(pages)


def test_the_groups_name_the_largest_of_which_something_waits(head, dashboard):
    own, address, _ = head("groups")
    assert address.endswith("/groups#group-1")
    with dashboard.process.store.writing() as connection:
        connection.execute(update(item).where(item.c.route == "outlier").values(answer="resolved"))
    own, address, part = head("groups")
    assert (own["sentence"], address) == ("Nothing to do here: no item of a group waits.", "")
    assert "Most useful in this project:" in part


def test_the_guarantee_asks_for_answers_to_spot_checks(head, dashboard):
    assert head("guarantee")[1].endswith("/queue?route=spot+check")
    with dashboard.process.store.writing() as connection:
        people.set_person(connection, LOOKER[0], Role.LOOK, LOOKER[1], service_user=AUTH[0])
    assert head("guarantee", LOOKER)[0]["page"] == "", "whoever sees no spot check in the queue answers in the labeling tool"
    assert head("people", LOOKER)[0] is None, "they keep no known answer"


def test_the_label_audit_says_what_it_needs_or_that_there_is_nothing_to_do(head, dashboard):
    assert head("label-audit")[0]["button"] == "Check the labels"
    with dashboard.process.store.writing() as connection:
        label_audits.keep_audit(connection, 1, {"items": 7, "sentences": ["None."], "findings": {}, "notes": []}, [])
    own, address, _ = head("label-audit")
    assert (own["sentence"], address) == ("Nothing to do here: the model doubts no label.", "")
    with dashboard.process.store.writing() as connection:
        jobs.queue(connection, 1, jobs.LABEL_AUDIT)
    assert "being checked" in head("label-audit")[0]["sentence"]


def test_known_answers_are_kept_first_and_a_training_that_runs_is_waited_for(head, dashboard):
    own, address, _ = head("people")
    assert (own["button"], address) == ("Keep known answers", "/projects/1/people#gold")
    with dashboard.process.store.writing() as connection:
        jobs.queue(connection, 1, jobs.TRAINING, {})
    assert head("training")[0]["sentence"] == "A new model is being trained. Nothing to do here until then."

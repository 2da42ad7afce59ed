"""Answers that are JSON, but not what Label Studio says: each is an error that may pass, never an end of the worker."""

from __future__ import annotations

import contextlib
import json
import re

import pytest
from fake_label_studio import FakeLabelStudio
from faulty_proxy import Answer, FaultyProxy, passing
from faulty_server import faulty

from annotriage.errors import OutcomeUnknown, ToolError, ToolUnavailable
from annotriage.labeling_tool import Before, NewTask, Shown
from annotriage_label_studio.server.client import Client
from annotriage_label_studio.server.connection import LabelStudioProject, LabelStudioServer

__all__ = ["faulty"]  # a fixture

CONFIG = """<View><Image name="image" value="$image"/>
  <Choices name="label" toName="image"><Choice value="cat"/><Choice value="dog"/></Choices></View>"""
PROJECT = {"id": 1, "title": "Pets", "label_config": CONFIG, "model_version": "v1", "maximum_annotations": 1, "task_number": 10_000}
WRONG = [
    [], {}, None, 3, "x", [None], [[]], {"created": None}, {"created": "2"}, {"tasks": None, "total": 0}, {"tasks": [None], "total": 1},
    {"tasks": [{}], "total": 1}, {"tasks": [{"id": 1}], "total": None}, {"tasks": [{"id": None, "data": {}}], "total": 1},
    {"tasks": [{"id": 1, "data": None, "annotations": None, "predictions": [3], "updated_at": None}], "total": 1},
    {"static": None}, {"static": [{}]}, {"static": [{"model_version": "v1", "count": None}]}, {"task_ids": [None]}, {"task_ids": []},
    {"task_ids": [1], "prediction_count": None},
    {"columns": None}, {"title": 3, "label_config": []}, {"task_number": None},
]  # fmt: skip
CALLS = {
    "facts": lambda project: project.facts(),
    "tasks_after": lambda project: list(project.tasks_after("", None)),
    "task_ids_after": lambda project: list(project.task_ids_after("")),
    "newest_if_known": lambda project: project.newest_if_known("", []),
    "tasks": lambda project: project.tasks(["1"]),
    "changed_since": lambda project: list(project.changed_since(0.0)),
    "annotated": lambda project: list(project.annotated()),
    "deliver": lambda project: project.deliver([Shown("1", ("cat",), 0.9)], "v1"),
    "delivered": lambda project: project.delivered(["1"], "v1"),
    "versions": lambda project: project.versions(),
    "drop_version": lambda project: project.drop_version("v0", "v1"),
    "create": lambda project: project.create([NewTask("m", "http://host/1.png", {}, ("cat",), 0.9)], "v1"),
    "created": lambda project: project.created(["m"]),
    "write_fields": lambda project: project.write_fields("1", {"triage_route": "auto"}),
    "ask_again": lambda project: project.ask_again("1", 2),
    "answer": lambda project: project.answer("1", ("cat",), "2", 1.0),
    "accept": lambda project: project.accept(["1"], "v1"),
    "repair": lambda project: project.repair(),
    "checks": lambda project: project.checks("http://host", "secret"),
}


NESTED = [opened * depth + "1" + closed * depth for opened, closed in (("[", "]"), ('{"tasks":', "}")) for depth in (300, 900, 3000)]


@pytest.mark.parametrize("status", [200, 400])
def test_an_answer_that_is_nested_without_end_is_an_error_of_the_labeling_tool(faulty, status):
    for wrong in NESTED:
        faulty.answers = [(status, {}, wrong)]
        with pytest.raises(ToolError):
            Client(faulty.url, "token").get("/api/tasks/", project="1", include="id")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("config_known", [True, False])
def test_an_answer_of_a_wrong_shape_is_an_error_of_the_labeling_tool(faulty, call, config_known):
    for wrong in [*map(json.dumps, WRONG), ""]:
        project = LabelStudioProject(Client(faulty.url, "token"), "1", ("cat", "dog"))
        if config_known:
            faulty.answers = [(200, {}, PROJECT)]
            project.facts()
        faulty.answers = [(200, {}, wrong)]
        with contextlib.suppress(ToolError):
            CALLS[call](project)


SET_UP = {
    "connect": lambda project: project.connect("http://host", "annotriage", "password", "secret", "http://page", dry_run=False),
    "disconnect": lambda project: project.disconnect("http://host", ["v1"], ["triage_route"], Before("v0", "Sequential sampling")),
    "checks": lambda project: project.checks("http://host", "secret"),
    "with_choice": lambda project: project.with_choice("bird"),
    "copy_task": lambda project: project.copy_task("2", {"copy": "1"}),
    "assign": lambda project: project.assign("For Ann", ["2"]),
}
WRONG_THERE = [[], {}, 3, [3], [{"id": 1, "url": None}], [{"id": 1, "url": "http://host", "title": 3, "headers": 7, "extra_params": 7}]]


@pytest.mark.parametrize("act", SET_UP)
def test_whichever_answer_is_of_a_wrong_shape_while_a_project_is_set_up_or_checked_it_is_told(act):
    with FakeLabelStudio().started() as fake:
        proxy = FaultyProxy(fake.url)

        def attempt(wrong, place):
            """With a project of its own, in which one kind of call is answered wrongly: the kinds of calls that were made."""
            number = fake.project(CONFIG)
            fake.import_tasks(number, [{"image": "data:,"}], tell=False)
            project = LabelStudioProject(Client(proxy.url, fake.token), str(number), ("cat", "dog"))
            if act == "disconnect":
                SET_UP["connect"](project)
            asked = []

            def misled(call):
                kind = call.method, re.sub(r"\d+", "N", call.path.partition("?")[0])
                if kind not in asked:
                    asked.append(kind)
                    if len(asked) == place + 1:
                        passing(call)
                        return Answer(200, (("Content-Type", "application/json"),), json.dumps(wrong).encode())
                return passing(call)

            with proxy.behaving(misled), contextlib.suppress(ToolError):
                SET_UP[act](project)
            return asked

        for wrong in WRONG_THERE:
            place = 0
            while place < len(attempt(wrong, place)):
                place += 1
            assert place
        proxy.stop()


def test_it_says_what_was_asked_and_what_is_wrong_and_may_pass(faulty):
    client = Client(faulty.url, "token")
    faulty.answers = [(200, {}, {"tasks": [{"id": None}], "total": 1})]
    with pytest.raises(
        ToolUnavailable, match=r"GET .*/api/tasks/ .*: 'id' in a member of 'tasks' in the answer is null, not a whole number"
    ):
        client.get("/api/tasks/", project="1", include="id")
    faulty.answers = [(201, {}, {"created": None})]
    with pytest.raises(OutcomeUnknown, match="'created' in the answer is null"):
        client.post("/api/projects/1/import/predictions", [])
    faulty.answers = [(201, {}, "")]
    with pytest.raises(OutcomeUnknown, match="the answer is empty"):
        client.post("/api/projects/1/import/predictions", [])


def test_members_of_a_wrong_shape_are_an_error_of_the_labeling_tool(faulty):
    for wrong in [*map(json.dumps, [{}, None, 3, [None], [{}]]), ""]:
        faulty.answers = [(200, {}, wrong)]
        with pytest.raises(ToolUnavailable):
            LabelStudioServer(Client(faulty.url, "token")).accounts()


def test_a_field_is_expected_only_where_it_was_asked_for_by_its_own_name(faulty):
    client = Client(faulty.url, "token")
    row = {"id": 1, "total_annotations": 0, "cancelled_annotations": 0}
    faulty.answers = [(200, {}, {"tasks": [row], "total": 1})]
    assert client.get("/api/tasks/", project="1", include="id,total_annotations,cancelled_annotations")["tasks"] == [row]
    with pytest.raises(ToolUnavailable, match="has no 'annotations'"):
        client.get("/api/tasks/", project="1", include="id,annotations,result")


@pytest.mark.parametrize(("ids", "predicted"), [([7], 2), ([7, 8], 0), ([], 0)])
def test_an_import_that_stored_less_than_was_sent_is_read_back(faulty, ids, predicted):
    """On SQLite Label Studio repeats an import after a lock, and has by then forgotten its predictions."""
    project = LabelStudioProject(Client(faulty.url, "token"), "1", ("cat", "dog"))
    faulty.answers = [(200, {}, PROJECT)]
    project.facts()
    faulty.answers = [(201, {}, {"task_ids": ids, "prediction_count": predicted})]
    with pytest.raises(OutcomeUnknown, match=f"2 tasks were sent with a prediction each.*{len(ids)} tasks and {predicted} predictions"):
        project.create([NewTask(marker, "http://host/1.png", {}, ("cat",), 0.9) for marker in ("a", "b")], "v1")

"""Webhooks: what every event of Label Studio tells, and that nothing which is none gets through or leaks."""

import contextlib
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from annotriage.errors import DataError
from annotriage.labeling_tool import Event
from annotriage_label_studio.webhooks import ACTIONS, read_event

PROJECT = {"id": 3, "title": "Knees", "token": "t0p-s3cret", "task_data_password": "pa55", "label_config": "<View/>"}
TASK = {"id": 31, "data": {"image": "/data/upload/2/a.png"}, "meta": {}, "is_labeled": False, "overlap": 1, "project": 3}
ANNOTATION = {"id": 8, "result": [], "was_cancelled": False, "task": 31, "project": 3, "completed_by": 1}


def body(action, **blocks):
    return json.dumps({"action": action, "project": PROJECT, **blocks}).encode()


@pytest.mark.parametrize(
    ("sent", "event"),
    [
        (body("TASKS_CREATED", tasks=[TASK, TASK | {"id": 32}]), Event("created", "3", (TASK, TASK | {"id": 32}))),
        (body("TASKS_DELETED", tasks=[{"id": 77}, {"id": 78}]), Event("deleted", "3", task_ids=("77", "78"))),
        (body("ANNOTATION_CREATED", annotation=ANNOTATION, task=TASK), Event("changed", "3", task_ids=("31",))),
        (body("ANNOTATION_UPDATED", annotation=ANNOTATION), Event("changed", "3", task_ids=("31",))),
        (
            body("ANNOTATIONS_CREATED", annotation=[ANNOTATION, ANNOTATION | {"task": 5}], task=[TASK]),
            Event("changed", "3", (), ("31", "5")),
        ),
        (body("ANNOTATIONS_DELETED", annotations=[{"id": 8}]), Event("changed", "3")),
        (body("PROJECT_UPDATED"), Event("project", "3")),
        (json.dumps({"action": "PROJECT_DELETED", "project": {"id": 3}}).encode(), Event("project", "3")),
        (body("START_TRAINING"), Event("train", "3")),
        (body("LABEL_LINK_CREATED", label_link=[{"id": 1}]), Event("other", "")),
        (body("SOMETHING_NEW"), Event("other", "")),
    ],
)
def test_every_event_of_label_studio_is_understood(sent, event):
    assert read_event(sent) == event


def test_what_the_webhook_asks_for_is_what_is_understood():
    blocks = {"tasks": [TASK], "annotation": ANNOTATION}
    assert "other" not in {read_event(body(action, **blocks)).kind for action in ACTIONS}


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (b"", "is not JSON"),
        (body("TASKS_CREATED", tasks=[TASK])[:-9], "is not JSON; it was cut off"),
        (b"[1, 2]", "a JSON list, not an object"),
        (b"{}", "without an action"),
        (b'{"action": ["TASKS_CREATED"]}', "without an action"),
        (b'{"action": "TASKS_CREATED"}', "TASKS_CREATED: a webhook that names no project; switch on Send payload"),
        (b'{"action": "TASKS_CREATED", "project": "3"}', "a project without an id"),
        (b'{"action": "TASKS_CREATED", "project": true}', "a project without an id"),
        (body("TASKS_CREATED", tasks=[TASK, "x"]), "TASKS_CREATED: a str where tasks is expected"),
        (body("TASKS_CREATED", tasks=[{"data": {}}]), "TASKS_CREATED: a task without an id"),
        (body("TASKS_CREATED", tasks=[{"id": 1}]), "TASKS_CREATED: a task without data"),
        (body("TASKS_DELETED", tasks=[{"id": -4}]), "TASKS_DELETED: a task without an id"),
        (body("ANNOTATION_UPDATED", annotation=ANNOTATION | {"task": {"id": 31}}), "ANNOTATION_UPDATED: a task without an id"),
        (b"[" * 100_000, "is not JSON"),
    ],
)
def test_a_malformed_webhook_says_what_is_wrong(sent, message):
    with pytest.raises(DataError, match=message):
        read_event(sent)


@given(st.binary())
@example(b"\xff\xfe{")
def test_any_bytes_are_an_event_or_refused(sent):
    with contextlib.suppress(DataError):
        assert read_event(sent).kind


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "data", "task", "x"]), inner, max_size=3),
    max_leaves=8,
)
payloads = st.fixed_dictionaries(
    {"action": st.sampled_from([*ACTIONS, "START_TRAINING", "PROJECT_DELETED", "X"]) | json_values},
    optional=dict.fromkeys(("project", "task", "tasks", "annotation", "annotations"), json_values),
)


@given(json_values | payloads)
def test_any_json_is_an_event_or_refused(value):
    try:
        event = read_event(json.dumps(value).encode())
    except DataError:
        return
    assert all(id.isdigit() for id in event.task_ids)
    assert all(isinstance(record["data"], dict) for record in event.records)


@given(st.sampled_from(["tasks", "annotation", "project"]), json_values, st.integers(0, 400))
def test_no_secret_of_the_project_is_kept_or_told(key, value, cut):
    whole = json.dumps({"action": "TASKS_CREATED", "project": PROJECT, "tasks": [TASK], key: value}).encode()
    for sent in (whole, whole[:cut]):
        try:
            told = repr(read_event(sent))
        except DataError as error:
            told = f"{error} {error.__cause__}"
        assert "t0p-s3cret" not in told
        assert "pa55" not in told

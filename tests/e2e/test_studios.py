"""Storms judge by what a Label Studio says of its tasks: the one that they have by default says what the real one does."""

from __future__ import annotations

import pytest
import requests
from fake_label_studio import FakeLabelStudio
from label_studio import CONFIG


@pytest.fixture(params=["fake", "real"])
def studio(request, label_studio):
    if request.param == "real":
        yield label_studio
        return
    with FakeLabelStudio().started() as fake:
        yield fake


def test_predictions_and_annotations_are_counted_task_by_task(studio):
    project = studio.project(CONFIG)
    one, twice, none = studio.import_tasks(project, [{"image": "data:,"}] * 3)
    sent = [(one, "a"), (twice, "a"), (twice, "b"), (twice, "b")]
    value = {"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": ["cat"]}}
    rows = [{"task": task, "model_version": version, "score": 0.5, "result": [value]} for task, version in sent]
    headers = {"Authorization": f"Token {studio.token}"}
    requests.post(f"{studio.url}/api/projects/{project}/import/predictions", json=rows, headers=headers).raise_for_status()
    for task in (one, one, twice):
        studio.annotate(task, "cat")
    shown = studio.predictions(project)
    assert sorted(shown[one]) == ["a"]
    assert sorted(shown[twice]) == ["a", "b", "b"]
    assert not shown.get(none)
    assert studio.annotated(project) == {one: 2, twice: 1, none: 0}


def test_tasks_of_several_pages_are_counted(studio):
    project = studio.project(CONFIG)
    tasks = studio.import_tasks(project, [{"image": "data:,"}] * 1_001)
    assert studio.annotated(project) == dict.fromkeys(tasks, 0)

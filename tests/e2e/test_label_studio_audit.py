"""Wrong labels in a real Label Studio: found by the audit, corrected by a person, and not in doubt any more."""

from __future__ import annotations

import csv
import json

import pytest
from click.testing import CliRunner
from triaged import data_uri

from annotriage.cli import main
from annotriage.labeling_tool import AUDIT_VERSION, Shown
from annotriage.settings import ServiceSettings
from annotriage_label_studio import connect_server

CHOICES = "".join(f'<Choice value="{digit}"/>' for digit in range(8))
CONFIG = f'<View><Image name="image" value="$image"/><Choices name="label" toName="image">{CHOICES}</Choices></View>'


def result(label):
    return [{"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": [label]}}]


@pytest.fixture
def answered(label_studio, digits):
    """A project of 200 digits with an answer each, one in ten of them wrong: its id, tasks by their true label, the wrong ones."""
    images, labels = digits.incoming[0][:200], [str(label) for label in digits.incoming[1][:200]]
    given = [str((int(label) + 3) % 8) if place % 10 == 0 else label for place, label in enumerate(labels)]
    project = label_studio.project(CONFIG, title="Digits")
    tasks = [
        {"data": {"image": data_uri(image)}, "annotations": [{"result": result(label)}]} for image, label in zip(images, given, strict=True)
    ]
    ids = [str(id) for id in label_studio.import_tasks(project, tasks)]
    return project, dict(zip(ids, labels, strict=True)), set(ids[::10])


def annotations(label_studio, project):
    """The annotation of each task: its id and its label."""
    exported = label_studio.call("GET", f"/api/projects/{project}/export", exportType="JSON")
    return {
        str(task["id"]): (answer["id"], answer["result"][0]["value"]["choices"][0]) for task in exported for answer in task["annotations"]
    }


def test_wrong_labels_are_found_corrected_and_not_in_doubt_any_more(label_studio, answered, digits_reference, tmp_path):
    project, truth, wrong = answered
    digits_reference.save(tmp_path / "reference")
    there = {"ANNOTRIAGE_LABEL_STUDIO_URL": label_studio.url, "ANNOTRIAGE_LABEL_STUDIO_TOKEN": label_studio.token}

    def audit(out):
        words = [
            "audit-labels",
            "--reference",
            str(tmp_path / "reference"),
            "--data",
            f"label-studio:{project}",
            "--out",
            str(tmp_path / out),
        ]
        done = CliRunner().invoke(main, [*words, "--quiet"], env=there)
        assert done.exit_code == 0, done.output
        with (tmp_path / out / "label_issues.csv").open(encoding="utf-8") as file:
            return list(csv.DictReader(file)), json.loads((tmp_path / out / "summary.json").read_text())

    before = annotations(label_studio, project)
    findings, summary = audit("before")
    found = {row["id"] for row in findings}
    assert len(found & wrong) >= 0.85 * len(wrong)
    assert len(found - wrong) <= 0.04 * len(truth)
    assert summary["noise"]["low"] < 0.1 < summary["noise"]["high"]
    assert annotations(label_studio, project) == before, "an audit changes nothing"
    for task in found & wrong:
        label_studio.call("PATCH", f"/api/annotations/{before[task][0]}/", {"result": result(truth[task])})
    again, after = audit("after")
    assert {row["id"] for row in again}.isdisjoint(found & wrong)
    assert after["noise"]["share"] < 0.03


def test_findings_have_a_tab_and_a_version_of_their_own(label_studio):
    project = label_studio.project()
    tasks = [str(id) for id in label_studio.import_tasks(project, [{"image": f"http://127.0.0.1:1/{place}.png"} for place in range(8)])]
    for task in tasks:
        label_studio.annotate(int(task), "cat")
    server = connect_server(ServiceSettings(label_studio_url=label_studio.url, label_studio_token=label_studio.token))
    tool = server.project(str(project), ["cat", "dog"])
    assert set(tool.deliver([Shown(task, ("cat",), 0.9) for task in tasks], "annotriage pets 1a2b").done) == set(tasks)
    tool.name_version("annotriage pets 1a2b")
    tool.repair()
    assert "Label audit" not in tabs_of(label_studio, project), "nothing is in doubt yet"
    doubted = [Shown(tasks[1], ("dog",), 0.1), Shown(tasks[4], None, 0.0)]
    assert set(tool.deliver(doubted, AUDIT_VERSION).done) == {tasks[1], tasks[4]}
    tool.repair()
    assert tasks_of(label_studio, project, "Label audit") == [tasks[1], tasks[4]]
    assert tool.facts().version == "annotriage pets 1a2b", "annotators are shown what they were shown before"
    assert tool.repair() == []
    tool.withdraw([id for ids in tool.delivered([tasks[1]], AUDIT_VERSION).values() for id in ids])
    assert tasks_of(label_studio, project, "Label audit") == [tasks[4]]
    tool.drop_version(AUDIT_VERSION, keep="annotriage pets 1a2b")
    tool.repair()
    assert "Label audit" not in tabs_of(label_studio, project)
    assert tool.versions() == {"annotriage pets 1a2b": 8}


def tabs_of(label_studio, project):
    return {view["data"]["title"]: view["id"] for view in label_studio.call("GET", "/api/dm/views/", project=project)}


def tasks_of(label_studio, project, tab):
    """The tasks that people see in a tab, in its order."""
    view = tabs_of(label_studio, project)[tab]
    return [str(task["id"]) for task in label_studio.call("GET", "/api/tasks/", project=project, view=view, page_size=100)["tasks"]]

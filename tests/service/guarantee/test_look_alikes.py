"""Look-alikes of a project: unanswered tasks alone, named as in the labeling tool, and answered there."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner

from annotriage.cli import main
from annotriage.errors import UnknownError
from annotriage.report.look_alikes_folder import LABELS, read_look_alikes
from annotriage.service.guarantee.look_alikes import project_look_alikes
from annotriage.store.schema import spot_check


def test_people_answer_some_tasks_of_a_group_in_the_tool_and_the_rest_follows(process, connect, worker, digits, picture, tmp_path):
    project, tool = connect(sample_share=0.05, audit_share=0.0)
    images = [np.roll(image, shift, 1) for image in digits.strangers[0][:130] for shift in (0, 1)]
    tasks = [tool.add(picture(image)).id for image in images]
    worker.settle()
    with process.store.reading() as connection:
        drawn = {str(row.item_id) for row in connection.execute(spot_check.select())}
    like = next(task for task in tasks if task not in drawn)

    def look_alikes(*words):
        environment = {"ANNOTRIAGE_DATABASE": process.settings.database, "ANNOTRIAGE_LABEL_STUDIO_TOKEN": "unused"}
        done = CliRunner().invoke(main, ["look-alikes", "--project", project.external_id, *words, "--json", "--quiet"], env=environment)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    folder = str(tmp_path / "group")
    offered = look_alikes("--like", like, "--count", "200", "--out", folder)
    group = read_look_alikes(tmp_path / "group")[0]
    assert (offered["members"], offered["looks"][0]["size"]) == (200, group.looks[0].size)
    assert set(group.ids) <= set(tasks) - drawn
    for task in group.ids[: group.looks[0].size]:
        tool.annotate(task, "3")
    worker.follow()
    found = look_alikes("--answers", folder)
    assert (found["label"], found["standing"]["shown"]) == ("3", True)
    assert found["labelled_at_once"] == len(group.ids) - group.looks[0].size
    labels = list(csv.DictReader((tmp_path / "group" / LABELS).read_text("utf-8").splitlines()))
    assert [row["id"] for row in labels if row["how"] == "look-alike"] == list(group.ids[group.looks[0].size :])


def test_an_unknown_group_is_named(process, connect, worker, digits, picture):
    project, tool = connect()
    tool.add(picture(digits.incoming[0][0]))
    worker.settle()
    with pytest.raises(UnknownError, match="no group 9 of strange items"):
        project_look_alikes(process, project, group=9)

"""Look-alikes of a project: unanswered tasks alone, named as in the labeling tool, and answered there."""

from __future__ import annotations

import numpy as np
import pytest

from annotriage.errors import UnknownError
from annotriage.report.look_alikes_folder import answer_look_alikes, write_look_alikes
from annotriage.service.guarantee.look_alikes import answers_in_project, project_look_alikes
from annotriage.store.schema import spot_check


def test_people_answer_some_tasks_of_a_group_in_the_tool_and_the_rest_follows(process, connect, worker, digits, picture, tmp_path):
    project, tool = connect(sample_share=0.05, audit_share=0.0)
    images = [np.roll(image, shift, 1) for image in digits.strangers[0][:130] for shift in (0, 1)]
    tasks = [tool.add(picture(image)).id for image in images]
    worker.settle()
    with process.store.reading() as connection:
        drawn = {str(row.item_id) for row in connection.execute(spot_check.select())}
    like = next(task for task in tasks if task not in drawn)
    group = project_look_alikes(process, project, like=like, count=200)
    assert set(group.ids) <= set(tasks) - drawn
    write_look_alikes(group, tmp_path / "group")
    for task in group.ids[: group.looks[0].size]:
        tool.annotate(task, "3")
    worker.follow()
    found = answer_look_alikes(tmp_path / "group", answers_in_project(process, project, group.ids))
    assert found.standing.shown
    assert found.rest == group.ids[group.looks[0].size :]


def test_an_unknown_group_is_named(process, connect, worker, digits, picture):
    project, tool = connect()
    tool.add(picture(digits.incoming[0][0]))
    worker.settle()
    with pytest.raises(UnknownError, match="no outlier group 9"):
        project_look_alikes(process, project, group=9)

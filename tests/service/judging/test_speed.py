"""Where the time goes with a project's tasks: the worker's own steps, with nothing kept."""

from __future__ import annotations

import pytest
from sqlalchemy import select
from triaged import import_tasks, judge

from annotriage.errors import DataError
from annotriage.report.bench import BESIDE, OF_SERVICE, bench_text
from annotriage.service.delivery.outbox import Delivery
from annotriage.service.judging.speed import bench_project
from annotriage.store.schema import counter, delivery, spot_check, verdict, work


def everything(process):
    with process.store.reading() as connection:
        return [connection.execute(select(table)).all() for table in (verdict, counter, delivery, spot_check, work)]


def test_the_last_tasks_are_judged_and_stored_as_the_worker_does_and_nothing_is_kept(process, connect, digits):
    project, tool = connect()
    import_tasks(process, project, tool, digits.incoming[0][:40])
    judge(process)
    Delivery(process).step()
    import_tasks(process, project, tool, [*digits.incoming[0][40:70], "data:image/png;base64,AAAA"])
    before = everything(process)
    found = bench_project(process, project.external_id, items=60)
    assert everything(process) == before
    assert (found.items, found.failed) == (60, 1)
    assert [part.stage for part in (*found.in_turn, *found.beside)] == [*OF_SERVICE, *BESIDE]
    assert all(part.seconds > 0 for part in found.in_turn)
    assert sum(part.seconds for part in found.in_turn) + found.rest == pytest.approx(found.seconds)
    text = bench_text(found)
    assert text.startswith(f"60 tasks of project {project.external_id} judged anew in ")
    assert "As recorded of the last 40 tasks, from a task's arrival to its verdict: half of them within " in text
    assert "storing " in text


def test_a_project_without_a_task_that_can_be_read_says_so(process, connect):
    project, tool = connect()
    import_tasks(process, project, tool, ["data:image/png;base64,AAAA"])
    with pytest.raises(DataError, match=f"none of the items of project {project.external_id}"):
        bench_project(process, project.external_id)

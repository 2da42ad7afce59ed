"""Look-alikes in a project: a group of outliers, or what is most similar to a task, and what people answered of it so far."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from annotriage.data import Dataset, Item
from annotriage.engine.look_alikes import GROUP_ERROR, LookAlikes, look_alikes
from annotriage.errors import UnknownError
from annotriage.progress import Progress, silent
from annotriage.service.guarantee.recalibrating import answered_items
from annotriage.service.operations.process import Process
from annotriage.store import snapshots, spot_checks
from annotriage.store.datasets import dataset_of_all
from annotriage.store.projects import Project


def project_look_alikes(
    process: Process,
    project: Project,
    *,
    like: str | None = None,
    group: int | None = None,
    count: int = 200,
    group_error: float = GROUP_ERROR,
    progress: Progress = silent,
) -> LookAlikes:
    """Tasks of a project that nobody has answered and that look alike, named by their numbers in the labeling tool.

    like: a task's number; group: an outlier group of the whole project, as the dashboard numbers them. Spot checks are never among them.
    Raises UnknownError if there is no such group, and what `annotriage.look_alikes` raises.
    """
    with process.store.reading() as connection:
        rows = spot_checks.unanswered_items(connection, project.id)
        every = dataset_of_all(connection, project)
        numbers = {} if group is None or every is None else snapshots.groups_of(connection, every.id)
    if group is not None:
        rows = [row for row in rows if numbers.get(row.id) == group]
        if not rows:
            raise UnknownError(
                f"project {project.external_id}: no group {group} of strange items with tasks that nobody has answered; the groups are"
                f" {', '.join(map(str, sorted(set(numbers.values())))) or 'none yet'}"
            )
    tasks = {str(row.id): str(row.external_id) for row in rows}

    def read() -> Iterator[Item]:
        for item in answered_items(process, project, rows):
            yield dataclasses.replace(item, id=tasks[item.id], labels=None)

    reference = process.reference(project.reference_id)
    name = f"project {project.external_id}" if group is None else f"group {group} of the strange items of project {project.external_id}"
    found = look_alikes(
        reference,
        Dataset(name, len(rows), read),
        like=like,
        ids=None if group is None else list(tasks.values()),
        count=count,
        group_error=group_error,
        settings=process.run_settings(reference),
        progress=progress,
    )
    return found if group is None else dataclasses.replace(found, why=name)


def answers_in_project(process: Process, project: Project, tasks: Sequence[str]) -> dict[str, str]:
    """What people answered on these tasks in the labeling tool, by task; several classes are joined with "|"."""
    with process.store.reading() as connection:
        found = spot_checks.labels_of_tasks(connection, project.id, tasks)
    return {task: "|".join(labels) for task, labels in found.items() if labels}

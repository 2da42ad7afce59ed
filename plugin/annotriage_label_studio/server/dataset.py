"""A project of a running Label Studio as a dataset: what people have labelled in it, with media fetched as they are read.

For `annotriage fit --train label-studio:3`.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from annotriage.data import Dataset, Item, Problem
from annotriage.errors import DataError, MediaError
from annotriage.labeling_tool import Review, Task
from annotriage.media.data_uri import decode_data_uri, is_data_uri
from annotriage.media.fetcher import Fetcher, Limits
from annotriage.settings import ServiceSettings
from annotriage.states import SPOT_CHECK_FIELD, Failure
from annotriage_label_studio.editor.answers import Answer, agreed
from annotriage_label_studio.server.connection import LabelStudioProject, LabelStudioServer, open_server

PREFIX = "label-studio:"
AHEAD = 3  # media held for each connection: being fetched, or waiting for the reader
PAGE = 200  # tasks whose media lie in themselves, read again at once


def read_project(source: str, classes: Sequence[str], settings: ServiceSettings | None) -> Dataset | None:
    """The labelled tasks of the project that `source` names, as "label-studio:3"; None if it names none.

    Goes through the project's annotations now; media are fetched when the dataset is read, over as many connections as the
    settings say, in order, a few ahead. A label is what more than half of the annotators say, or the ground truth; annotations made by
    a machine, skipped and empty ones count for nothing. classes: the model's; tasks with other labels are left out, if they are given.
    Raises DataError if nobody has labelled anything, and whatever the server has to say.
    """
    if not source.startswith(PREFIX):
        return None
    number = source.removeprefix(PREFIX).strip()
    if not (number.isascii() and number.isdigit()):
        raise DataError(f"{source}: name the project by its number, as {PREFIX}3 for http://.../projects/3/data")
    settings = settings or ServiceSettings.load()
    server = open_server(settings)
    project = server.project(number, classes)
    facts = project.facts()
    survey = _Survey(frozenset(classes))
    tasks = [_without_content(task) for page in project.annotated() for task in page if survey.takes(task)]
    if not tasks:
        raise DataError(f"{source}: {facts.title!r} has no task with a label that can be used. {' '.join(survey.notes(source))}".strip())

    def items() -> Iterator[Item]:
        return _items(tasks, server, project, settings)

    return Dataset(facts.title, len(tasks), items, (f"{source}: {len(tasks):,} labelled tasks of {facts.title!r}", *survey.notes(source)))


@dataclass
class _Survey:
    """Which tasks are taken, and why the others are not."""

    classes: frozenset[str]
    divided: int = 0
    unanswered: int = 0
    others: dict[str, int] = field(default_factory=dict)

    def takes(self, task: Task) -> bool:
        labels = _labels(task)
        if labels is None:
            if any(_counts(review) for review in task.reviews or ()):
                self.divided += 1
            else:
                self.unanswered += 1
            return False
        unknown = [label for label in labels if self.classes and label not in self.classes]
        for label in unknown[:1]:
            self.others[label] = self.others.get(label, 0) + 1
        return not unknown

    def notes(self, source: str) -> list[str]:
        notes = []
        if self.divided:
            notes.append(f"{source}: left out, without a majority among the annotators: {self.divided:,} tasks")
        if self.unanswered:
            notes.append(f"{source}: left out, skipped, answered with nothing or by a machine: {self.unanswered:,} tasks")
        notes += [
            f"{source}: left out, labelled {label!r}, which is no class of the model: {n:,} tasks" for label, n in self.others.items()
        ]
        return notes


def _counts(review: Review) -> bool:
    return review.labels is not None and not review.machine


def _labels(task: Task) -> tuple[str, ...] | None:
    """What people agree that the task is; None if they have not said or are divided."""
    return agreed([Answer("", review.labels or (), review.ground_truth) for review in task.reviews or () if _counts(review)])


@dataclass(frozen=True, slots=True)
class _Labelled:
    """A task as far as it is kept. media: None if it lies in the task itself, to be read again when its turn comes."""

    id: str
    media: str | None
    labels: tuple[str, ...] | None
    group: str | None
    problem: str | None
    spot_check: bool


def _without_content(task: Task) -> _Labelled:
    media, checked = None if is_data_uri(task.media) else task.media, bool(task.fields.get(SPOT_CHECK_FIELD))
    return _Labelled(task.id, media, _labels(task), task.group, task.problem, checked)


def _items(tasks: Sequence[_Labelled], server: LabelStudioServer, project: LabelStudioProject, settings: ServiceSettings) -> Iterator[Item]:
    """Items in order, their media fetched ahead of the reader by a bounded number."""
    limits = Limits(seconds=settings.media_seconds, size=settings.media_mb * 2**20)
    trusted = {server.url: server.media_headers}
    fetcher = Fetcher(settings.media_hosts, trusted=trusted, limits=limits, connections=settings.media_connections)
    waiting: deque[Future[Item]] = deque()
    try:
        with ThreadPoolExecutor(settings.media_connections, "media") as threads:
            try:
                for task, content in _with_content(tasks, project):
                    waiting.append(threads.submit(_item, task, content, fetcher, project))
                    if len(waiting) >= AHEAD * settings.media_connections:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                threads.shutdown(wait=False, cancel_futures=True)
    finally:
        fetcher.close()


def _with_content(tasks: Sequence[_Labelled], project: LabelStudioProject) -> Iterator[tuple[_Labelled, str | None]]:
    """Each task with its data: URI, if its media lie in it; these are read again, a page at a time."""
    rest = iter(tasks)
    while page := list(itertools.islice(rest, PAGE)):
        inside = [task.id for task in page if task.media is None]
        found: Mapping[str, Any] = {task.id: task.media for task in project.tasks(inside)} if inside else {}
        for task in page:
            yield task, found.get(task.id)


def _item(task: _Labelled, content: str | None, fetcher: Fetcher, project: LabelStudioProject) -> Item:
    where, media = f"task {task.id}", None
    problem = None if task.problem is None else Problem(Failure.ADDRESS, task.problem)
    try:
        if problem is None:
            media = _media(task, content, fetcher, project)
    except MediaError as error:
        problem = Problem(error.failure, str(error))
    return Item(task.id, media, task.labels, task.group, where, problem, spot_check=task.spot_check)


def _media(task: _Labelled, content: str | None, fetcher: Fetcher, project: LabelStudioProject) -> bytes:
    if task.media is None:
        return decode_data_uri(content or "")
    return fetcher.get(project.media_address(task.media, task.id), f"task {task.id}")

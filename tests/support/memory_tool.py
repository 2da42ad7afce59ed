"""A labeling tool in memory: tasks, predictions and annotations with the behaviour that the service relies on, and its faults on demand.

Component tests of the service run against it; whether the real tool behaves like this is what the end-to-end tests are for.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from annotriage.errors import MediaError, OutcomeUnknown, ToolGone
from annotriage.labeling_tool import Changes, Check, Event, NewTask, ProjectFacts, Review, Shown, Task


@dataclass
class Stored:
    """A prediction as the tool keeps it."""

    id: str
    task: str
    version: str
    labels: tuple[str, ...] | None
    trust: float


@dataclass
class MemoryProject:
    """`ToolProject` in memory; ids count up.

    faults: called before each call with its name; raise in it what the call shall raise, or sleep. lose_answers: that many deliveries and
    creations are carried out and then answered with ToolUnavailable. page: tasks per page.
    """

    id: str = "1"
    title: str = "In memory"
    classes: tuple[str, ...] = ()
    version: str = ""
    config: str = "<View/>"
    problem: str | None = None
    wanted: int = 1
    page: int = 1000
    exists: bool = True
    tasks_by_id: dict[str, Task] = field(default_factory=dict)
    data: dict[str, dict[str, object]] = field(default_factory=dict)
    predictions: list[Stored] = field(default_factory=list)
    changed: dict[str, float] = field(default_factory=dict)
    faults: Callable[[str], None] = lambda name: None
    lose_answers: int = 0
    most: int = 1_000_000  # tasks in one answer to `tasks`
    clock: Callable[[], float] = time.time
    calls: list[str] = field(default_factory=list)
    asked_since: list[float] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    # -- what people and imports do

    def add(self, media: str, **values: object) -> Task:
        """A new task."""
        task = Task(id=str(next(self.numbers)), media=media, created_at=self.clock(), wanted=self.wanted, **values)
        self.tasks_by_id[task.id] = task
        self.data[task.id] = {"image": media}
        self._touch(task.id)
        return task

    def annotate(self, task_id: str, *labels: str, by: str = "ann", **values: object) -> Review:
        """A person's answer; no labels with empty=True or skipped=True."""
        blank = values.get("empty") or values.get("skipped")
        review = Review(str(next(self.numbers)), by, None if blank else labels, updated_at=self.clock(), **values)
        self._set_reviews(task_id, (*(self.tasks_by_id[task_id].reviews or ()), review))
        return review

    def delete_annotation(self, task_id: str, review_id: str) -> None:
        """A person takes an answer back."""
        self._set_reviews(task_id, tuple(one for one in self.tasks_by_id[task_id].reviews or () if one.id != review_id))

    def delete_task(self, task_id: str) -> None:
        """A person deletes a task."""
        del self.tasks_by_id[task_id]
        self.predictions = [one for one in self.predictions if one.task != task_id]

    def change_media(self, task_id: str, media: str) -> None:
        """Somebody lets a task show something else."""
        self.tasks_by_id[task_id] = replace(self.tasks_by_id[task_id], media=media)
        self._touch(task_id)

    def shown(self, task_id: str, version: str | None = None) -> list[Stored]:
        """The predictions of a task under a version, by default the one that is shown."""
        return [one for one in self.predictions if one.task == task_id and one.version == (version or self.version)]

    # -- ToolProject

    def facts(self) -> ProjectFacts:
        self._call("facts")
        return ProjectFacts(self.title, self.version, self.wanted, self.config, self.problem)

    def address(self, task_id: str = "") -> str:
        return f"memory://{self.id}/{task_id}"

    def tasks_after(self, task_id: str, limit: int | None = None) -> Iterator[list[Task]]:
        self._call("tasks_after")
        later = [replace(task, reviews=None) for id, task in self.tasks_by_id.items() if int(id) > int(task_id or 0)][:limit]
        yield from (later[start : start + self.page] for start in range(0, len(later), self.page))

    def task_ids_after(self, task_id: str) -> Iterator[list[str]]:
        self._call("task_ids_after")
        later = [id for id in self.tasks_by_id if int(id) > int(task_id or 0)]
        yield from (later[start : start + self.page] for start in range(0, len(later), self.page))

    def tasks(self, ids: Sequence[str]) -> list[Task]:
        self._call("tasks")
        return [self._with_reviews(id) for id in ids if id in self.tasks_by_id][: self.most]

    def changed_since(self, time: float) -> Iterator[Changes]:
        self._call("changed_since")
        self.asked_since.append(time)
        later = {id: at for id, at in self.changed.items() if at > time and id in self.tasks_by_id}
        if later:
            yield Changes([self._with_reviews(id) for id in later], max(later.values()))

    def tasks_of(self, event: Event) -> list[Task]:
        return [self.tasks_by_id[str(record["id"])] for record in event.records]

    def media_address(self, media: str, task_id: str) -> str:
        if not media.startswith("http"):
            raise MediaError(f"task {task_id}: {media!r} is no address; correct the task's data")
        return media

    def deliver(self, predictions: Sequence[Shown], version: str) -> int:
        self._call("deliver")
        missing = [one.task for one in predictions if one.task not in self.tasks_by_id]
        if missing:
            raise ToolGone(f"tasks {', '.join(missing[:3])} do not exist")
        for one in predictions:
            self.predictions.append(Stored(str(next(self.numbers)), one.task, version, one.labels, one.trust))
        self._lose("deliver")
        return len(predictions)

    def delivered(self, ids: Sequence[str], version: str) -> dict[str, list[str]]:
        self._call("delivered")
        found: dict[str, list[str]] = {}
        wanted = set(ids)
        for one in self.predictions:
            if one.task in wanted and one.version == version:
                found.setdefault(one.task, []).append(one.id)
        return found

    def withdraw(self, predictions: Sequence[str]) -> None:
        self._call("withdraw")
        self.predictions = [one for one in self.predictions if one.id not in set(predictions)]

    def name_version(self, version: str) -> None:
        self._call("name_version")
        self.version = version

    def versions(self) -> dict[str, int]:
        self._call("versions")
        names = [one.version for one in self.predictions]
        return {name: names.count(name) for name in dict.fromkeys(names)}

    def drop_version(self, version: str, keep: str) -> None:
        self._call("drop_version")
        self.predictions = [one for one in self.predictions if one.version != version]
        self.version = keep

    def create(self, items: Sequence[NewTask], version: str) -> dict[str, str]:
        self._call("create")
        made = {}
        for one in items:
            task = self.add(one.media, marker=one.marker)
            self.data[task.id] |= dict(one.data)
            self.predictions.append(Stored(str(next(self.numbers)), task.id, version, one.labels, one.trust))
            made[one.marker] = task.id
        self._lose("create")
        return made

    def created(self, markers: Sequence[str]) -> dict[str, str]:
        self._call("created")
        return {task.marker: id for id, task in self.tasks_by_id.items() if task.marker in set(markers)}

    def write_fields(self, task_id: str, fields: Mapping[str, object]) -> None:
        self._call("write_fields")
        if task_id not in self.tasks_by_id:
            raise ToolGone(f"task {task_id} does not exist")
        merged = self.data[task_id] | dict(fields)
        self.data[task_id] = {key: value for key, value in merged.items() if value is not None}
        self._touch(task_id)

    def ask_again(self, task_id: str, answers: int) -> None:
        self._call("ask_again")
        self.tasks_by_id[task_id] = replace(self.tasks_by_id[task_id], wanted=answers)
        self._set_reviews(task_id, self.tasks_by_id[task_id].reviews or ())

    def accept(self, ids: Sequence[str], version: str) -> dict[str, str]:
        self._call("accept")
        made = {}
        for id in ids:
            task, shown = self.tasks_by_id.get(id), self.shown(id, version)
            if task is not None and not task.reviews and task.wanted == 1 and len(shown) == 1 and shown[0].labels is not None:
                made[id] = self.annotate(id, *shown[0].labels, by="annotriage", machine=True).id
        self._lose("accept")
        return made

    def retract(self, reviews: Sequence[str]) -> None:
        self._call("retract")
        for id, task in list(self.tasks_by_id.items()):
            if any(one.id in set(reviews) for one in task.reviews or ()):
                self._set_reviews(id, tuple(one for one in task.reviews or () if one.id not in set(reviews)))

    def connect(self, service_url: str, user: str, password: str, secret: str, *, dry_run: bool) -> list[str]:
        self._call("connect")
        return [f"{'would send' if dry_run else 'sends'} webhooks to {service_url}/webhook"]

    def disconnect(self, service_url: str, versions: Sequence[str], fields: Sequence[str]) -> list[str]:
        self._call("disconnect")
        self.predictions = [one for one in self.predictions if one.version not in versions]
        self.data = {id: {key: value for key, value in data.items() if key not in fields} for id, data in self.data.items()}
        return ["sends no webhooks any more"]

    def repair(self, *, calibrating: bool) -> list[str]:
        self._call("repair")
        return []

    def checks(self, service_url: str, secret: str) -> list[Check]:
        return [Check("project", True, self.title)]

    # -- inside

    def _call(self, name: str) -> None:
        self.calls.append(name)
        self.faults(name)
        if not self.exists:
            raise ToolGone(f"project {self.id} does not exist")

    def _lose(self, name: str) -> None:
        if self.lose_answers:
            self.lose_answers -= 1
            raise OutcomeUnknown(f"{name}: the connection broke off")

    def _touch(self, task_id: str) -> None:
        self.changed[task_id] = self.clock()

    def _with_reviews(self, task_id: str) -> Task:
        task = self.tasks_by_id[task_id]
        return replace(task, reviews=task.reviews or ())

    def _set_reviews(self, task_id: str, reviews: tuple[Review, ...]) -> None:
        task = self.tasks_by_id[task_id]
        counted = sum(not one.skipped for one in reviews)
        self.tasks_by_id[task_id] = replace(task, reviews=reviews, labelled=counted >= task.wanted)
        self._touch(task_id)


@dataclass
class MemoryServer:
    """`ToolServer` in memory: hands out its projects, by id."""

    projects: dict[str, MemoryProject] = field(default_factory=dict)
    url: str = "http://127.0.0.1:1"

    clock: Callable[[], float] = time.time

    def now(self) -> float:
        return float(int(self.clock()))

    def headers(self) -> dict[str, str]:
        return {}

    def checks(self) -> list[Check]:
        return [Check("server", True, self.url)]

    def project(self, id: str, classes: Sequence[str]) -> MemoryProject:
        found = self.projects.setdefault(id, MemoryProject(id))
        found.classes = tuple(classes)
        return found

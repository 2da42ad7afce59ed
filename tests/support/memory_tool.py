"""A labeling tool in memory: tasks, predictions and annotations with the behaviour that the service relies on, and its faults on demand.

Component tests of the service run against it; whether the real tool behaves like this is what the end-to-end tests are for.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from annotriage import states
from annotriage.errors import DataError, MediaError, OutcomeUnknown, StateError, ToolError, ToolGone
from annotriage.labeling_tool import (
    Account,
    Before,
    Changes,
    Check,
    Choices,
    ConfigChange,
    Event,
    NewTask,
    Outcomes,
    ProjectFacts,
    Review,
    Shown,
    TabShows,
    Task,
)

Part = TypeVar("Part")


@dataclass
class Stored:
    """A prediction as the tool keeps it."""

    id: str
    task: str
    version: str
    labels: tuple[str, ...] | None
    trust: float


@dataclass
class Failure:
    """The next call of that name fails after so many of its parts, once. With OutcomeUnknown the part at hand is done all the same.

    told: whether the call says what became of the parts before; otherwise its whole answer is lost.
    """

    call: str
    after: int
    error: ToolError
    told: bool = True


@dataclass
class Numbers:
    """Counts up from 1, in copies of a project on from where they were made."""

    last: int = 0

    def __next__(self) -> int:
        self.last += 1
        return self.last


@dataclass
class MemoryProject:
    """`ToolProject` in memory; ids count up.

    faults: called before each call with its name; raise in it what the call shall raise, or sleep. lose_answers: that many deliveries,
    creations and acceptances are carried out and then answered with OutcomeUnknown. failure: a call that fails in its middle. page:
    tasks per page.
    """

    id: str = "1"
    title: str = "In memory"
    classes: tuple[str, ...] = ()
    version: str = ""
    config: str = "<View/>"
    problem: str | None = None
    wanted: int = 1
    several: bool = False
    page: int = 1000
    exists: bool = True
    order: str = "by id"
    description: str = ""  # the page that it links to
    set_up: list[str] = field(default_factory=list)  # what connecting made
    assigned: dict[str, list[str]] = field(default_factory=dict)  # by the title of their tab
    tasks_by_id: dict[str, Task] = field(default_factory=dict)
    data: dict[str, dict[str, object]] = field(default_factory=dict)
    predictions: list[Stored] = field(default_factory=list)
    changed: dict[str, float] = field(default_factory=dict)
    faults: Callable[[str], None] = lambda name: None
    lose_answers: int = 0
    failure: Failure | None = None
    most: int = 1_000_000  # tasks in one answer to `tasks`
    clock: Callable[[], float] = time.time
    calls: list[str] = field(default_factory=list)
    asked_since: list[float] = field(default_factory=list)
    numbers: Numbers = field(default_factory=Numbers)

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
        self._set_reviews(task_id, tuple(review for review in self.tasks_by_id[task_id].reviews or () if review.id != review_id))

    def time_passes(self, seconds: float) -> None:
        """People answered so much earlier."""
        for id, task in self.tasks_by_id.items():
            earlier = tuple(replace(review, updated_at=review.updated_at - seconds) for review in task.reviews or ())
            self.tasks_by_id[id] = replace(task, reviews=None if task.reviews is None else earlier)

    def delete_task(self, task_id: str) -> None:
        """A person deletes a task."""
        del self.tasks_by_id[task_id]
        self.predictions = [prediction for prediction in self.predictions if prediction.task != task_id]

    def change_media(self, task_id: str, media: str) -> None:
        """Somebody lets a task show something else."""
        self.tasks_by_id[task_id] = replace(self.tasks_by_id[task_id], media=media)
        self._touch(task_id)

    def shown(self, task_id: str, version: str | None = None) -> list[Stored]:
        """The predictions of a task under a version, by default the one that is shown."""
        return [
            prediction for prediction in self.predictions if prediction.task == task_id and prediction.version == (version or self.version)
        ]

    # -- ToolProject

    def facts(self) -> ProjectFacts:
        self._call("facts")
        return ProjectFacts(self.title, self.version, self.order, self.wanted, self.config, self.problem)

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

    def newest_if_known(self, task_id: str, known: Collection[str]) -> str | None:
        self._call("newest_if_known")
        there, mine = ([id for id in some if int(id) > int(task_id or 0)] for some in (self.tasks_by_id, known))
        newest = max(there, key=int, default="")
        return newest if not there or (len(there) == len(mine) and newest in mine) else None

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
            raise MediaError(states.Failure.ADDRESS, f"task {task_id}: {media!r} is no address; correct the task's data")
        return media

    def deliver(self, predictions: Sequence[Shown], version: str) -> Outcomes:
        self._call("deliver")

        def store(prediction: Shown) -> str:
            self.predictions.append(Stored(str(next(self.numbers)), prediction.task, version, prediction.labels, prediction.trust))
            return self.predictions[-1].id

        there = {prediction.task: prediction for prediction in predictions if prediction.task in self.tasks_by_id}
        outcomes = self._each("deliver", there, store)
        return replace(outcomes, gone=frozenset(prediction.task for prediction in predictions if prediction.task not in there))

    def delivered(self, ids: Sequence[str], version: str) -> dict[str, list[str]]:
        self._call("delivered")
        found: dict[str, list[str]] = {}
        wanted = set(ids)
        for prediction in self.predictions:
            if prediction.task in wanted and prediction.version == version:
                found.setdefault(prediction.task, []).append(prediction.id)
        return found

    def withdraw(self, predictions: Sequence[str]) -> None:
        self._call("withdraw")

        def delete(id: str) -> str:
            self.predictions = [prediction for prediction in self.predictions if prediction.id != id]
            return id

        self._whole(self._each("withdraw", {id: id for id in predictions}, delete))

    def name_version(self, version: str) -> None:
        self._call("name_version")
        self.version = version

    def versions(self) -> dict[str, int]:
        self._call("versions")
        names = [prediction.version for prediction in self.predictions]
        return {name: names.count(name) for name in dict.fromkeys(names)}

    def drop_version(self, version: str, keep: str) -> None:
        self._call("drop_version")
        self.predictions = [prediction for prediction in self.predictions if prediction.version != version]
        self.version = keep

    def create(self, items: Sequence[NewTask], version: str) -> Outcomes:
        self._call("create")

        def make(wanted: NewTask) -> str:
            task = self.add(wanted.media, marker=wanted.marker)
            self.data[task.id] |= dict(wanted.data)
            self.predictions.append(Stored(str(next(self.numbers)), task.id, version, wanted.labels, wanted.trust))
            return task.id

        return self._each("create", {row.marker: row for row in items}, make)

    def created(self, markers: Sequence[str]) -> dict[str, str]:
        self._call("created")
        return {task.marker: id for id, task in self.tasks_by_id.items() if task.marker in set(markers)}

    def copy_task(self, task_id: str, fields: Mapping[str, object]) -> str:
        self._call("copy_task")
        if task_id not in self.tasks_by_id:
            raise ToolGone(f"task {task_id} does not exist")
        source = self.tasks_by_id[task_id]

        def make(id: str) -> str:
            task = self.add(source.media, group=source.group, fields=source.fields)
            own = {key: value for key, value in self.data[id].items() if not key.startswith("triage_")}
            self.data[task.id] = own | dict(fields)
            return task.id

        outcomes = self._each("copy_task", {task_id: task_id}, make)
        self._whole(outcomes)
        return outcomes.done[task_id]

    def delete_tasks(self, ids: Sequence[str]) -> None:
        self._call("delete_tasks")
        for id in ids:
            if id in self.tasks_by_id:
                self.delete_task(id)

    def write_fields(self, task_id: str, fields: Mapping[str, object]) -> None:
        self._call("write_fields")
        if task_id not in self.tasks_by_id:
            raise ToolGone(f"task {task_id} does not exist")

        def merge(id: str) -> str:
            merged = self.data[id] | dict(fields)
            self.data[id] = {key: value for key, value in merged.items() if value is not None}
            self._touch(id)
            return id

        self._whole(self._each("write_fields", {task_id: task_id}, merge))

    def ask_again(self, task_id: str, answers: int) -> None:
        self._call("ask_again")
        self.tasks_by_id[task_id] = replace(self.tasks_by_id[task_id], wanted=answers)
        self._set_reviews(task_id, self.tasks_by_id[task_id].reviews or ())

    def choices(self) -> Choices:
        self._call("choices")
        return Choices((*self.classes, *self._added(), "something else"), self.several)

    def with_choice(self, label: str) -> ConfigChange:
        self._call("with_choice")
        if label in self.choices().labels:
            raise DataError(f"{label!r} is offered already")
        return ConfigChange(self._written(self._added()), self._written([*self._added(), label]))

    def without_choice(self, label: str) -> ConfigChange:
        self._call("without_choice")
        return ConfigChange(self._written(self._added()), self._written([one for one in self._added() if one != label]))

    def change_config(self, change: ConfigChange) -> None:
        self._call("change_config")
        if self._written(self._added()) != change.before:
            raise StateError("somebody has changed the labeling config meanwhile")
        self.config = change.after

    def answer(self, task_id: str, labels: Sequence[str], account: str, seconds: float) -> str:
        self._call("answer")
        if task_id not in self.tasks_by_id:
            raise ToolGone(f"task {task_id} does not exist")
        return self.annotate(task_id, *labels, by=account).id

    def accept(self, ids: Sequence[str], version: str) -> Outcomes:
        self._call("accept")

        def annotate(id: str) -> str:
            return self._accepted(id) or self.annotate(id, *self.shown(id, version)[0].labels or (), by="annotriage", machine=True).id

        fit = {id: id for id in ids if self._accepted(id) or self._is_acceptable(id, version)}
        outcomes = self._each("accept", fit, annotate)
        return replace(outcomes, refused={id: "answered, or without a prediction" for id in ids if id not in fit})

    def retract(self, reviews: Sequence[str]) -> None:
        self._call("retract")

        def delete(id: str) -> str:
            for task_id, task in list(self.tasks_by_id.items()):
                if any(review.id == id for review in task.reviews or ()):
                    self.delete_annotation(task_id, id)
            return id

        self._whole(self._each("retract", {id: id for id in reviews}, delete))

    def connect(self, service_url: str | None, user: str, password: str, secret: str, page: str, *, dry_run: bool) -> list[str]:
        self._call("connect")
        if not dry_run:
            self.description = page
            self.set_up = [] if service_url is None else ["webhook"]
            self.order = "by trust"
            self._call("tabs")
            self.set_up.append("tabs")
        return [f"{'would send' if dry_run else 'sends'} webhooks to {service_url}/webhook"]

    def disconnect(self, service_url: str, versions: Sequence[str], fields: Sequence[str], before: Before | None) -> list[str]:
        self._call("disconnect")
        if before is None and not self.set_up:
            return []
        self.set_up = []
        self.description = ""
        self.order = before.order if before is not None and self.order == "by trust" else self.order
        self.predictions = [prediction for prediction in self.predictions if prediction.version not in versions]
        self.data = {id: {key: value for key, value in data.items() if key not in fields} for id, data in self.data.items()}
        return ["sends no webhooks any more"]

    def assign(self, title: str, tasks: Sequence[str], shows: TabShows = TabShows.REASONS) -> str:
        self._call("assign")
        self.assigned.pop(title, None)
        if tasks:
            self.assigned[title] = list(tasks)
        return self.address()

    def repair(self) -> list[str]:
        self._call("repair")
        return []

    def checks(self, service_url: str | None, secret: str) -> list[Check]:
        return [Check("project", True, self.title)]

    # -- inside

    def _added(self) -> list[str]:
        """The choices that the labeling config holds besides the model's classes."""
        return re.findall(r'<Choice value="([^"]*)"/>', self.config)

    def _written(self, added: Sequence[str]) -> str:
        """The labeling config with these choices."""
        return "\n".join(["<View>", *(f'  <Choice value="{label}"/>' for label in added), "</View>"]) if added else "<View/>"

    def _call(self, name: str) -> None:
        self.calls.append(name)
        self.faults(name)
        if not self.exists:
            raise ToolGone(f"project {self.id} does not exist")

    def _each(self, call: str, parts: Mapping[str, Part], act: Callable[[Part], str]) -> Outcomes:
        """Do a bulk write, up to where it shall fail."""
        done: dict[str, str] = {}
        for key, part in parts.items():
            failure = self.failure
            if failure is not None and failure.call == call and failure.after == len(done):
                self.failure = None
                lost = isinstance(failure.error, OutcomeUnknown)
                if lost:
                    act(part)
                if not failure.told or not (done or lost):
                    raise failure.error
                return Outcomes(done, unknown=frozenset([key] if lost else []), error=failure.error)
            done[key] = act(part)
        if self.lose_answers and call in ("deliver", "create", "accept"):
            self.lose_answers -= 1
            raise OutcomeUnknown(f"{call}: the connection broke off")
        return Outcomes(done)

    def _whole(self, outcomes: Outcomes) -> None:
        """For calls that do not say what became of each part."""
        if outcomes.error is not None:
            raise outcomes.error

    def _accepted(self, task_id: str) -> str:
        """The annotation that was made of the task's prediction, if it is all that the task has."""
        reviews = self.tasks_by_id[task_id].reviews or () if task_id in self.tasks_by_id else ()
        return reviews[0].id if len(reviews) == 1 and reviews[0].machine else ""

    def _is_acceptable(self, task_id: str, version: str) -> bool:
        task, shown = self.tasks_by_id.get(task_id), self.shown(task_id, version)
        return task is not None and not task.reviews and task.wanted == 1 and len(shown) == 1 and shown[0].labels is not None

    def _touch(self, task_id: str) -> None:
        self.changed[task_id] = self.clock()
        self.tasks_by_id[task_id] = replace(self.tasks_by_id[task_id], changed_at=self.changed[task_id])

    def _with_reviews(self, task_id: str) -> Task:
        task = self.tasks_by_id[task_id]
        return replace(task, reviews=task.reviews or ())

    def _set_reviews(self, task_id: str, reviews: tuple[Review, ...]) -> None:
        task = self.tasks_by_id[task_id]
        counted = sum(not review.skipped for review in reviews)
        self.tasks_by_id[task_id] = replace(task, reviews=reviews, labelled=counted >= task.wanted)
        self._touch(task_id)


@dataclass
class MemoryServer:
    """`ToolServer` in memory: hands out its projects, by id. people: those with an account."""

    projects: dict[str, MemoryProject] = field(default_factory=dict)
    people: list[Account] = field(default_factory=list)
    url: str = "http://127.0.0.1:1"

    clock: Callable[[], float] = time.time

    def now(self) -> float:
        return float(int(self.clock()))

    def media_headers(self, target: str) -> dict[str, str]:
        return {}

    def checks(self) -> list[Check]:
        return [Check("server", True, self.url)]

    def accounts(self) -> list[Account]:
        return self.people

    def project(self, id: str, classes: Sequence[str]) -> MemoryProject:
        found = self.projects.setdefault(id, MemoryProject(id))
        found.classes = tuple(classes)
        return found

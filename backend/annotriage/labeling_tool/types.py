"""What passes between annotriage and a labeling tool: tasks, answers, predictions, events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from annotriage.errors import ToolError
from annotriage.states import Time
from annotriage.text import storable

AUDIT_VERSION = "annotriage label audit"  # of predictions that say what a label that people gave probably should be; never shown by itself


INHERITED_VERSION = "annotriage near duplicates"  # of answers that near duplicates inherited
LOOK_ALIKES_VERSION = "annotriage look-alikes"  # begins the version of labels that a group of look-alikes got at once


class TabShows(StrEnum):
    """What a tab for people shows beside their tasks."""

    REASONS = "reasons"  # why each waits
    NOTHING = "nothing"  # they are answered blind
    ANSWERS = "answers"  # what was answered, and what was predicted


@dataclass(frozen=True, slots=True)
class Task:
    """A task of the tool, as far as triage needs it.

    media: what the task holds in the media field, as it stands there: an address, a path, a data: URI, "" for nothing.
    fields: the short texts and numbers in its data, as text, for datasets by field. labelled: the tool holds it for answered.
    wanted: how many answers it asks for. reviews: None where they were not read. marker: the id of the pushed item that this
    task was created for, "" otherwise. problem: why its media can never be had, as it stands. created_at: seconds since 1970.
    changed_at: when the task or its reviews last changed by the tool's own clock, 0 where that is not known: of two readings it tells
    the later.
    Text is made storable (`annotriage.text`), whoever makes the task.
    """

    id: str
    media: str
    group: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    labelled: bool = False
    wanted: int = 1
    reviews: tuple[Review, ...] | None = None
    marker: str = ""
    problem: str | None = None
    created_at: float = 0.0
    changed_at: float = 0.0

    def __post_init__(self) -> None:
        """Clean what was given as text."""
        for key in ("id", "media", "group", "marker", "problem"):
            if (value := getattr(self, key)) is not None:
                object.__setattr__(self, key, storable(value))
        object.__setattr__(self, "fields", {storable(key): storable(value) for key, value in self.fields.items()})


@dataclass(frozen=True, slots=True)
class Review:
    """What one person answered on one task.

    labels: names as the model has them where a class is meant, else as the tool has them; None if the answer is empty or was
    skipped, () if none of several classes applies. updated_at: seconds since 1970. machine: made by `ToolProject.accept`, not by
    a person.
    """

    id: str
    annotator: str
    labels: tuple[str, ...] | None
    skipped: bool = False
    empty: bool = False
    ground_truth: bool = False
    machine: bool = False
    updated_at: Time = 0.0

    def __post_init__(self) -> None:
        """Clean what was given as text, as of Task."""
        for key in ("id", "annotator"):
            object.__setattr__(self, key, storable(getattr(self, key)))
        if self.labels is not None:
            object.__setattr__(self, "labels", tuple(map(storable, self.labels)))


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody's account in the tool. name: as people call it; signs_in_as: the names and addresses by which it is known."""

    id: str
    name: str
    signs_in_as: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Choices:
    """What an answer may say: labels, named as reviews name them, in their order. several: whether it may say more than one."""

    labels: tuple[str, ...]
    several: bool


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """What the labeling config is, and what it would become."""

    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Changes:
    """Tasks that changed, with their reviews. until: the tool's own time of the latest change that was looked at."""

    tasks: Sequence[Task]
    until: float


@dataclass(frozen=True, slots=True)
class Shown:
    """A prediction as annotators shall see it. labels: None hides the model's answer. trust: sorts the tasks, in [0, 1]."""

    task: str
    labels: tuple[str, ...] | None
    trust: float


@dataclass(frozen=True, slots=True)
class NewTask:
    """An item that another system pushed, as a task to be created. data: the other fields of the task's data."""

    marker: str
    media: str
    data: Mapping[str, object]
    labels: tuple[str, ...] | None
    trust: float


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of each part of a bulk write: of predictions and annotations by task, of new tasks by marker.

    done: the id of what was made, "" where the tool does not tell it. refused: why the tool does not take it. gone: tasks that do not
    exist. unknown: it may have been done, which only a later reading tells. What is in none of them was not tried, and nothing came
    of it. error: what ended the call early; None if it went through.
    """

    done: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    gone: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()
    error: ToolError | None = None


@dataclass(frozen=True, slots=True)
class ProjectFacts:
    """What the tool says of a project. version: of the predictions that it shows. order: in which people get tasks, as the tool calls
    it. wanted: answers per task.

    config: the labeling config, to see that it changed. problem: why the model's answers do not fit it (with the fix), None if they do.
    """

    title: str
    version: str
    order: str
    wanted: int
    config: str
    problem: str | None


@dataclass(frozen=True, slots=True)
class Before:
    """What connecting changes in a project, as it was before: `version` and `order` of its facts."""

    version: str = ""
    order: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """What a webhook told. Only `created` is taken at its word; of everything else the tasks named are read again.

    kind: "created" | "changed" | "deleted" | "project" | "train" | "other". records: the tool's own tasks, for
    `ToolProject.tasks_of`. task_ids: those that an event of another kind concerns.
    """

    kind: str
    project: str
    records: tuple[Mapping[str, object], ...] = ()
    task_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """One line of `annotriage doctor`. ok: None where it could not be looked at. fix: the line to change, "" if all is well."""

    name: str
    ok: bool | None
    found: str
    fix: str = ""

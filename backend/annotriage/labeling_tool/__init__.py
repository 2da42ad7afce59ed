"""The seam to labeling tools: what a plugin offers, and how it is found.

A plugin registers under the entry-point group `annotriage.labeling_tools`; nothing in this package imports one by name.
The registered object, a module will do, has the functions of `LabelingTool`: files in and out, and `connect_server` for a
running server, whose projects the service works with through `ToolProject`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from annotriage.errors import SettingError
from annotriage.progress import Progress, silent

if TYPE_CHECKING:  # data imports this module to find readers
    from flask import Blueprint

    from annotriage.data import Dataset, Item
    from annotriage.engine.verdict import Verdict
    from annotriage.settings import ServiceSettings

GROUP = "annotriage.labeling_tools"
DEFAULT = "label-studio"
SECRET_HEADER = "X-Annotriage-Secret"  # of a webhook's request: `ToolProject.connect` has the tool send the secret in it


class PredictionWriter(Protocol):
    """An open file of predictions; complete, and under its own name, only when its `with` block has ended well."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for people about what was written, once the block has ended: what the tool cannot show, and the fix."""

    def write(self, verdict: Verdict, item: Item) -> None:
        """Append one item's prediction. Raises OutputError if it cannot be written."""


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
    updated_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Task:
    """A task of the tool, as far as triage needs it.

    media: what the task holds in the media field, as it stands there: an address, a path, a data: URI, "" for nothing.
    fields: the short texts and numbers in its data, as text, for datasets by field. labelled: the tool holds it for answered.
    wanted: how many answers it asks for. reviews: None where they were not read. marker: the id of the pushed item that this
    task was created for, "" otherwise. problem: why its media can never be had, as it stands. created_at: seconds since 1970.
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
class ProjectFacts:
    """What the tool says of a project. version: of the predictions that it shows. wanted: answers per task.

    config: the labeling config, to see that it changed. problem: why the model's answers do not fit it (with the fix), None if they do.
    """

    title: str
    version: str
    wanted: int
    config: str
    problem: str | None


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


class ToolProject(Protocol):
    """One project of a running labeling tool. Threadsafe. Every call raises ToolError or one of its kinds."""

    id: str

    def facts(self) -> ProjectFacts:
        """What the tool says of the project now; an unfitting labeling config is a `problem`, not an error."""

    def address(self, task_id: str = "") -> str:
        """Where people see the project, or one task of it."""

    # -- reading

    def tasks_after(self, task_id: str, limit: int | None = None) -> Iterator[list[Task]]:
        """Tasks with larger ids ("" for all), in their order, page by page, without reviews."""

    def task_ids_after(self, task_id: str) -> Iterator[list[str]]:
        """The ids of tasks with larger ids, in their order, page by page. Cheap, however many there are."""

    def tasks(self, ids: Sequence[str]) -> list[Task]:
        """Those of the tasks that exist, with their reviews."""

    def changed_since(self, time: float) -> Iterator[Changes]:
        """Tasks that changed, or whose reviews changed, since then (seconds since 1970 by the tool's own clock), page by page.

        A change may be left out that the last reading gave already. New tasks to which nothing happened are none.
        """

    def tasks_of(self, event: Event) -> list[Task]:
        """The tasks in a "created" event, without asking the tool."""

    def media_address(self, media: str, task_id: str) -> str:
        """The http(s) address of a task's media, for the guarded fetcher. Raises MediaError if it has none."""

    # -- predictions

    def deliver(self, predictions: Sequence[Shown], version: str) -> int:
        """Store predictions in one call; how many were taken. Raises OutcomeUnknown if no answer says what came of it."""

    def delivered(self, ids: Sequence[str], version: str) -> dict[str, list[str]]:
        """The predictions of that version on each of these tasks, oldest first; tasks without one are left out."""

    def withdraw(self, predictions: Sequence[str]) -> None:
        """Delete predictions by their ids; those that are gone already are no error."""

    def name_version(self, version: str) -> None:
        """Let the tool show and sort by that version, of which predictions exist."""

    def versions(self) -> dict[str, int]:
        """The versions of predictions that exist, with their numbers."""

    def drop_version(self, version: str, keep: str) -> None:
        """Delete all predictions of a version; the version that is shown stays `keep`."""

    # -- tasks

    def create(self, items: Sequence[NewTask], version: str) -> dict[str, str]:
        """Create tasks with their predictions in one call: marker -> task id. Raises as `deliver`."""

    def created(self, markers: Sequence[str]) -> dict[str, str]:
        """Which of the markers have a task already: marker -> task id."""

    def write_fields(self, task_id: str, fields: Mapping[str, object]) -> None:
        """Merge fields into a task's data; whatever else stands there stays. A value of None takes a field away."""

    def ask_again(self, task_id: str, answers: int) -> None:
        """Let a task be answered by so many different people in all."""

    # -- annotations

    def accept(self, ids: Sequence[str], version: str) -> dict[str, str]:
        """Make annotations of the tasks' predictions: task id -> review id. Of tasks that are unanswered at this moment alone."""

    def retract(self, reviews: Sequence[str]) -> None:
        """Delete annotations by their ids; those that are gone already are no error."""

    # -- setting up

    def connect(self, service_url: str, user: str, password: str, secret: str, *, dry_run: bool) -> list[str]:
        """Set up everything that the service needs in the project, or repair it: what was (dry_run: would be) done, in sentences."""

    def disconnect(self, service_url: str, versions: Sequence[str], fields: Sequence[str]) -> list[str]:
        """Take back what `connect` set up, and the predictions of these versions: what was done, in sentences."""

    def repair(self, *, calibrating: bool) -> list[str]:
        """Make again what people deleted of tabs and order. calibrating: whether the tab for calibration is wanted now."""

    def checks(self, service_url: str, secret: str) -> list[Check]:
        """What is wrong with the project's set-up, and the fix."""


class ToolServer(Protocol):
    """A running labeling tool, with the account that annotriage works as."""

    url: str

    def now(self) -> float:
        """The time by the tool's own clock, to the second (seconds since 1970). Raises ToolError."""

    def headers(self) -> dict[str, str]:
        """Credentials for fetching media from the tool's own address, for this moment."""

    def checks(self) -> list[Check]:
        """Whether the server is there and the token is of the right kind, each with the fix."""

    def project(self, id: str, classes: Sequence[str]) -> ToolProject:
        """One of its projects; `classes` are the model's. Nothing is asked of the server yet."""


class DemoServer(Protocol):
    """A real server of the tool on this machine, for the demo, with an account that may do everything."""

    url: str
    token: str
    email: str
    password: str

    def new_project(self, title: str, classes: Sequence[str]) -> str:
        """A project that asks which of the classes a picture in the field `image` shows, or none of them: its id."""

    def import_tasks(self, project: str, tasks: Sequence[Mapping[str, object]]) -> None:
        """Import tasks by their data, as one batch."""

    def shown(self, project: str) -> list[Mapping[str, object]]:
        """What annotators find: one mapping per task with `trust`, `empty` (its prediction holds no answer), `predictions` and `data`."""

    def tabs(self, project: str) -> dict[str, list[Mapping[str, object]]]:
        """The tasks of each tab, as `shown`, in its order."""


class Predictor(Protocol):
    """What the tool's own backend routes ask of the service."""

    def version_of(self, project: str) -> str | None:
        """The version that the project shows; None if it is not connected."""

    def predictions(self, project: str, records: Sequence[Mapping[str, object]]) -> tuple[str, list[Shown]] | None:
        """The version and a prediction for each of the tool's tasks, in order; None: not now, they will be delivered.

        Raises UnknownError if the project is not connected.
        """

    def take_event(self, body: bytes) -> None:
        """Keep a webhook's body; everything else happens later."""

    def train(self, project: str) -> None:
        """Queue a recalibration."""


class LabelingTool(Protocol):
    """What annotriage asks of a labeling tool."""

    def read(
        self, source: str, labeling_config: Path | None = None, classes: Sequence[str] = (), server: ServiceSettings | None = None
    ) -> Dataset | None:
        """The dataset at `source`, a path or an address of this tool's; None if it is not this tool's kind.

        labeling_config: the tool's description of fields and labels, where the source alone does not say which to take.
        classes: the model's; where a label has several names in the labeling config, the one that is a class is given.
        server: where the tool's server is, for a source that lies there; by default what the environment says.
        Raises DataError if it is this tool's kind and cannot be read.
        """

    def prediction_writer(
        self,
        path: Path,
        *,
        classes: Sequence[str],
        model_version: str,
        labeling_config: Path | None = None,
        item_fields: bool = True,
    ) -> AbstractContextManager[PredictionWriter]:
        """Opens `path` for predictions that the tool imports as they are.

        classes: all classes of the model, matched to the tool's labels before anything is written. item_fields: also
        write route, reason and outlier score beside each item's own data. Raises DataError if the classes do not match.
        """

    def connect_server(self, settings: ServiceSettings) -> ToolServer:
        """The running server that the settings name. Raises SettingError if they name none; nothing is asked of it yet."""

    def demo_server(self, folder: Path, *, port: int | None = None, progress: Progress = silent) -> DemoServer:
        """A real server in `folder`, which outlives this process: the one that runs there already, else a new one.

        Raises SettingError if the tool is not installed, ToolError if it does not come up.
        """

    def stop_demo(self, folder: Path) -> bool:
        """End the server in `folder`, whose data stay; False if none runs."""

    def read_event(self, body: bytes) -> Event:
        """What a webhook's body tells. Raises DataError if it is malformed."""

    def blueprint(self, predictor: Predictor, authenticated: Callable[[], bool], is_webhook: Callable[[], bool]) -> Blueprint:
        """The routes that the tool itself calls. authenticated: whether the request at hand carries the service's credentials;
        is_webhook: whether it carries the webhook's secret."""


def labeling_tool(name: str = DEFAULT) -> LabelingTool:
    """The labeling tool of that name, loaded now. Raises SettingError naming those that are installed."""
    found = entry_points(group=GROUP)
    if name not in found.names:
        raise SettingError(
            f"labeling tool {name!r} is not installed; installed: {', '.join(sorted(found.names)) or 'none'}."
            " Install the distribution that brings it (annotriage itself brings label-studio)"
        )
    return cast(LabelingTool, found[name].load())


def labeling_tools() -> dict[str, LabelingTool]:
    """All installed labeling tools by name, loaded now."""
    return {name: labeling_tool(name) for name in sorted(entry_points(group=GROUP).names)}

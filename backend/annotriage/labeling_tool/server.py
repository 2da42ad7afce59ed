"""A running labeling tool: its projects, the routes that it calls, and a server of its own for the demo."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from annotriage.labeling_tool.types import (
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
    Shown,
    TabShows,
    Task,
)
from annotriage.progress import Progress, silent

if TYPE_CHECKING:
    from flask import Blueprint

    from annotriage.settings import ServiceSettings

SECRET_HEADER = "X-Annotriage-Secret"  # of a webhook's request: `ToolProject.connect` has the tool send the secret in it


class LabelingServers(Protocol):
    """What a labeling tool's plugin does with a running server. title: the tool's name, as people know it."""

    title: str

    def connect_server(self, settings: ServiceSettings) -> ToolServer:
        """The running server that the settings name; nothing is asked of it yet. Raises SettingError if they name none.

        Without a token whatever asks the server raises SettingError, and `checks` say so.
        """

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


class ToolServer(Protocol):
    """A running labeling tool, with the account that annotriage works as."""

    url: str

    def now(self) -> float:
        """The time by the tool's own clock, to the second (seconds since 1970). Raises ToolError."""

    def media_headers(self, target: str) -> dict[str, str]:
        """Credentials for fetching a medium from the tool's own address, for this moment.

        target: path and query. Whoever makes tasks chooses these: where the tool keeps no media, there are no credentials.
        """

    def checks(self) -> list[Check]:
        """Whether the server is there and the token is of the right kind, each with the fix."""

    def accounts(self) -> Sequence[Account]:
        """Whoever may answer tasks, as known for a while."""

    def project(self, id: str, classes: Sequence[str]) -> ToolProject:
        """One of its projects; `classes` are the model's. Nothing is asked of the server yet."""


class ToolProject(Protocol):
    """One project of a running labeling tool. Threadsafe. Every call raises ToolError or one of its kinds.

    A bulk write (`deliver`, `create`, `accept`) raises OutcomeUnknown if all of it may have been done, and any other error only if
    nothing was. Whatever lies between is in its Outcomes: a reading that fails after a write never decides about the write.
    """

    id: str

    def facts(self) -> ProjectFacts:
        """What the tool says of the project now; an unfitting labeling config is a `problem`, not an error."""

    def address(self, task_id: str = "") -> str:
        """Where people see the project, or one task of it."""

    # -- reading

    def tasks_after(self, task_id: str, limit: int | None = None) -> Iterator[list[Task]]:
        """Tasks with larger ids ("" for all), in their order, page by page, without reviews."""

    def task_ids_after(self, task_id: str) -> Iterator[list[str]]:
        """The ids of tasks with larger ids, in their order, page by page. Far cheaper than the tasks."""

    def newest_if_known(self, task_id: str, known: Collection[str]) -> str | None:
        """The largest id, if the tool counts as many tasks with larger ids as are known; "" if there is none, None if others are there.

        Cheap, however many there are. A task that was deleted and a new one cancel each other out where nobody told of either.
        """

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

    def deliver(self, predictions: Sequence[Shown], version: str) -> Outcomes:
        """Store predictions, all in one call where the tool can."""

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

    def create(self, items: Sequence[NewTask], version: str) -> Outcomes:
        """Create tasks with their predictions in one call; `done` gives the task id of each marker."""

    def created(self, markers: Sequence[str]) -> dict[str, str]:
        """Which of the markers have a task already: marker -> task id."""

    def copy_task(self, task_id: str, fields: Mapping[str, object]) -> str:
        """A new task with the data of another one, our own fields left out and these put in: its id. No answer goes with it.

        Raises ToolGone if that task is gone, OutcomeUnknown if it may have been made all the same.
        """

    def delete_tasks(self, ids: Sequence[str]) -> None:
        """Delete tasks with all that hangs on them; those that are gone already are no error."""

    def write_fields(self, task_id: str, fields: Mapping[str, object]) -> None:
        """Merge fields into a task's data; whatever else stands there stays. A value of None takes a field away."""

    def ask_again(self, task_id: str, answers: int) -> None:
        """Let a task be answered by so many different people in all."""

    # -- annotations

    def choices(self) -> Choices:
        """What an answer may say, as known for a while."""

    def with_choice(self, label: str) -> ConfigChange:
        """What one more label to choose would change; nothing is changed. Raises DataError, saying what to do, where it cannot be added."""

    def without_choice(self, label: str) -> ConfigChange:
        """What taking it back would change. Raises DataError where it is not as it was added, StateError if people answered with it."""

    def change_config(self, change: ConfigChange) -> None:
        """Make such a change. Raises StateError if the labeling config is another one by now."""

    def answer(self, task_id: str, labels: Sequence[str], account: str, seconds: float) -> str:
        """Answer a task in the name of an account: the review's id. seconds: that its person took.

        labels: some of `choices`, at least one. Raises ToolGone if the task is gone.
        """

    def accept(self, ids: Sequence[str], version: str) -> Outcomes:
        """Make annotations of the tasks' predictions; `done` gives the review id of each task.

        Tasks that are answered at this moment are refused; those that were accepted before count as done.
        """

    def retract(self, reviews: Sequence[str]) -> None:
        """Delete annotations by their ids; those that are gone already are no error."""

    # -- setting up

    def connect(self, service_url: str | None, user: str, password: str, secret: str, page: str, *, dry_run: bool) -> list[str]:
        """Set up everything that the service needs in the project, or repair it: what was (dry_run: would be) done, in sentences.

        service_url: where the tool is to call the service; None lets it make no calls at all. page: of the project in the dashboard, to
        which the project's description links; "" takes such a link away.
        """

    def disconnect(self, service_url: str, versions: Sequence[str], fields: Sequence[str], before: Before | None) -> list[str]:
        """Take back what `connect` set up, whole or in part, and the predictions of these versions: what was done, in sentences.

        before: what the project was like; None if nobody knows that it was ever connected: then only what is surely ours is taken back.
        """

    def assign(self, title: str, tasks: Sequence[str], shows: TabShows = TabShows.REASONS) -> str:
        """Make a tab for people in place of one of the same title: its address. Without tasks there is none of that title any more.

        With ANSWERS it holds the tasks for good, else as long as they are not answered.
        """

    def repair(self) -> list[str]:
        """Make again what people deleted of tabs and order."""

    def checks(self, service_url: str | None, secret: str) -> list[Check]:
        """What is wrong with the project's set-up, and the fix. service_url: as of `connect`."""


class Predictor(Protocol):
    """What the tool's own backend routes ask of the service."""

    @property
    def control(self) -> Sequence[str]:
        """Names of the controls that models answer, as the setting has them."""

    def classes_of(self, project: str, version: str) -> tuple[str, ...]:
        """The classes of the model behind a version that the project shows. Raises UnknownError if the project is not connected."""

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

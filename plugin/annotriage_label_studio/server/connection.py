"""A running Label Studio and its projects, as the service works with them: reading, predictions, tasks, annotations."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from annotriage.errors import DataError, OutcomeUnknown, StateError, ToolError, ToolGone
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
    Shown,
    TabShows,
    Task,
)
from annotriage.settings import ServiceSettings
from annotriage.text import name_of, storable
from annotriage_label_studio.editor.choices import with_choice, without_choice
from annotriage_label_studio.editor.labeling_config import ChoicesControl, answer_names, choices_control, match_classes
from annotriage_label_studio.editor.predictions import choices_result, results_of
from annotriage_label_studio.editor.tasks import MARKER, seconds, task_of
from annotriage_label_studio.server import delivery, listing
from annotriage_label_studio.server.client import Client
from annotriage_label_studio.server.media_addresses import is_kept_here, media_address
from annotriage_label_studio.server.review_queue import assign

if TYPE_CHECKING:
    from label_studio_sdk.types import LseProjectResponse

ACCOUNTS_SECONDS = 60.0  # how long the list of accounts is believed
CONFIG_SECONDS = 60.0  # how long a project's labeling config is believed; `facts` reads it at once
GIVEN_SECONDS = 120.0  # for which it is known which changes were given: longer than readings overlap


def open_server(settings: ServiceSettings) -> LabelStudioServer:
    """The Label Studio that the settings name; nothing is asked of it yet. Raises SettingError if its address is no such thing.

    Without a token whatever asks it raises SettingError.
    """
    return LabelStudioServer(Client(settings.label_studio_url, settings.label_studio_token), settings.control)


class LabelStudioServer:
    """The Label Studio that the settings name, and the account that they give; threadsafe."""

    def __init__(self, client: Client, control: Sequence[str] = ()) -> None:
        self.url = client.url
        self._client = client
        self._control = tuple(control)
        self._accounts: tuple[float, list[Account]] = (-ACCOUNTS_SECONDS, [])

    def media_headers(self, target: str) -> dict[str, str]:
        """Credentials for this moment, for media that the server itself keeps or signs; none for its API and its pages."""
        return self._client.headers() if is_kept_here(self.url, target) else {}

    def now(self) -> float:
        """The server's own time."""
        return self._client.now()

    def checks(self) -> list[Check]:
        """Whether the server is there and takes the token."""
        from annotriage_label_studio.server.checks import server_checks

        return server_checks(self._client)

    def accounts(self) -> list[Account]:
        """The members of the organization."""
        read_at, accounts = self._accounts
        if time.monotonic() > read_at + ACCOUNTS_SECONDS:
            accounts = [_account(user) for user in self._client.get("/api/users/")]
            self._accounts = time.monotonic(), accounts
        return accounts

    def project(self, id: str, classes: Sequence[str]) -> LabelStudioProject:
        """One of its projects."""
        return LabelStudioProject(self._client, id, classes, self._control)


@dataclass(frozen=True)
class _Config:
    """A project's labeling config as read at a time. problem: why the model's classes do not fit it."""

    read_at: float
    control: ChoicesControl | None
    choices: dict[str, str]
    names: Mapping[str, str]
    problem: str | None


class LabelStudioProject:
    """One project of a Label Studio, for a model with these classes; see `annotriage.labeling_tool.ToolProject`.

    control: names of the controls that models answer, as the setting has them.
    """

    def __init__(self, client: Client, id: str, classes: Sequence[str], control: Sequence[str] = ()) -> None:
        if not (id.isascii() and id.isdigit()):
            raise ToolGone(f"no project of Label Studio is called {id!r}; give its number, as in its address /projects/3/data")
        self.id = id
        self._client = client
        self._classes = tuple(classes)
        self._names = tuple(control)
        self._known: _Config | None = None
        self._storages: tuple[float, frozenset[str]] = (0.0, frozenset())
        self._lock = threading.Lock()
        self._given: dict[str, str] = {}  # the changes that the last reading gave: task and time

    def facts(self) -> ProjectFacts:
        """Title, version shown, answers per task, labeling config, and whether the classes fit it."""
        project = self._read_project()
        known = self._config()
        return ProjectFacts(
            title=project.title or "",
            version=project.model_version or "",
            order=project.sampling or "",
            wanted=project.maximum_annotations or 1,
            config=project.label_config or "",
            problem=known.problem,
        )

    def address(self, task_id: str = "") -> str:
        """The project's page, or that of a task."""
        return f"{self._client.url}/projects/{self.id}/data" + (f"?task={quote(task_id)}" if task_id else "")

    # -- reading

    def tasks_after(self, task_id: str, limit: int | None = None) -> Iterator[list[Task]]:
        """Tasks with larger ids, without reviews."""
        for page in listing.tasks_after(self._client, self.id, task_id, limit):
            yield self._tasks(page, reviews=False)

    def task_ids_after(self, task_id: str) -> Iterator[list[str]]:
        """The ids of tasks with larger ids."""
        return listing.task_ids_after(self._client, self.id, task_id)

    def newest_if_known(self, task_id: str, known: Collection[str]) -> str | None:
        """The largest id, if as many tasks have larger ids than this one as are known, the largest among them; "" if none has."""
        later = {int(id) for id in known if int(id) > int(task_id or 0)}
        count, newest = listing.newest_after(self._client, self.id, task_id)
        if not count:
            return ""
        return str(newest) if count == len(later) and newest in later else None

    def tasks(self, ids: Sequence[str]) -> list[Task]:
        """Those of the tasks that exist, with their reviews."""
        return self._tasks(listing.tasks_by_id(self._client, self.id, ids, listing.REVIEWED, unlisted=True), reviews=True)

    def changed_since(self, time: float) -> Iterator[Changes]:
        """Tasks that changed, or whose annotations did, with their reviews; in the order of their ids.

        Readings overlap: a change that one of the last minutes gave, and that its reader was done with, is not read again. Who asks for
        all, since 0, gets all.
        """
        given, self._given = self._given if time else {}, {}
        newest = 0.0
        for page, until in listing.tasks_changed_since(self._client, self.id, time):
            fresh = [id for id, at in page if given.get(id) != at]
            yield Changes([], until)  # also where nothing on it is fresh
            for records in listing.pages_by_id(self._client, self.id, fresh, listing.REVIEWED):
                yield Changes(self._tasks(records, reviews=True), until)
            self._given |= dict(page)
            newest = max(newest, until)
        lately = {id: at for id, at in given.items() if seconds(at) > newest - GIVEN_SECONDS}
        self._given = lately | self._given

    def annotated(self) -> Iterator[list[Task]]:
        """Tasks with at least one annotation that was not skipped, with their reviews; in the order of their ids."""
        for page in listing.tasks_with_annotations(self._client, self.id):
            yield self._tasks(page, reviews=True)

    def tasks_of(self, event: Event) -> list[Task]:
        """The tasks in a "created" event. Their annotations, if they came with some, are not in it."""
        return self._tasks(event.records, reviews=False)

    def media_address(self, media: str, task_id: str) -> str:
        """The address to fetch a task's media from. Raises MediaError saying what is wrong with it."""
        return media_address(self._client.url, self.id, media, task_id, self._storage_types)

    # -- predictions

    def deliver(self, predictions: Sequence[Shown], version: str) -> Outcomes:
        """Store predictions, in bulk unless they are few."""
        results = self._results(predictions, version)
        rows = [{"task": int(prediction.task), **result} for prediction, result in zip(predictions, results, strict=True)]
        return delivery.import_predictions(self._client, self.id, rows)

    def delivered(self, ids: Sequence[str], version: str) -> dict[str, list[str]]:
        """The predictions of the version on each of the tasks, oldest first."""
        return delivery.predictions_of(self._client, self.id, ids, version)

    def withdraw(self, predictions: Sequence[str]) -> None:
        """Delete predictions."""
        delivery.remove(self._client.sdk.predictions.delete, predictions)

    def name_version(self, version: str) -> None:
        """Let scores, tabs and the order of labeling go by that version. Raises ToolError before a prediction of it exists."""
        self._client.sdk.projects.update(int(self.id), model_version=version)

    def versions(self) -> dict[str, int]:
        """The versions of predictions that exist, with their numbers."""
        return delivery.versions(self._client, self.id)

    def drop_version(self, version: str, keep: str) -> None:
        """Delete all predictions of a version (2 s per 1,000); the version that is shown stays `keep`."""
        delivery.drop_version(self._client, self.id, version, keep)

    # -- tasks

    def create(self, items: Sequence[NewTask], version: str) -> Outcomes:
        """Import tasks together with their predictions.

        Raises OutcomeUnknown where fewer of either were stored than sent. On SQLite Label Studio tries again after a lock,
        by then without the predictions (label-studio 1.23.2, `retry_database_locked` around the serializer that takes them out).
        """
        shown = [Shown("", item.labels, item.trust) for item in items]
        field = self._fitting().field
        tasks = [
            {"data": dict(item.data) | {field: item.media, MARKER: item.marker}, "predictions": [result]}
            for item, result in zip(items, self._results(shown, version), strict=True)
        ]
        if not tasks:
            return Outcomes()
        answer = self._client.post(f"/api/projects/{self.id}/import", tasks, seconds=delivery.LONG, return_task_ids="true")
        ids, predicted = answer["task_ids"], answer["prediction_count"]
        if not len(ids) == predicted == len(items):
            stored = f"Label Studio stored {len(ids):,} tasks and {predicted:,} predictions"
            raise OutcomeUnknown(f"project {self.id}: {len(items):,} tasks were sent with a prediction each, {stored}; both are read back")
        return Outcomes({item.marker: str(id) for item, id in zip(items, ids, strict=True)})

    def created(self, markers: Sequence[str]) -> dict[str, str]:
        """Which of the markers have a task already."""
        return listing.tasks_made_for(self._client, self.id, markers)

    def copy_task(self, task_id: str, fields: Mapping[str, object]) -> str:
        """Import a task's data once more, with other fields of ours. Raises ToolGone if the task is gone."""
        return delivery.copy_task(self._client, self.id, task_id, fields)

    def delete_tasks(self, ids: Sequence[str]) -> None:
        """Delete tasks, with their predictions and annotations."""
        delivery.delete_tasks(self._client, self.id, ids)

    def write_fields(self, task_id: str, fields: Mapping[str, object]) -> None:
        """Merge fields into a task's data; None takes one away. Raises ToolGone if the task is gone."""
        delivery.write_fields(self._client, self.id, task_id, fields)

    def ask_again(self, task_id: str, answers: int) -> None:
        """Let a task be answered by so many different people in all. Raises ToolGone if the task is gone."""
        delivery.ask_again(self._client, self.id, task_id, answers)

    # -- annotations

    def choices(self) -> Choices:
        """The choices of the control that the model answers; those that mean a class under its name."""
        control, names = self._control(), self._config().names
        labels = (names.get(name_of(choice.result), choice.result) for choice in control.choices)
        return Choices(tuple(dict.fromkeys(labels)), control.multiple)

    def with_choice(self, label: str) -> ConfigChange:
        """What one more choice of the control that the model answers would change."""
        return self._changed(label, with_choice)

    def without_choice(self, label: str) -> ConfigChange:
        """What taking it out again would change. Raises StateError if people answered with it: Label Studio would drop it even then."""
        change = self._changed(label, without_choice)
        written = self._client.get(f"/api/projects/{self.id}/summary/")
        control = self._control()
        chosen = choices_by_label(control, self._config().names).get(label, label)
        answers, drafts = ((written.get(kind) or {}).get(control.name, {}) for kind in ("created_labels", "created_labels_drafts"))
        if count := int(answers.get(chosen, 0)) + int(drafts.get(chosen, 0)):
            named = "1 answer names" if count == 1 else f"{count:,} answers name"
            raise StateError(f"project {self.id}: {named} the class {label!r}, so it stays; change them first")
        return change

    def change_config(self, change: ConfigChange) -> None:
        """Write it, unless somebody has changed the labeling config meanwhile."""
        project = self._read_project()
        if (project.label_config or "") != change.before:
            raise StateError(f"project {self.id}: somebody has changed the labeling config meanwhile; look at the change again")
        self._client.sdk.projects.update(int(self.id), label_config=change.after)
        self._read_project()

    def answer(self, task_id: str, labels: Sequence[str], account: str, seconds: float) -> str:
        """Make an annotation of choices, in the name of an account of the server's."""
        control = self._control()
        results = choices_by_label(control, self._config().names)
        if not labels or (unknown := set(labels) - set(results)):
            raise ToolError(f"task {task_id}: {', '.join(map(repr, sorted(unknown))) if labels else 'nothing'} cannot be chosen there")
        result = choices_result([results[label] for label in labels], control)
        return delivery.annotate(self._client, task_id, result, account, seconds)

    def accept(self, ids: Sequence[str], version: str) -> Outcomes:
        """Make annotations of predictions, in the name of our own account; see `delivery.accept`."""
        return delivery.accept(self._client, self.id, ids, version)

    def retract(self, reviews: Sequence[str]) -> None:
        """Delete annotations."""
        delivery.remove(self._client.sdk.annotations.delete, reviews)

    # -- setting up

    def connect(self, service_url: str | None, user: str, password: str, secret: str, page: str, *, dry_run: bool) -> list[str]:
        """Webhook, ML backend (neither without service_url), order of labeling, tabs, link. Raises ToolError if the classes do not fit."""
        from annotriage_label_studio.server import connect

        project = self._read_project()
        return connect.connect(self._client, project, self._fitting(), service_url, user, password, secret, page, dry_run=dry_run)

    def disconnect(self, service_url: str, versions: Sequence[str], fields: Sequence[str], before: Before | None) -> list[str]:
        """Take all that back, and the predictions of these versions and these fields of the tasks; see `connect.disconnect`."""
        from annotriage_label_studio.server import connect

        return connect.disconnect(self._client, self._read_project(), service_url, versions, fields, before)

    def assign(self, title: str, tasks: Sequence[str], shows: TabShows = TabShows.REASONS) -> str:
        """Make a tab of these tasks, or remove it."""
        tab = assign(self._client, self.id, title, tasks, self._control().field, shows)
        return self.address() if tab is None else f"{self.address()}?tab={tab}"

    def repair(self) -> list[str]:
        """Make again the tabs and the order that people took away."""
        from annotriage_label_studio.server import connect

        return connect.repair(self._client, self._read_project(), self._control())

    def checks(self, service_url: str | None, secret: str) -> list[Check]:
        """What is wrong with the project's set-up, and the fix."""
        from annotriage_label_studio.server.checks import project_checks

        project = self._read_project()
        return project_checks(self._client, project, self._config().problem, service_url, secret)

    # -- the labeling config

    def _tasks(self, records: Sequence[Mapping[str, Any]], *, reviews: bool) -> list[Task]:
        if not records:
            return []
        control, names = self._control(), self._config().names
        return [task_of(record, control, names, reviews=reviews) for record in records]

    def _results(self, shown: Sequence[Shown], version: str) -> list[dict[str, Any]]:
        control, known = self._fitting(), self._config()
        try:
            return results_of(shown, control, choices_by_label(control, known.names) | known.choices, version)
        except DataError as error:
            raise ToolError(f"project {self.id}: {error}") from error

    def _fitting(self) -> ChoicesControl:
        """The control, if the classes fit it."""
        if (problem := self._config().problem) is not None:
            raise ToolError(f"project {self.id}: {problem}")
        return self._control()

    def _control(self) -> ChoicesControl:
        known = self._config()
        if known.control is None:
            raise ToolError(f"project {self.id}: {known.problem}")
        return known.control

    def _config(self) -> _Config:
        known = self._known
        if known is None or time.monotonic() > known.read_at + CONFIG_SECONDS:
            with self._lock:  # one of the threads asks, the others wait for its answer
                if self._known is known:
                    self._read_project()
            known = self._known
        assert known is not None
        return known

    def _storage_types(self) -> frozenset[str]:
        """The kinds of storage that are connected to the project, as known for a while."""
        until, types = self._storages
        if time.monotonic() > until:
            types = frozenset(storage["type"] for storage in self._client.get("/api/storages/", project=self.id))
            self._storages = time.monotonic() + CONFIG_SECONDS, types
        return types

    def _changed(self, label: str, change: Callable[[str, ChoicesControl, str], str]) -> ConfigChange:
        config = self._read_project().label_config or ""
        return ConfigChange(config, change(config, self._control(), label))

    def _read_project(self) -> LseProjectResponse:
        project: LseProjectResponse = self._client.sdk.projects.get(int(self.id))
        self._known = _read_config(project.label_config or "", self._classes, self._names)
        return project


def choices_by_label(control: ChoicesControl, names: Mapping[str, str]) -> dict[str, str]:
    """For everything that an answer may say, classes that the model does not know among it, the control's choice."""
    return {names.get(name_of(choice.result), choice.result): choice.result for choice in reversed(control.choices)}


def _account(user: Mapping[str, Any]) -> Account:
    known_by = tuple(dict.fromkeys(str(user[key]) for key in ("email", "username") if user.get(key)))
    name = " ".join(str(user.get(key) or "") for key in ("first_name", "last_name")).strip()
    return Account(str(user["id"]), storable(name or next(iter(known_by), str(user["id"]))), known_by)


def _read_config(text: str, classes: Sequence[str], control_names: Sequence[str]) -> _Config:
    now = time.monotonic()
    try:
        control = choices_control(text, classes, control_names)
    except DataError as error:
        return _Config(now, None, {}, {}, str(error))
    names = answer_names(control, classes)
    try:
        return _Config(now, control, match_classes(classes, control), names, None)
    except DataError as error:
        return _Config(now, control, {}, names, str(error))

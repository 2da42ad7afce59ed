"""A running Label Studio and its projects, as the service works with them: reading, predictions, tasks, annotations.

Stands at both ends of the walk: data (tasks, answers) comes from here, delivery (predictions, fields, annotations) goes here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from annotriage.errors import DataError, SettingError, ToolError, ToolGone
from annotriage.labeling_tool import Check, Event, NewTask, ProjectFacts, Shown, Task
from annotriage.settings import ServiceSettings
from annotriage_label_studio import delivery, listing
from annotriage_label_studio.client import Client
from annotriage_label_studio.labeling_config import ChoicesControl, answer_names, choices_control, match_classes
from annotriage_label_studio.predictions import results_of
from annotriage_label_studio.server_media import media_address
from annotriage_label_studio.tasks import MARKER, task_of

CONFIG_SECONDS = 60.0  # how long a project's labeling config is believed; `facts` reads it at once


def open_server(settings: ServiceSettings) -> LabelStudioServer:
    """The Label Studio that the settings name; nothing is asked of it yet. Raises SettingError if address or token are no such thing."""
    if not settings.label_studio_token:
        raise SettingError(
            "setting label_studio_token is empty: annotriage needs an account of its own in Label Studio. Make one, copy a personal access"
            " token from its Account & Settings, and set ANNOTRIAGE_LABEL_STUDIO_TOKEN to it"
        )
    return LabelStudioServer(Client(settings.label_studio_url, settings.label_studio_token))


class LabelStudioServer:
    """The Label Studio that the settings name, and the account that they give; threadsafe."""

    def __init__(self, client: Client) -> None:
        self.url = client.url
        self._client = client

    def headers(self) -> dict[str, str]:
        """Credentials for this moment, for requests to the server's own address."""
        return self._client.headers()

    def checks(self) -> list[Check]:
        """Whether the server is there and takes the token."""
        from annotriage_label_studio.checks import server_checks

        return server_checks(self._client)

    def project(self, id: str, classes: Sequence[str]) -> LabelStudioProject:
        """One of its projects."""
        return LabelStudioProject(self._client, id, classes)


@dataclass(frozen=True)
class _Config:
    """A project's labeling config as read at a time. problem: why the model's classes do not fit it."""

    read_at: float
    control: ChoicesControl | None
    choices: dict[str, str]
    names: Mapping[str, str]
    problem: str | None


class LabelStudioProject:
    """One project of a Label Studio, for a model with these classes; see `annotriage.labeling_tool.ToolProject`."""

    def __init__(self, client: Client, id: str, classes: Sequence[str]) -> None:
        if not (id.isascii() and id.isdigit()):
            raise ToolGone(f"no project of Label Studio is called {id!r}; give its number, as in its address /projects/3/data")
        self.id = id
        self._client = client
        self._classes = tuple(classes)
        self._known: _Config | None = None
        self._storages: tuple[float, frozenset[str]] = (0.0, frozenset())
        self._lock = threading.Lock()

    def facts(self) -> ProjectFacts:
        """Title, version shown, answers per task, labeling config, and whether the classes fit it."""
        project = self._read_project()
        known = self._config()
        return ProjectFacts(
            title=str(project["title"]),
            version=project["model_version"] or "",
            wanted=int(project["maximum_annotations"]),
            config=project["label_config"],
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

    def tasks(self, ids: Sequence[str]) -> list[Task]:
        """Those of the tasks that exist, with their reviews."""
        return self._tasks(listing.tasks_by_id(self._client, self.id, ids, listing.REVIEWED), reviews=True)

    def changed_since(self, time: float) -> Iterator[list[Task]]:
        """Tasks that changed, or whose annotations did, with their reviews; in the order of their ids."""
        for page in listing.tasks_changed_since(self._client, self.id, time):
            yield self._tasks(page, reviews=True)

    def annotated(self) -> Iterator[list[Task]]:
        """Tasks with at least one annotation that was not skipped, with their reviews; in the order of their ids."""
        for page in listing.tasks_with_annotations(self._client, self.id):
            yield self._tasks(page, reviews=True)

    def tasks_of(self, event: Event) -> list[Task]:
        """The tasks in a "created" event. Their annotations, if they came with some, are not in it."""
        return self._tasks(event.records, reviews=False)

    def _read_config(text: str, classes: Sequence[str]) -> _Config:
    now = time.monotonic()
    try:
        control = choices_control(text)
    except DataError as error:
        return _Config(now, None, {}, {}, str(error))
    names = answer_names(control, classes)
    try:
        return _Config(now, control, match_classes(classes, control), names, None)
    except DataError as error:
        return _Config(now, control, {}, names, str(error))

"""A real Label Studio for the demo: started on this machine, with a project, tasks, and what annotators will find in it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from annotriage.errors import ToolGone
from annotriage.progress import Progress
from annotriage_label_studio.demo.server import start
from annotriage_label_studio.server.client import Client

EXECUTABLE_VARIABLE = "LABEL_STUDIO_EXECUTABLE"
EXECUTABLE = Path(".venv-label-studio/bin/label-studio")


def demo_server(folder: Path, *, port: int | None, progress: Progress) -> LabelStudioDemo:
    """The Label Studio of `folder`, started if need be from its own environment; see `server.start`."""
    executable = Path(os.environ.get(EXECUTABLE_VARIABLE) or EXECUTABLE).absolute()
    server = start(executable, folder, port=port, progress=progress)
    return LabelStudioDemo(server.url, server.token, server.email, server.password)


class LabelStudioDemo:
    """`DemoServer` for Label Studio."""

    def __init__(self, url: str, token: str, email: str, password: str) -> None:
        self.url, self.token, self.email, self.password = url, token, email, password
        self._client = Client(url, token)

    def new_project(self, title: str, classes: Sequence[str]) -> str:
        """A project with one choice for each class, and one for what fits nowhere."""
        choices = "".join(f"<Choice value={quoteattr(name)}/>" for name in classes)
        config = (
            '<View><Image name="image" value="$image" width="256px"/>'
            '<Choices name="label" toName="image" choice="single" showInLine="true">'
            f'{choices}<Choice value="None of these" alias="none-of-these"/></Choices></View>'
        )
        made = self._client.post("/api/projects/", {"title": title, "label_config": config})
        return str(made["id"])

    def import_tasks(self, project: str, tasks: Sequence[Mapping[str, object]]) -> None:
        """Import them as one batch."""
        self._client.post(f"/api/projects/{project}/import", [{"data": dict(data)} for data in tasks])

    def shown(self, project: str) -> list[Mapping[str, object]]:
        """All tasks with their predictions, in the order of their ids."""
        return self._listed(project=project)

    def tabs(self, project: str) -> dict[str, list[Mapping[str, object]]]:
        """Each tab's tasks; one that the service makes anew at this moment is left out."""
        found = {}
        for view in self._client.get("/api/dm/views/", project=project):
            with suppress(ToolGone):
                found[view["data"]["title"]] = self._listed(view=view["id"])
        return found

    def _listed(self, **where: object) -> list[Mapping[str, object]]:
        found: list[Mapping[str, object]] = []
        for page in range(1, 1_000):
            answer = self._client.get("/api/tasks", **where, fields="all", page=page, page_size=500)
            found += [_task(record) for record in answer["tasks"]]
            if len(found) >= answer["total"] or not answer["tasks"]:
                break
        return found


def _task(record: Mapping[str, Any]) -> Mapping[str, object]:
    predictions = record.get("predictions") or []
    return {
        "id": str(record["id"]),
        "data": record["data"],
        "predictions": len(predictions),
        "trust": predictions[0].get("score") if predictions else None,
        "empty": bool(predictions) and not predictions[0].get("result"),
    }

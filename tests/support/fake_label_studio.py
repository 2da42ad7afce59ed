"""A Label Studio in memory, over real HTTP: as much of its API as annotriage calls, quick enough for thousands of storms.

What the real server does is tested with the real server (tests/e2e, and `tests/faults/run.py --label-studio real`). This one answers as
it does, holds hundreds of thousands of tasks, and sends webhooks as it does: once, for a second, and never again.
"""

from __future__ import annotations

import json
import re
import threading
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests

TOKEN = "f" * 40
WEBHOOK_SECONDS = 1.0  # for which Label Studio waits for whom it tells something
HEAVY = ("annotations", "predictions")  # fields of a task that are made when they are asked for


@dataclass
class _Project:
    """A project with its tasks, by id, and what hangs on them."""

    fields: dict[str, Any]
    tasks: dict[int, dict[str, Any]] = field(default_factory=dict)
    ids: list[int] = field(default_factory=list)  # of tasks, as they came; what was deleted stays in it
    changes: list[tuple[str, int]] = field(default_factory=list)  # when which task changed, as it happened
    predictions: dict[int, dict[str, Any]] = field(default_factory=dict)
    of_task: dict[int, list[int]] = field(default_factory=dict)  # predictions
    annotations: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    versions: Counter[str] = field(default_factory=Counter)


class FakeLabelStudio:
    """The server. url: where it answers, once it is `started`."""

    token = TOKEN

    def __init__(self) -> None:
        self._projects: dict[int, _Project] = {}
        self._holders: dict[int, _Project] = {}  # the project of each task and prediction
        self._kept: dict[str, dict[int, dict[str, Any]]] = {"webhooks": {}, "ml": {}, "views": {}}
        self._number = 0
        self._lock = threading.RLock()
        self._telling = ThreadPoolExecutor(8, thread_name_prefix="webhooks")
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def started(self) -> Iterator[FakeLabelStudio]:
        """Answers for a block."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            self._telling.shutdown(cancel_futures=True)

    # -- what people do, and what tests look at

    def project(self, config: str, **fields: Any) -> int:
        """A new project; its id."""
        with self._lock:
            id = self._next()
            default = {"sampling": "Sequential sampling", "model_version": "", "maximum_annotations": 1, "show_collab_predictions": True}
            self._projects[id] = _Project({"id": id, "title": f"Project {id}", "label_config": config, **default} | fields)
        return id

    def import_tasks(self, project: int, data: list[dict[str, Any]], *, tell: bool = True) -> list[int]:
        """New tasks; their ids in order. tell: whether the project's webhook is told."""
        with self._lock:
            records = [self._new_task(self._projects[project], one) for one in data]
        if tell:
            self._tell(project, {"action": "TASKS_CREATED", "tasks": [{"id": one["id"], "data": one["data"]} for one in records]})
        return [record["id"] for record in records]

    def predictions(self, project: int) -> dict[int, list[str]]:
        """The versions of each task's predictions."""
        with self._lock:
            mine = self._projects[project]
            return {id: [mine.predictions[one]["model_version"] for one in mine.of_task.get(id, ())] for id in mine.tasks}

    def annotate(self, task: int, label: str, control: str = "label", to: str = "image") -> int:
        """A person's answer; the annotation's id."""
        result = [{"from_name": control, "to_name": to, "type": "choices", "value": {"choices": [label]}}]
        with self._lock:
            project = self._holders[task]
            made = {"id": self._next(), "result": result, "parent_prediction": None, "completed_by": 2, "was_cancelled": False}
            now = {"updated_at": _now(), "updated_by": 2, "lead_time": 1.0, "ground_truth": False}
            project.annotations.setdefault(task, []).append(made | now)
            project.tasks[task]["is_labeled"] = True
            self._touch(project, task)
            return int(made["id"])

    def annotated(self, project: int) -> dict[int, int]:
        """How many annotations each task has."""
        with self._lock:
            mine = self._projects[project]
            return {id: len(mine.annotations.get(id, ())) for id in mine.tasks}

    def drop_project(self, project: int) -> None:
        """A project is deleted."""
        with self._lock:
            gone = self._projects.pop(project)
            for id in (*gone.tasks, *gone.predictions):
                del self._holders[id]

    # -- the API

    def answer(self, method: str, path: str, asked: Mapping[str, str], body: Any) -> tuple[int, Any]:
        """Status and content of an answer."""
        with self._lock:
            for known, pattern, act in _ROUTES:
                if known == method and (found := re.fullmatch(pattern, path)):
                    try:
                        return act(self, *map(int, found.groups()), **{"asked": asked, "body": body})
                    except KeyError as error:
                        return 404, {"detail": f"Not found: {error}"}
        return 404, {"detail": "Not found."}

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _new_task(self, project: _Project, data: dict[str, Any]) -> dict[str, Any]:
        id, now = self._next(), _now()
        record = {"id": id, "data": data, "meta": {}, "created_at": now, "updated_at": now, "is_labeled": False, "overlap": 1}
        project.tasks[id] = record
        self._holders[id] = project
        project.ids.append(id)
        project.changes.append((now, id))
        return record

    def _touch(self, project: _Project, id: int) -> None:
        project.tasks[id]["updated_at"] = _now()
        project.changes.append((project.tasks[id]["updated_at"], id))

    def _tell(self, project: int, event: dict[str, Any]) -> None:
        with self._lock:
            hooks = [
                dict(hook) for hook in self._kept["webhooks"].values() if hook["project"] == project and event["action"] in hook["actions"]
            ]
        body = json.dumps(event | {"project": {"id": project}})
        for hook in hooks:
            self._telling.submit(_post, hook["url"], body, hook["headers"])

    # projects

    def _get_project(self, id: int, *, asked: Mapping[str, str], body: Any) -> tuple[int, Any]:
        project = self._projects[id]
        whole = project.fields | {"task_number": len(project.tasks)}
        names = asked["include"].split(",") if "include" in asked else whole
        return 200, {name: whole[name] for name in ("id", *names)}

    def _patch_project(self, id: int, *, asked: Mapping[str, str], body: Any) -> tuple[int, Any]:
        project = self._projects[id]
        if body.get("model_version") and body["model_version"] not in project.versions:
            return 400, {"detail": "Validation error", "validation_errors": {"non_field_errors": ["Model version doesn't exist"]}}
        project.fields |= body
        return 200, project.fields

    def _import(self, id: int, *, asked: Mapping[str, str], body: Any) -> tuple[int, Any]:
        ids = self.import_tasks(id, [one["data"] for one in body])
        for task, one in zip(ids, body, strict=True):
            for prediction in one.get("predictions", ()):
                self._predict(self._projects[id], {"task": task} | prediction)
        return 201, {"task_ids": ids, "prediction_count": sum(len(one.get("predictions", ())) for one in body)}

    # tasks

    def _list_tasks(self, *, asked: Mapping[str, str], body: Any) -> tuple[int, Any]:
        project = self._projects[int(asked["project"])]
        query = json.loads(asked.get("query", "{}"))
        found = self._found(project, query)
        if query.get("ordering") == ["-tasks:id"]:
            found.reverse()
        size = int(asked.get("page_size", 100))
        names = asked.get("include", "").split(",") if asked.get("include") else list(HEAVY)
        return 200, {"tasks": [self._shown(project, id, names) for id in found[:size]], "total": len(found)}

    def _found(self, project: _Project, query: Mapping[str, Any]) -> list[int]:
        selected = query.get("selectedItems", {"all": True})
        if not selected["all"]:
            return sorted(id for id in selected["included"] if id in project.tasks)
        conditions = {one["filter"].removeprefix("filter:tasks:"): one["value"] for one in query.get("filters", {}).get("items", ())}
        after = int(conditions.pop("id", 0))
        if "updated_at" in conditions:
            since = conditions.pop("updated_at").replace("Z", "+00:00")
            start = bisect_right(project.changes, (since, 2**62))
            ids = sorted({id for _, id in project.changes[start:] if id > after and id in project.tasks})
        else:
            ids = [id for id in project.ids[bisect_right(project.ids, after) :] if id in project.tasks]
        for name, value in conditions.items():
            ids = [id for id in ids if self._fits(project, id, name, value)]
        return ids

    def _fits(self, project: _Project, id: int, name: str, value: Any) -> bool:
        if name.startswith("data."):
            return re.search(value, str(project.tasks[id]["data"].get(name.removeprefix("data."), ""))) is not None
        if name == "total_annotations":
            return len(project.annotations.get(id, ())) > value
        if name == "annotations_results":
            return any(not one["result"] for one in project.annotations.get(id, ()))
        return name != "completed_at" or project.tasks[id]["is_labeled"] is not value

    def _shown(self, project: _Project, id: int, names: list[str]) -> dict[str, Any]:
        record, given = project.tasks[id], project.annotations.get(id, ())
        shown = {"id": id} | {name: record[name] for name in names if name in record}
        if "annotations" in names:
            shown["annotations"] = [dict(one) for one in given]
        if "predictions" in names:
            shown["predictions"] = [project.predictions[one] for one in project.of_task.get(id, ())]
        if "total_annotations" in names:
            shown |= {"total_annotations": len(given), "cancelled_annotations": 0}
        return shown | ({"draft_exists": False} if "draft_exists" in names else {})

    def _patch_task(self, id: int, *, asked: Mapping[str, str], body: Any) -> tuple[int, Any]:
        if not isinstance(body, dict):  # who asked was killed before it came
            return 400, {"detail": "JSON parse error"}
        project = self._holders[id]
        project.tasks[id] |= body
        self._touch(project, id)
        return 200, project.tasks[id]

    # predictions

    def _predict(self, project: _Project, row: Mapping[str, Any]) -> dict[str, Any]:
        stored = dict(row) | {"id": self._next(), "project": project.fields["id"]}
        project.predictions[stored["id"]] = stored
        self._holders[stored["id"]] = project
        project.of_task.setdefault(int(row["task"]), []).append(stored["id"])
        project.versions[str(row["model_version"])] += 1
        return stored

    def _forget(self, project: _Project, id: int) -> None:
        stored = project.predictions.pop(id)
        del self._holders[id]
        project.of_task[int(stored["task"])].remove(id)
        project.versions[str(stored["model_version"])] -= 1
        project.versions += Counter()  # without those that none is left of

    def _import_predictions(self, id: int, *, asked: Mapping[str, str], body: Any) -> tuple[int, Any]:
        project = self._projects[id]
        if any(row["task"] not in project.tasks for row in body):
            return 400, {"detail": "a task does not exist"}
        for row in body:
            self._predict(project, row)
        return 201, {"created": len(body)}

    def _list_predictions(self, *, asked: Mapping[str, str], body: Any) -> tuple[int, Any]:
        return 200, list(self._projects[int(asked["project"])].predictions.values())

    def _add_prediction(self, *, asked: Mapping[str, str], body: Any) -> tuple[int, Any]:
        return 201, self._predict(self._holders[int(body["task"])], body)

    def _delete_prediction(self, id: int, *, asked: Mapping[str, str], body: Any) -> tuple[int, Any]:
        self._forget(self._holders[id], id)
        return 204, None

    def _list_versions(self, id: int, *, asked: Mapping[str, str], body: Any) -> tuple[int, Any]:
        versions = self._projects[id].versions
        return 200, {"static": [{"model_version": name, "count": number} for name, number in versions.items()], "live": []}

    def _delete_version(self, id: int, *, asked: Mapping[str, str], body: Any) -> tuple[int, Any]:
        project = self._projects[id]
        for one in [one for one, stored in project.predictions.items() if stored["model_version"] == body["model_version"]]:
            self._forget(project, one)
        return 200, {}

    def _act(self, *, asked: Mapping[str, str], body: Any) -> tuple[int, Any]:
        project = self._projects[int(asked["project"])]
        for id in body["selectedItems"]["included"]:
            of_version = (project.predictions[one] for one in project.of_task.get(id, ()))
            for stored in [one for one in of_version if one["model_version"] == body["model_version"]]:
                made = {
                    "id": self._next(),
                    "result": stored["result"],
                    "parent_prediction": stored["id"],
                    "completed_by": 1,
                    "was_cancelled": False,
                }
                now = {"updated_at": _now(), "updated_by": None, "lead_time": None, "ground_truth": False}
                project.annotations.setdefault(id, []).append(made | now)
                project.tasks[id]["is_labeled"] = True
                self._touch(project, id)
        return 200, {"processed_items": len(body["selectedItems"]["included"])}

    def _delete_annotation(self, id: int, *, asked: Mapping[str, str], body: Any) -> tuple[int, Any]:
        for project in self._projects.values():
            for task, given in project.annotations.items():
                for one in [one for one in given if one["id"] == id]:
                    given.remove(one)
                    project.tasks[task]["is_labeled"] = bool(given)
                    self._touch(project, task)
        return 204, None

    # webhooks, ML backends, tabs

    def _list_kept(self, kind: str, *, asked: Mapping[str, str], body: Any) -> tuple[int, Any]:
        return 200, [one for one in self._kept[kind].values() if one["project"] == int(asked["project"])]

    def _add_kept(self, kind: str, *, asked: Mapping[str, str], body: Any) -> tuple[int, Any]:
        made = {"id": self._next(), "state": "CO", "readable_state": "Connected", "project": int(asked.get("project", 0))} | body
        made["project"] = int(made["project"])
        self._kept[kind][made["id"]] = made
        return 201, made

    def _order_views(self, *, asked: Mapping[str, str], body: Any) -> tuple[int, Any]:
        places = {id: place for place, id in enumerate(body["ids"])}
        self._kept["views"] = dict(sorted(self._kept["views"].items(), key=lambda kept: places.get(kept[0], len(places))))
        return 200, None

    def _change_kept(self, kind: str, id: int, *, asked: Mapping[str, str], body: Any) -> tuple[int, Any]:
        self._kept[kind][id] |= body
        return 200, self._kept[kind][id]

    def _delete_kept(self, kind: str, id: int, *, asked: Mapping[str, str], body: Any) -> tuple[int, Any]:
        del self._kept[kind][id]
        return 204, None


def _on(act: str, kind: str) -> Any:
    return lambda server, *ids, **call: getattr(server, act)(kind, *ids, **call)


def _constant(content: Any) -> Any:
    return lambda server, **call: (200, content)


_ROUTES: tuple[tuple[str, str, Any], ...] = (
    ("GET", "/health", _constant({"status": "UP"})),
    ("GET", "/api/version/?", _constant({"release": "1.23.2"})),
    ("GET", "/api/current-user/whoami/?", _constant({"id": 1, "email": "annotriage@example.com"})),
    ("GET", "/api/storages/?", _constant([])),
    ("GET", "/api/dm/columns/?", _constant({"columns": [{"id": "id"}, {"id": "predictions_score"}]})),
    ("POST", "/api/dm/actions/?", FakeLabelStudio._act),
    ("GET", r"/api/projects/(\d+)/?", FakeLabelStudio._get_project),
    ("PATCH", r"/api/projects/(\d+)/?", FakeLabelStudio._patch_project),
    ("POST", r"/api/projects/(\d+)/import/?", FakeLabelStudio._import),
    ("POST", r"/api/projects/(\d+)/import/predictions/?", FakeLabelStudio._import_predictions),
    ("GET", r"/api/projects/(\d+)/model-versions/?", FakeLabelStudio._list_versions),
    ("DELETE", r"/api/projects/(\d+)/model-versions/?", FakeLabelStudio._delete_version),
    ("GET", "/api/tasks/?", FakeLabelStudio._list_tasks),
    ("PATCH", r"/api/tasks/(\d+)/?", FakeLabelStudio._patch_task),
    ("GET", "/api/predictions/?", FakeLabelStudio._list_predictions),
    ("POST", "/api/predictions/?", FakeLabelStudio._add_prediction),
    ("DELETE", r"/api/predictions/(\d+)/?", FakeLabelStudio._delete_prediction),
    ("DELETE", r"/api/annotations/(\d+)/?", FakeLabelStudio._delete_annotation),
    ("POST", "/api/dm/views/order/?", FakeLabelStudio._order_views),
    *(
        (method, pattern, _on(act, kind))
        for kind, path in (("webhooks", "/api/webhooks"), ("ml", "/api/ml"), ("views", "/api/dm/views"))
        for method, pattern, act in (
            ("GET", rf"{path}/?", "_list_kept"),
            ("POST", rf"{path}/?", "_add_kept"),
            ("PATCH", rf"{path}/(\d+)/?", "_change_kept"),
            ("DELETE", rf"{path}/(\d+)/?", "_delete_kept"),
        )
    ),
)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 200


def _handler(server: FakeLabelStudio) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def reply(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            parts = urlsplit(self.path)
            known = parts.path == "/health" or self.headers.get("Authorization") == f"Token {TOKEN}"
            asked = dict(parse_qsl(parts.query))
            body = json.loads(content) if content else None
            status, said = server.answer(self.command, parts.path, asked, body) if known else (401, {"detail": "Invalid token."})
            text = b"" if said is None else json.dumps(said).encode()
            head = f"HTTP/1.1 {status} _\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\nConnection: close\r\n"
            self.wfile.write(f"{head}Date: {self.date_time_string()}\r\n\r\n".encode() + text)
            self.close_connection = True

        do_GET = do_POST = do_PATCH = do_DELETE = reply  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

        def handle(self) -> None:
            with suppress(OSError):  # whoever asked is gone
                super().handle()

    return Handler


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _post(url: str, body: str, headers: Mapping[str, str]) -> None:
    with suppress(requests.RequestException):  # Label Studio does not try again
        requests.post(url, data=body, headers={"Content-Type": "application/json", **headers}, timeout=WEBHOOK_SECONDS)

"""The real Label Studio of the tests: one server for all, a project of its own for each, people who can log in.

Plain REST and forms only, so that what is tested is judged by something else than itself.
"""

from __future__ import annotations

import itertools
import os
import signal
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from waiting import PATIENCE

from annotriage_label_studio.demo import server

CONFIG = """<View><Image name="image" value="$image"/><Choices name="label" toName="image">
<Choice value="cat"/><Choice value="dog"/></Choices></View>"""

PAGE = 500  # tasks

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Person:
    """An account of the server, as its owner uses it: through the login form."""

    url: str
    email: str
    password: str

    @cached_property
    def session(self) -> requests.Session:
        """Logged in, as a browser is: calls of the API through it are this person's."""
        session = requests.Session()
        _submit(session, f"{self.url}/user/login/", email=self.email, password=self.password)
        session.headers.update({"X-CSRFToken": session.cookies["csrftoken"], "Referer": self.url})
        return session

    @cached_property
    def personal_token(self) -> str:
        """A personal access token; Label Studio shows it once, and there is one for each person."""
        return str(self.call("POST", "/api/token/")["token"])

    @cached_property
    def legacy_token(self) -> str:
        return str(self.call("GET", "/api/current-user/token")["token"])

    @property
    def id(self) -> int:
        return int(self.call("GET", "/api/current-user/whoami")["id"])

    def call(self, method: str, path: str, json: Any = None, **params: Any) -> Any:
        """A call as this person's browser makes it: the answer's JSON, None if it has none. An error answer fails the test.

        Before a logged-in person's call Label Studio notes in its database that the person was active. Where SQLite stays locked for
        five seconds, as on a busy machine, it answers with its error page and has done nothing: that is asked again.
        """
        end = time.monotonic() + PATIENCE
        while True:
            answer = self.session.request(method, self.url + path, json=json, params=params, timeout=PATIENCE)
            is_error_page = answer.status_code == 500 and answer.headers.get("Content-Type", "").startswith("text/html")
            if not is_error_page or time.monotonic() > end:
                return _answer(answer)

    def next_task(self, project: int) -> dict[str, Any] | None:
        """The task that the Label button hands out; None if there is none left for this person."""
        answer = self.session.get(f"{self.url}/api/projects/{project}/next", timeout=PATIENCE)
        return None if answer.status_code == 404 else _answer(answer)


@dataclass(frozen=True)
class LabelStudio:
    """The server, and its admin's legacy token. files: what lies there can be a storage of local files."""

    url: str
    token: str
    admin: Person
    files: Path | None = None

    def call(self, method: str, path: str, json: Any = None, **params: Any) -> Any:
        """A call as the admin: the answer's JSON, None if it has none. An error answer fails the test."""
        headers = {"Authorization": f"Token {self.token}"}
        return _answer(requests.request(method, self.url + path, json=json, params=params, headers=headers, timeout=PATIENCE))

    def personal_token(self) -> str:
        """The admin's personal access token."""
        return self.admin.personal_token

    def project(self, config: str = CONFIG, **fields: Any) -> int:
        """A new project; its id. fields: as Label Studio's API has them."""
        fields = {"title": f"Project {next(_numbers)}", "label_config": config} | fields
        return int(self.call("POST", "/api/projects", fields)["id"])

    def import_tasks(self, project: int, data: list[dict[str, Any]]) -> list[int]:
        """New tasks, given their data or, as a dictionary with "data", more than that; their ids in order."""
        tasks = [task if "data" in task else {"data": task} for task in data]
        return list(self.call("POST", f"/api/projects/{project}/import", tasks, return_task_ids="true")["task_ids"])

    def annotate(self, task: int, label: str = "cat", control: str = "label", to: str = "image", **fields: Any) -> int:
        """The admin's answer to a task; the annotation's id."""
        result = [{"from_name": control, "to_name": to, "type": "choices", "value": {"choices": [label]}}]
        return int(self.call("POST", f"/api/tasks/{task}/annotations/", {"result": result} | fields)["id"])

    def predictions(self, project: int) -> dict[int, list[str]]:
        """The versions of each task's predictions; tasks without any may be left out."""
        found = dict[int, list[str]]()
        for one in self.call("GET", "/api/predictions/", project=project):
            found.setdefault(one["task"], []).append(one["model_version"])
        return found

    def annotated(self, project: int) -> dict[int, int]:
        """How many annotations each task has."""
        found = dict[int, int]()
        for page in itertools.count(1):
            asked = {"project": project, "page": page, "page_size": PAGE, "include": "id,total_annotations"}
            answer = self.call("GET", "/api/tasks/", **asked)
            found |= {task["id"]: task["total_annotations"] for task in answer["tasks"]}
            if page * PAGE >= answer["total"]:
                break
        return found

    def user(self) -> Person:
        """Another annotator, who signed up through the invitation link."""
        person = Person(self.url, f"person{next(_numbers)}.{time.time_ns()}@example.com", "a-long-password")
        link = self.call("GET", "/api/invite")["invite_url"]
        _submit(requests.Session(), f"{self.url}{link}", email=person.email, password=person.password)
        return person


@dataclass(frozen=True)
class OwnLabelStudio(LabelStudio):
    """One that a test may kill, and start again where it was with what it had. executable, folder: as of `demo.server.start`."""

    executable: Path = field(kw_only=True)
    folder: Path = field(kw_only=True)

    def kill(self) -> None:
        """SIGKILL it, in the midst of whatever it does."""
        running = server.running(self.folder)
        assert running is not None, "no Label Studio to kill"
        os.killpg(running.daemon.pid, signal.SIGKILL)
        running.daemon.end()  # waits until it is gone

    def start(self) -> None:
        """Start it, and wait until it answers."""
        server.start(self.executable, self.folder, port=urlsplit(self.url).port, seconds=PATIENCE)


def _submit(session: requests.Session, address: str, **fields: str) -> None:
    """Fill in a form of the server, which leads elsewhere if it was accepted."""
    session.get(address, timeout=PATIENCE).raise_for_status()
    form = {"csrfmiddlewaretoken": session.cookies["csrftoken"], **fields}
    answer = session.post(address, data=form, headers={"Referer": address}, allow_redirects=False, timeout=PATIENCE)
    assert answer.status_code == 302, f"{address}: {answer.status_code}"


def _answer(answer: requests.Response) -> Any:
    assert answer.ok, f"{answer.request.method} {answer.url}: {answer.status_code} {answer.text[:500]}"
    return answer.json() if answer.content else None

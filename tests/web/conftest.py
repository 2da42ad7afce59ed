"""The dashboard on real digits, served on a port of its own; every test has the database for itself."""

from __future__ import annotations

import copy
import shutil
import threading

import dashboards
import pytest
from waitress.server import create_server

from annotriage.fitting import fit
from annotriage.service.app import create_app
from annotriage.service.process import Process
from annotriage.settings import ServiceSettings
from annotriage.web import register


@pytest.fixture(scope="session")
def history(tmp_path_factory, digits, digits_model, digits_reference, quick):
    """A database with a history, and the labeling tool that belongs to it; tests get copies."""
    file = tmp_path_factory.mktemp("history") / "store.db"
    few = digits.held_out[0][:40], digits.held_out[1][:40]
    unsure = fit(digits_model, digits.train, few, settings=quick, name="few held out")
    return file, dashboards.build(f"sqlite:///{file}", digits, digits_reference, unsure)


class Dashboard:
    """A running dashboard. url: where; process: the web process; service(): the worker's steps on the same database."""

    def __init__(self, database, tool, **settings):
        self.database, self.tool = database, tool
        self.process = Process(ServiceSettings(database=database, label_studio_token="unused", **settings), "web")
        self.process.server = tool
        self.app = create_app(self.process, register)
        self._server = create_server(self.app, host="127.0.0.1", port=0, threads=4, ident=None)
        self.url = f"http://127.0.0.1:{self._server.effective_port}"
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()

    @property
    def user(self):
        return self.process.settings.user

    @property
    def password(self):
        return self.process.password

    def service(self):
        return dashboards.Service(self.database, self.tool)

    def stop(self):
        self._server.trigger.pull_trigger(self._end)  # in the server's own thread
        self._thread.join()
        self._server.task_dispatcher.shutdown()
        self.process.leave()

    def _end(self):
        for channel in list(self._server.active_channels.values()):  # browsers keep their connections
            channel.handle_close()
        self._server.close()


@pytest.fixture
def serve_dashboard():
    """Serve the dashboard of a database."""
    running = []

    def serve(database, tool, **settings):
        running.append(Dashboard(database, tool, **settings))
        return running[-1]

    yield serve
    for one in running:
        one.stop()


@pytest.fixture
def dashboard(history, tmp_path, serve_dashboard):
    """The dashboard on a copy of the history."""
    file, tool = history
    shutil.copy(file, tmp_path / "store.db")
    return serve_dashboard(f"sqlite:///{tmp_path}/store.db", copy.deepcopy(tool))


@pytest.fixture
def signed_in(dashboard, open_page):
    """Open a page of the dashboard as its user."""

    def signed_in(path, **options):
        page = open_page(f"{dashboard.url}/sign-in", **options)
        page.locator("[name=user]").fill(dashboard.user)
        page.locator("[name=password]").fill(dashboard.password)
        page.locator("main form button").click()
        page.wait_for_url(f"{dashboard.url}/")
        page.goto(f"{dashboard.url}{path}")
        return page

    return signed_in

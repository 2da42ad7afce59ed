"""The dashboard on real digits, served on a port of its own; every test has the database for itself."""

from __future__ import annotations

import dashboards
import pytest

from annotriage.engine.fitting import fit


@pytest.fixture(scope="session")
def history(tmp_path_factory, digits, digits_model, digits_reference, quick):
    """A database with a history, and the labeling tool that belongs to it; tests get copies."""
    file = tmp_path_factory.mktemp("history") / "store.db"
    few = digits.held_out[0][:40], digits.held_out[1][:40]
    unsure = fit(digits_model, digits.train, few, settings=quick, name="few held out")
    return file, dashboards.build(f"sqlite:///{file}", digits, digits_reference, unsure)


@pytest.fixture
def serve_dashboard():
    """Serve the dashboard of a database."""
    running = []

    def serve(database, tool, **settings):
        running.append(dashboards.Dashboard(database, tool, **settings))
        return running[-1]

    yield serve
    for dashboard in running:
        dashboard.stop()


@pytest.fixture
def copied(history, tmp_path):
    """A copy of the history: its database's address, and the labeling tool."""
    return dashboards.copied(history, tmp_path)


@pytest.fixture
def dashboard(copied, serve_dashboard):
    """The dashboard on a copy of the history."""
    return serve_dashboard(*copied)


@pytest.fixture
def signed_in(dashboard, open_page):
    """Open a page of the dashboard as its user."""

    def signed_in(path, **options):
        return open_page(f"{dashboard.url}{path}", storage_state=dashboard.session(), **options)

    return signed_in

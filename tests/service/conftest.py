"""A process of the service on a database of its own, with a labeling tool in memory."""

from __future__ import annotations

import pytest
from memory_tool import MemoryServer

from annotriage.service.process import Process
from annotriage.service.references import keep_reference
from annotriage.settings import ServiceSettings
from annotriage.store.projects import ProjectOptions, add_project


@pytest.fixture
def server():
    return MemoryServer()


@pytest.fixture
def process(tmp_path, server):
    """A worker process that is not running: tests call its steps."""
    process = Process(ServiceSettings(database=f"sqlite:///{tmp_path}/store.db"), "worker")
    process.server = server
    yield process
    process.leave()


@pytest.fixture
def connect(process, digits_reference):
    """Connect a project with a reference of real digits: the project's row and the project in the tool."""

    def connect(id="1", reference=digits_reference, *, watch=False, **options):
        reference_id = keep_reference(process.store, reference)
        with process.store.writing() as connection:
            project = add_project(connection, id, f"Project {id}", reference_id, ProjectOptions(**options), watch=watch)
        return project, process.tool_project(project)

    return connect

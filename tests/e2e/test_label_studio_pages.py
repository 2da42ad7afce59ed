"""A Label Studio whose operator limits how many tasks it lists at once."""

import pytest
from label_studio import LabelStudio, Person
from running import free_port

from annotriage.settings import ServiceSettings
from annotriage_label_studio import connect_server
from annotriage_label_studio.demo.server import serving

LARGEST = 60


@pytest.fixture
def server(label_studio_executable, tmp_path):
    few = {"TASK_API_PAGE_SIZE_MAX": str(LARGEST)}
    with serving(label_studio_executable, tmp_path, port=free_port(), environment=few) as server:
        yield LabelStudio(server.url, server.token, Person(server.url, server.email, server.password))


def test_all_tasks_are_read_from_a_server_that_lists_few_at_once(server):
    id = server.project()
    tasks = [str(task) for task in server.import_tasks(id, [{"image": "http://127.0.0.1:1/a.png"}] * (2 * LARGEST + 10))]
    project = connect_server(ServiceSettings(label_studio_url=server.url, label_studio_token=server.token)).project(str(id), ["cat", "dog"])
    assert len(server.call("GET", "/api/tasks/", project=id, page_size=500)["tasks"]) == LARGEST
    assert [task for page in project.task_ids_after("") for task in page] == tasks
    assert [task.id for page in project.tasks_after("") for task in page] == tasks
    assert [task.id for task in project.tasks(tasks)] == tasks

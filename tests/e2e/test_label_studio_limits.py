"""A Label Studio whose operator limits what it does: how many tasks it lists at once, and which addresses it calls."""

from __future__ import annotations

import pytest
from label_studio import LabelStudio, Person
from running import free_port

from annotriage.errors import ToolError
from annotriage.settings import ServiceSettings
from annotriage_label_studio import connect_server
from annotriage_label_studio.demo.server import serving

LARGEST = 60
LIMITS = {
    "TASK_API_PAGE_SIZE_MAX": str(LARGEST),
    "LABEL_STUDIO_ML_BLOCK_LOCAL_IP": "true",
    "LABEL_STUDIO_SSRF_PROTECTION_ENABLED": "true",
}


@pytest.fixture(scope="module")
def server(label_studio_executable, tmp_path_factory):
    with serving(label_studio_executable, tmp_path_factory.mktemp("limited"), port=free_port(), environment=LIMITS) as server:
        yield LabelStudio(server.url, server.token, Person(server.url, server.email, server.password))


def project(server, id):
    settings = ServiceSettings(label_studio_url=server.url, label_studio_token=server.token)
    return connect_server(settings).project(str(id), ["cat", "dog"])


def test_all_tasks_are_read_from_a_server_that_lists_few_at_once(server):
    id = server.project()
    tasks = [str(task) for task in server.import_tasks(id, [{"image": "http://127.0.0.1:1/a.png"}] * (2 * LARGEST + 10))]
    listed = project(server, id)
    assert len(server.call("GET", "/api/tasks/", project=id, page_size=500)["tasks"]) == LARGEST
    assert [task for page in listed.task_ids_after("") for task in page] == tasks
    assert [task.id for page in listed.tasks_after("") for task in page] == tasks
    assert [task.id for task in listed.tasks(tasks)] == tasks
    known = [listed.newest_if_known(*of) for of in (("", tasks), (tasks[2], tasks), ("", tasks[1:]), ("", tasks[:-1]), (tasks[-1], []))]
    assert known == [tasks[-1], tasks[-1], None, None, ""]


def test_one_that_calls_no_loopback_address_says_which_settings_let_it(server):
    service = f"http://127.0.0.1:{free_port()}"
    guarded = project(server, server.project())
    with pytest.raises(ToolError, match=r"ML_BLOCK_LOCAL_IP=false and SSRF_PROTECTION_ENABLED=false.*--calls off"):
        guarded.connect(service, "annotriage", "pa55word", "s3cret", "", dry_run=False)
    guarded.connect(None, "annotriage", "pa55word", "s3cret", "", dry_run=False)
    assert [one.name for one in guarded.checks(None, "s3cret") if not one.ok] == []

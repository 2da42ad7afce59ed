"""Reading tasks page by page from a server that gives fewer of them at once than were asked for."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import pytest
from faulty_server import faulty

from annotriage.errors import MediaError
from annotriage_label_studio.editor.labeling_config import DEFAULT_CONTROL
from annotriage_label_studio.editor.tasks import seconds, task_of
from annotriage_label_studio.server import listing, transport
from annotriage_label_studio.server.client import Client
from annotriage_label_studio.server.connection import LabelStudioProject
from annotriage_label_studio.server.media_addresses import is_kept_here, media_address

__all__ = ["faulty"]  # a fixture

ROW = {"data": {}, "created_at": "2026-11-26T12:00:00Z", "updated_at": "2026-11-26T12:00:00Z", "is_labeled": False, "overlap": 1}
CHOICES = '<Choices name="label" toName="image"><Choice value="cat"/><Choice value="dog"/></Choices>'
CONFIG = f'<View><Image name="image" value="$image"/>{CHOICES}</View>'
BROKEN = 66  # the id of a task that the server fails to list, if it has it
LARGEST = 3  # tasks that the server gives at once, whatever is asked for


@pytest.fixture
def ids():
    """The tasks that the server has."""
    return list(range(1, 9))


@pytest.fixture
def client(faulty, ids):
    def answer(request):
        asked = parse_qs(urlsplit(request[1]).query)
        query = json.loads(asked["query"][0])
        included = query.get("selectedItems", {}).get("included", ids)
        after = max((item["value"] for item in query.get("filters", {}).get("items", ())), default=0)
        found = [id for id in ids if id > after and id in included]
        if query["ordering"] == ["-tasks:id"]:
            found.reverse()
        if BROKEN in found[: min(LARGEST, int(asked["page_size"][0]))] and "data" in asked["include"][0]:
            return 500, {}, {"detail": "surrogates not allowed"}
        tasks = [ROW | {"id": id} for id in found[: min(LARGEST, int(asked["page_size"][0]))]]
        return 200, {}, {"tasks": tasks, "total": len(found)}

    faulty.answers = [answer]
    return Client(faulty.url, "0123456789abcdef0123456789abcdef01234567")


def test_a_short_page_is_not_the_last(client, ids):
    assert [int(id) for page in listing.task_ids_after(client, "1", "") for id in page] == ids
    assert [task["id"] for page in listing.tasks_after(client, "1", "2") for task in page] == ids[2:]


def test_tasks_asked_for_by_id_come_however_few_at_once(client, ids):
    assert [task["id"] for task in listing.tasks_by_id(client, "1", [*map(str, ids), "99"], "id")] == ids


def test_an_answer_holds_no_more_than_so_much_data_however_many_tasks_are_asked_for(faulty, client, monkeypatch):
    monkeypatch.setattr(listing, "PAGE_TEXT", 10_000)
    ids, answers = list(range(1, 201)), []

    def answer(request):
        query = {name: values[0] for name, values in parse_qs(urlsplit(request[1]).query).items()}
        asked, size = json.loads(query["query"]), int(query["page_size"])
        after = max((item["value"] for item in asked.get("filters", {}).get("items", ())), default=0)
        found = [id for id in asked.get("selectedItems", {}).get("included", ids) if id > after]
        answers.append(found[:size])
        data = {"data": {"image": "x" * 1_000}} if "data" in query["include"] else {}
        return 200, {}, {"tasks": [ROW | {"id": id} | data for id in answers[-1]], "total": len(found)}

    def read():
        yield [task["id"] for task in listing.tasks_by_id(client, "1", list(map(str, ids)), listing.TASK)]
        yield [task["id"] for page in listing.tasks_after(client, "1", "") for task in page]

    faulty.answers = [answer]
    for found in read():
        assert found == ids
        assert [len(page) for page in answers] == [listing.FIRST_PAGE, *[10] * 17, 5]
        answers.clear()
    assert [task["id"] for task in listing.tasks_by_id(client, "1", list(map(str, ids)), "id")] == ids
    assert len(answers) == 1


def test_the_server_says_when_there_are_no_more(client, faulty, ids):
    ids[2:] = []
    assert list(listing.task_ids_after(client, "1", "")) == [["1", "2"]]
    assert [task["id"] for task in listing.tasks_by_id(client, "1", ["1", "2", "99"], "id")] == [1, 2]
    assert len(faulty.seen) == 2


def test_how_many_are_new_is_one_row_of_the_server(client, faulty):
    assert listing.newest_after(client, "1", "3") == (5, 8)
    assert listing.newest_after(client, "1", "8") == (0, 0)
    assert ["page_size=1&" in address for _, address, *_ in faulty.seen] == [True, True]


def test_a_change_is_read_once_however_often_and_how_far_back_readings_overlap(faulty):
    changed = {1: "2026-11-26T12:00:01Z", 2: "2026-11-26T12:00:40Z", 3: "2026-11-26T12:00:50Z"}
    project = {"id": 1, "title": "Pets", "label_config": CONFIG, "model_version": "", "maximum_annotations": 1}
    read = []

    def answer(request):
        if not request[1].startswith("/api/tasks/"):
            return 200, {}, project
        asked = {name: values[0] for name, values in parse_qs(urlsplit(request[1]).query).items()}
        query = json.loads(asked["query"])
        if "selectedItems" in query:
            found = query["selectedItems"]["included"]
            read.extend(found)
        else:
            since, after = (item["value"] for item in query["filters"]["items"])
            found = [id for id, at in changed.items() if id > after and at > since]
        counts = {"total_annotations": 0, "cancelled_annotations": 0, "annotations": []}
        return 200, {}, {"tasks": [ROW | counts | {"id": id, "updated_at": changed[id]} for id in found], "total": len(found)}

    faulty.answers = [answer]
    listed = LabelStudioProject(Client(faulty.url, "token"), "1", ("cat", "dog"))

    def reading(since):
        list(listed.changed_since(seconds(f"2026-11-26T12:00:{since:02}Z")))
        return [read.pop(0) for _ in range(len(read))]

    assert reading(0) == [1, 2, 3]
    assert reading(45) == []
    assert reading(0) == []
    changed[2] = "2026-11-26T12:00:55Z"
    assert reading(45) == [2]
    assert reading(0) == []
    list(listed.changed_since(0.0))
    assert read == [1, 2, 3], "who asks for all gets all"


def test_a_task_that_the_server_fails_to_list_hides_no_other_and_is_named(client, ids, monkeypatch):
    monkeypatch.setattr(transport, "PAUSES", (0.0,))
    ids[:] = [64, 65, BROKEN, 67, 68]
    read = [task for page in listing.tasks_after(client, "1", "") for task in page]
    assert [task["id"] for task in read] == ids
    (broken,) = [task for task in read if "data" not in task]
    task = task_of(broken, DEFAULT_CONTROL, {}, reviews=True)
    assert (task.id, task.reviews) == ("66", None)
    with pytest.raises(MediaError, match=r"task 66: Label Studio itself fails to list it.*half of a character.*import the task again"):
        media_address(client.url, "1", task.media, task.id, frozenset)
    asked = list(map(str, ids))
    assert [task["id"] for task in listing.tasks_by_id(client, "1", asked, listing.TASK)] == [64, 65, 67, 68]
    assert [task["id"] for task in listing.tasks_by_id(client, "1", asked, listing.TASK, unlisted=True)] == ids


@pytest.mark.parametrize(
    ("server", "media", "address"),
    [
        ("https://host/ls", "/ls/data/upload/3/a.png", "https://host/ls/data/upload/3/a.png"),
        ("https://host/ls", "/data/upload/3/a.png", "https://host/ls/data/upload/3/a.png"),
        ("https://host/ls", "/lsa/data/upload/3/a.png", "https://host/ls/lsa/data/upload/3/a.png"),
        ("https://host", "/ls/data/upload/3/a.png", "https://host/ls/data/upload/3/a.png"),
    ],
)
def test_uploads_of_a_label_studio_below_a_path_have_the_path_once(server, media, address):
    assert media_address(server, "3", media, "1", frozenset) == address


@pytest.mark.parametrize("below", ["", "/ls"])
@pytest.mark.parametrize(
    ("target", "kept"),
    [
        ("/data/upload/1/a.png", True),
        ("/data/local-files/?d=x/../a.png", True),
        ("/storage-data/uploaded/?filepath=upload/1/a.png", True),
        ("/tasks/7/presign/?fileuri=czM6Ly8=", True),
        ("/projects/7/resolve/?fileuri=czM6Ly8=", True),
        ("/api/current-user/token", False),
        ("/api/users/", False),
        ("/data", False),
        ("/data/../api/current-user/token", False),
        ("/data/%2e%2E/api/current-user/token", False),
        ("/data/..%2fapi/current-user/token", False),
        ("/data/x/..", False),
        ("/data//../api/users/", False),
        ("/data/..\\api/users/", False),
        ("/data/%252e%252e/api/users/", False),
        ("/tasks/7/presign/../../../api/users/", False),
        ("/tasks/x/presign/", False),
        ("/static/samples/sample.jpg", False),
        ("/database/a.png", False),
        ("/", False),
    ],
)
def test_whoever_makes_tasks_cannot_read_the_api_with_our_token(below, target, kept):
    assert is_kept_here(f"http://host{below}", below + target) == kept
    assert not below or not is_kept_here(f"http://host{below}", target), "beside the path it is another server"

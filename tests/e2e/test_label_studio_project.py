"""A project of a real Label Studio through the seam: reading, predictions, tasks, annotations."""

import json
import socket
import threading
import time
from datetime import datetime
from urllib.parse import urlsplit

import pytest
import requests
from waiting import PATIENCE, wait_until

from annotriage.errors import MediaError, OutcomeUnknown, StateError, ToolError, ToolGone
from annotriage.labeling_tool import Event, NewTask, Outcomes, Shown
from annotriage.media.fetcher import Fetcher
from annotriage.settings import ServiceSettings
from annotriage_label_studio import connect_server
from annotriage_label_studio.server.media_addresses import media_address

VERSION = "annotriage knees 1a2b"
MULTIPLE = """<View><Image name="image" value="$image"/><Choices name="label" toName="image" choice="multiple">
<Choice value="cat"/><Choice value="dog"/><Choice value="Bird" alias="bird"/></Choices><TextArea name="note" toName="image"/></View>"""


@pytest.fixture(scope="module")
def server(label_studio):
    return connect_server(ServiceSettings(label_studio_url=label_studio.url, label_studio_token=label_studio.token))


@pytest.fixture
def project(server, label_studio):
    return server.project(str(label_studio.project()), ["cat", "dog"])


@pytest.fixture
def tasks(project, label_studio):
    """The ids of twelve new tasks in the project."""
    data = [{"image": f"http://127.0.0.1:1/{number}.png", "scanner": "A", "group": number // 2} for number in range(12)]
    return [str(id) for id in label_studio.import_tasks(int(project.id), data)]


def deliver(project, tasks, version=VERSION, labels=("cat",)):
    """Predictions of rising trust, from 0.04; the project shows them."""
    shown = [Shown(task, labels, (number + 0.5) / len(tasks)) for number, task in enumerate(tasks)]
    assert set(project.deliver(shown, version).done) == set(tasks)
    project.name_version(version)


def record(label_studio, project, task):
    (found,) = [
        listed
        for listed in label_studio.call("GET", "/api/tasks/", project=project.id, fields="all", page_size=500)["tasks"]
        if str(listed["id"]) == task
    ]
    return found


# -- reading


def test_tasks_are_read_in_the_order_of_their_ids(project, tasks):
    read = [task for page in project.tasks_after("") for task in page]
    assert [task.id for task in read] == tasks
    first = read[0]
    assert (first.media, first.group, first.wanted, first.labelled, first.reviews) == ("http://127.0.0.1:1/0.png", "0", 1, False, None)
    assert first.fields == {"scanner": "A", "group": "0"}
    assert abs(first.created_at - time.time()) < 600
    assert [task.id for page in project.tasks_after(tasks[8]) for task in page] == tasks[9:]
    assert [task.id for page in project.tasks_after(tasks[1], limit=3) for task in page] == tasks[2:5]
    assert list(project.tasks_after(tasks[-1])) == []


def test_more_tasks_than_a_page_are_all_read(project, label_studio):
    ids = label_studio.import_tasks(int(project.id), [{"image": "http://127.0.0.1:1/a.png"}] * 1234)
    assert [int(task.id) for page in project.tasks_after("") for task in page] == sorted(ids)
    assert [int(task.id) for task in project.tasks([str(id) for id in ids])] == sorted(ids)


def test_a_task_without_its_picture_says_so(project, label_studio):
    config = label_studio.call("GET", f"/api/projects/{project.id}/")["label_config"]
    label_studio.call("PATCH", f"/api/projects/{project.id}/", {"label_config": config.replace("$image", "$scan")})
    label_studio.import_tasks(int(project.id), [{"scan": ["a.png", "b.png"]}, {"scan": ""}])
    listed, empty = project.tasks([task.id for page in project.tasks_after("") for task in page])
    assert listed.media == empty.media == ""
    assert "several pictures in its data field 'scan'" in listed.problem
    assert "nothing in its data field 'scan'" in empty.problem


def test_reviews_tell_who_answered_what(project, tasks, label_studio):
    label_studio.annotate(int(tasks[0]), "dog", lead_time=2.0)
    label_studio.annotate(int(tasks[1]), "cat", was_cancelled=True)
    label_studio.annotate(int(tasks[2]), "cat", ground_truth=True)
    label_studio.call("POST", f"/api/tasks/{tasks[3]}/annotations/", {"result": [], "lead_time": 1.0})
    read = {task.id: task for task in project.tasks([*tasks[:5], "999999999"])}
    assert list(read) == tasks[:5]
    answered, skipped, truth, empty = (read[id].reviews[0] for id in tasks[:4])
    assert (answered.labels, answered.annotator, answered.machine) == (("dog",), str(label_studio.admin.id), False)
    assert abs(answered.updated_at - time.time()) < 600
    assert (skipped.labels, skipped.skipped, skipped.empty) == (None, True, False)
    assert (truth.labels, truth.ground_truth) == (("cat",), True)
    assert (empty.labels, empty.skipped, empty.empty) == (None, False, True)
    assert [read[id].labelled for id in tasks[:5]] == [True, False, True, True, False]
    assert read[tasks[4]].reviews == ()


def test_several_choices_are_read_and_none_of_them_is_an_answer(server, label_studio):
    project = server.project(str(label_studio.project(MULTIPLE)), ["cat", "dog", "bird"])
    some, note, nothing = (str(id) for id in label_studio.import_tasks(int(project.id), [{"image": "a.png"}] * 3))
    choices = {"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": ["dog", "bird"]}}
    text = {"from_name": "note", "to_name": "image", "type": "textarea", "value": {"text": ["blurred"]}}
    for task, result in ((some, [choices]), (note, [text]), (nothing, [])):
        label_studio.call("POST", f"/api/tasks/{task}/annotations/", {"result": result})
    reviews = {task.id: task.reviews[0] for task in project.tasks([some, note, nothing])}
    assert (reviews[some].labels, reviews[note].labels, reviews[nothing].labels) == (("bird", "dog"), (), None)
    assert [reviews[task].empty for task in (some, note, nothing)] == [False, False, True]
    assert set(project.deliver([Shown(some, ("cat", "bird"), 0.5), Shown(note, (), 0.5)], VERSION).done) == {some, note}
    found = label_studio.call("GET", "/api/predictions/", project=project.id)
    assert [row["result"] and row["result"][0]["value"]["choices"] for row in found] == [["cat", "bird"], []]


def changed(project, time):
    return {task.id for changes in project.changed_since(time) for task in changes.tasks}


def test_what_changed_is_found_by_its_time(project, tasks, label_studio):
    before = label_studio_time(label_studio, project, tasks)
    assert changed(project, before) == set()
    annotation = label_studio.annotate(int(tasks[2]))
    assert changed(project, before) == {tasks[2]}
    label_studio.call("PATCH", f"/api/tasks/{tasks[5]}/", {"data": {"image": "http://127.0.0.1:1/other.png"}})
    assert changed(project, before) == {tasks[5]}, "what the last reading gave is not read again"
    between = label_studio_time(label_studio, project, tasks)
    label_studio.call("DELETE", f"/api/annotations/{annotation}/")
    assert changed(project, between) == {tasks[2]}
    deliver(project, tasks)
    assert changed(project, between) == set()


def label_studio_time(label_studio, project, tasks):
    """The latest time that the server has given one of the tasks."""
    listed = label_studio.call("GET", "/api/tasks/", project=project.id, page_size=100)["tasks"]
    return max(datetime.fromisoformat(task["updated_at"]).timestamp() for task in listed if str(task["id"]) in tasks)


def test_the_tasks_of_an_event_are_those_of_the_project(project, tasks, label_studio):
    records = label_studio.call("GET", "/api/tasks/", project=project.id, page_size=100)["tasks"]
    (page,) = project.tasks_after("")
    assert project.tasks_of(Event("created", project.id, tuple(records))) == page


def test_a_project_that_is_gone_is_said_to_be(server, label_studio):
    project = server.project(str(label_studio.project()), ["cat", "dog"])
    label_studio.call("DELETE", f"/api/projects/{project.id}/")
    for call in (
        project.facts,
        project.versions,
        lambda: list(project.tasks_after("")),
        lambda: project.deliver([Shown("1", None, 0.1)], "v"),
    ):
        with pytest.raises(ToolGone):
            call()


def test_a_config_that_does_not_fit_is_a_problem_of_the_project(server, label_studio):
    project = server.project(str(label_studio.project(title="Pets", maximum_annotations=2)), ["cat", "wolf"])
    facts = project.facts()
    assert (facts.title, facts.version, facts.wanted) == ("Pets", "", 2)
    assert "no choice for 'wolf'. Classes of the model: 'cat', 'wolf'. Choices: 'cat', 'dog'" in facts.problem
    (task,) = label_studio.import_tasks(int(project.id), [{"image": "a.png"}])
    with pytest.raises(ToolError, match="no choice for 'wolf'"):
        project.deliver([Shown(str(task), ("cat",), 0.5)], VERSION)
    with pytest.raises(ToolError, match="no choice for 'wolf'"):
        project.connect("http://127.0.0.1:9", "u", "p", "s", "", dry_run=False)


def test_a_config_that_changes_is_seen_with_the_facts(project, tasks, label_studio):
    assert project.facts().problem is None
    config = project.facts().config
    label_studio.call("PATCH", f"/api/projects/{project.id}/", {"label_config": config.replace('"dog"', '"hound"')})
    assert "no choice for 'dog'" in project.facts().problem
    label_studio.call("PATCH", f"/api/projects/{project.id}/", {"label_config": config.replace('"dog"', '"hound" alias="dog"')})
    assert project.facts().problem is None
    deliver(project, tasks[:1], labels=("dog",))
    (prediction,) = label_studio.call("GET", "/api/predictions/", project=project.id)
    assert prediction["result"][0]["value"]["choices"] == ["dog"]


# -- media


def test_media_are_fetched_from_where_the_task_says(server, project, label_studio):
    fetcher = Fetcher([], trusted={server.url: server.media_headers})
    upload = ("files", ("a.png", b"\x89PNG not really", "image/png"))
    headers = {"Authorization": f"Token {label_studio.token}"}
    requests.post(
        f"{label_studio.url}/api/projects/{project.id}/import", files=[upload], headers=headers, timeout=PATIENCE
    ).raise_for_status()
    ((task,),) = project.tasks_after("")
    assert task.media.startswith("/data/upload/")
    assert fetcher.get(project.media_address(task.media, task.id), "it") == b"\x89PNG not really"
    for secret in ("/api/current-user/token", "/api/users/", "/data/../api/users/"):  # what tasks name is not asked for in our name
        with pytest.raises(MediaError, match="answered 40"):
            fetcher.get(project.media_address(secret, task.id), "it")
    assert project.media_address("https://example.com/a.png", "7") == "https://example.com/a.png"
    assert project.media_address("/data/local-files/?d=x/a.png", "7") == f"{server.url}/data/local-files/?d=x/a.png"


@pytest.mark.parametrize("media", ["a.png", "ftp://x/a.png", "file:///etc/passwd", "//evil.example/a.png", "x" * 999])
def test_media_that_label_studio_cannot_give_are_named(project, media):
    with pytest.raises(MediaError, match=r"task 7: .* upload") as error:
        project.media_address(media, "7")
    assert len(str(error.value)) < 600


def test_a_cloud_address_without_its_storage_is_an_error_of_the_media(project, label_studio):
    label_studio.import_tasks(int(project.id), [{"image": "s3://bucket/a.png"}])
    ((read,),) = project.tasks_after("")
    assert read.media == "s3://bucket/a.png"
    with pytest.raises(MediaError, match=r"'s3://bucket/a\.png' lies in a cloud storage that is not connected to project [0-9]+; add it"):
        project.media_address(read.media, read.id)
    address = media_address("http://ls", project.id, "s3://bucket/a.png", "7", lambda: ["s3"])
    assert address == "http://ls/tasks/7/presign/?fileuri=czM6Ly9idWNrZXQvYS5wbmc="


def test_a_list_of_addresses_without_a_name_is_read_as_label_studio_shows_it(project, label_studio):
    headers = {"Authorization": f"Token {label_studio.token}"}
    files = {"list": ("list.txt", b"http://127.0.0.1:1/1.png\nhttp://127.0.0.1:1/2.png\n", "text/plain")}
    requests.post(f"{label_studio.url}/api/projects/{project.id}/import", files=files, headers=headers, timeout=PATIENCE).raise_for_status()
    (page,) = project.tasks_after("")
    assert [task.media for task in page] == ["http://127.0.0.1:1/1.png", "http://127.0.0.1:1/2.png"]
    raw = {"id": 1, "data": {"$undefined$": "a.png"}}
    assert [task.media for task in project.tasks_of(Event("created", project.id, (raw,)))] == ["a.png"]


# -- predictions


def test_predictions_are_stored_counted_and_read_back(project, tasks, label_studio):
    assert project.deliver([], VERSION) == Outcomes()
    deliver(project, tasks[:6])
    deliver(project, tasks[:2])
    assert set(project.deliver([Shown(tasks[7], None, 0.125)], "other").done) == {tasks[7]}
    assert project.versions() == {VERSION: 8, "other": 1}
    found = project.delivered([*tasks, "999999999"], VERSION)
    assert {task: len(ids) for task, ids in found.items()} == {**dict.fromkeys(tasks[:2], 2), **dict.fromkeys(tasks[2:6], 1)}
    assert all(ids == sorted(ids, key=int) for ids in found.values())
    few = project.delivered(tasks[:1], VERSION)
    assert few == {tasks[0]: found[tasks[0]]}
    (empty,) = record(label_studio, project, tasks[7])["predictions"]
    assert (empty["result"], empty["score"]) == ([], 0.125)


def test_a_task_that_is_gone_takes_no_other_prediction_with_it(project, tasks, label_studio):
    label_studio.call("DELETE", f"/api/tasks/{tasks[0]}/")
    shown = [Shown(task, ("cat",), 0.5) for task in tasks]
    assert project.deliver(shown, VERSION) == Outcomes(dict.fromkeys(tasks[1:], ""), gone=frozenset(tasks[:1]))
    assert set(project.delivered(tasks, VERSION)) == set(tasks[1:])
    assert project.deliver(shown[:1], VERSION) == Outcomes(gone=frozenset(tasks[:1]))


def test_predictions_are_withdrawn_and_withdrawing_again_is_no_error(project, tasks):
    deliver(project, tasks[:2])
    found = project.delivered(tasks, VERSION)
    for _ in range(2):
        project.withdraw(found[tasks[0]])
    assert project.delivered(tasks, VERSION) == {tasks[1]: found[tasks[1]]}


def test_a_version_is_named_once_it_exists_and_dropped_without_losing_the_one_shown(project, tasks):
    with pytest.raises(ToolError):
        project.name_version("nothing yet")
    deliver(project, tasks, "old")
    deliver(project, tasks, "new")
    assert project.facts().version == "new"
    project.drop_version("old", keep="new")
    assert project.versions() == {"new": len(tasks)}
    assert project.facts().version == "new"


def test_an_import_whose_client_was_killed_is_read_back(server, project, label_studio):
    """As after a crash: the request is sent and the connection closed at once; the server stores it all the same."""
    ids = [str(id) for id in label_studio.import_tasks(int(project.id), [{"image": "http://127.0.0.1:1/a.png"}] * 500)]
    rows = [{"task": int(id), "model_version": VERSION, "score": 0.5, "result": []} for id in ids]
    body = json.dumps(rows).encode()
    host = urlsplit(label_studio.url)
    head = [
        f"POST /api/projects/{project.id}/import/predictions HTTP/1.1",
        f"Host: {host.netloc}",
        f"Authorization: Token {label_studio.token}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    with socket.create_connection((host.hostname, host.port)) as connection:
        connection.sendall("\r\n".join([*head, "", ""]).encode() + body)
    wait_until(lambda: set(project.delivered(ids, VERSION)) == set(ids), what="for the predictions")


# -- tasks


def create(project, items):
    """New tasks with their predictions. An import that found the database locked is told apart; the service goes on like this."""
    try:
        return project.create(items, VERSION).done
    except OutcomeUnknown:
        made = project.created([item.marker for item in items])
        there = project.delivered(list(made.values()), VERSION)
        missing = [Shown(made[item.marker], item.labels, item.trust) for item in items if made[item.marker] not in there]
        assert len(project.deliver(missing, VERSION).done) == len(missing)
        return {item.marker: made[item.marker] for item in items}


def test_pushed_items_become_tasks_that_are_found_again(project, label_studio):
    items = [
        NewTask(f"lot 7/{number} (é)|", f"http://127.0.0.1:1/{number}.png", {"source": "PACS"}, ("dog",), 0.9) for number in range(120)
    ]
    made = create(project, items)
    assert list(made) == [item.marker for item in items]
    found = project.created([*(item.marker for item in items), "unknown"])
    assert found == made
    task = project.tasks([made[items[3].marker]])[0]
    assert (task.media, task.marker, task.fields) == ("http://127.0.0.1:1/3.png", items[3].marker, {"source": "PACS"})
    (prediction,) = record(label_studio, project, task.id)["predictions"]
    assert (prediction["score"], prediction["model_version"], prediction["result"][0]["value"]) == (0.9, VERSION, {"choices": ["dog"]})
    assert project.create([], VERSION) == Outcomes()


def test_fields_are_merged_into_the_data_and_taken_away(project, tasks, label_studio):
    before = record(label_studio, project, tasks[0])["data"]
    project.write_fields(tasks[0], {"triage_route": "review", "triage_outlier_score": 0.93})
    assert record(label_studio, project, tasks[0])["data"] == before | {"triage_route": "review", "triage_outlier_score": 0.93}
    assert project.tasks(tasks[:1])[0].fields == {"scanner": "A", "group": "0"}
    project.write_fields(tasks[0], {"triage_route": None, "triage_outlier_score": None, "triage_never": None})
    assert record(label_studio, project, tasks[0])["data"] == before
    with pytest.raises(ToolGone, match="no task 999999999"):
        project.write_fields("999999999", {"a": 1})


def test_a_task_that_is_asked_again_goes_to_another_person_by_the_label_button(project, tasks, label_studio):
    deliver(project, tasks)
    label_studio.call("PATCH", f"/api/projects/{project.id}/", {"sampling": "Uncertainty sampling"})
    first, second = label_studio.user(), label_studio.user()
    task = str(first.next_task(int(project.id))["id"])
    assert task == tasks[0]
    answer = {"result": [{"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": ["cat"]}}], "lead_time": 1}
    first.call("POST", f"/api/tasks/{task}/annotations/", answer)
    assert str(second.next_task(int(project.id))["id"]) == tasks[1]
    second.call("POST", f"/api/tasks/{tasks[1]}/annotations/", answer)
    project.ask_again(task, 2)
    assert (project.tasks([task])[0].labelled, project.tasks([task])[0].wanted) == (False, 2)
    assert str(first.next_task(int(project.id))["id"]) == tasks[2]
    assert str(second.next_task(int(project.id))["id"]) == task
    second.call("POST", f"/api/tasks/{task}/annotations/", answer)
    (read,) = project.tasks([task])
    assert read.labelled
    assert len({review.annotator for review in read.reviews}) == 2
    project.ask_again(task, 2)
    assert project.tasks([task])[0].labelled
    project.ask_again(tasks[1], 3)
    assert not project.tasks([tasks[1]])[0].labelled
    project.ask_again(tasks[1], 1)  # as disconnecting does
    (read,) = project.tasks([tasks[1]])
    assert (read.labelled, read.wanted) == (True, 1)


# -- annotations


def test_only_untouched_tasks_with_one_answer_are_accepted(project, tasks, label_studio):
    deliver(project, tasks[:8])
    label_studio.annotate(int(tasks[0]), "dog")
    label_studio.annotate(int(tasks[1]), "dog", was_cancelled=True)
    label_studio.call("PATCH", f"/api/tasks/{tasks[2]}/", {"overlap": 2})
    project.deliver([Shown(tasks[3], ("dog",), 0.9)], VERSION)
    project.deliver([Shown(tasks[8], None, 0.9)], VERSION)
    project.deliver([Shown(tasks[4], ("dog",), 0.9)], "older")
    label_studio.call("POST", f"/api/tasks/{tasks[5]}/drafts", {"result": [], "lead_time": 1})
    accepted = project.accept([*tasks, "999999999"], VERSION).done
    assert set(accepted) == {tasks[4], tasks[6], tasks[7]}
    for task in project.tasks(list(accepted)):
        (review,) = task.reviews
        assert (review.id, review.labels, review.machine, task.labelled) == (accepted[task.id], ("cat",), True, True)
    assert project.accept(tasks, VERSION).done == accepted
    assert len(label_studio.call("GET", f"/api/tasks/{tasks[0]}/")["annotations"]) == 1


def test_what_a_person_submits_or_changes_is_no_machines(project, tasks, label_studio):
    deliver(project, tasks[:2])
    accepted = project.accept(tasks[:1], VERSION).done
    label_studio.call("PATCH", f"/api/annotations/{accepted[tasks[0]]}/", {"lead_time": 3.0, "ground_truth": False})
    (prediction,) = project.delivered(tasks[1:2], VERSION)[tasks[1]]
    label_studio.annotate(int(tasks[1]), "cat", parent_prediction=int(prediction), lead_time=1.5)
    assert [task.reviews[0].machine for task in project.tasks(tasks[:2])] == [False, False]


def test_accepted_annotations_are_retracted(project, tasks):
    deliver(project, tasks[:3])
    accepted = project.accept(tasks[:3], VERSION).done
    for _ in range(2):
        project.retract([accepted[task] for task in tasks[:2]])
    assert [(task.labelled, len(task.reviews)) for task in project.tasks(tasks[:3])] == [(False, 0), (False, 0), (True, 1)]
    assert set(project.accept(tasks[:3], VERSION).done) == set(tasks[:3])


def test_calls_from_several_threads_do_not_disturb_each_other(project, tasks):
    deliver(project, tasks)
    results, threads = [], []
    for _ in range(8):
        threads.append(threading.Thread(target=lambda: results.append(len(project.tasks(tasks)) + len(project.delivered(tasks, VERSION)))))
        threads[-1].start()
    for thread in threads:
        thread.join()
    assert results == [2 * len(tasks)] * 8


# -- the labeling config


def test_a_choice_is_added_as_it_was_foreseen_and_taken_back_unless_people_have_answered_with_it(project, tasks, label_studio):
    def config():
        return label_studio.call("GET", f"/api/projects/{project.id}/")["label_config"]

    before = config()
    change = project.with_choice("stripes & dots")
    assert (config(), change.before) == (before, before)
    project.change_config(change)
    assert config() == change.after
    assert project.choices().labels == ("cat", "dog", "stripes & dots")
    with pytest.raises(StateError, match="somebody has changed the labeling config"):
        project.change_config(change)
    project.change_config(project.without_choice("stripes & dots"))
    assert config() == before
    project.change_config(project.with_choice("stripes & dots"))
    label_studio.annotate(int(tasks[0]), "stripes & dots")
    assert project.tasks(tasks[:1])[0].reviews[0].labels == ("stripes & dots",)
    with pytest.raises(StateError, match="1 answer names the class 'stripes & dots', so it stays"):
        project.without_choice("stripes & dots")
    assert project.choices().labels == ("cat", "dog", "stripes & dots")


# -- the server


def test_the_token_may_be_a_personal_one(label_studio):
    settings = ServiceSettings(label_studio_url=label_studio.url + "/", label_studio_token=label_studio.personal_token())
    server = connect_server(settings)
    assert [check.ok for check in server.checks()] == [True, True]
    project = server.project(str(label_studio.project()), ["cat", "dog"])
    assert project.facts().problem is None
    assert project.address("5") == f"{label_studio.url}/projects/{project.id}/data?task=5"


def test_a_wrong_token_and_an_absent_server_are_told_apart(label_studio):
    refused = connect_server(ServiceSettings(label_studio_url=label_studio.url, label_studio_token="0" * 40))
    assert [check.ok for check in refused.checks()] == [True, False]
    absent = connect_server(ServiceSettings(label_studio_url="http://127.0.0.1:9", label_studio_token="0" * 40))
    assert [check.ok for check in absent.checks()] == [False, None]

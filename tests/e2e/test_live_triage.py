"""Live triage in a real Label Studio, with the service as its users run it: what annotators find, and what their answers do."""

from __future__ import annotations

import base64
import io
from collections import Counter
from urllib.parse import quote

import pytest
import requests
from PIL import Image
from running import RunningService
from waiting import PATIENCE, wait_until

CLASSES = [str(digit) for digit in range(8)]
UNCHECKED = ("--sample-share", 0, "--audit-share", 0)
CONFIG = (
    '<View><Image name="image" value="$image"/><Choices name="label" toName="image">'
    + "".join(f'<Choice value="{name}"/>' for name in CLASSES)
    + '<Choice value="None of these" alias="none-of-these"/></Choices></View>'
)


@pytest.fixture(scope="module")
def reference(digits_reference, tmp_path_factory):
    """The folder of a reference of real digits."""
    folder = tmp_path_factory.mktemp("reference") / "digits"
    digits_reference.save(folder)
    return folder


@pytest.fixture(scope="module")
def service(label_studio, tmp_path_factory):
    """A running service; tests make projects of their own."""
    service = RunningService(tmp_path_factory.mktemp("service"), label_studio.url, label_studio.token, dataset_fields=["scanner"])
    service.start()
    yield service
    service.stop()


@pytest.fixture(autouse=True)
def deleted(label_studio, service):
    """What a test connected is deleted after it: a service reads its projects every second, and Label Studio would soon do nothing else."""

    def connected():
        return {line["project"] for line in service.get("/api/projects")["projects"] if not line["gone"]}

    before = connected()
    yield
    for project in connected() - before:
        label_studio.call("DELETE", f"/api/projects/{project}/")


@pytest.fixture
def project(label_studio, service, reference):
    """A project that is connected, still empty."""
    return connected(label_studio, service, reference)


@pytest.fixture
def unchecked(label_studio, service, reference):
    """The same without spot checks: those stand in no queue, and one that is answered otherwise than the model waits for another person."""
    return connected(label_studio, service, reference, *UNCHECKED)


def connected(label_studio, service, reference, *options, config=CONFIG, **fields):
    id = label_studio.project(config=config, **fields)
    service.command("connect", "--project", id, "--reference", reference, *options)
    return id


@pytest.fixture(scope="module")
def scans(digits):
    """Tasks of real digits: `known` ones and `strangers`, each with its picture in itself."""

    def tasks(images, scanner):
        found = []
        for image in images:
            content = io.BytesIO()
            Image.fromarray(image).save(content, "PNG")
            uri = "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()
            found.append({"image": uri, "scanner": scanner})
        return found

    return {"known": tasks(digits.incoming[0][:80], "A"), "strangers": tasks(digits.strangers[0][:40], "B")}


def listed(label_studio, project):
    """All tasks with their predictions."""
    found = label_studio.call("GET", "/api/tasks/", project=project, fields="all", page_size=1000, resolve_uri="false")
    return {task["id"]: task for task in found["tasks"]}


def state(service, project):
    """How the service says that a project stands."""
    return service.get(f"/api/projects/{project}")["project"]


def wait_for_predictions(label_studio, project, count):
    """Wait until so many are there, and are those that the project shows: the score of others is none, and orders no queue."""

    def shown():
        tasks = listed(label_studio, project).values()
        scored = sum(task["predictions_score"] is not None for task in tasks)
        return sum(len(task["predictions"]) for task in tasks) >= count <= scored

    wait_until(shown, every=0.5, what=f"for {count} predictions in project {project}")


def wait_until_settled(service, project, items):
    """Wait until so many items are judged and the service has nothing left to judge, send or read back."""

    def settled():
        detail = service.get(f"/api/projects/{project}")
        judged = sum(route["items"] for route in detail["project"]["routes"])
        return judged >= items and not detail["project"]["waiting"] and not sum(detail["undelivered"].values())

    wait_until(settled, what=f"for {items} settled items in project {project}", every=0.5)


def item(service, project, task):
    """What the service says of a task."""
    return service.get(f"/api/projects/{project}/items/{task}")["item"]


def answer(person, task, label, **fields):
    """A person's answer, as the Submit button sends it."""
    result = [{"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": [label]}}] if label else []
    return person.call("POST", f"/api/tasks/{task}/annotations/", {"result": result, **fields})["id"]


def queue_length(service, project):
    return state(service, project)["queue"]


def tab(label_studio, project, title):
    (view,) = [view for view in label_studio.call("GET", "/api/dm/views/", project=project) if view["data"]["title"] == title]
    return [task["id"] for task in label_studio.call("GET", "/api/tasks", view=view["id"], page_size=500)["tasks"]]


# -- connecting


def set_up(label_studio, project):
    """What of a project `connect` touches, in figures."""
    fields = label_studio.call("GET", f"/api/projects/{project}/")
    lists = {kind: label_studio.call("GET", path, project=project) for kind, path in PLACES.items()}
    return {kind: len(found) for kind, found in lists.items()} | {name: fields[name] for name in ("sampling", "model_version")}


PLACES = {"webhooks": "/api/webhooks/", "backends": "/api/ml/", "tabs": "/api/dm/views/"}
CONNECTED = {"webhooks": 1, "backends": 1, "tabs": 5, "sampling": "Uncertainty sampling"}


def test_of_six_people_who_connect_at_once_one_does_and_five_are_told_so(label_studio, service, reference, scans):
    id = label_studio.project(config=CONFIG)
    label_studio.import_tasks(id, scans["known"][:5])
    begun = [service.begin("connect", "--project", id, "--reference", reference) for _ in range(6)]
    said = [process.communicate(timeout=300)[0] for process in begun]
    refused = [words for words, process in zip(said, begun, strict=True) if process.returncode]
    assert all(words.startswith(f"Error: another command is connecting or disconnecting project {id}") for words in refused), said
    assert all(len(words.splitlines()) == 1 for words in refused)
    assert len(refused) < 6
    found = set_up(label_studio, id)
    assert {key: found[key] for key in CONNECTED} == CONNECTED


@pytest.mark.parametrize("place", PLACES)
def test_what_a_killed_connect_left_is_taken_back(label_studio, service, reference, scans, place):
    id = label_studio.project(config=CONFIG, sampling="Uniform sampling")
    label_studio.import_tasks(id, scans["known"][:5])
    before = set_up(label_studio, id)
    killed = service.begin("connect", "--project", id, "--reference", reference)
    wait_until(lambda: label_studio.call("GET", PLACES[place], project=id) or killed.poll() is not None, every=0.01)
    killed.kill()
    killed.communicate()
    assert set_up(label_studio, id) != before
    service.command("disconnect", "--project", id)
    assert set_up(label_studio, id) == before
    assert "is not connected" in service.command("disconnect", "--project", id, check=False)


def test_a_service_whose_token_is_refused_says_so_at_once_and_whoever_asks_hears_it(label_studio, tmp_path):
    service = RunningService(tmp_path, label_studio.url, "0" * 40)
    service.start()
    try:
        wait_until(lambda: "token: " in service.tail() and "The token is wrong" in service.tail(), what="for its word on the token")
        service.config.write_text(service.config.read_text().replace("0" * 40, label_studio.token))  # as another shell may have it
        told = []

        def passed_on():  # to the database, a moment after it is said
            told[:] = [service.command("doctor", check=False)]
            return "WRONG  the service's access: token: " in told[0]

        wait_until(passed_on, what="for its word in the database")
        assert "ok     this shell's token: accepted" in told[0]
    finally:
        service.stop()


# -- what annotators find


def test_new_imports_are_triaged_while_one_watches(label_studio, service, project, scans):
    ids = label_studio.import_tasks(project, [*scans["known"], *scans["strangers"]])
    wait_for_predictions(label_studio, project, len(ids))
    tasks = listed(label_studio, project)
    assert {len(task["predictions"]) for task in tasks.values()} == {1}
    (version,) = {task["predictions"][0]["model_version"] for task in tasks.values()}
    assert label_studio.call("GET", f"/api/projects/{project}/")["model_version"] == version
    items = {id: item(service, project, id) for id in ids}
    for id, row in items.items():
        hidden = row["route"] in ("outlier", "failed") or row["spot_check"] is not None
        assert (tasks[id]["predictions"][0]["result"] == []) == hidden, row

    def strange(some):
        routes = [items[id]["route"] for id in some if items[id]["spot_check"] is None]  # of spot checks it is not said
        return routes.count("outlier") / len(routes)

    known = len(scans["known"])
    assert strange(ids[known:]) > 2 * strange(ids[:known])


def test_tabs_sort_what_waits_strangest_first_and_fields_say_why(label_studio, service, project, scans):
    ids = label_studio.import_tasks(project, [*scans["known"][:30], *scans["strangers"][:20]])
    wait_for_predictions(label_studio, project, len(ids))
    checks = {id for id in ids if item(service, project, id)["spot_check"]}
    assert 0 < len(checks) < len(ids)

    def titles():
        return {view["data"]["title"] for view in label_studio.call("GET", "/api/dm/views/", project=project)}

    wait_until(lambda: "Spot checks" in titles(), what="for the tabs")
    wait_until(lambda: set(tab(label_studio, project, "Spot checks")) == checks, what="for the spot checks' fields")
    review = tab(label_studio, project, "Manual review")
    trust = {id: task["predictions"][0]["score"] for id, task in listed(label_studio, project).items()}
    assert review == sorted(review, key=trust.__getitem__)
    assert set(review) == {id for id, value in trust.items() if value < 2 / 3} - checks
    assert queue_length(service, project) == len(review), "the tab and the dashboard count alike"

    def described():
        tasks = listed(label_studio, project)
        fields = [tasks[id]["data"] for id in review]
        return [data for data in fields if "triage_diversity" in data or data.get("triage_route") == "uncertain"]

    wait_until(lambda: len(described()) == len(review), every=1.0, what="for the fields")
    assert {"triage_route", "triage_reason", "triage_outlier_score", "triage_diversity", "scanner", "image"} <= set(described()[0])
    pre_annotated = tab(label_studio, project, "Pre-annotated")
    assert set(pre_annotated) == set(ids) - set(review) - checks


def test_with_webhooks_switched_off_the_poll_finds_everything(label_studio, service, unchecked, scans):
    for webhook in label_studio.call("GET", "/api/webhooks/", project=unchecked):
        label_studio.call("DELETE", f"/api/webhooks/{webhook['id']}/")
    ids = label_studio.import_tasks(unchecked, scans["known"][:20])
    wait_for_predictions(label_studio, unchecked, 20)
    person = label_studio.admin
    answer(person, ids[0], "3")
    wait_until(lambda: item(service, unchecked, ids[0])["answer"] == "resolved", what="for the answer")


def test_retrieve_predictions_gives_each_task_its_one(label_studio, service, project, scans):
    ids = label_studio.import_tasks(project, scans["known"][:20])
    wait_for_predictions(label_studio, project, 20)
    selected = {"selectedItems": {"all": True, "excluded": []}}
    label_studio.call("POST", "/api/dm/actions", selected, id="retrieve_tasks_predictions", project=project)
    wait_until_settled(service, project, 20)
    assert {len(listed(label_studio, project)[id]["predictions"]) for id in ids} == {1}


# -- what answers do


def test_answers_flow_back_and_the_queue_shrinks(label_studio, service, unchecked, scans):
    ids = label_studio.import_tasks(unchecked, scans["strangers"][:10])
    wait_for_predictions(label_studio, unchecked, 10)
    wait_until(lambda: queue_length(service, unchecked) > 5, what="for the queue")
    before = queue_length(service, unchecked)
    review = answer(label_studio.admin, ids[0], "None of these")
    wait_until(lambda: queue_length(service, unchecked) == before - 1, what="for the queue to shrink")
    assert item(service, unchecked, ids[0])["answered"] == ["None of these"]
    label_studio.call("DELETE", f"/api/annotations/{review}/")
    wait_until(lambda: queue_length(service, unchecked) == before, what="for the item to come back")


def test_skips_and_empty_annotations_resolve_nothing(label_studio, service, unchecked, scans):
    ids = label_studio.import_tasks(unchecked, scans["strangers"][:4])
    wait_for_predictions(label_studio, unchecked, 4)
    answer(label_studio.admin, ids[0], "3", was_cancelled=True)
    answer(label_studio.admin, ids[1], "")
    answer(label_studio.admin, ids[2], "3")
    wait_until(lambda: item(service, unchecked, ids[2])["answer"] == "resolved", what="for the answer")
    assert [item(service, unchecked, id)["answer"] for id in ids[:2]] == ["open", "open"]


def test_with_two_answers_wanted_the_majority_decides(label_studio, service, reference, scans):
    project = connected(label_studio, service, reference, *UNCHECKED, maximum_annotations=2)
    ids = label_studio.import_tasks(project, scans["strangers"][:2])
    wait_for_predictions(label_studio, project, 2)
    first, second = label_studio.user(), label_studio.user()
    answer(first, ids[0], "3")
    answer(second, ids[0], "3")
    answer(first, ids[1], "3")
    answer(second, ids[1], "5")
    wait_until(lambda: item(service, project, ids[0])["answer"] == "resolved", what="for the majority")
    wait_until(lambda: item(service, project, ids[1])["answer"] == "disputed", what="for the dispute")
    truth = answer(label_studio.admin, ids[1], "7", ground_truth=True)
    wait_until(lambda: item(service, project, ids[1])["answered"] == ["7"], what="for the ground truth")
    assert truth


def test_tasks_labelled_before_take_no_part(label_studio, service, reference, scans):
    project = label_studio.project(config=CONFIG)
    ids = label_studio.import_tasks(project, scans["known"][:6])
    answer(label_studio.admin, ids[0], "3")
    service.command("connect", "--project", project, "--reference", reference)
    wait_for_predictions(label_studio, project, 5)
    wait_until_settled(service, project, 5)
    tasks = listed(label_studio, project)
    assert [len(tasks[id]["predictions"]) for id in ids] == [0, 1, 1, 1, 1, 1]


def test_two_people_at_the_label_button_get_the_strangest_without_an_answer_and_never_the_same(label_studio, service, reference, scans):
    project = connected(label_studio, service, reference, *UNCHECKED)
    ids = label_studio.import_tasks(project, [*scans["strangers"][:8], *scans["known"][:8]])
    wait_for_predictions(label_studio, project, len(ids))
    trust = {id: task["predictions"][0]["score"] for id, task in listed(label_studio, project).items()}
    strangest = sorted(trust, key=trust.__getitem__)
    people = label_studio.user(), label_studio.user()
    given = []
    for _ in range(3):
        held = [person.next_task(project)["id"] for person in people]
        given += held
        for person, task in zip(people, held, strict=True):
            answer(person, task, "3")
    assert given == strangest[:6]


# -- other ways in, and out


def test_pushed_items_are_triaged_first_and_then_created_with_prediction_and_fields(label_studio, service, project, scans):
    items = [{"id": f"scan-{place}", "media": task["image"], "data": {"scanner": "C"}} for place, task in enumerate(scans["known"][:5])]
    pushed = service.call("POST", "/api/datasets/clinic/items", json={"project": str(project), "items": items})
    assert pushed.status_code == 202, pushed.text
    again = service.call("POST", "/api/datasets/clinic/items", json={"project": str(project), "items": items})
    assert again.ok, again.text
    wait_for_predictions(label_studio, project, 5)
    wait_until_settled(service, project, 5)
    tasks = listed(label_studio, project)
    assert len(tasks) == 5
    assert {len(task["predictions"]) for task in tasks.values()} == {1}
    assert {task["data"]["scanner"] for task in tasks.values()} == {"C"}


def test_uploads_and_broken_media(label_studio, service, project, scans):
    content = base64.b64decode(scans["known"][0]["image"].partition(",")[2])
    headers = {"Authorization": f"Token {label_studio.token}"}
    files = [("a", ("a.png", content)), ("b", ("b.png", b"no picture at all"))]
    assert requests.post(f"{label_studio.url}/api/projects/{project}/import", files=files, headers=headers, timeout=PATIENCE).ok
    served = label_studio.files / f"scans of {project}"
    served.mkdir()
    for place in (served, label_studio.files.parent):  # the second lies beside what may be served
        (place / "c.png").write_bytes(content)
    label_studio.call("POST", "/api/storages/localfiles", {"project": project, "path": str(served), "use_blob_urls": True})
    local = f"/data/local-files/?d={quote(served.name)}"
    addresses = ["http://169.254.169.254/latest", "/data/upload/99/missing.png"]
    addresses += [
        f"{local}/../../c.png",
        f"{local}/..%2f..%2fc.png",
        f"/data/local-files/?d={served.parent.parent}/c.png",
        f"{local}/c.png",
    ]
    label_studio.import_tasks(project, [{"image": address} for address in addresses])
    wait_for_predictions(label_studio, project, 8)
    tasks = sorted(listed(label_studio, project).values(), key=lambda task: task["id"])
    items = [item(service, project, task["id"]) for task in tasks]
    assert [row["route"] == "failed" for row in items] == [False, *[True] * 6, False]
    assert "media_hosts" in items[2]["verdict"]["reason"]
    assert [task["predictions"][0]["result"] for task in tasks[1:7]] == [[]] * 6


def test_a_choice_renamed_under_a_running_project_stops_delivery_and_says_so(label_studio, service, project, scans):
    label_studio.import_tasks(project, scans["known"][:3])
    wait_for_predictions(label_studio, project, 3)
    path = f"/api/projects/{project}/"
    label_studio.call("PATCH", path, {"label_config": CONFIG.replace('value="7"', 'value="seven"')})
    wait_until(lambda: state(service, project)["problem"], what="for the problem")
    assert "'7'" in state(service, project)["problem"]
    label_studio.import_tasks(project, scans["known"][3:6])
    wait_until(lambda: service.get(f"/api/projects/{project}")["undelivered"].get("pending") == 3, what="for what is held back")
    assert sum(len(task["predictions"]) for task in listed(label_studio, project).values()) == 3
    assert "seven" in service.command("doctor", check=False)
    label_studio.call("PATCH", path, {"label_config": CONFIG})
    wait_for_predictions(label_studio, project, 6)


def test_disconnect_leaves_the_project_as_it_was(label_studio, service, project, scans):
    path = f"/api/projects/{project}/"
    ids = label_studio.import_tasks(project, scans["strangers"][:5])
    wait_for_predictions(label_studio, project, 5)
    service.command("disconnect", "--project", project)
    tasks = listed(label_studio, project)
    assert [tasks[id]["predictions"] for id in ids] == [[]] * 5
    assert not any(key.startswith("triage_") for task in tasks.values() for key in task["data"])
    assert label_studio.call("GET", "/api/webhooks/", project=project) == []
    assert label_studio.call("GET", "/api/ml", project=project) == []
    assert label_studio.call("GET", path)["sampling"] == "Sequential sampling"
    assert service.call("GET", f"/api/projects/{project}").status_code == 404


def test_connect_can_be_tried_and_only_watched_first(label_studio, service, reference, scans):
    project = label_studio.project(config=CONFIG)
    ids = label_studio.import_tasks(project, scans["known"][:10])
    before = label_studio.call("GET", f"/api/projects/{project}/")
    said = service.command("connect", "--project", project, "--reference", reference, "--dry-run")
    assert "10" in said
    assert label_studio.call("GET", f"/api/projects/{project}/") == before
    service.command("connect", "--project", project, "--reference", reference, "--watch")
    wait_until(lambda: sum(line["items"] for line in state(service, project)["routes"]) == 10, what="for the verdicts")
    assert [listed(label_studio, project)[id]["predictions"] for id in ids] == [[]] * 10
    assert label_studio.call("GET", "/api/webhooks/", project=project) == []


def test_classes_without_a_choice_are_refused_with_both_lists(label_studio, service, reference):
    project = label_studio.project(config=CONFIG.replace('<Choice value="7"/>', ""))
    said = service.command("connect", "--project", project, "--reference", reference, check=False)
    assert "no choice for '7'" in said
    assert "None of these" in said


def test_a_killed_service_goes_on_where_it_was(label_studio, service, project, scans):
    ids = label_studio.import_tasks(project, [*scans["known"], *scans["strangers"]])
    wait_until(lambda: sum(route["items"] for route in state(service, project)["routes"]), every=0.02, what="for the first verdicts")
    service.kill()
    service.start()
    wait_for_predictions(label_studio, project, len(ids))
    wait_until_settled(service, project, len(ids))
    assert Counter(len(task["predictions"]) for task in listed(label_studio, project).values()) == {1: len(ids)}

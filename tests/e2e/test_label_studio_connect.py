"""Connecting a project of a real Label Studio with a service, and disconnecting it again: webhook, ML backend, order, tabs."""

import threading

import pytest
from flask import Flask, request
from waiting import wait_until
from werkzeug.serving import make_server

from annotriage.errors import ToolError
from annotriage.labeling_tool import SECRET_HEADER, Before, Shown
from annotriage.settings import ServiceSettings
from annotriage_label_studio import blueprint, connect_server, read_event

VERSION = "annotriage pets 1a2b"
PAGE = "https://triage.example.com/projects/1"
OUR_LINE = f"[annotriage] Why tasks wait, and how the queue stands: {PAGE}"
TABS = ["Manual review", "Outliers", "Unsure", "Pre-annotated"]


class Service:
    """A service on a port of its own, with the plugin's real routes; it calls every task a cat."""

    def __init__(self):
        self.events, self.trained, self.busy = [], [], False
        app = Flask("service")
        app.register_blueprint(blueprint(self, self.has_password, lambda: request.headers.get(SECRET_HEADER) == "s3cret"))
        self.server = make_server("127.0.0.1", 0, app, threaded=True)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def has_password(self):
        sent = request.authorization
        return sent is not None and (sent.username, sent.password) == ("annotriage", "pa55word")

    control = ()

    def classes_of(self, project, version):
        return ("Tibia", "Femoral side")

    def version_of(self, project):
        return VERSION

    def predictions(self, project, records):
        return None if self.busy else (VERSION, [Shown(str(record["id"]), ("cat",), 0.8) for record in records])

    def take_event(self, body):
        self.events.append(read_event(body))

    def train(self, project):
        self.trained.append(project)


@pytest.fixture(scope="module")
def service():
    service = Service()
    yield service
    service.close()


@pytest.fixture
def project(label_studio):
    server = connect_server(ServiceSettings(label_studio_url=label_studio.url, label_studio_token=label_studio.token))
    return server.project(str(label_studio.project()), ["cat", "dog"])


@pytest.fixture
def tasks(project, label_studio):
    """Nine tasks with predictions of rising trust, three in each band; the first of each band is answered already."""
    ids = [
        str(id)
        for id in label_studio.import_tasks(int(project.id), [{"image": f"http://127.0.0.1:1/{n}.png", "site": "A"} for n in range(9)])
    ]
    project.deliver([Shown(id, ("cat",), (number + 0.5) / 9) for number, id in enumerate(ids)], VERSION)
    project.name_version(VERSION)
    for id in ids[::3]:
        label_studio.annotate(int(id))
    return ids


def connect(project, service, dry_run=False):
    """What connecting did, without the notes."""
    return [
        line
        for line in project.connect(service.url, "annotriage", "pa55word", "s3cret", PAGE, dry_run=dry_run)
        if not line.startswith("Note")
    ]


def set_up(label_studio, project):
    """All of a project that connecting may touch, as Label Studio has it."""
    of_project = {
        key: value
        for key, value in label_studio.call("GET", f"/api/projects/{project.id}/").items()
        if key in ("model_version", "sampling", "description")
    }
    tasks = label_studio.call("GET", "/api/tasks/", project=project.id, fields="all", page_size=500)["tasks"]
    return {
        "project": of_project,
        "webhooks": unstamped(label_studio.call("GET", "/api/webhooks/", project=project.id)),
        "backends": unstamped(label_studio.call("GET", "/api/ml/", project=project.id)),
        "tabs": label_studio.call("GET", "/api/dm/views/", project=project.id),
        "tasks": [
            (task["id"], task["data"], len(task["annotations"]), [prediction["model_version"] for prediction in task["predictions"]])
            for task in tasks
        ],
    }


def unstamped(records):
    return [{key: value for key, value in record.items() if key not in ("created_at", "updated_at")} for record in records]


def listed(label_studio, project):
    """The tasks of each tab, in its order."""
    tabs = label_studio.call("GET", "/api/dm/views/", project=project.id)
    return {
        tab["data"]["title"]: [
            str(task["id"]) for task in label_studio.call("GET", "/api/tasks/", project=project.id, view=tab["id"])["tasks"]
        ]
        for tab in tabs
    }


def test_a_dry_run_says_what_connecting_does_and_changes_nothing(project, service, tasks, label_studio):
    before = set_up(label_studio, project)
    planned = connect(project, service, dry_run=True)
    assert set_up(label_studio, project) == before
    done = connect(project, service)
    assert [line.replace("to be ", "") for line in planned] == done
    assert done[:4] == [
        f"Webhook at {service.url}/webhook: added.",
        f"ML backend 'annotriage' at {service.url}: added.",
        "Order of labeling, 'Sequential sampling' so far: set to 'Uncertainty sampling', the strangest first.",
        "Line in the project's description: added.",
    ]


def test_connecting_twice_doubles_nothing(project, service, tasks, label_studio):
    connect(project, service)
    first = set_up(label_studio, project)
    assert connect(project, service) == []
    assert set_up(label_studio, project) == first
    assert [len(first[key]) for key in ("webhooks", "backends")] == [1, 1]
    assert first["project"] == {"model_version": VERSION, "sampling": "Uncertainty sampling", "description": OUR_LINE}


def test_tabs_show_the_open_tasks_of_their_band_strangest_first(project, service, tasks, label_studio):
    connect(project, service)
    open_tasks = [task for task in tasks if task not in tasks[::3]]
    assert listed(label_studio, project) == {
        "Manual review": open_tasks[:4],
        "Outliers": open_tasks[:2],
        "Unsure": open_tasks[2:4],
        "Pre-annotated": open_tasks[4:],
        "Default": tasks,
    }


def test_the_picture_and_the_triage_fields_come_first_in_a_tab(project, service, tasks, label_studio):
    connect(project, service)
    project.write_fields(tasks[1], {"triage_route": "review", "triage_reason": "Stranger than all."})
    columns = label_studio.call("GET", "/api/dm/columns/", project=project.id)["columns"]
    names = [("data." if column.get("parent") == "data" else "") + column["id"] for column in columns if column["id"] != "data"]
    (tab,) = [view for view in label_studio.call("GET", "/api/dm/views/", project=project.id) if view["data"]["title"] == "Manual review"]
    hidden = {name.removeprefix("tasks:") for name in tab["data"]["hiddenColumns"]["explore"]}
    assert [name for name in names if name not in hidden] == ["data.image", "data.triage_route", "data.triage_reason", "id"]


def test_the_label_button_hands_out_the_strangest_first(project, service, tasks, label_studio):
    connect(project, service)
    people = label_studio.user(), label_studio.user()
    assert [str(person.next_task(int(project.id))["id"]) for person in people] == tasks[1:3]


def test_label_studio_tells_the_service_what_happens(project, service, label_studio):
    connect(project, service)
    service.events.clear()
    service.trained.clear()
    first, second = label_studio.import_tasks(int(project.id), [{"image": "a.png"}, {"image": "b.png"}])
    annotation = label_studio.annotate(first)
    label_studio.call("DELETE", f"/api/annotations/{annotation}/")
    label_studio.call("DELETE", f"/api/tasks/{second}/")
    label_studio.call("PATCH", f"/api/projects/{project.id}/", {"title": "Another title"})
    (backend,) = label_studio.call("GET", "/api/ml/", project=project.id)
    label_studio.call("POST", f"/api/ml/{backend['id']}/train", {})
    told = [(event.kind, event.task_ids or tuple(str(task["id"]) for task in event.records)) for event in service.events]
    assert told[0] == ("created", (str(first), str(second)))
    assert ("changed", (str(first),)) in told
    assert ("changed", ()) in told
    assert ("deleted", (str(second),)) in told
    assert {event.project for event in service.events} == {project.id}
    assert service.trained == [project.id]
    assert [task.media for task in project.tasks_of(service.events[0])] == ["a.png", "b.png"]


def test_predictions_asked_for_in_label_studio_are_the_services(project, service, label_studio):
    connect(project, service)
    ids = label_studio.import_tasks(int(project.id), [{"image": "a.png"}] * 3)

    def retrieve():
        selected = {"selectedItems": {"all": False, "included": ids}}
        label_studio.call("POST", "/api/dm/actions", selected, id="retrieve_tasks_predictions", project=project.id)
        return {task: len(found) for task, found in project.delivered([str(id) for id in ids], VERSION).items()}

    service.busy = True
    assert retrieve() == {}
    service.busy = False
    assert retrieve() == dict.fromkeys(map(str, ids), 1)


def test_a_webhook_that_lost_its_actions_is_mended(project, service, label_studio):
    connect(project, service)
    (webhook,) = label_studio.call("GET", "/api/webhooks/", project=project.id)
    label_studio.call("PATCH", f"/api/webhooks/{webhook['id']}/", {"headers": {}})
    assert "with headers, actions not as set up" in check(project, service, "webhook").found
    assert connect(project, service) == [f"Webhook at {service.url}/webhook: mended (headers, actions)."]
    (mended,) = label_studio.call("GET", "/api/webhooks/", project=project.id)
    assert (mended["id"], mended["headers"], len(mended["actions"])) == (webhook["id"], {SECRET_HEADER: "s3cret"}, 7)
    assert check(project, service, "webhook").ok


def test_a_service_that_moved_is_followed_not_doubled(project, service, label_studio):
    connect(project, service)
    moved = Service()
    try:
        done = connect(project, moved)
        after = set_up(label_studio, project)
    finally:
        moved.close()
    assert done == [f"Webhook at {moved.url}/webhook: mended (url).", f"ML backend 'annotriage' at {moved.url}: mended (url)."]
    assert [webhook["url"] for webhook in after["webhooks"]] == [f"{moved.url}/webhook"]
    assert [backend["url"] for backend in after["backends"]] == [moved.url]


def test_a_tab_that_two_made_at_the_same_moment_is_there_once_in_the_end(project, service, tasks, label_studio):
    connect(project, service)
    before = label_studio.call("GET", "/api/dm/views/", project=project.id)
    twice = next(tab for tab in before if tab["data"]["title"] == "Outliers")
    label_studio.call("POST", "/api/dm/views/", {"project": int(project.id), "data": twice["data"]})
    assert project.repair() == ["Tab 'Outliers', which was there twice: removed."]
    assert [tab["id"] for tab in label_studio.call("GET", "/api/dm/views/", project=project.id)] == [tab["id"] for tab in before]
    assert project.repair() == []


def test_tabs_are_made_again_where_they_were_deleted_and_left_where_they_were_changed(project, service, tasks, label_studio):
    connect(project, service)
    tabs = {tab["data"]["title"]: tab for tab in label_studio.call("GET", "/api/dm/views/", project=project.id)}
    label_studio.call("DELETE", f"/api/dm/views/{tabs['Outliers']['id']}/")
    label_studio.call("PATCH", f"/api/projects/{project.id}/", {"sampling": "Uniform sampling"})
    theirs = {key: value for key, value in tabs["Unsure"]["data"].items() if key != "annotriage"} | {"ordering": ["-tasks:id"]}
    label_studio.call("PATCH", f"/api/dm/views/{tabs['Unsure']['id']}/", {"project": int(project.id), "data": theirs})
    assert not check(project, service, "tabs").ok
    assert not check(project, service, "order of labeling").ok
    done = project.repair()
    assert done == [
        "Order of labeling, 'Uniform sampling' so far: set to 'Uncertainty sampling', the strangest first.",
        "Tab 'Outliers': made.",
    ]
    assert project.repair() == []
    assert listed(label_studio, project)["Unsure"] == [tasks[5], tasks[4]]
    assert check(project, service, "tabs").ok


def test_a_tab_that_answers_with_an_error_is_made_anew(project, service, tasks, label_studio):
    connect(project, service)
    (tab,) = [view for view in label_studio.call("GET", "/api/dm/views/", project=project.id) if view["data"]["title"] == "Unsure"]
    filters = {"conjunction": "and", "items": [{"filter": "filter:tasks:nope", "operator": "equal", "type": "String", "value": "x"}]}
    broken = {"title": "Unsure", "type": "list", "target": "tasks", "filters": filters}
    label_studio.call("PATCH", f"/api/dm/views/{tab['id']}/", {"project": int(project.id), "data": broken})
    assert "'Unsure' does not open" in check(project, service, "tabs").found
    assert connect(project, service) == ["Tab 'Unsure', which could not be opened: made again."]
    assert listed(label_studio, project)["Unsure"] == tasks[4:6]


def test_spot_checks_have_a_tab_of_their_own_as_soon_as_a_task_says_that_it_is_one(project, service, tasks, label_studio):
    connect(project, service)
    before = listed(label_studio, project)
    assert "Spot checks" not in before
    check_among_them = before["Manual review"][0]
    project.write_fields(check_among_them, {"triage_route": "spot check", "triage_spot_check": "yes"})
    project.write_fields(before["Manual review"][-1], {"triage_route": "uncertain"})
    assert project.repair() == [
        *(f"Tab {title!r}, which was out of date: made again." for title in ("Manual review", "Outliers", "Unsure")),
        "Tab 'Spot checks': made.",
    ]
    assert project.repair() == []
    after = listed(label_studio, project)
    assert list(after) == [*TABS, "Spot checks", "Default"], "the project goes on opening with Manual review"
    assert after["Spot checks"] == [check_among_them]
    for title in ("Manual review", "Outliers", "Unsure"):
        assert after[title] == [task for task in before[title] if task != check_among_them]
    assert after["Pre-annotated"] == before["Pre-annotated"]


def test_a_tab_for_a_person_holds_what_is_open_of_its_tasks_and_goes_with_the_others(project, service, tasks, label_studio):
    connect(project, service)
    before = set_up(label_studio, project)
    project.assign("For Ann: group 1", tasks[:2])
    address = project.assign("For Ann: group 1", tasks[3:6])
    assert listed(label_studio, project)["For Ann: group 1"] == tasks[4:6], "the first of them is answered"
    (tab,) = [tab for tab in label_studio.call("GET", "/api/dm/views/", project=project.id) if tab["data"]["title"] == "For Ann: group 1"]
    assert address.endswith(f"/projects/{project.id}/data?tab={tab['id']}")
    assert project.repair() == []
    changed = {key: value for key, value in tab["data"].items() if not key.startswith("annotriage")}  # as by Label Studio's pages
    label_studio.call("PATCH", f"/api/dm/views/{tab['id']}/", {"project": int(project.id), "data": changed})
    project.disconnect(service.url, [], [], None)
    assert "For Ann: group 1" not in listed(label_studio, project)
    assert set_up(label_studio, project)["tasks"] == before["tasks"]


def test_a_project_without_tasks_gets_its_tabs_when_there_are_some(project, service, label_studio):
    notes = project.connect(service.url, "annotriage", "pa55word", "s3cret", "", dry_run=False)
    assert any("as soon as the project has tasks" in note for note in notes)
    assert listed(label_studio, project) == {}
    assert check(project, service, "tabs").ok
    assert project.repair() == []
    label_studio.import_tasks(int(project.id), [{"image": "a.png"}])
    assert project.repair() == [f"Tab {title!r}: made." for title in (*TABS, "Default")]
    assert [len(found) for found in listed(label_studio, project).values()] == [0, 0, 0, 0, 1]


def test_disconnecting_leaves_the_project_as_it_was(project, service, label_studio):
    ids = [str(id) for id in label_studio.import_tasks(int(project.id), [{"image": f"{n}.png"} for n in range(4)])]
    project.deliver([Shown(ids[0], ("dog",), 0.5)], "somebody else's")
    project.name_version("somebody else's")
    written = {"sampling": "Uniform sampling", "description": "Legs of dogs.\nAsk Ann."}
    label_studio.call("PATCH", f"/api/projects/{project.id}/", written)
    theirs = {"project": int(project.id), "data": {"title": "Mine", "type": "list", "target": "tasks"}}
    label_studio.call("POST", "/api/dm/views/", theirs)
    label_studio.call(
        "POST", "/api/webhooks/", {"project": int(project.id), "url": "http://127.0.0.1:1/theirs", "actions": ["TASKS_CREATED"]}
    )
    label_studio.annotate(int(ids[1]), "dog")
    before = set_up(label_studio, project)
    connect(project, service)
    assert set_up(label_studio, project)["project"]["description"] == f"{written['description']}\n\n{OUR_LINE}"
    project.deliver([Shown(id, ("cat",), 0.4) for id in ids], VERSION)
    project.name_version(VERSION)
    project.write_fields(ids[2], {"triage_route": "review", "triage_reason": "Strange."})
    done = project.disconnect(service.url, [VERSION, "never delivered"], ["triage_route", "triage_reason"], None)
    assert set_up(label_studio, project) == before
    assert "Triage fields, in 1 task: removed." in done
    assert "Order of labeling: set back to 'Uniform sampling'." in done
    assert project.disconnect(service.url, [VERSION], ["triage_route"], None) == []


def test_disconnecting_again_after_it_broke_off_anywhere_restores_the_order_that_was(project, service, tasks, label_studio):
    label_studio.call("PATCH", f"/api/projects/{project.id}/", {"sampling": "Uniform sampling"})
    before = project.facts()
    connect(project, service)
    (backend,) = label_studio.call("GET", "/api/ml/", project=project.id)
    label_studio.call("DELETE", f"/api/ml/{backend['id']}")  # as somebody may do; the order was remembered there, too
    done = project.disconnect(service.url, [], [], Before(before.version, before.order))
    assert "Order of labeling: set back to 'Uniform sampling'." in done
    assert project.facts() == before
    assert listed(label_studio, project) == {}


def test_what_other_people_chose_in_a_project_that_was_never_connected_stays(project, service, tasks, label_studio):
    label_studio.call("PATCH", f"/api/projects/{project.id}/", {"sampling": "Uncertainty sampling"})
    label_studio.call("POST", "/api/dm/views/", {"project": int(project.id), "data": {"title": "Outliers", "type": "list"}})
    before = set_up(label_studio, project)
    assert project.disconnect(service.url, [], [], None) == []
    assert set_up(label_studio, project) == before


def test_a_service_that_is_not_to_be_called_leaves_no_address_in_the_project(project, service, tasks, label_studio):
    connect(project, service)
    done = [line for line in project.connect(None, "annotriage", "pa55word", "s3cret", "", dry_run=False) if not line.startswith("Note")]
    gone = ("Webhook at {}/webhook", "ML backend at {}", "Line in the project's description")
    assert done == [f"{what.format(service.url)}: removed." for what in gone]
    left = set_up(label_studio, project)
    assert (left["webhooks"], left["backends"]) == ([], [])
    project.name_version(VERSION)
    assert [check.name for check in project.checks(None, "s3cret") if not check.ok] == []
    connect(project, service)
    assert not {check.name: check for check in project.checks(None, "s3cret")}["calls"].ok


def test_a_service_that_label_studio_does_not_reach_is_said_to_be(project, label_studio):
    with pytest.raises(ToolError, match=r"does not reach this service at http://127\.0\.0\.1:9.*annotriage serve.*service_url"):
        project.connect("http://127.0.0.1:9", "annotriage", "pa55word", "s3cret", "", dry_run=False)


def test_a_wrong_password_is_no_connection(project, service):
    with pytest.raises(ToolError, match="401"):
        project.connect(service.url, "annotriage", "wrong", "s3cret", "", dry_run=False)


def test_what_people_should_know_of_their_config_is_noted(service, label_studio):
    config = """<View><Image name="image" value="$image"/><Text name="why" value="$triage_reason"/><Choices name="label" toName="image">
    <Choice value="cat"/><Choice value="dog"/></Choices></View>"""
    server = connect_server(ServiceSettings(label_studio_url=label_studio.url, label_studio_token=label_studio.token))
    project = server.project(str(label_studio.project(config)), ["cat", "dog"])
    notes = [
        line for line in project.connect(service.url, "annotriage", "pa55word", "s3cret", "", dry_run=True) if line.startswith("Note: ")
    ]
    assert any("$triage_" in note for note in notes)
    assert any('alias="none-of-these"' in note for note in notes)
    assert "import" in check(project, service, "labeling config").found


# -- doctor


def check(project, service, name):
    (found,) = [check for check in project.checks(service.url, "s3cret") if check.name == name]
    return found


def test_a_project_that_is_set_up_well_passes_every_check(project, service, tasks):
    connect(project, service)
    assert [(check.name, check.found) for check in project.checks(service.url, "s3cret") if not check.ok] == []


def test_what_is_wrong_is_found_with_its_fix(project, service, tasks, label_studio):
    wrong = {check.name: check for check in project.checks(service.url, "s3cret") if not check.ok}
    assert set(wrong) == {"webhook", "ML backend", "order of labeling", "tabs"}
    assert all(f"annotriage connect --project {project.id}" in check.fix for check in wrong.values())
    connect(project, service)
    label_studio.call("POST", f"/api/tasks/{tasks[1]}/annotations/", {"result": [], "lead_time": 1})
    project.deliver([Shown(tasks[0], None, 0.1)], "new")
    label_studio.call("PATCH", f"/api/projects/{project.id}/", {"model_version": "annotriage", "evaluate_predictions_automatically": True})
    label_studio.call("PATCH", f"/api/projects/{project.id}/", {"show_collab_predictions": False})
    wrong = {check.name: check.found for check in project.checks(service.url, "s3cret") if not check.ok}
    assert set(wrong) == {"version shown", "empty annotations", "predictions", "automatic evaluation"}
    assert f"(tasks {tasks[1]})" in wrong["empty annotations"]
    assert VERSION in wrong["version shown"]


def test_a_service_that_is_down_is_seen_in_the_state_of_the_backend(project, label_studio):
    gone = Service()
    try:
        connect(project, gone)
    finally:
        gone.close()
    wait_until(lambda: not check(project, gone, "ML backend").ok, what="for Label Studio to miss the service")
    found = check(project, gone, "ML backend")
    assert "annotriage serve" in found.fix

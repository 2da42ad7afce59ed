"""The JSON API: projects, datasets, items, the queue, on both databases. Every answer is held against its schema."""

from __future__ import annotations

import time
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from triaged import data_uri
from web import Web

from annotriage.service.guarantee.standings import Standings
from annotriage.service.operations.jobs import run_queued
from annotriage.service.operations.process import Process
from annotriage.service.operations.references import keep_reference
from annotriage.service.readings.snapshots import snapshot
from annotriage.settings import ServiceSettings
from annotriage.states import Alarm
from annotriage.store import acceptances, browsing, items
from annotriage.store.jobs import jobs_of
from annotriage.store.projects import change_project, get_project, raise_alarm


@pytest.fixture(params=["sqlite", "postgres"])
def process(request, server):
    process = Process(ServiceSettings(database=request.getfixturevalue(request.param), label_studio_token="unused"), "worker")
    process.server = server
    yield process
    process.leave()


@pytest.fixture
def web(process):
    return Web(process)


@pytest.fixture
def triaged(connect, worker, mixed):
    """A project with 30 known digits and 20 strangers in two imports; one task has no picture."""
    project, tool = connect("3", sample_share=0.1, audit_share=0.1, dataset_fields=("scanner",))
    for image in mixed[0][:30]:
        tool.add(data_uri(image), fields={"scanner": "A"})
    for image in mixed[0][-20:]:
        tool.add(data_uri(image), fields={"scanner": "B"})
    tool.add("nonsense", group="patient 1")
    worker.settle()
    return project, tool


def pages(web, path, key, limit=7):
    """All rows of a paged list, and how many pages they took."""
    found, after, count = [], "", 0
    while after is not None:
        answer = web.get(f"{path}{'&' if '?' in path else '?'}limit={limit}{f'&after={after}' if after else ''}")
        assert answer.status_code == 200, answer.text
        found += answer.json[key]
        after, count = answer.json["next"], count + 1
    return found, count


def items_of(web, query):
    """The items that a query finds, without their addresses."""
    return [line["item"] for line in web.get(f"/api/projects/3/items?{query}").json["items"]]


def counted(routes):
    return {line["route"]: line["items"] for line in routes}


def test_a_number_that_the_store_cannot_hold_is_the_number_of_nothing(web, connect):
    connect("3")
    most = 2**31 - 1
    assert web.get(f"/projects/3/queue.json?group={most}").json["lines"] == []
    for query in (f"queue.json?group={most + 1}", f"items.json?group={most + 1}", f"map/chosen?group={10**17}", f"map/state?map={10**20}"):
        assert web.get(f"/projects/3/{query}").status_code == 422, query
    for path in (f"map/1/points/{most + 1}", f"map/training/1/{most + 1}", f"training/1/{10**30}/thumbnail", f"map/{10**20}/legend"):
        assert web.get(f"/projects/3/{path}").status_code == 404, path
    assert web.get(f"/projects/3/map/items/{'9' * 5_000}").status_code == 404


def test_a_project_says_how_it_stands(web, triaged):
    (line,) = web.get("/api/projects").json["projects"]
    assert (line["project"], line["title"], line["watch"], line["problem"]) == ("3", "In memory", False, None)
    assert sum(counted(line["routes"]).values()) == 51
    assert counted(line["routes"])["failed"] == 1
    detail = web.get("/api/projects/3").json
    assert detail["project"] == line
    assert "automatic labels" in detail["guarantee"]
    assert detail["options"]["dataset_fields"] == ["scanner"]
    assert detail["rescoring"] is None


def test_a_new_reference_shows_how_far_it_is(web, triaged, process, other_reference):
    project, _ = triaged
    other = keep_reference(process.store, other_reference)
    with process.store.writing() as connection:
        change_project(connection, project.id, next_reference_id=other)
        project = get_project(connection, project.id)
        rows = browsing.items_page(connection, project, limit=500)
        items.add_work(connection, project, [row.id for row in rows])
    found = web.get("/api/projects/3").json["rescoring"]
    assert found["version"] == other_reference.prediction_version
    assert (found["waiting"], found["undelivered"]) == (51, 0)


def test_datasets_are_counted_by_route(web, triaged):
    found, count = pages(web, "/api/projects/3/datasets", "datasets", limit=2)
    assert count == 3
    by_name = {(row["dataset"]["kind"], row["dataset"]["name"]): row for row in found}
    assert by_name[("all", "all")]["items"] == 51
    assert (by_name[("field", "scanner=A")]["items"], by_name[("field", "scanner=B")]["items"]) == (30, 20)
    assert counted(by_name[("field", "scanner=B")]["routes"])["outlier"] > 10
    fields, _ = pages(web, "/api/projects/3/datasets?kind=field", "datasets")
    assert {line["dataset"]["kind"] for line in fields} == {"field"}


def test_items_are_filtered_and_paged_without_gaps(web, triaged):
    _, tool = triaged
    found, count = pages(web, "/api/projects/3/items", "items")
    assert [row["item"]["task"] for row in found] == sorted(tool.tasks_by_id, key=int)
    assert count == 8
    datasets, _ = pages(web, "/api/projects/3/datasets?kind=field", "datasets")
    number = next(line["dataset"]["id"] for line in datasets if line["dataset"]["name"] == "scanner=B")
    strangers, _ = pages(web, f"/api/projects/3/items?dataset={number}&route=outlier", "items")
    assert strangers == [row for row in found[30:50] if row["item"]["route"] == "outlier"]
    failed, _ = pages(web, "/api/projects/3/items?route=failed", "items")
    (judged,) = [row["item"]["verdict"] for row in failed]
    assert (judged["labels"], judged["confidence"], judged["failure"]) == ([], None, "address")
    assert "nonsense" in judged["reason"]


def test_items_are_found_by_how_they_are_answered(web, triaged, worker):
    _, tool = triaged
    tool.annotate("31", "7")
    before = tool.add("nonsense")
    tool.annotate(before.id, "7")
    worker.settle()
    (resolved,) = items_of(web, "answer=resolved")
    assert (resolved["task"], resolved["answered"], resolved["machine"]) == ("31", ["7"], False)
    (labelled,) = items_of(web, "answer=labelled")
    assert (labelled["task"], labelled["route"]) == (before.id, None)
    assert len(web.get("/api/projects/3/items?answer=open&limit=100").json["items"]) == 50


def test_the_queue_has_everything_that_waits_for_a_person_the_strangest_first(web, triaged, worker):
    _, tool = triaged
    lines, count = pages(web, "/api/projects/3/queue", "items")
    queue = [line["item"] for line in lines]
    assert {line["dataset"]["dataset"]["name"] for line in lines} >= {"scanner=A", "scanner=B"}
    assert count > 2
    trusts = [row["trust"] for row in queue]
    assert trusts == sorted(trusts)
    every, _ = pages(web, "/api/projects/3/items", "items", limit=100)
    waits = {line["item"]["task"] for line in every if line["item"]["route"] != "auto" and not line["item"]["spot_check"]}
    assert {row["task"] for row in queue} == waits
    assert len(queue) == len(waits) == web.get("/api/projects").json["projects"][0]["queue"]
    answered = queue[3]["task"]
    tool.annotate(answered, "7")
    worker.settle()
    rest, _ = pages(web, "/api/projects/3/queue", "items")
    assert [row["item"]["task"] for row in rest] == [row["task"] for row in queue if row["task"] != answered]


def test_an_item_shows_its_verdict_datasets_delivery_and_answers(web, triaged, worker):
    project, tool = triaged
    tool.annotate("31", "7", by="ann")
    worker.settle()
    found = web.get("/api/projects/3/items/31").json
    assert found["item"]["task"] == "31"
    assert set(found["item"]["verdict"]["members"]) >= {"energy", "knn"}
    assert {line["dataset"]["kind"] for line in found["datasets"]} == {"all", "batch", "field"}
    (delivery,) = found["deliveries"]
    assert (delivery["version"], delivery["state"]) == (project.version, "confirmed")
    assert [(review["annotator"], review["labels"]) for review in found["reviews"]] == [("ann", ["7"])]
    failed = web.get("/api/projects/3/items/51").json
    assert (failed["item"]["group"], failed["item"]["verdict"]["score"]) == ("patient 1", None)
    assert web.get("/api/projects/3/items/99999").status_code == 404


def test_spot_checks_hide_their_route_and_kind_until_they_are_settled(web, triaged):
    found, _ = pages(web, "/api/projects/3/spot-checks", "spot_checks", limit=3)
    every, _ = pages(web, "/api/projects/3/items", "items", limit=100)
    every = [line["item"] for line in every]
    assert found
    assert {(row["kind"], row["route"], row["state"]) for row in found} == {(None, None, "open")}
    checks = [row for row in every if row["spot_check"]]
    assert {row["task"] for row in found} == {row["task"] for row in checks}
    assert {(row["route"], row["spot_check"]["kind"]) for row in checks} == {("spot check", None)}
    assert sum(web.get("/api/projects/3/spot-checks").json["counts"].values()) == len(found)
    assert web.get("/api/projects/3/spot-checks?state=wrong").json["spot_checks"] == []


def test_a_time_window_has_the_share_of_outliers_with_its_limits(web, triaged):
    now = time.time()
    found = web.get(f"/api/projects/3/window?from={now - 600}&to={now + 1}").json
    assert (found["items"], counted(found["routes"])["failed"]) == (51, 1)
    assert found["share"] == counted(found["routes"])["outlier"] / 50
    assert 0 < found["low"] < found["share"] < found["high"] < 1
    empty = web.get("/api/projects/3/window?from=2020-01-01&to=2020-01-02T00:00:00Z").json
    assert (empty["items"], empty["share"], empty["low"]) == (0, None, None)
    assert empty["start"] == "2020-01-01T00:00:00.000Z"
    assert "before" in web.get("/api/projects/3/window?from=2020-01-02&to=2020-01-01").json["detail"]


def test_diversity_and_advice_are_those_of_the_latest_snapshot(web, triaged, process):
    project, _ = triaged
    assert web.get("/api/projects/3/diversity").json["datasets"] == []
    datasets, _ = pages(web, "/api/projects/3/datasets", "datasets")
    every = next(line["dataset"]["id"] for line in datasets if line["dataset"]["kind"] == "all")
    snapshot(process, project, every)
    (found,) = web.get("/api/projects/3/diversity").json["datasets"]
    assert (found["dataset"]["name"], found["latest"]["n"], found["latest"]["failed"]) == ("all", 50, 1)
    assert found["latest"]["low"] < found["latest"]["share"] < found["latest"]["high"]
    assert found["latest"]["facts"]["diversity"]["sentence"]
    (advice,) = web.get("/api/projects/3/advice").json["datasets"]
    assert {question["question"] for question in advice["questions"]} >= {"train", "deploy", "annotate"}
    history = web.get(f"/api/projects/3/diversity/{every}").json
    assert history["history"] == [{name: found["latest"][name] for name in history["history"][0]}]
    assert web.get("/api/projects/3/diversity/99").status_code == 404
    assert web.get("/api/projects/3/diversity/x").status_code == 404


def test_the_guarantee_is_shown_with_its_evidence_and_how_it_stands(web, triaged, process):
    assert web.get("/api/projects/3/guarantee").json["standing"] is None
    Standings(process).step(triaged[0])
    found = web.get("/api/projects/3/guarantee").json
    assert found["evidence"]["max_error"] == found["standing"]["max_error"] == 0.04
    assert found["standing"]["answers"] == 0
    assert found["sentence"].startswith("At most 4 in 100")


def test_pausing_and_resuming_stop_and_start_automatic_labels(web, triaged, process, worker, picture, mixed):
    _, tool = triaged
    assert "paused" in web.post("/api/projects/3/pause", json={"reason": "new scanner"}).json["done"]
    assert web.get("/api/projects").json["projects"][0]["paused"] == "paused by a person: new scanner"
    tasks = [tool.add(picture(image)) for image in mixed[0][30:50]]
    worker.settle()
    routes = {web.get(f"/api/projects/3/items/{task.id}").json["item"]["route"] for task in tasks}
    assert "auto" not in routes
    assert "already" in web.post("/api/projects/3/pause").json["done"]
    web.post("/api/projects/3/resume")
    assert web.get("/api/projects").json["projects"][0]["paused"] is None
    resumed, paused = web.get("/api/projects/3/events").json["events"][:2]
    assert (resumed["kind"], resumed["text"], resumed["facts"]) == ("resumed", "automatic labels go on", {})
    assert (paused["kind"], paused["text"]) == ("paused", "paused by a person: new scanner")
    assert paused["facts"] == {"reason": "new scanner"}
    assert web.post("/api/projects/3/pause", json={"reason": 1}).status_code == 422


def test_nobody_resumes_what_the_alarm_stopped(web, triaged, process):
    project, _ = triaged
    with process.store.writing() as connection:
        raise_alarm(connection, project.id, Alarm(5, 20, 0.1, 0.4, 0.02, 1.0))
    answer = web.post("/api/projects/3/resume")
    assert answer.status_code == 409
    assert "annotriage recalibrate --project 3" in answer.json["detail"]
    web.post("/api/projects/3/pause", json={"reason": "holiday"})
    with process.store.reading() as connection:
        paused = get_project(connection, project.id)
    assert (paused.alarm.wrong, paused.pause.reason) == (5, "holiday")


def test_accepted_labels_are_listed_and_taken_back(web, triaged, process, worker):
    project, tool = triaged
    every, _ = pages(web, "/api/projects/3/items?route=auto", "items", limit=100)
    tasks = [line["item"]["task"] for line in every if not line["item"]["spot_check"]][:3]
    assert len(tasks) == 3
    with process.store.writing() as connection:
        ids = [row.id for row in items.find_items(connection, project.id, tasks).values()]
        batch, _ = acceptances.begin_batch(connection, project, ids)
    made = tool.accept(tasks, project.version).done
    with process.store.writing() as connection:
        found = items.find_items(connection, project.id, tasks)
        acceptances.end_batch(connection, {found[task].id: review for task, review in made.items()})
    worker.settle()
    assert [found_row["machine"] for found_row in items_of(web, "answer=resolved")] == [True] * 3
    (line,) = web.get("/api/projects/3/batches").json["batches"]
    assert (line["id"], line["items"], line["undone_at"]) == (batch, 3, None)
    assert "3 annotations" in web.post(f"/api/projects/3/batches/{batch}/undo").json["done"]
    assert web.get("/api/projects/3/items?answer=resolved").json["items"] == []
    assert web.get("/api/projects/3/batches").json["batches"][0]["undone_at"] is not None
    assert web.post("/api/projects/3/batches/99/undo").status_code == 404
    assert web.post("/api/projects/3/batches/x/undo").status_code == 404


def test_a_recalibration_is_queued(web, triaged, process):
    project, _ = triaged
    assert web.post("/api/projects/3/recalibrate").status_code == 202
    with process.store.reading() as connection:
        assert [(row.kind, row.state) for row in jobs_of(connection, project.id)] == [("recalibrate", "queued")]


@pytest.mark.parametrize(
    "query",
    [
        "items?limit=0",
        "items?limit=501",
        "items?limit=x",
        "items?route=strange",
        "items?after=x",
        "items?after=-1",
        "items?dataset=1e3",
        "items?dataset=17383815905465540608",
        "items?dataset=-17383815905465540608",
        "items?unknown=1",
        "queue?after=1",
        "queue?after=x,y",
        "queue?after=nan,1",
        "window?from=yesterday",
        "window?from=nan",
        "window?from=1e30",
        "events?after=" + "9" * 30,
    ],
)
def test_a_query_that_means_nothing_is_refused_by_name(web, connect, query):
    connect("3")
    answer = web.get(f"/api/projects/3/{query}")
    assert answer.status_code == 422
    assert answer.json["detail"]


# -- the document


def test_the_document_describes_every_route_of_the_api(web):
    described = {(method.upper(), path) for path, methods in web.document["paths"].items() for method in methods}
    routes = {
        (method, rule.rule.replace("<", "{").replace(">", "}"))
        for rule in web.app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
        if rule.rule.startswith("/api/")
    }
    assert routes - described == {("GET", "/api/openapi.json")}
    assert described <= routes


def test_the_schemas_of_the_document_are_schemas(web):
    assert web.document["openapi"] == "3.1.0"
    for schema in web.document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
        assert schema["description"]


def test_a_training_that_lacks_its_data_is_answered_as_the_document_says(web, connect):
    connect("1")
    assert web.post("/api/projects/1/train").status_code == 409


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_asked_is_answered_as_the_document_says(web, connect, data):
    if not web.get("/api/projects").json["projects"]:
        connect("1")
    some = st.text(max_size=12) | st.integers().map(str) | st.floats().map(str) | st.sampled_from(["1", "auto", "open", "\0", "%00", ".."])
    template, methods = data.draw(st.sampled_from(sorted(web.document["paths"].items(), key=lambda path: path[0])))
    method, operation = data.draw(st.sampled_from(sorted(methods.items(), key=lambda method: method[0])))
    path, query = template, {}
    for parameter in operation["parameters"]:
        value = data.draw(some)
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", quote(value.replace("/", ""), safe="", errors="surrogatepass") or "1")
        elif data.draw(st.booleans()):
            query[parameter["name"]] = value
    body = data.draw(st.none() | st.dictionaries(st.sampled_from(["reason", "project", "items"]), some | st.lists(some, max_size=2)))
    assert web.open(method.upper(), path, query_string=query, **({} if body is None else {"json": body})).status_code < 500


def test_items_are_erased_when_the_jobs_process_comes_to_it(web, triaged, process):
    labels = web.get("/api/projects/3/labels?limit=3").json["labels"]
    first, second, third = (line["task"] for line in labels)
    assert web.post("/api/projects/3/erasures", json={"items": [first, "nobody"]}).status_code == 404
    for wrong in ({}, {"items": []}, {"items": [1]}, {"items": ["a\0"]}):
        assert web.post("/api/projects/3/erasures", json=wrong).status_code == 422
    for task in (first, second):
        assert "will be erased" in web.post("/api/projects/3/erasures", json={"items": [task]}).json["done"]
    while run_queued(process):
        pass
    assert web.get(f"/api/projects/3/items/{first}").status_code == 404
    assert [line["task"] for line in web.get("/api/projects/3/labels?limit=1").json["labels"]] == [third]
    assert (
        web.get("/api/projects/3/events").json["events"][0]["text"]
        == f"{process.settings.user} erased 2 items: all that was known of them here"
    )

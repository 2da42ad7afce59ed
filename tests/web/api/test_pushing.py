"""Items that other systems push: triaged first, then created in the labeling tool; what is wrong with one is said of it."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from urllib.parse import quote

import databases
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from triaged import data_uri
from web import Web

from annotriage.store import browsing, work
from annotriage.store.projects import change_project


@pytest.fixture
def web(process):
    return Web(process)


@pytest.fixture
def connected(connect):
    return connect("3", sample_share=0.0, audit_share=0.0, dataset_fields=("scanner",))


def push(web, *sent, dataset="camera", **given):
    return web.post(f"/api/datasets/{dataset}/items", json={"project": "3", "items": list(sent)} | given)


def test_pushed_items_are_triaged_before_they_have_a_task(web, connected, worker, mixed):
    project, tool = connected
    answer = push(web, *({"id": str(n), "media": data_uri(mixed[0][n]), "data": {"scanner": "C"}, "group": "p"} for n in range(40, 50)))
    assert answer.status_code == 202
    assert (answer.json["dataset"]["kind"], answer.json["dataset"]["name"]) == ("pushed", "camera")
    first = answer.json["accepted"][0]
    assert (first["index"], first["id"], first["new"]) == (0, "40", True)
    waiting = web.get(first["url"]).json
    assert (waiting["item"]["task"], waiting["item"]["route"], waiting["item"]["group"]) == (None, None, "p")
    assert {(line["dataset"]["kind"], line["dataset"]["name"]) for line in waiting["datasets"]} == {
        ("all", "all"),
        ("pushed", "camera"),
        ("field", "scanner=C"),
    }
    while worker.judge.step():
        pass
    assert web.get(first["url"]).json["item"]["route"] is not None
    worker.settle()
    task = web.get(first["url"]).json["item"]["task"]
    assert tool.tasks_by_id[task].marker == first["pushed"]
    assert tool.data[task]["scanner"] == "C"
    assert len(tool.shown(task, project.version)) == 1


def test_an_item_pushed_again_changes_nothing(web, connected, process):
    project, _ = connected
    first = push(web, {"id": "a", "media": "https://host/a.png"}).json["accepted"][0]
    for media in ("https://host/other.png", "https://host/a.png"):
        (again,) = push(web, {"id": "a", "media": media}).json["accepted"]
        assert (again["pushed"], again["new"]) == (first["pushed"], False)
    elsewhere = push(web, {"id": "a", "media": "https://host/a.png"}, dataset="other").json["accepted"][0]
    assert elsewhere["new"]
    with process.store.reading() as connection:
        assert work.waiting(connection, project.id, project.reference_id) == 2
        item = browsing.item_of_task(connection, project, first["pushed"])
        assert browsing.medium_of(connection, project, item.id).media == "https://host/a.png"


def test_the_second_item_of_one_id_in_a_request_is_refused_and_not_lost_without_a_word(web, connected, monkeypatch):
    monkeypatch.setattr("annotriage.web.api.pushing.AT_ONCE", 2)
    names = ("a", "a", "b", "c", "a")
    answer = push(web, *({"id": id, "media": f"https://host/{number}.png"} for number, id in enumerate(names))).json
    assert [(row["index"], row["id"], row["new"]) for row in answer["accepted"]] == [(0, "a", True), (2, "b", True), (3, "c", True)]
    assert [(row["index"], row["id"]) for row in answer["refused"]] == [(1, "a"), (4, "a")]
    assert "'a' was used before in this request" in answer["refused"][0]["reason"]


def test_files_of_one_name_are_not_taken_for_one_another(web, connected):
    files = [(io.BytesIO(content), "img.png") for content in (b"one", b"two")]
    answer = web.post("/api/datasets/camera/items", data={"project": "3", "files": files}, content_type="multipart/form-data").json
    assert [row["index"] for row in answer["accepted"]] == [0]
    assert [row["index"] for row in answer["refused"]] == [1]


def test_items_without_an_id_are_new_each_time(web, connected):
    found = push(web, {"media": "https://host/a.png"}, {"media": "https://host/a.png"}).json["accepted"]
    assert [row["new"] for row in found] == [True, True]


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ("https://host/a.png", "instead of an object"),
        ({}, "media: missing"),
        ({"media": 7}, "media: missing"),
        ({"media": "/etc/passwd"}, "neither"),
        ({"media": "file:///etc/passwd"}, "neither"),
        ({"media": "http://[::1"}, "no address"),
        ({"media": "http://host:99999/"}, "no address"),
        ({"media": "data:image/png;base64"}, "cut off"),
        ({"media": "https://host/a", "id": 7}, "id: must be a text"),
        ({"media": "https://host/a", "id": ""}, "id: must be a text"),
        ({"media": "https://host/a", "group": 7}, "group: must be a text"),
        ({"media": "https://host/a", "data": []}, "data: must be an object"),
        ({"media": "https://host/a", "data": {"triage_route": "auto"}}, "triage_route"),
        ({"media": "https://host/a", "group": "half \ud83d"}, "half a character"),
        ({"media": "https://host/a", "data": {"notes": [{"a\0": 1}]}}, "a NUL"),
        ({"media": "https://host/a", "labels": ["7"]}, "'labels' means nothing here"),
    ],
)
def test_what_is_wrong_with_an_item_is_said_of_it_and_the_others_go_on(web, connected, sent, said):
    answer = push(web, {"media": "https://host/1.png"}, sent, {"media": "https://host/3.png"})
    assert answer.status_code == 202
    assert [row["index"] for row in answer.json["accepted"]] == [0, 2]
    (refused,) = answer.json["refused"]
    assert refused["index"] == 1
    assert said in refused["reason"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("", 422),
        ("[]", 422),
        ('{"items": [{"media": "https://host/a"}]}', 422),
        ('{"project": "3"}', 422),
        ('{"project": "3", "items": []}', 422),
        ('{"project": "3", "items": {}}', 422),
        ('{"project": "3", "items": [{"media": "https://host/a"}], "more": 1}', 422),
        ('{"project": "3", "items": [{"media": "https://host/a"', 422),
        ("[" * 100_000, 422),
        ('{"project": "4", "items": [{"media": "https://host/a"}]}', 404),
    ],
)
def test_a_request_that_is_not_understood_takes_nothing_in(web, connected, process, body, status):
    answer = web.post("/api/datasets/camera/items", data=body, content_type="application/json")
    assert answer.status_code == status
    with process.store.writing() as connection:
        assert work.claim(connection, "me", 10) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("https://host/a.png"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "media", "group", "data", "other"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(project=JSON | st.just("3"), sent=JSON | st.lists(JSON, max_size=4))
def test_whatever_is_sent_is_taken_in_or_refused_item_by_item(web, connected, project, sent):
    answer = web.post("/api/datasets/camera/items", json={"project": project, "items": sent})
    assert answer.status_code in (202, 404, 422)
    if answer.status_code == 202:
        assert sorted(row["index"] for key in ("accepted", "refused") for row in answer.json[key]) == list(range(len(sent)))


def deep(value, levels):
    for _ in range(levels):
        value = [value]
    return value


@databases.both
def test_what_no_database_keeps_is_refused_item_by_item(web, connected):
    good = {"media": "https://host/good.png", "data": {"scanner": "C", "note": "naïve \U0001f9b4", "deep": deep(1.5, 20)}}
    bad = [
        {"media": "https://host/\ud800.png"},
        {"media": "https://host/\0.png"},
        {"media": "https://host/a.png", "id": "a\ud800"},
        {"media": "https://host/a.png", "id": "a\0"},
        {"media": "https://host/a.png", "group": "a\udc00"},
        {"media": "https://host/a.png", "group": "a\0"},
        {"media": "https://host/a.png", "data": {"scanner": "\ud800"}},
        {"media": "https://host/a.png", "data": {"scanner\0": "a"}},
        {"media": "https://host/a.png", "data": {"scanner": "a\0b"}},
        {"media": "https://host/a.png", "data": {"x": deep({"y\ud800": "\0"}, 10)}},
        {"media": "https://host/a.png", "data": {"x": deep(float("nan"), 30)}},
        {"media": "https://host/a.png", "data": {"x": float("inf")}},
        {"media": "https://host/a.png", "data": {"x": deep(1, 300)}},
    ]
    answer = push(web, good, *bad, good)
    assert answer.status_code == 202
    assert [accepted["index"] for accepted in answer.json["accepted"]] == [0, len(bad) + 1]
    reasons = [refused["reason"] for refused in answer.json["refused"]]
    assert len(reasons) == len(bad)
    assert all("NUL" in reason for reason in reasons[:10])
    assert all("NaN" in reason for reason in reasons[10:12])
    assert "deep" in reasons[12]


@databases.both
@pytest.mark.parametrize("sent", ["\0", "\ud800", "a\0b"])
def test_signs_that_no_database_keeps_are_refused_wherever_they_stand(web, connected, sent):
    escaped = quote(sent, errors="surrogatepass")
    addresses = [
        f"/api/projects/{escaped}",
        f"/api/projects/3/items/{escaped}",
        f"/api/projects/3/items?after={escaped}",
        f"/projects/{escaped}/queue",
        f"/projects/3/queue?label={escaped}",
    ]
    for method, path in [("POST", f"/api/datasets/{escaped}/items"), *(("GET", path) for path in addresses)]:
        assert web.client.open(path, method=method, headers=web.credentials()).status_code < 500, path
    named = web.post("/api/datasets/camera/items", json={"project": sent, "items": [{"media": "https://host/a.png"}]})
    assert named.status_code in (404, 422)
    assert web.post("/api/projects/3/pause", json={"reason": sent}).status_code == 422


def test_where_no_item_can_be_taken_in_nothing_is_made(web, connected):
    answer = push(web, {"media": "nonsense"}, {})
    assert answer.status_code == 422
    assert "none of the 2 items" in answer.json["detail"]
    assert "nonsense" in answer.json["detail"]
    assert web.get("/api/projects/3/datasets").json["datasets"] == []


def test_nothing_is_pushed_into_a_project_that_was_deleted(web, connected, process):
    project, _ = connected
    with process.store.writing() as connection:
        change_project(connection, project.id, gone=True)
    assert push(web, {"media": "https://host/1.png"}).status_code == 409


def test_files_are_pushed_as_a_form(web, connected, worker, mixed):
    content = base64.b64decode(data_uri(mixed[0][3]).partition(",")[2])
    form = {"project": "3", "data": '{"scanner": "C"}', "files": [(io.BytesIO(content), f"{n}.png") for n in (1, 2)]}
    answer = web.post("/api/datasets/camera/items", data=form, content_type="multipart/form-data")
    assert [row["id"] for row in answer.json["accepted"]] == ["1.png", "2.png"]
    worker.settle()
    found = web.get(answer.json["accepted"][0]["url"]).json
    assert found["item"]["route"] in ("auto", "uncertain")
    assert "scanner=C" in {line["dataset"]["name"] for line in found["datasets"]}
    assert web.post("/api/datasets/camera/items", data={"project": "3"}, content_type="multipart/form-data").status_code == 422


def test_a_file_that_is_too_large_is_refused_alone(web, connected, process):
    process.settings = replace(process.settings, media_mb=1)
    part = b'--cut\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
    large, small = ((b'; filename="%s"' % name, b"x" * size) for name, size in ((b"large.png", 2**21), (b"small.png", 9)))
    body = part % (b"project", b"", b"3") + part % (b"files", *large) + part % (b"files", *small) + b"--cut--\r\n"
    answer = web.post("/api/datasets/camera/items", data=body, content_type="multipart/form-data; boundary=cut").json
    assert [row["id"] for row in answer["accepted"]] == ["small.png"]
    assert "media_mb" in answer["refused"][0]["reason"]

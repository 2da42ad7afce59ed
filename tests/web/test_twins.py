"""Every page is there for programs too: at the same address with .json, with the same figures, for the same visitors."""

from __future__ import annotations

import json
import re

import pytest
from sqlalchemy import func, select, update
from triaged import import_tasks, judge

from annotriage.service.guarantee.pausing import pause
from annotriage.states import InsightKind
from annotriage.store import label_audits, proposals
from annotriage.store.insights import keep_insight
from annotriage.store.projects import project_of
from annotriage.store.schema import item, spot_check

# A figure of each page: where it is in the twin, and how the page shows it.
FIGURES = {
    "/": (lambda page: page["cards"][0]["waiting"]["total"], "{:,}</a>"),
    "/projects/1/overview": (lambda page: page["card"]["waiting"]["total"], "{:,}</a>"),
    "/system": (lambda page: page["database"], "{}"),
    "/system/accounts": (lambda page: page["user"], "{}"),
    "/system/checks": (lambda page: page["checks"][0][1]["name"], "{}</th>"),
    "/glossary": (lambda page: page["terms"][0]["meaning"], "{}"),
    "/projects/1/map": (lambda page: page["scored"], "{:,} items were judged"),
    "/projects/1/queue": (lambda page: page["waiting"]["sentence"], "{}"),
    "/projects/1/items": (lambda page: page["facets"][0]["choices"][0]["n"], '<span class="muted">{:,}</span>'),
    "/projects/1/diversity": (lambda page: 100 * page["score"]["outliers"] / page["score"]["n"], "{:.1f}%"),
    "/projects/1/groups": (lambda page: page["groups"]["searched"], "{:,}"),
    "/projects/1/guarantee": (lambda page: page["standing"]["sample_drawn"], "{:,} drawn"),
    "/projects/1/label-audit": (lambda page: page["audit"]["facts"]["items"], "{:,}</b>"),
    "/projects/1/people": (lambda page: page["state"]["blind"]["routes"][0]["n"], "{:,}</td>"),
    "/projects/1/training": (lambda page: page["training"]["learnable"], "{:,}</b>"),
    "/projects/1/model": (lambda page: page["model"]["hash"], "{}</code>"),
    "/projects/1/model/diagnosis": (lambda page: page["diagnosis"]["insight"]["facts"]["answers"][0]["sentence"], "{}"),
    "/projects/1/model/atlas": (lambda page: page["atlas"]["insight"]["facts"]["items"], "{:,} training items make the cells"),
    "/projects/1/model/image": (lambda page: page["offered"][0]["name"], "{}</bdi></a>"),
    "/projects/1/model/items": (lambda page: page["sample"]["insight"]["facts"]["among"], "of {:,} chosen"),
    "/projects/1/model/graph": (lambda page: page["graph"]["insight"]["facts"]["sentences"][0], "{}"),
    "/projects/1/model/units": (lambda page: page["units"]["insight"]["facts"]["items"], "{:,} training items"),
    "/projects/1/model/layers": (lambda page: page["layers"]["insight"]["facts"]["boxes"][0]["title"], "{}</text>"),
    "/projects/1/certificates": (lambda page: page["datasets"][0]["items"], "({} item"),
    "/projects/1/look-alikes": (lambda page: page["groups"][0]["proposal"]["members"], "{} items, proposed by"),
    "/projects/1/compare": (lambda page: page["a"]["whole"]["n"], "{:,}"),
    "/projects/1/versions": (lambda page: page["now"]["versions"][0]["use"] == "present" and "one version so far", "{}"),
    "/projects/1/groups/new-class": (lambda page: page["name"] or "Name of the class", "{}"),
    "/projects/1/settings": (lambda page: 100 * page["now"]["max_error"], "{:.3g}"),
    "/projects/1/items/1": (lambda page: page["detail"]["item"]["verdict"]["reason"][:40], "{}"),
}
AUTH = ("annotriage", "right")


def twin_of(path):
    return "/overview.json" if path == "/" else f"{path}.json"


@pytest.fixture
def client(copied, serve_dashboard):
    dashboard = serve_dashboard(*copied, password=AUTH[1])
    with dashboard.process.store.writing() as connection:
        answer = {"query": "layer-means", "title": "Means", "sentence": "7,124 differ.", "expected": "", "pictures": [], "items": []}
        facts = {"items": 1, "wrong": 0, "which": "training", "layers": ["hidden1"], "notes": [], "answers": [answer]}
        keep_insight(connection, 1, InsightKind.DIAGNOSIS, "", facts)
        nothing = {"classes": [], "names": [], "layers": [], "sentences": [], "notes": [], "strange": 0, "pictured": False}
        keep_insight(connection, 1, InsightKind.ATLAS, "", {"items": 7_125, "reference_id": 1, **nothing})
        graph = {"classes": ["3"], "layers": [["hidden1", 32, ""]], "nodes": [], "lines": [], "sentences": ["Of 7,126 items."], "notes": []}
        node = {"key": "0-1", "layer": 0, "name": "channel 1", "of": "one", "shares": [0.5], "patches": []}
        keep_insight(connection, 1, InsightKind.GRAPH, "", graph | {"nodes": [node]})
        keep_insight(connection, 1, InsightKind.UNITS, "", {"items": 7_127, "concepts": [], "layers": [], "sentences": [], "notes": []})
        box = {"title": "Gemm, Relu", "shape": "32", "layers": ["hidden1"], "deciding": True}
        keep_insight(connection, 1, InsightKind.LAYERS, "", {"boxes": [box], "arrows": [], "exact": True})
        keep_insight(connection, 1, InsightKind.SAMPLE, "", {"of": "all", "method": "uniform", "among": 7_128, "chosen": []})
        label_audits.keep_audit(connection, 1, {"items": 7_123, "sentences": ["None looks wrong."], "findings": {}, "notes": []}, [])
        project = project_of(connection, "1")
        free = proposals.free_items(connection, project)
        proposals.add_proposal(connection, project, free[:37], "outlier group 1", "ann", group_error=0.3, confidence=0.95)
    return dashboard.app.test_client()


@pytest.mark.parametrize("path", FIGURES)
def test_a_page_and_its_twin_say_the_same(client, path):
    figure, shown = FIGURES[path]
    page, twin = client.get(path, auth=AUTH, headers={"Accept": "text/html"}), client.get(twin_of(path), auth=AUTH)
    assert (page.status_code, page.mimetype, twin.status_code, twin.mimetype) == (200, "text/html", 200, "application/json")
    assert shown.format(figure(twin.json)) in page.text
    assert "<svg" not in twin.text
    json.loads(twin.text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_no_page_is_without_a_twin(client):
    known = {path.replace("/projects/1", "/projects/<project>").replace("/items/1", "/items/<task>") for path in FIGURES}
    pages = set()
    for rule in client.application.url_map.iter_rules():
        if rule.endpoint.startswith("web.") and "GET" in rule.methods and rule.arguments <= {"project", "task"}:
            shown = rule.rule.replace("plain:", "")
            path = shown.replace("<project>", "1").replace("<task>", "1")
            answer = client.get(path, auth=AUTH, headers={"Accept": "text/html"})
            if answer.status_code == 200 and b"<main" in answer.data:
                pages.add(shown)
    assert pages == known | {"/sign-in", "/projects/<project>/items/<task>/page"}


def test_a_twin_is_for_those_who_may_see_the_page(client):
    assert {client.get(twin_of(path)).status_code for path in FIGURES} == {401}
    assert client.get("/projects/9/queue.json", auth=AUTH).status_code == 404


def test_a_search_leads_from_twin_to_twin(client):
    assert client.get("/projects/1/queue.json?task=1", auth=AUTH, follow_redirects=True).json["name"] == "1"


def test_an_item_has_a_page_and_a_twin_whatever_its_id_ends_in(copied, serve_dashboard):
    dashboard = serve_dashboard(*copied, password=AUTH[1])
    with dashboard.process.store.writing() as connection:
        for id, name in ((1, "scan"), (2, "scan.json"), (3, "scan.json.json")):
            connection.execute(update(item).where(item.c.id == id).values(external_id=name))
    client = dashboard.app.test_client()
    for name in ("scan", "scan.json", "scan.json.json"):
        page = client.get("/projects/1/queue", query_string={"task": name}, auth=AUTH, follow_redirects=True)
        twin = client.get("/projects/1/queue.json", query_string={"task": name}, auth=AUTH, follow_redirects=True)
        assert (page.mimetype, twin.mimetype) == ("text/html", "application/json")
        assert f"Task {name} · " in page.text
        assert twin.json["name"] == name


def test_where_there_is_no_clear_difference_each_share_is_said_with_its_name(client):
    path = "/projects/1/compare.json?a={}&b=w0-30"
    datasets = [f"d{row['id']}" for row in client.get(path.format("w0-7"), auth=AUTH).json["datasets"]]
    pages = [client.get(path.format(key), auth=AUTH).json for key in (*datasets, "w0-30")]
    unclear = [page for page in pages if (gap := page["difference"]) is not None and gap["low"] <= 0 <= gap["high"]]
    assert unclear
    for page in unclear:
        shares = rf"[\d.]+% in {re.escape(page['a']['name'])}, [\d.]+% in the last 30 days"
        said = rf"No clear difference in strange items: {shares}\. B likely holds [\d.]+ points less to [\d.]+ points more\.$"
        assert re.match(said, page["sentence"]), page["sentence"]


def test_all_pages_the_api_and_the_tool_count_alike(copied, serve_dashboard):
    dashboard = serve_dashboard(*copied, password=AUTH[1])
    client = dashboard.app.test_client()

    def get(path):
        return client.get(path, auth=AUTH).json

    card, settings = get("/overview.json")["cards"][0], get("/projects/1/settings.json?accept=suggest")
    api, queue = get("/api/projects/1")["project"], get("/projects/1/queue.json")
    routes = {route["route"]: route["items"] for route in api["routes"]}
    preview = {route: settings["preview"][route] for route in ("auto", "uncertain", "outlier", "failed")}
    apart = {route: n - card["counts"][route] for route, n in routes.items()}  # the page counts open spot checks by themselves
    assert min(apart.values()) >= 0
    assert sum(apart.values()) == card["counts"]["spot check"] == queue["waiting"]["kinds"]["spot_checks"]
    assert preview == {"failed": 0} | routes
    assert card["line"]["queue"] == api["queue"] == queue["waiting"]["total"] - queue["waiting"]["kinds"]["spot_checks"]
    for page in (queue, settings):
        assert page["waiting"] | {"per_day": None} == card["waiting"] | {"per_day": None}
    with dashboard.process.store.reading() as connection:  # of open ones the API does not say which are automatic
        drawn = connection.execute(select(func.count()).where(spot_check.c.project_id == 1, spot_check.c.route == "auto")).scalar_one()
    assert settings["checked"] == drawn > 20


def test_what_was_judged_while_labels_were_stopped_is_told_from_what_the_limits_let_through(
    process, connect, digits, serve_dashboard, server
):
    project, tool = connect()
    with process.store.writing() as connection:
        pause(connection, project, "a new scanner")
    import_tasks(process, project, tool, digits.incoming[0][:40])
    judge(process)
    client = serve_dashboard(process.settings.database, server, password=AUTH[1]).app.test_client()
    settings = client.get("/projects/1/settings.json?accept=suggest", auth=AUTH).json
    routes = {route["route"]: route["items"] for route in client.get("/api/projects/1", auth=AUTH).json["project"]["routes"]}
    assert routes.get("auto", 0) == settings["preview"]["auto"] - settings["held"] == 0
    assert settings["held"] > 20


def test_what_keeps_the_service_from_the_labeling_tool_is_on_the_system_page(process, connect, serve_dashboard, server):
    connect()
    process.trouble = "token: answered 401. Make another one."
    process.beat()
    client = serve_dashboard(process.settings.database, server, password=AUTH[1]).app.test_client()
    assert process.trouble in client.get("/system", auth=AUTH, headers={"Accept": "text/html"}).text
    assert client.get("/api/projects/1", auth=AUTH).json["service"] == process.trouble


def test_the_item_behind_a_point_of_the_map_is_the_item(client):
    shown = client.get("/projects/1/items/1.json", auth=AUTH).json["detail"]["item"]
    panel = client.get(f"/projects/1/map/items/{shown['id']}", auth=AUTH, headers={"Accept": "text/html"})
    assert panel.status_code == 200
    for said in ("Task 1</bdi>", shown["verdict"]["reason"][:40], f"{shown['verdict']['trust']:.3f}"):
        assert said in panel.text


def test_who_answered_is_named_only_where_the_setting_says_so(copied, serve_dashboard):
    client = serve_dashboard(*copied, password=AUTH[1], show_people="off").app.test_client()
    page = client.get("/projects/1/overview", auth=AUTH, headers={"Accept": "text/html"}).text
    assert "2 people gave" in page
    assert "bob" not in page + client.get("/projects/1/overview.json", auth=AUTH).text

"""A spot check is answered blind: until it is, no address tells anybody what the model says of it."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import text
from web import token

from annotriage.service.operations.jobs import INSIGHT_KINDS, run_queued
from annotriage.states import InsightKind
from annotriage.store import jobs, maps, versions
from annotriage.store.insights import insight_of, job_kind
from annotriage.store.projects import project_of
from annotriage.store.schema import verdict
from annotriage.store.versions import Said

AUTH = ("annotriage", "right")
LABEL, FIGURE = "quagga", 0.1234567  # of the one item, and of no other
FILTER = f"label={LABEL}"
SAYS = {"label": LABEL, "labels": json.dumps([LABEL]), "reason": f"It looks like {LABEL}."}
FIGURES = dict.fromkeys(("confidence", "score", "p_value", "outlier_score", "sureness", "trust"), FIGURE)


OPEN_CHECK = "JOIN spot_check ON item_id = item.id WHERE state = 'open'"
OUTLIER = "WHERE route = 'outlier' AND answer = 'open' AND item.id NOT IN (SELECT item_id FROM spot_check)"


@pytest.fixture
def seen(request, copied, serve_dashboard):
    """Everything that the service answers about an item that is not answered, by address; and a function that answers it."""
    dashboard = serve_dashboard(*copied, password=AUTH[1])
    store, client = dashboard.process.store, dashboard.app.test_client()
    with store.writing() as connection:
        found = f"SELECT item.id, external_id FROM item {getattr(request, 'param', OPEN_CHECK)} AND item.project_id = 1 AND NOT gone"
        item, task = connection.execute(text(f"{found} ORDER BY item.id LIMIT 1")).one()
        assigned = ", ".join(f"{name} = :{name}" for name in SAYS | FIGURES)
        connection.execute(text(f"UPDATE verdict SET {assigned} WHERE item_id = :item"), {**SAYS, **FIGURES, "item": item})
        compared_with_a_former_version(connection, item)
        for kind, payload in (("map", {"method": "pca"}), ("report", {"dataset": 1})):
            jobs.queue(connection, 1, kind, payload)
        for kind in (InsightKind.ATLAS, InsightKind.DIAGNOSIS):
            jobs.queue(connection, 1, job_kind(kind))
    service = dashboard.service()
    service.run_jobs()
    while run_queued(service.process, INSIGHT_KINDS):
        pass
    with store.writing() as connection:  # a cluster that the reference does not have, which no job may meet
        connection.execute(text("UPDATE verdict SET cluster = :label WHERE item_id = :item"), {"label": LABEL, "item": item})
        made = maps.newest(connection, 1, "pca")
        drawn = insight_of(connection, 1, InsightKind.ATLAS)
    parts = {
        "project": "1", "task": task, "item_id": item, "dataset": 1, "dataset_id": 1, "reference_id": 1, "place": 0, "number": 0,
        "map_id": made.id if made else 1, "insight_id": drawn.id, "name": "page.js", "filename": "page.js", "method": "pca",
    }  # fmt: skip
    queries = ("", "limit=500", FILTER)

    def seen():
        answers = {}
        adapter = dashboard.app.url_map.bind("localhost")
        for rule in dashboard.app.url_map.iter_rules():
            if "GET" in rule.methods and rule.arguments <= set(parts):
                path = adapter.build(rule.endpoint, {name: parts[name] for name in rule.arguments})
                for query in queries:
                    answers[f"{path}?{query}"] = client.get(f"{path}?{query}", auth=AUTH, buffered=True).data.decode(errors="replace")
        return answers

    def settle():
        with store.writing() as connection:
            connection.execute(text("UPDATE spot_check SET state = 'right' WHERE item_id = :item"), {"item": item})
            if hasattr(request, "param"):
                connection.execute(text("UPDATE item SET answer = 'resolved' WHERE id = :item"), {"item": item})
            first = "UPDATE item SET trust = 0, route = 'uncertain' WHERE id = :item"  # on the queue's first page
            connection.execute(text(first), {"item": item})

    yield seen, settle, item, task
    service.close()


def compared_with_a_former_version(connection, item):
    """Somebody compared two versions, which differ on this item and on another one."""
    project, columns = project_of(connection, "1"), ", ".join(column.name for column in verdict.c)
    copied = columns.replace("reference_id", "2")
    other = f"item_id = (SELECT min(item_id) FROM verdict WHERE item_id <> {item} AND project_id = 1)"
    connection.execute(text(f"INSERT INTO verdict ({columns}) SELECT {copied} FROM verdict WHERE {other}"))
    labels = versions.said_by(connection, project.reference_id, [item])[item].labels
    said = {item: (Said("auto", labels), Said("uncertain", labels))}
    versions.keep_comparison(connection, project, 2, project.reference_id, said, 1, "Ann")


def telling(answers):
    """The addresses that say it; a page repeats a filter that it is asked for."""
    told = (LABEL, str(FIGURE))
    return {path.split("?")[0] for path, body in answers.items() if any(word in body for word in told[path.endswith(FILTER) :])}


def test_no_address_no_look_alike_and_no_filter_tells_what_the_model_says_until_people_have_answered(seen):
    look, settle, item, task = seen
    filtered = f"/projects/1/queue.json?{FILTER}"
    before = look()
    assert telling(before) == set()
    assert json.loads(before[f"/projects/1/items/{task}.json?"])["detail"]["nearest"] == []
    assert json.loads(before[filtered])["lines"] == []
    settle()
    after = look()
    items = {"items.csv", "labels.csv", "queue", "queue.json", "queue.csv", f"items/{task}", f"items/{task}.json", f"map/items/{item}"}
    items |= {"items", "items.json", "map", "map.json"}  # the face and its class among the choices
    items |= {"people", "people.json"}  # the model beside what people answered blind
    items |= {"versions", "versions.json"}
    lists = {"items", "labels", f"items/{task}", "queue", "spot-checks", "people", "versions"}
    assert telling(after) == {f"/projects/1/{path}" for path in items} | {f"/api/projects/1/{path}" for path in lists}
    assert len(json.loads(after[filtered])["lines"]) == 1


def test_nothing_tells_an_open_spot_check_s_route_kind_or_group(copied, serve_dashboard):
    dashboard = serve_dashboard(*copied, password=AUTH[1])
    store, client = dashboard.process.store, dashboard.app.test_client()
    with store.reading() as connection:
        query = (
            f"SELECT item.id, external_id FROM item {OPEN_CHECK} AND item.project_id = 1 AND item.route = 'auto' AND kind = 'audit' LIMIT 1"
        )
        item, task = connection.execute(text(query)).one()
        every = "SELECT id FROM dataset WHERE project_id = 1 AND kind = 'all'"
        number = connection.execute(text(f"SELECT min(number) FROM group_member WHERE dataset_id = ({every})")).scalar_one()
    page, api = "/projects/1", "/api/projects/1"
    asked = [
        f"{page}/{path}" for path in (f"items/{task}.json", f"map/items/{item}", "items.csv", "labels.csv", f"items.json?group={number}")
    ]
    asked += [f"{page}/queue.{kind}?route=spot+check" for kind in ("csv", "json")] + [f"{page}/queue.csv", f"{page}/map/groups"]
    asked += [f"{page}/items.csv?route={route}" for route in ("auto", "outlier")] + [
        f"{page}/groups.json",
        f"{page}/map/chosen?group={number}",
    ]
    asked += [f"{api}/{path}?limit=500" for path in ("items", "labels", "queue", "spot-checks", "datasets")] + [f"{api}/items/{task}"]
    asked += [f"{api}/items?route={route}&limit=500" for route in ("auto", "outlier")]

    def told():
        answers = {path: client.get(path, auth=AUTH, buffered=True) for path in asked}
        return {path: found.json["lines"] if "queue.json" in path else found.data for path, found in answers.items()}

    before = told()
    with store.writing() as connection:
        for table, id in (("item", "id"), ("verdict", "item_id"), ("spot_check", "item_id")):
            connection.execute(text(f"UPDATE {table} SET route = 'outlier' WHERE {id} = {item}"))
        other = "SELECT min(item_id) FROM spot_check WHERE kind = 'sample' AND state = 'open' AND project_id = 1"  # all add up as before
        connection.execute(text(f"UPDATE spot_check SET kind = 'audit' WHERE item_id = ({other})"))
        connection.execute(text(f"UPDATE spot_check SET kind = 'sample' WHERE item_id = {item}"))
        connection.execute(text(f"UPDATE verdict SET judged = 'outlier' WHERE item_id = {item}"))
        insert = f"INSERT INTO group_member (dataset_id, item_id, number) VALUES (({every}), :item, :number)"
        connection.execute(text(insert), {"item": item, "number": number})
    after = told()
    assert [path for path in asked if after[path] != before[path]] == []
    assert {line["item"]["route"] for line in before[f"{page}/queue.json?route=spot+check"]} == {"spot check"}


@pytest.mark.parametrize("seen", [OUTLIER], ids=["an outlier"], indirect=True)
def test_the_class_of_an_outlier_is_told_once_it_is_answered(seen):
    look, settle, item, task = seen

    def naming():
        return {path.split("?")[0] for path, body in look().items() if LABEL in body and not path.endswith(FILTER)}

    assert naming() == set()
    settle()
    told = naming()
    assert {"/projects/1/items.csv", f"/projects/1/items/{task}", f"/projects/1/map/items/{item}", f"/api/projects/1/items/{task}"} <= told


def test_whoever_has_the_class_of_an_outlier_revealed_is_written_down(copied, serve_dashboard):
    dashboard = serve_dashboard(*copied, password=AUTH[1])
    client, headers = dashboard.app.test_client(), {"Accept": "text/html"}
    with dashboard.process.store.reading() as connection:
        query = f"SELECT item.id, external_id FROM item {OUTLIER} AND item.project_id = 1 ORDER BY item.id LIMIT 1"
        item, task = connection.execute(text(query)).one()
        check = connection.execute(text(f"SELECT item.id FROM item {OPEN_CHECK} AND item.project_id = 1 LIMIT 1")).scalar_one()
    assert "Reveal</button>" in client.get(f"/projects/1/items/{task}", auth=AUTH, headers=headers).text
    form = {"csrf": token(client, f"/projects/1/items/{task}", auth=AUTH)}
    assert client.post(f"/projects/1/items/{item}/reveal", auth=AUTH, data=form).status_code == 303
    assert "had the model's answer on task" in client.get("/projects/1/guarantee", auth=AUTH, headers=headers).text.replace("&#39;", "'")
    assert client.post(f"/projects/1/items/{check}/reveal", auth=AUTH, data=form).status_code == 409

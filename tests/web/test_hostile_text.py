"""Text from data is shown as text on every page: nothing in it runs, nothing of it leaves its place or widens the page."""

from __future__ import annotations

import json

import pytest
from browsers import is_cut
from sqlalchemy import func, select, update

from annotriage.states import EventKind, FindingState, InsightKind, IssueKind, ProposalState
from annotriage.store import proposals
from annotriage.store.events import note
from annotriage.store.insights import keep_insight
from annotriage.store.label_audits import Finding, keep_audit
from annotriage.store.projects import change_project, project_of
from annotriage.store.schema import dataset, delivery, event, inbox, item, job, review, snapshot, training_item, verdict

pytestmark = pytest.mark.browser

EVIL = {
    "script": "<script>globalThis.ran = 1</script><img src=x onerror='globalThis.ran = 1'>{{ 7 * 7 }}&lt;b&gt;\"'>",
    "directions": "\u202e\u2066gnp.exe\u202b \u200f" * 20,
    "length": "W" * 10_000,
}
PAGES = (
    "/", "/system", "/projects/1/map", "/projects/1/queue", "/projects/1/queue?order=groups",
    "/projects/1/items?zoom=large", "/projects/1/diversity",
    "/projects/1/groups", "/projects/1/guarantee", "/projects/1/compare", "/projects/1/settings",
    "/projects/1/training", "/projects/1/people",
    "/projects/1/model", "/projects/1/model/diagnosis", "/projects/1/model/atlas", "/projects/1/model/image",
    "/projects/1/model/items",
    "/projects/1/model/graph", "/projects/1/model/units", "/projects/1/model/layers",
    "/projects/1/look-alikes", "/projects/1/look-alikes/1",
    "/projects/1/label-audit", "/projects/1/items/{task}", "/projects/1/overview", "/projects/1/certificates", "/system/accounts",
)  # fmt: skip


@pytest.fixture(params=list(EVIL))
def evil(request, dashboard):
    """Hostile text wherever text from outside is kept."""
    text = EVIL[request.param]
    with dashboard.process.store.inbox.writing() as connection:
        connection.execute(inbox.insert().values(body=text.encode(), state="failed", error=text, at=0.0))
    with dashboard.process.store.writing() as connection:
        project = project_of(connection, "1")
        change_project(connection, project.id, title=text, problem=text, trouble=text, paused_at=1.0, pause_reason=text)
        note(connection, project.id, EventKind.PROBLEM, error=text)
        some = select(item.c.id).where(item.c.project_id == project.id, item.c.id % 3 == 0)
        connection.execute(update(item).where(item.c.id.in_(some)).values(group=text, labels=[text]))
        texts = {"reason": text, "label": text, "labels": [text], "cluster": text}
        connection.execute(update(verdict).where(verdict.c.item_id.in_(some)).values(**texts))
        connection.execute(update(dataset).where(dataset.c.kind != "all").values(name=dataset.c.name.concat(text[:200])))
        connection.execute(update(delivery).where(delivery.c.item_id.in_(some)).values(error=text))
        connection.execute(update(review).where(review.c.item_id.in_(some)).values(annotator=text, labels=[text]))
        connection.execute(update(training_item).values(name=text, label=text))
        connection.execute(update(event).values(kind=EventKind.PROBLEM, facts={"error": text}))
        connection.execute(job.insert().values(project_id=project.id, kind="recalibrate", state="failed", payload={}, text=text, at=0.0))
        doubted = connection.execute(some.limit(3)).scalars().all()
        told = (IssueKind.WRONG, (text,), (text,), 0.9, text, True, FindingState.OPEN)
        facts = {"items": 3, "sentences": ["About a third.", text], "findings": {"wrong": 3}, "notes": [text]}
        keep_audit(connection, project.id, facts, [Finding(id, str(id), place, *told) for place, id in enumerate(doubted)])
        picture = {"title": text, "rows": [text], "series": [text], "values": [[1.0]]}
        face = {"name": text, "label": text, "predicted": text, "piece": None}
        answer = {"query": "layer-means", "title": "Means", "sentence": text, "expected": "", "pictures": [picture], "items": [face]}
        facts = {"items": 1, "wrong": 1, "which": "training", "layers": [text], "notes": [text], "answers": [answer]}
        keep_insight(connection, project.id, InsightKind.DIAGNOSIS, "", facts)
        keep_insight(connection, project.id, InsightKind.ATLAS, "", *an_atlas(text))
        told = [{"item_id": id, "ratio": 1.0, "why": text} for id in connection.execute(some).scalars()]
        keep_insight(connection, project.id, InsightKind.SAMPLE, "", {"of": "all", "method": text, "among": 1, "chosen": told})
        for kind, found in channels(text).items():
            keep_insight(connection, project.id, kind, "", found)
        free = proposals.free_items(connection, project)
        group = proposals.add_proposal(connection, project, free[:37], text, text, group_error=0.3, confidence=0.95)
        done = {"labels": [text], "note": text, "labelled_by": text, "labelled_at": 1.0}
        proposals.move(connection, group, ProposalState.OFFERED, ProposalState.LABELLED, **done)
        proposals.set_at_once(connection, group, free[20:37])
        for row in connection.execute(select(snapshot.c.id, snapshot.c.facts)).all():
            for group in row.facts["groups"]:
                group["label"] = text
            for cluster in row.facts["diversity"]["clusters"]:
                cluster["name"] = text
            connection.execute(update(snapshot).where(snapshot.c.id == row.id).values(facts=row.facts))
    return text


def channels(text):
    """What the pages of the graph, of units and of layers are made of."""
    patch = {"id": text, "label": text, "piece": ""}
    nodes = [
        {"key": f"{layer}-0", "layer": layer, "name": text, "of": "both", "shares": [0.5, 1.0], "patches": [patch]} for layer in range(2)
    ]
    lines = [{"start": "0-0", "end": "1-0", "shares": [0.5, None]}]
    said = {"sentences": [text], "notes": [text]}
    graph = {"classes": [text, text], "layers": [[text, 1, ""], [text, 1, "weights"]], "nodes": nodes, "lines": lines, **said}
    unit = {"unit": 0, "concept": text, "value": 0.9, "low": 0.8, "high": 0.95, "detects": True, "examples": []}
    units = {"items": 1, "concepts": [{"name": text}], "layers": [{"name": text, "units": 1, "found": [unit]}], **said}
    boxes = [{"title": text, "shape": text, "layers": [text], "deciding": True}]
    return {
        InsightKind.GRAPH: graph,
        InsightKind.UNITS: units,
        InsightKind.LAYERS: {"boxes": boxes, "arrows": [], "exact": False},
    }


def an_atlas(text):
    """What the page of the atlas is made of: one cell, of one class and layer of this name."""
    classes, layers = [{"name": text, "items": 1, "right": 0.0, "labelled": 1}], [{"name": text, "explained": 1.0, "cells": {}}]
    said = {"sentences": [text], "notes": [text], "names": [text, text]}
    facts = {"items": 1, "strange": 0, "reference_id": 1, "classes": classes, "layers": layers, "pictured": False, **said}
    cell = {"x": 0, "y": 0, "n": 1, "wrong": 1, "items": [0], "top": [[0, 0.9]], "speaks": [[0, 1.0]]}
    levels = [{"side": side, "cells": [cell]} for side in (6, 12)]
    layer = {"name": text, "strange": [], "places": [[0.5, 0.5]], "similarity": [[1.0]], "levels": levels}
    items = {"predicted": [0], "label": [0], "sure": [0.9], "wrong": [1]}
    return facts, {"items": json.dumps(items).encode(), "layer-0": json.dumps(layer).encode()}


def test_on_every_page_it_is_text_and_stays_in_its_place(signed_in, dashboard, evil):
    with dashboard.process.store.reading() as connection:
        task = connection.execute(select(func.min(item.c.id)).where(item.c.id % 3 == 0, item.c.route == "outlier")).scalar_one()
        task = connection.execute(select(item.c.external_id).where(item.c.id == task)).scalar_one()
    page = signed_in("/")
    wide, ran, images = [], [], []
    for path in PAGES:
        address = path.format(task=task)
        assert page.goto(dashboard.url + address).status == 200, address
        if address.endswith("/map"):
            page.wait_for_selector("#map-app[data-ready], #no-map")  # the others are done when they are loaded
        if address.endswith("/atlas"):
            page.wait_for_selector("#atlas[data-ready]")
            page.locator("#plane button").first.click()
        wide += [(address, width) for width in (820, 1280) if is_cut(page, width)]
        if page.evaluate("globalThis.ran"):
            ran.append(address)
        if page.locator("img[src='x']").count():
            images.append(address)
    assert (wide, ran, images) == ([], [], [])

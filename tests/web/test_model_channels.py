"""The pages of the tab Model about channels: the graph of a class, units against concepts, the layers; from training items alone."""

from __future__ import annotations

import io
import re

import pytest
from web import sign_in, submit

from annotriage.service.operations.jobs import INSIGHT_KINDS
from annotriage.states import InsightKind
from annotriage.store import jobs
from annotriage.store.insights import job_kind


@pytest.fixture
def model(copied, serve_dashboard):
    """A dashboard: a signed-in client, and the dashboard itself."""
    dashboard = serve_dashboard(*copied, password="right")
    client = dashboard.app.test_client()
    sign_in(client, "right")
    return client, dashboard


def look(dashboard):
    """Run the jobs that look into models."""
    service = dashboard.service()
    service.run_jobs(INSIGHT_KINDS)
    service.close()


GRAPH, UNITS, LAYERS = (f"/projects/1/model/{name}" for name in ("graph", "units", "layers"))


def test_the_graph_of_a_class_is_drawn_from_training_items(model, digits_reference):
    client, dashboard = model
    assert "No graph is drawn yet." in client.get(GRAPH).text
    submit(client, f"{GRAPH}/start", GRAPH, **{"class": "3", "against": "5"})
    look(dashboard)
    twin = client.get(f"{GRAPH}.json").json
    assert (twin["graph"]["job"]["state"], twin["view"]["classes"]) == ("done", ["3", "5"])
    page = client.get(GRAPH).text
    assert page.count('class="g-vertex') == len(twin["view"]["nodes"])
    assert "Drawn from training items" in page
    shown = {patch["id"] for node in twin["view"]["nodes"] for patch in node["patches"]}
    assert shown
    assert shown <= set(digits_reference.sample.ids)
    piece = re.search(r'<image href="([^"]+)"', page).group(1)
    assert client.get(piece).mimetype == "image/png"


def test_a_class_that_is_none_or_the_same_twice_is_refused(model):
    client, _ = model
    assert submit(client, f"{GRAPH}/start", GRAPH, **{"class": "nine"}).status_code == 422
    assert submit(client, f"{GRAPH}/start", GRAPH, **{"class": "3", "against": "3"}).status_code == 422


def test_concepts_are_sent_as_a_table_and_held_against_units(model, digits_reference):
    client, dashboard = model
    sample = digits_reference.sample
    rows = ["id,closed loop", *(f"{id},{int(label in '06')}" for id, label in zip(sample.ids[:200], sample.labels, strict=False))]
    file = (io.BytesIO("\n".join(rows).encode()), "concepts.csv")
    assert "compared with your concepts" in submit(client, f"{UNITS}/concepts", UNITS, concepts=file).text
    look(dashboard)
    twin = client.get(f"{UNITS}.json").json
    facts = twin["units"]["insight"]["facts"]
    assert (twin["units"]["job"]["state"], facts["by"], facts["concepts"][0]["of"]) == ("done", "labels", 200)
    page = client.get(UNITS).text
    assert "with closed loop: AUROC" in page
    assert client.get(re.search(r'<img[^>]*src="([^"]+/pieces/[^"]+)"', page).group(1)).mimetype == "image/png"
    assert submit(client, f"{UNITS}/concepts", UNITS, concepts=(io.BytesIO(b" "), "concepts.csv")).status_code == 422
    assert submit(client, f"{UNITS}/start", UNITS).status_code == 422
    submit(client, f"{UNITS}/concepts", UNITS, concepts=(io.BytesIO(b"id,loop\nnobody,maybe"), "mine.csv"))
    look(dashboard)
    assert ">mine.csv: row 2, &#39;loop&#39;: &#39;maybe&#39; is none of 1" in client.get(UNITS).text
    assert client.get(f"{UNITS}.json").json["units"]["job"]["payload"] == {}


def test_who_asks_while_another_graph_is_drawn_gets_theirs_afterwards(model):
    client, dashboard = model
    kind = job_kind(InsightKind.GRAPH)
    ask = {name: {"class": name} for name in "35"}
    submit(client, f"{GRAPH}/start", GRAPH, **ask["3"])
    with dashboard.process.store.writing() as connection:
        running = jobs.take(connection, "me", [kind])
    assert "The graph is being drawn" in submit(client, f"{GRAPH}/start", GRAPH, **ask["3"]).text
    assert "yours follows it" in submit(client, f"{GRAPH}/start", GRAPH, **ask["5"]).text
    with dashboard.process.store.writing() as connection:
        jobs.finish(connection, running.id, "drawn")
        assert jobs.take(connection, "me", [kind]).payload["class"] == "5"


def test_the_layers_are_drawn_and_the_deciding_one_is_marked(model):
    client, dashboard = model
    assert "This model was not trained here." in client.get(LAYERS).text
    submit(client, f"{LAYERS}/start", LAYERS)
    look(dashboard)
    page = client.get(LAYERS).text
    assert page.count('class="l-deciding"') == 1
    assert "hidden1 (deciding)" in page
    assert client.get(f"{LAYERS}.json").json["layers"]["job"]["state"] == "done"


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_people_follow_paths_on_the_page(dashboard, signed_in, barriers, theme):
    page = signed_in(GRAPH)
    page.locator("#class").select_option("3")
    page.locator("#against").select_option("5")
    page.get_by_role("button", name="Draw the graph").click()
    page.get_by_text("The graph is being drawn").wait_for()
    look(dashboard)
    page.locator(".g-vertex").first.wait_for()  # the page loads itself again once the graph is there; who leads it elsewhere may meet that
    page.wait_for_load_state()
    if theme == "dark":
        page.evaluate("document.documentElement.dataset.theme = 'dark'")
    page.locator('.g-vertex[data-key^="1-"]').first.click()
    assert page.locator("svg.isolated .on-path").count() > 1
    assert page.locator("[data-panel]:not([hidden]) img").first.is_visible()
    assert barriers(page) == []

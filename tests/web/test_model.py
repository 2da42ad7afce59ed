"""The tab Model: what the model is, and what jobs find inside it, shown without a word on what is blind."""

from __future__ import annotations

import dashboards
import pytest
from sqlalchemy import text
from web import sign_in, submit

from annotriage.engine.diagnosis import faces
from annotriage.service.inside import choosing, inverting
from annotriage.service.operations import queued_jobs
from annotriage.service.operations.jobs import INSIGHT_KINDS
from annotriage.service.operations.references import keep_reference
from annotriage.states import InsightKind
from annotriage.store import erasing, jobs
from annotriage.store.insights import insight_of, job_kind
from annotriage.store.projects import change_project, project_of


@pytest.fixture
def model(copied, serve_dashboard):
    """A dashboard: a signed-in client, and the dashboard itself."""
    return begun(serve_dashboard, *copied)


def begun(serve, database, tool):
    dashboard = serve(database, tool, password="right")
    client = dashboard.app.test_client()
    sign_in(client, "right")
    return client, dashboard


@pytest.fixture(scope="module")
def with_atlas(history, tmp_path_factory):
    """The history, the atlas of project 1 drawn; tests get copies. judged_by: another reference that judges it."""
    made = {}

    def with_atlas(judged_by=None):
        if id(judged_by) not in made:
            folder = tmp_path_factory.mktemp("atlas")
            client, dashboard = begun(dashboards.Dashboard, *dashboards.copied(history, folder))
            try:
                if judged_by is not None:
                    judge_by(dashboard.process.store, judged_by)
                ask(client, dashboard, "atlas", "/projects/1/model/atlas")
            finally:
                dashboard.stop()
            made[id(judged_by)] = folder / "store.db", history[1]
        return made[id(judged_by)]

    return with_atlas


@pytest.fixture
def walked(with_atlas, serve_dashboard, tmp_path):
    """As `model`, the atlas of project 1 drawn."""
    return begun(serve_dashboard, *dashboards.copied(with_atlas(), tmp_path))


def judge_by(store, reference):
    """Let a project be judged by another reference."""
    id = keep_reference(store, reference)
    with store.writing() as connection:
        change_project(connection, 1, reference_id=id)


def look(dashboard):
    """Run the jobs that look into models."""
    service = dashboard.service()
    service.run_jobs(INSIGHT_KINDS)
    service.close()


def found(dashboard, kind):
    with dashboard.process.store.reading() as connection:
        return insight_of(connection, 1, kind)


def test_the_first_page_says_what_the_model_is(model, digits_reference):
    client, _ = model
    page = client.get("/projects/1/model").text
    for said in (digits_reference.model.hash, "run by onnxruntime", "images of 8 × 8 pixels, grey", "hidden1", "8 classes", "model.onnx"):
        assert said in page, said


def test_questions_are_asked_by_a_click_and_answered_on_what_people_answered(model):
    client, dashboard = model
    assert "Nobody has asked the model yet." in client.get("/projects/1/model/diagnosis").text
    assert "The questions are being answered" in submit(client, "/projects/1/model/diagnosis/start", "/projects/1/model/diagnosis").text
    look(dashboard)
    twin = client.get("/projects/1/model/diagnosis.json").json
    facts = twin["diagnosis"]["insight"]["facts"]
    assert (twin["diagnosis"]["current"], twin["diagnosis"]["job"]["state"]) == (True, "done")
    assert [answer["query"] for answer in facts["answers"]] == [
        "layer-means", "top-neurons-of-errors", "errors-against-correct", "logits-and-layers", "taken-for",
    ]  # fmt: skip
    page = client.get("/projects/1/model/diagnosis").text
    assert all(answer["title"] in page for answer in facts["answers"])
    assert page.count("<svg") >= len(facts["answers"])


def test_an_item_whose_answer_was_taken_back_is_shown_no_more(model):
    client, dashboard = model
    with dashboard.process.store.writing() as connection:  # so that there is an error to show
        two = "SELECT id FROM item WHERE project_id = 1 AND answer = 'resolved' AND NOT machine AND labels = :two ORDER BY id LIMIT 1"
        id = connection.execute(text(two), {"two": '["2"]'}).scalar_one()
        connection.execute(text("UPDATE item SET labels = :wrong WHERE id = :id"), {"wrong": '["1"]', "id": id})
        connection.execute(text("DELETE FROM spot_check WHERE item_id = :id"), {"id": id})
    submit(client, "/projects/1/model/diagnosis/start", "/projects/1/model/diagnosis")
    look(dashboard)

    def shown():
        faces = client.get("/projects/1/model/diagnosis.json").json["faces"]
        return {face["item_id"] for answer in faces for face in answer}

    assert id in shown()
    with dashboard.process.store.writing() as connection:
        connection.execute(text("UPDATE item SET answer = 'open' WHERE id = :id"), {"id": id})
    assert id not in shown()


def test_what_cannot_be_found_says_why_and_a_look_can_be_cancelled(model):
    client, dashboard = model
    page = "/projects/2/model/diagnosis"
    submit(client, "/projects/2/model/diagnosis/start", page)
    assert "Cancelled" in submit(client, "/projects/2/model/diagnosis/cancel", page).text
    look(dashboard)
    with dashboard.process.store.reading() as connection:
        asked = jobs.jobs_of(connection, 2)
    assert [job.state for job in asked if job.kind == job_kind(InsightKind.DIAGNOSIS)] == ["cancelled"]
    submit(client, "/projects/2/model/diagnosis/start", page)
    look(dashboard)
    assert "people have answered no items yet" in client.get(page).text
    assert submit(client, "/projects/1/model/horoscope/start", page).status_code == 422


def test_erasing_an_item_takes_along_what_was_found(model):
    client, dashboard = model
    submit(client, "/projects/1/model/diagnosis/start", "/projects/1/model/diagnosis")
    look(dashboard)
    with dashboard.process.store.writing() as connection:
        project = project_of(connection, "1")
        erasing.erase(connection, project, list(erasing.doomed(connection, project, ["1"]).values()))
    assert found(dashboard, InsightKind.DIAGNOSIS) is None


def ask(client, dashboard, kind, page, **form):
    """Ask for a look and let it happen."""
    answer = submit(client, f"/projects/1/model/{kind}/start", page, **form)
    assert answer.status_code == 200, answer.text
    look(dashboard)


def answered_tasks(dashboard, label, count=1):
    """Tasks that people called so, none of them a spot check."""
    with dashboard.process.store.reading() as connection:
        answered = "project_id = 1 AND answer = 'resolved' AND NOT machine AND labels = :label"
        query = f"SELECT external_id FROM item WHERE {answered} ORDER BY id LIMIT :count"
        return list(connection.execute(text(query), {"label": f'["{label}"]', "count": count}).scalars())


def test_the_atlas_keeps_of_strange_items_only_where_they_fall(model):
    client, dashboard = model
    ask(client, dashboard, "atlas", "/projects/1/model/atlas")
    twin = client.get("/projects/1/model/atlas.json").json
    atlas = twin["atlas"]["insight"]
    assert (twin["atlas"]["current"], twin["gradients"], twin["faces"]["insight"]) == (True, False, None)
    assert [layer["name"] for layer in atlas["facts"]["layers"]][-1] == "hidden1"
    base = f"/projects/1/model/pieces/{atlas['id']}"
    layer = client.get(f"{base}/layer-{len(atlas['facts']['layers']) - 1}").json
    items = client.get(f"{base}/items").json
    assert sorted(sum(cell["n"] for cell in level["cells"]) for level in layer["levels"]) == [len(items["predicted"])] * 3
    strange = client.get(f"/projects/1/model/atlas/strange/{atlas['id']}").json["items"]
    assert len(strange) == len(layer["strange"]) == atlas["facts"]["strange"] > 20
    assert {tuple(sorted(one)) for one in strange} == {("item_id", "name", "said")}
    assert {one["said"] for one in strange} == {None}
    with dashboard.process.store.reading() as connection:
        blind = connection.execute(text("SELECT item_id FROM spot_check WHERE state = 'open'")).scalars().all()
    assert not {one["item_id"] for one in strange} & set(blind)
    assert client.get(f"{base}/faces-0-12").mimetype.startswith("image/")
    assert client.get(f"{base}/means-0").status_code == 404
    assert client.get(f"/projects/2/model/pieces/{atlas['id']}/items").status_code == 404


def test_a_strange_item_that_was_answered_is_called_what_people_say(walked):
    client, dashboard = walked
    id = found(dashboard, InsightKind.ATLAS).id
    first = client.get(f"/projects/1/model/atlas/strange/{id}").json["items"][0]["item_id"]
    with dashboard.process.store.writing() as connection:
        connection.execute(text("UPDATE item SET answer = 'resolved', labels = :said WHERE id = :id"), {"said": '["stripes"]', "id": first})
    assert client.get(f"/projects/1/model/atlas/strange/{id}").json["items"][0]["said"] == ["stripes"]


def test_pages_of_the_atlas_are_small(walked):
    client, dashboard = walked
    id = found(dashboard, InsightKind.ATLAS).id
    parts = [
        "/projects/1/model/atlas",
        f"/projects/1/model/pieces/{id}/items",
        f"/projects/1/model/pieces/{id}/layer-0",
        f"/projects/1/model/atlas/strange/{id}",
    ]
    sizes = {path: len(client.get(path, headers={"Accept-Encoding": "gzip"}, buffered=True).data) for path in parts}
    assert sum(sizes.values()) < 60_000, sizes


def test_of_an_onnx_model_no_faces_are_made_and_the_page_says_what_is_shown_instead(walked):
    client, dashboard = walked
    assert "only torch models that look at images give them" in client.get("/projects/1/model/atlas").text
    ask(client, dashboard, "faces", "/projects/1/model/atlas")
    with dashboard.process.store.reading() as connection:
        latest = next(job for job in jobs.jobs_of(connection, 1) if job.kind == job_kind(InsightKind.FACES))
    assert (latest.state, "only torch models" in latest.text) == ("failed", True)


@pytest.fixture
def torch_model(model, torch_reference):
    """The dashboard, its project judged by a torch model."""
    client, dashboard = model
    judge_by(dashboard.process.store, torch_reference)
    return client, dashboard


@pytest.fixture
def walked_torch(with_atlas, serve_dashboard, tmp_path, torch_reference):
    """As `torch_model`, the atlas of project 1 drawn."""
    return begun(serve_dashboard, *dashboards.copied(with_atlas(torch_reference), tmp_path))


@pytest.mark.torch
def test_faces_are_made_a_batch_at_a_time_and_go_on_where_they_were(walked_torch, monkeypatch):
    client, dashboard = walked_torch
    monkeypatch.setattr(faces, "AT_ONCE", 8)
    keep, kept = inverting._keep, []

    def killed(*args):
        keep(*args)
        kept.append(args[4]["done"])
        if len(kept) == 2:
            raise OSError("the machine lost its power")

    monkeypatch.setattr(inverting, "_keep", killed)
    layer = str(len(torch_layers(client)) - 1)
    ask(client, dashboard, "faces", "/projects/1/model/atlas", layer=layer, side="6")
    first = found(dashboard, InsightKind.FACES).facts["made"][f"{layer}-6"]
    assert (first["done"], kept) == (16, [8, 16])
    ask(client, dashboard, "faces", "/projects/1/model/atlas", layer=layer, side="6")
    made = client.get("/projects/1/model/atlas.json").json["faces"]["insight"]
    one = made["facts"]["made"][f"{layer}-6"]
    assert one["done"] == one["total"] == len(one["cosine"]) > 16
    assert one["cosine"][:16] == first["cosine"]
    assert 16 < kept[2] <= 24
    assert client.get(f"/projects/1/model/pieces/{made['id']}/made-{layer}-6").mimetype.startswith("image/")


@pytest.mark.torch
def test_making_faces_ends_in_the_middle_of_a_batch_when_it_is_cancelled(walked_torch, monkeypatch):
    client, dashboard = walked_torch
    page = "/projects/1/model/atlas"
    monkeypatch.setattr(queued_jobs, "TELL_SECONDS", 0.0)
    told = []

    def cancelled(*args):
        *given, advance = args

        def step(count):
            told.append(client.get(f"{page}.json").json["faces"]["job"]["state"])
            if len(told) == 20:
                assert "Cancelled" in submit(client, "/projects/1/model/faces/cancel", page).text
            advance(count)

        return faces.faces_of(*given, step)

    monkeypatch.setattr(inverting, "faces_of", cancelled)
    ask(client, dashboard, "faces", page, layer="0", side="6")
    assert told == ["running"] * 20
    twin = client.get(f"{page}.json").json["faces"]
    assert (twin["job"]["state"], twin["job"]["done"] > 0, twin["insight"]) == ("cancelled", True, None)


def torch_layers(client):
    return client.get("/projects/1/model/atlas.json").json["atlas"]["insight"]["facts"]["layers"]


@pytest.mark.torch
def test_an_image_is_looked_at_place_by_place_and_a_piece_is_pasted(walked_torch):
    client, dashboard = walked_torch
    (one,), (zero,) = answered_tasks(dashboard, "1"), answered_tasks(dashboard, "0")
    page = f"/projects/1/model/image?task={one}&from={zero}"
    ask(client, dashboard, "image", page, **{"task": one, "from": zero, "left": "0", "top": "0", "width": "100", "height": "100"})
    seen = client.get("/projects/1/model/image.json").json["image"]["insight"]["facts"]
    assert seen["classes"][max(range(8), key=seen["shares"].__getitem__)] == "1"
    assert seen["classes"][max(range(8), key=seen["after"].__getitem__)] == "0"
    assert len(seen["places"]) == seen["rows"] * seen["columns"] > 1
    assert all(place["cell"]["cosine"] <= 1 for place in seen["places"])
    with dashboard.process.store.writing() as connection:
        connection.execute(text("UPDATE item SET answer = 'open' WHERE external_id = :task AND project_id = 1"), {"task": zero})
    assert client.get("/projects/1/model/image.json").json["image"]["insight"] is None


def test_an_image_that_nobody_answered_is_not_looked_at(model):
    client, dashboard = model
    with dashboard.process.store.reading() as connection:
        check = "SELECT external_id FROM item JOIN spot_check ON item_id = item.id WHERE state = 'open' AND item.project_id = 1"
        outlier = "SELECT external_id FROM item WHERE project_id = 1 AND route = 'outlier' AND answer = 'open'"
        hidden = [connection.execute(text(f"{query} LIMIT 1")).scalar_one() for query in (check, outlier)]
    for task in hidden:
        assert client.get("/projects/1/model/image", query_string={"task": task}).status_code == 409
        assert submit(client, "/projects/1/model/image/start", "/projects/1/model/image", task=task).status_code == 409
    for form in ({}, {"task": "1", "from": "1", "left": "80", "width": "40", "height": "10"}, {"task": "1", "from": "1", "left": "x"}):
        assert submit(client, "/projects/1/model/image/start", "/projects/1/model/image", **form).status_code in (409, 422)


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_people_walk_through_the_atlas_in_the_dashboard(dashboard, signed_in, barriers, theme):
    page = signed_in("/projects/1/model/atlas", color_scheme=theme)
    page.get_by_role("button", name="Draw the atlas").click()
    page.get_by_text("The atlas is being drawn").wait_for()
    look(dashboard)
    page.locator("#atlas[data-ready]").wait_for()  # the page loads itself again once the atlas is there
    cells = page.locator("#plane button:not(.strange)")
    assert cells.count() > 20
    cells.first.click()
    panel = page.locator("#cell-panel")
    panel.get_by_text("What its mean activation stands for").wait_for()
    assert panel.locator("figure").count() > 0
    page.locator("#plane .strange").first.dispatch_event("click")
    panel.get_by_text("its class is not said here").wait_for()
    page.get_by_label("Layer").select_option(index=0)
    page.locator("#atlas[data-ready='0']").wait_for()
    assert page.locator("#plane .strange").count() == 0
    page.locator("#classes button").first.click()
    page.get_by_label("Compare with").select_option(index=3)
    panel.get_by_text("Speak for both").wait_for()
    assert barriers(page) == []


@pytest.mark.torch
@pytest.mark.browser
def test_people_paste_a_piece_and_see_the_scores_move(torch_model, signed_in, barriers):
    _, dashboard = torch_model
    (one,), (zero,) = answered_tasks(dashboard, "1"), answered_tasks(dashboard, "0")
    page = signed_in(f"/projects/1/model/image?task={one}&from={zero}")
    source = page.locator("#source").bounding_box()
    page.mouse.move(source["x"] + 0.1 * source["width"], source["y"] + 0.2 * source["height"])
    page.mouse.down()
    page.mouse.move(source["x"] + 0.6 * source["width"], source["y"] + 0.8 * source["height"], steps=4)
    page.mouse.up()
    assert 45 < float(page.get_by_label("width").input_value()) < 55
    page.get_by_role("button", name="Paste and look").click()
    page.get_by_text("The image is being looked at").wait_for()
    look(dashboard)
    page.get_by_text("With the piece, as the model sees it").wait_for()
    page.locator("[data-place]").first.click()
    page.get_by_text("What this place speaks for").wait_for()
    assert barriers(page) == []


def test_items_to_label_are_chosen_without_a_word_on_their_classes_and_come_first_in_the_queue(model, monkeypatch):
    client, dashboard = model
    monkeypatch.setattr(choosing, "AMONG", 60)
    page = "/projects/1/model/items"
    assert "Nothing is chosen yet" in client.get(page).text
    assert "chose waits here" in client.get("/projects/1/queue?order=chosen").text
    for size in ("0", "201", "00000000150000", "9" * 5_000, "²"):
        assert submit(client, "/projects/1/model/sample/start", page, size=size).status_code == 422, size[:20]
    assert submit(client, "/projects/1/model/sample/start", page, method="errors-first").status_code == 422
    ask(client, dashboard, "sample", page, of="all", size="30")
    assert "Chosen from the latest 60 of everything that nobody has answered" in client.get(page).text
    twin = client.get(f"{page}.json").json
    chosen = [one["item_id"] for one in twin["chosen"]]
    assert len(chosen) == len(set(chosen)) == 30
    assert {tuple(sorted(one)) for one in twin["chosen"]} == {("automatic", "item_id", "name", "odds", "why")}
    odds = [one["odds"] for one in twin["chosen"] if one["odds"] is not None]
    assert odds == sorted(odds)
    assert odds
    with dashboard.process.store.reading() as connection:
        drawn = set(connection.execute(text("SELECT item_id FROM spot_check")).scalars())
        waits = set(connection.execute(text("SELECT id FROM item WHERE project_id = 1 AND route != 'auto'")).scalars())
    assert not set(chosen) & drawn, "drawn at random alone"
    first = [line["item"]["id"] for line in client.get("/projects/1/queue.json?order=chosen").json["lines"]]
    expected = [id for id in chosen if id in waits]
    assert first[: len(expected)] == expected
    assert "The first rows are those that" in client.get("/projects/1/queue?order=chosen").text
    automatic = [one["item_id"] for one in twin["chosen"] if one["automatic"]]
    assert submit(client, "/projects/1/queue/reroute", page, item=[str(id) for id in automatic], to="review").status_code == 200
    assert [one["automatic"] for one in client.get(f"{page}.json").json["chosen"]].count(True) == 0


def test_a_bank_of_faces_is_drawn_of_training_items_alone(model):
    client, dashboard = model
    ask(client, dashboard, "atlas", "/projects/1/model/atlas", bank="max-margin")
    assert found(dashboard, InsightKind.ATLAS).facts["items"] > 100
    assert submit(client, "/projects/1/model/atlas/start", "/projects/1/model/atlas", bank="horoscope").status_code == 422
    ask(client, dashboard, "diagnosis", "/projects/1/model/diagnosis", bank="max-margin")  # of answers, held-out ones among them
    shown = [answer["items"] for answer in found(dashboard, InsightKind.DIAGNOSIS).facts["answers"]]
    ask(client, dashboard, "diagnosis", "/projects/1/model/diagnosis")
    assert [answer["items"] for answer in found(dashboard, InsightKind.DIAGNOSIS).facts["answers"]] == shown

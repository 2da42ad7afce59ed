"""The map's page in a real browser, on real digits."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import dashboards
import numpy as np
import pytest
from browsers import follow
from sqlalchemy import select
from waiting import wait_until
from web import token

from annotriage.media.data_uri import decode_data_uri
from annotriage.service.maps.map_making import MapMaking
from annotriage.service.maps.map_placing import Placing
from annotriage.states import UNSETTLED
from annotriage.store import maps
from annotriage.store.filters import Filters
from annotriage.store.map_points import KINDS, Piece, pack
from annotriage.store.projects import project_of
from annotriage.store.queue import ids_of, queue_length
from annotriage.store.schema import item, spot_check, verdict
from annotriage.web.views import map as map_view

pytestmark = pytest.mark.browser
READY = "#map-app[data-ready]"  # what a page's policy forbids, the browser of the tests may not do either: no waiting by a function


@pytest.fixture(scope="session")
def mapped(history, tmp_path_factory):
    """The history with all maps of project 1."""
    folder = tmp_path_factory.mktemp("mapped")
    service = dashboards.Service(*dashboards.copied(history, folder))
    with service.process.store.writing() as connection:
        project = project_of(connection, "1")
        maps.ask_for(connection, project, "umap-3d")
    making = MapMaking(service.process)
    while making.step(project):
        pass
    service.close()
    return folder / "store.db", history[1]


@pytest.fixture
def dashboard(mapped, tmp_path, serve_dashboard):
    return serve_dashboard(*dashboards.copied(mapped, tmp_path))


@pytest.fixture
def page(signed_in):
    page = signed_in("/projects/1/map")
    page.wait_for_selector(READY)
    return page


def read(dashboard, query):
    with dashboard.process.store.reading() as connection:
        return connection.execute(query).all()


def point_of(page, row_id):
    return page.evaluate("id => annotriagePoints().find(id)", row_id)


def click_point(page, place):
    page.locator("#map-host").scroll_into_view_if_needed()
    x, y = page.evaluate("i => annotriageMap.position(i)", place)
    page.locator("#map-host canvas").last.click(position={"x": x, "y": y})


def lasso(page, west=0.0, north=0.0, east=1.0, south=1.0):
    """Draw a lasso around a part of the map, in shares of it."""
    if page.locator("#map-lasso").get_attribute("aria-pressed") == "false":
        page.locator("#map-lasso").click()
    page.locator("#map-host").evaluate("host => host.scrollIntoView({ block: 'center' })")  # a notice above it may have pushed it down
    box = page.locator("#map-host").bounding_box()
    at = lambda x, y: (box["x"] + 2 + x * (box["width"] - 4), box["y"] + 2 + y * (box["height"] - 4))  # noqa: E731
    page.mouse.move(*at(west, 0.99 if north == 0 else south))
    page.mouse.down()
    for corner in ((west, south), (east, south), (east, north + 0.08), (west, north + 0.08)):
        page.mouse.move(*at(*corner), steps=3)
    page.mouse.up()


def test_every_judged_item_is_a_point(page, dashboard):
    judged = read(dashboard, select(verdict.c.item_id, verdict.c.route).where(verdict.c.project_id == 1, verdict.c.route != "failed"))
    assert len(judged) > 400
    drawn = page.evaluate("(() => { const p = annotriagePoints(); return [...p.ids.keys()].map(i => [p.ids[i], p.route[i]]); })()")
    blind = {id for (id,) in read(dashboard, select(spot_check.c.item_id).where(spot_check.c.state.in_(UNSETTLED)))}
    expected = {row.item_id: "spot check" if row.item_id in blind else row.route for row in judged}
    assert {id: KINDS[code] for id, code in drawn if code} == expected
    assert page.locator("[data-count=training]").text_content() == "640"
    said = page.locator("#map-text").text_content()
    assert said.startswith("640 training items and ")
    checks = read(dashboard, select(spot_check.c.item_id).where(spot_check.c.project_id == 1, spot_check.c.state.in_(UNSETTLED)))
    assert f"{len({row.item_id for row in checks} & {row.item_id for row in judged})} of the incoming ones are open spot checks" in said
    assert "" not in page.locator("#point-list bdi").all_text_contents(), "each line has a name"


def test_the_next_step_shows_the_largest_group_and_then_leads_to_its_decision(dashboard):
    client, auth = dashboard.app.test_client(), (dashboard.user, dashboard.password)

    def step(query=""):
        shown = client.get(f"/projects/1/map{query}", auth=auth, headers={"Accept": "text/html"}).text
        (address,) = re.findall(r'<a class="button primary" href="([^"]*)"', shown.partition('id="next-step"')[2])
        own = client.get(f"/projects/1/map.json{query}", auth=auth).json["next_step"]["own"]
        assert own["button"] in shown
        return own, address

    assert step()[0]["args"] == {"group": 1}
    assert step("?group=1")[1] == "/projects/1/groups#group-1"
    assert step("?colour=class")[0]["args"] == {"group": 1, "colour": "class"}, "what else the address says is kept"


def test_a_click_on_a_point_shows_that_very_item(page, dashboard):
    strange = read(
        dashboard,
        select(item.c.id, item.c.external_id)
        .where(item.c.project_id == 1, item.c.route == "outlier", item.c.id.not_in(select(spot_check.c.item_id)))
        .limit(40),
    )[::8]
    shown = 0
    for row in strange:
        place = point_of(page, row.id)
        x, y = page.evaluate("i => annotriageMap.position(i)", place)
        if page.evaluate("([x, y]) => annotriageMap.nearest(x, y)", [x, y]) != place:
            continue  # another one lies exactly above it
        click_point(page, place)
        page.get_by_role("heading", name=f"Task {row.external_id}", exact=True).wait_for()
        assert page.locator("#panel .panel-picture img").get_attribute("src").endswith(f"/items/{row.id}/thumbnail")
        assert page.locator("#panel .faces button[data-training]").count() == 5, "its nearest training items"
        assert page.locator("#panel dl").text_content().count("larger is stranger") >= 1, "scores per member"
        shown += 1
    assert shown >= 3
    assert page.get_by_role("link", name="Details").get_attribute("href") == f"/projects/1/items/{row.external_id}"


def test_a_training_item_can_be_looked_at_too(page):
    click_point(page, point_of(page, 1))
    page.locator("#panel .faces button[data-training]").first.click()
    page.get_by_text("One of the items that the model was trained on").wait_for()


def test_hovering_shows_the_picture(page):
    place = point_of(page, 1)
    page.locator("#map-host").scroll_into_view_if_needed()
    box, (x, y) = page.locator("#map-host").bounding_box(), page.evaluate("i => annotriageMap.position(i)", place)
    page.mouse.move(box["x"] + x, box["y"] + y)
    tip = page.locator("#map-tip")
    tip.wait_for()
    assert tip.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    assert re.search(r"(automatic|unsure|strange).*scanner=[AB]", tip.inner_text(), re.DOTALL)


def test_hovering_tells_no_class_that_is_hidden(page, dashboard):
    hidden = read(dashboard, select(spot_check.c.item_id).where(spot_check.c.project_id == 1, spot_check.c.state == "open"))
    shown = page.evaluate("ids => ids.map((id) => annotriagePoints().find(id)).filter((i) => i >= 0)", [row.item_id for row in hidden])
    assert shown
    page.evaluate("i => { const [x, y] = annotriageMap.position(i); annotriageMap.on.hover(i, x, y); }", shown[0])
    tip = page.locator("#map-tip")
    tip.wait_for()
    assert tip.locator(".strong").count() == 0


def test_a_lassoed_cloud_goes_to_review_and_back(page, dashboard):
    def queued():
        with dashboard.process.store.reading() as connection:
            return queue_length(connection, project_of(connection, "1"))

    before = queued()
    lasso(page)
    page.get_by_role("button", name="to review").click()
    page.locator("#undo").wait_for()
    sentence = page.locator(".outcome h3").text_content()
    sent = int(sentence.split()[0])
    assert sent > 20
    assert sentence == f"{sent} items were sent to review."
    assert queued() == before + sent
    assert int(page.locator("[data-count=uncertain]").text_content()) >= sent, "the points change their colours at once"
    page.locator("#undo").click()
    page.get_by_role("heading", name="items are as before.").wait_for()
    assert queued() == before


def test_a_lasso_keeps_the_corners_that_a_busy_browser_tells_all_at_once(page):
    """Moves between two frames arrive as one event that carries them; a slow machine draws few frames."""
    page.evaluate(
        """() => {
            const canvas = annotriageMap.overlay, box = canvas.getBoundingClientRect();
            const at = (x, y) => ({ pointerId: 1, clientX: box.left + x * box.width, clientY: box.top + y * box.height, bubbles: true });
            const corners = [at(0.01, 0.99), at(0.99, 0.99), at(0.99, 0.1), at(0.01, 0.1)];
            canvas.setPointerCapture = () => {};  // there is no such pointer
            annotriageMap.lassoing = true;
            canvas.dispatchEvent(new PointerEvent("pointerdown", corners[0]));
            const told = corners.slice(1).map((corner) => new PointerEvent("pointermove", corner));
            canvas.dispatchEvent(new PointerEvent("pointermove", { ...corners[3], coalescedEvents: told }));
            canvas.dispatchEvent(new PointerEvent("pointerup", corners[3]));
        }"""
    )
    title = page.locator("#panel-body h3").text_content()
    assert title.endswith("items inside the lasso")
    assert int(title.split()[0].replace(",", "")) > 500


def test_a_harmless_cloud_is_taken_out_of_the_queue(page, dashboard):
    def queued():
        with dashboard.process.store.reading() as connection:
            return queue_length(connection, project_of(connection, "1"))

    before = queued()
    for kind in ("training", "auto", "uncertain"):
        page.locator(f"[data-show={kind}]").uncheck()
    lasso(page)
    page.get_by_role("button", name="out of review").click()
    page.locator("#undo").wait_for()
    taken = int(page.locator(".outcome h3").text_content().split()[0])
    assert taken > 5
    assert queued() == before - taken
    assert "spot checks, which stay as they are" in page.locator(".outcome").text_content()
    page.locator("#undo").click()
    page.get_by_role("heading", name="items are as before.").wait_for()
    assert queued() == before


def test_an_older_map_can_be_looked_at(signed_in, dashboard):
    service = dashboard.service()
    with service.process.store.reading() as connection:
        project = project_of(connection, "1")
        first = maps.newest(connection, project.id, "umap").id
    MapMaking(service.process)._make(project, "umap")
    service.close()
    page = signed_in("/projects/1/map")
    page.wait_for_selector(READY)
    assert page.evaluate("annotriagePoints().id") > first
    page.locator("#older").select_option(str(first))
    page.wait_for_url(f"**map={first}**")
    page.wait_for_selector(READY)
    assert page.evaluate("annotriagePoints().id") == first


def test_colours_tell_routes_classes_datasets_scores_and_groups_apart(page):
    legends = {}
    for way in ("route", "class", "dataset", "score", "axis_class", "axis_source", "group"):
        page.locator("#colour-by").select_option(way)
        legends[way] = page.locator("#legend bdi").all_text_contents()
    assert legends["route"] == ["training", "automatic", "unsure", "strange", "spot check"]
    assert set(legends["class"]) == {"(no label)", *map(str, range(8))}, "open spot checks have none that may be seen"
    assert {"scanner=A", "scanner=B"} <= set(legends["dataset"])
    assert "99% and above" in legends["score"]
    assert legends["axis_class"][0] == "not measured (training)"
    assert "99% and above" in legends["axis_class"]
    assert any(label.startswith("group 1") for label in legends["group"])


COUNT = "annotriageMap.shown.reduce((a, b) => a + b, 0)"


def test_kinds_can_be_hidden(page):
    everything = page.evaluate(COUNT)
    page.locator("[data-show=training]").uncheck()
    assert page.evaluate(COUNT) == everything - 640
    page.locator("#map-reset").click()
    assert page.evaluate(COUNT) == everything


def drawn_items(page):
    """The row ids of the items that are shown."""
    shown = "[...annotriagePoints().ids.keys()].filter((i) => annotriagePoints().route[i] && annotriageMap.shown[i])"
    return set(page.evaluate(f"{shown}.map((i) => annotriagePoints().ids[i])"))


def passing(dashboard, **filters):
    with dashboard.process.store.reading() as connection:
        project = project_of(connection, "1")
        drawn = set(connection.execute(select(verdict.c.item_id).where(verdict.c.project_id == 1, verdict.c.score.is_not(None))).scalars())
        return drawn & set(ids_of(connection, project, Filters(**{"state": None, **filters})))


def test_the_sidebar_narrows_the_map_in_place_and_the_address_has_it(page, dashboard):
    page.evaluate("annotriageMap.zoom(2); globalThis.stayed = annotriageMap.scale")
    page.locator("#colour-by").select_option("score")
    page.locator("ul[aria-labelledby=facet-state] a", has_text="answered").click()
    page.locator("#map-app[data-narrowed='state=answered']").wait_for()
    assert drawn_items(page) == passing(dashboard, state="answered")
    page.locator("ul[aria-labelledby=facet-label] a").first.click()
    page.locator("#map-app[data-narrowed*='label=']").wait_for()
    asked = parse_qs(urlsplit(page.url).query)
    assert set(asked) == {"state", "label", "colour"}
    assert drawn_items(page) == passing(dashboard, state="answered", label=asked["label"][0])
    assert page.evaluate("annotriageMap.scale === globalThis.stayed"), "the page was not loaded again, and the view stays"
    page.reload()
    page.wait_for_selector(READY)
    assert drawn_items(page) == passing(dashboard, state="answered", label=asked["label"][0])
    assert page.locator("#colour-by").input_value() == "score"
    page.locator("#all-of-it").click()
    page.locator("#map-app[data-narrowed='']").wait_for()
    assert drawn_items(page) == passing(dashboard)


def test_a_dataset_has_the_map_for_itself_and_a_kept_view_brings_its_colours_back(signed_in, page, dashboard):
    follow(page, page.get_by_role("link", name="scanner=B", exact=True))
    page.wait_for_selector(READY)
    chosen = int(parse_qs(urlsplit(page.url).query)["dataset"][0])
    assert drawn_items(page) == passing(dashboard, dataset=chosen)
    page.locator("#colour-by").select_option("class")
    page.locator("[data-show=training]").uncheck()
    page.get_by_label("Name of the view").fill("B by class")
    follow(page, page.get_by_role("button", name="Keep"))
    page.goto(f"{dashboard.url}/projects/1/map")
    follow(page, page.get_by_role("link", name="B by class"))
    page.wait_for_selector(READY)
    assert page.locator("#colour-by").input_value() == "class"
    assert not page.locator("[data-show=training]").is_checked()
    assert drawn_items(page) == passing(dashboard, dataset=chosen)


def test_a_task_that_is_searched_for_is_chosen_on_the_map(page, dashboard):
    (row,) = read(dashboard, select(item.c.id, item.c.external_id).where(item.c.project_id == 1, item.c.route == "auto").limit(1))
    page.locator("#search").fill(row.external_id)
    follow(page, page.get_by_role("button", name="Find", exact=True))
    page.get_by_role("heading", name=f"Task {row.external_id}", exact=True).wait_for()
    assert page.evaluate("annotriagePoints().ids[annotriageMap.selected]") == row.id
    page.locator("#search").fill("no such task")
    follow(page, page.get_by_role("button", name="Find", exact=True))
    page.get_by_text("There is no task no such task here").wait_for()


def test_what_is_like_an_item_is_shown_as_faces_and_stands_out_on_the_map(page, dashboard):
    checks = select(spot_check.c.item_id)
    wanted = select(item.c.id, item.c.external_id).where(item.c.project_id == 1, item.c.route == "auto", item.c.id.not_in(checks)).limit(1)
    (row,) = read(dashboard, wanted)
    page.evaluate("id => annotriageMap.select(annotriagePoints().find(id))", row.id)
    page.get_by_role("heading", name="Next to it on the map").wait_for()
    assert page.locator("#panel-near .face").count() == 8
    page.get_by_role("button", name="Find similar").click()
    page.get_by_role("heading", name=f"Most like task {row.external_id}").wait_for()
    assert page.locator("#found .face").count() == 24
    assert page.evaluate("annotriageMap.marked.reduce((a, b) => a + b, 0)") == 24, "all else is dimmed"
    first = int(page.locator("#found .face").first.get_attribute("data-point"))
    page.locator("#found .face").first.click()
    page.locator("#panel-id").wait_for()
    assert page.evaluate("annotriageMap.selected") == first


def test_a_picture_of_ones_own_finds_what_looks_like_it_and_is_kept_nowhere(page, dashboard):
    (known,) = read(
        dashboard,
        select(item.c.id, item.c.media)
        .where(item.c.project_id == 1, item.c.route == "auto", item.c.id.not_in(select(spot_check.c.item_id)))
        .limit(1),
    )
    picture = decode_data_uri(known.media)
    sent = picture + b"nobody keeps this"  # behind the end of a PNG anything may stand
    page.locator("#picture").set_input_files({"name": "mine.png", "mimeType": "image/png", "buffer": sent})
    page.get_by_role("heading", name="Most like mine.png").wait_for()
    first = int(page.locator("#found .face").first.get_attribute("data-point"))
    assert page.evaluate("i => annotriagePoints().ids[i]", first) == known.id, "the very same picture is nearest"
    stored = b"".join(file.read_bytes() for file in Path(dashboard.database.removeprefix("sqlite:///")).parent.iterdir() if file.is_file())
    assert b"nobody keeps this" not in stored


def test_a_file_that_is_no_picture_is_answered_with_what_is_wrong(page, open_page):
    open_page.expected("422")
    page.locator("#picture").set_input_files({"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no picture at all"})
    page.locator("#panel .warning", has_text="Nothing was found: ").wait_for()


def test_what_looks_like_a_spot_check_is_told_nobody(dashboard):
    client, auth = dashboard.app.test_client(), (dashboard.user, dashboard.password)
    checks = read(dashboard, select(spot_check.c.item_id).where(spot_check.c.project_id == 1, spot_check.c.state == "open"))
    given = {"auth": auth, "headers": {"X-CSRF-Token": token(client, "/projects/1/map", auth=auth)}}
    refused = client.post(f"/projects/1/map/items/{checks[0].item_id}/alike", **given)
    assert (refused.status_code, "stays hidden" in refused.json["detail"]) == (409, True)
    found = client.post("/projects/1/map/items/1/alike", **given).json["items"]
    assert len(found) == 24
    assert {row["id"] for row in found}.isdisjoint({1, *(check.item_id for check in checks)})
    assert all(set(row) == {"id", "name", "route", "distance"} for row in found), "no class"
    assert client.post("/projects/1/map/alike", data=b"x" * 600_000, **given).status_code == 413


def test_many_points_in_one_place_look_like_many(page):
    place = page.evaluate(
        """() => {
            const map = annotriageMap, points = annotriagePoints(), { codes, styles } = map;
            const chosen = [...points.route.keys()].filter((i) => points.route[i]).slice(0, 15), xy = points.xy.slice();
            for (const i of chosen) { xy[2 * i] = xy[2 * chosen[0]]; xy[2 * i + 1] = xy[2 * chosen[0] + 1]; }
            map.replace(xy, points.route);
            map.paint(codes, styles);
            map.show(Uint8Array.from(map.shown, (_, i) => chosen.includes(i) ? 1 : 0));
            return chosen[0];
        }"""
    )
    wide = """i => {
        const map = annotriageMap, y = Math.round(map.position(i)[1] * map.ratio), width = map.base.width;
        const copy = new OffscreenCanvas(width, 1).getContext("2d", { willReadFrequently: true });
        copy.drawImage(map.base, 0, -y);
        const row = copy.getImageData(0, 0, width, 1).data, paper = row.slice(0, 3).join();
        let painted = 0;
        for (let k = 0; k < row.length; k += 4) if (row.slice(k, k + 3).join() !== paper) painted++;
        return painted / map.ratio;
    }"""
    wait_until(lambda: page.evaluate("i => annotriageMap.stackOf(i)", place) == 15, what="for the points to lie there")
    wait_until(lambda: page.evaluate(wide, place) > 25, what="for the points to be drawn as a disc")
    page.evaluate("i => annotriageMap.show(Uint8Array.from(annotriageMap.shown, (_, k) => k === i ? 1 : 0))", place)
    wait_until(lambda: 0 < page.evaluate(wide, place) < 15, what="for a single point")


NEIGHBOURS = 10  # side by side in one cell, of 64 units, in the middle of the map


@pytest.fixture
def crowded(mapped, tmp_path, monkeypatch, serve_dashboard):
    """The dashboard of a map of more points than a browser shall hold; the map, its piece, and ten rows of it: nine lie in one cell."""
    monkeypatch.setattr(map_view, "WHOLE", 100)
    dashboard = serve_dashboard(*dashboards.copied(mapped, tmp_path))
    with dashboard.process.store.writing() as connection:
        newest = maps.newest(connection, 1, "umap")
        piece = maps.read_piece(connection, newest.id, 1)
        checks = set(connection.execute(select(spot_check.c.item_id)).scalars())
        rows = [row for row, id in enumerate(piece.ids) if KINDS[piece.route[row]] == "auto" and id not in checks][:NEIGHBOURS]
        for row in range(len(piece)):
            if (piece.x[row] // 64, piece.y[row] // 64) == (512, 512):
                piece.x[row] += 64
        for place, row in enumerate(rows[:-1]):
            piece.x[row], piece.y[row] = 32_768 + 7 * place, 32_768
        maps.write_piece(connection, newest.id, 1, piece)
    return dashboard, newest, piece, rows


def standing(page, in_the_cell=False):
    """The row id and the weight of each point that is drawn, or of the items in the cell of the neighbours."""
    columns = "p => [...p.ids.keys()].map(i => [p.ids[i], p.weight[i], p.route[i], p.xy[2 * i] >> 6, p.xy[2 * i + 1] >> 6])"
    drawn = page.evaluate(f"({columns})(annotriagePoints())")
    return [(id, weight) for id, weight, route, x, y in drawn if not in_the_cell or (route and (x, y) == (512, 512))]


def are_single(page, n):
    return sum(weight == 1 for _, weight in standing(page, in_the_cell=True)) == n


def test_a_map_of_too_many_points_is_thinned_until_one_looks_closer(crowded, open_page):
    dashboard, newest, _, _ = crowded
    with dashboard.process.store.reading() as connection:
        total = sum(facts.n for facts in maps.pieces(connection, newest.id))
    page = open_page(f"{dashboard.url}/projects/1/map", storage_state=dashboard.session())
    page.wait_for_selector(READY)
    assert sum(weight for _, weight in standing(page)) == total > len(standing(page))
    assert [weight for _, weight in standing(page, in_the_cell=True) if weight > 1] == [9]
    assert page.get_by_text("There are too many points to hold each of them").is_visible()
    told = page.locator("[data-count], #legend .muted").all_text_contents()
    assert sum(int(text.replace(",", "")) for text in told) == 2 * total, "by route beside the boxes, and again in the legend"
    page.evaluate("() => { const p = annotriagePoints(); annotriageMap.on.lasso([...p.ids.keys()].filter(i => p.weight[i] > 1)); }")
    page.get_by_text("Zoom in until each is drawn by itself").wait_for()
    assert not page.get_by_role("button", name="to review").is_visible()
    page.evaluate("annotriageMap.zoom(60)")
    wait_until(lambda: are_single(page, 9), what="for each to be drawn by itself")
    assert page.locator("[data-count], #legend .muted").all_text_contents() == told, "of the whole map still"
    assert sum(weight for _, weight in standing(page)) == total


def test_a_thinned_map_is_read_once_for_all_that_came_in_and_keeps_what_is_chosen_meanwhile(crowded, open_page):
    dashboard, newest, piece, rows = crowded
    page, held = open_page(f"{dashboard.url}/projects/1/map", storage_state=dashboard.session()), []

    def let_go():
        while held:
            held.pop().continue_()

    def choose(id):
        page.evaluate("id => annotriageMap.select(annotriagePoints().find(id))", id)

    def both_are_asked_for():
        return page.evaluate("true") and len(held) == 2  # the training items and the incoming ones

    page.wait_for_selector(READY)
    page.route(re.compile(r"/points/\d"), lambda request: held.append(request))
    page.evaluate(  # a minute goes by, and from now on the page asks more often
        """() => {
            const now = Date.now, wait = setTimeout;
            Date.now = () => now() + 61_000;
            globalThis.setTimeout = (act, after) => wait(act, after > 1000 ? 100 : after);
        }"""
    )
    for _ in range(3):
        with page.expect_response(re.compile("/map/state")):
            pass
    assert held == [], "nothing came in"

    piece.x[rows[-1]], piece.y[rows[-1]] = 32_768 + 7 * 9, 32_768
    with dashboard.process.store.writing() as connection:
        maps.write_piece(connection, newest.id, 1, piece)
    wait_until(both_are_asked_for, what="for the page to read the map again")
    in_view = page.locator("#list-title").text_content()
    page.evaluate("annotriageMap.zoom(60)")
    wait_until(lambda: page.locator("#list-title").text_content() != in_view, what="for the page to see that one looks closer")
    let_go()
    page.get_by_text("Looking closer…").wait_for()
    wait_until(both_are_asked_for, what="for the closer look")
    ((strangest, weight),) = standing(page, in_the_cell=True)
    assert weight == NEIGHBOURS, "what came in is there before the closer look begins"
    choose(strangest)
    page.locator("#panel-near .face").first.wait_for()
    let_go()
    wait_until(lambda: are_single(page, NEIGHBOURS), what="for each to be drawn by itself, the new one too")
    assert page.evaluate("annotriagePoints().ids[annotriageMap.selected]") == strangest
    shown = page.evaluate(
        """() => [...document.querySelectorAll("#panel-near .face")].filter((face) => face.dataset.point >= 0)
            .map((face) => [annotriagePoints().ids[face.dataset.point], face.querySelector("img").src])"""
    )
    assert shown
    assert all(source.endswith(f"/items/{id}/thumbnail") for id, source in shown), "each face is still that of its point"

    page.evaluate("annotriageMap.zoom(1 / 60)")
    wait_until(both_are_asked_for, what="for the look at the whole")
    incoming = next(request for request in held if "/points/1" in request.request.url)
    held.remove(incoming)
    with page.expect_response(lambda answer: answer.url == incoming.request.url):
        incoming.continue_()
    other = next(id for id in (piece.ids[row] for row in rows) if id != strangest)
    choose(other)  # which the strangest of its cell may stand for already
    wait_until(
        lambda: let_go() or sorted(weight for _, weight in standing(page, in_the_cell=True)) == [1, 1, NEIGHBOURS - 2],
        what="for the whole, with both that were chosen by themselves",
    )
    assert page.evaluate("annotriagePoints().ids[annotriageMap.selected]") == other


def test_a_lasso_sends_the_items_that_it_held_whatever_comes_in_meanwhile(page, dashboard):
    lasso(page)
    marked = "p => [...p.ids.keys()].filter(i => annotriageMap.marked[i] && p.route[i]).map(i => p.ids[i])"
    inside = f"({marked})(annotriagePoints())"
    lassoed, count = page.evaluate(inside), page.evaluate("annotriagePoints().count")
    with dashboard.process.store.writing() as connection:
        newest = maps.newest(connection, 1, "umap")
        piece = maps.read_piece(connection, newest.id, 1)
        gone = piece.ids[0]
        for column in (piece.ids, *piece.columns):
            del column[0]  # so that all others move up by one
        maps.write_piece(connection, newest.id, 1, piece)
    wait_until(lambda: page.evaluate("annotriagePoints().count") == count - 1, what="for the other points")
    assert page.evaluate(inside) == [id for id in lassoed if id != gone], "they stand out still"
    with page.expect_request(re.compile("/map/reroute")) as sent:
        page.get_by_role("button", name="to review").click()
    body = sent.value.post_data_buffer
    assert sorted(struct.unpack(f"<{len(body) // 4}I", body)) == sorted(lassoed)
    page.locator("#undo").wait_for()


def test_faces_show_what_lies_in_each_cell(page):
    page.locator("#as-cells").click()
    cells = page.locator(".cell")
    numbers = [int(text.replace(",", "")) for text in page.locator(".cell-count").all_text_contents()]
    assert sum(numbers) == page.evaluate("annotriagePoints().count")
    first = cells.first
    label = first.get_attribute("aria-label")
    first.click()
    assert label.split(":")[0] in page.locator("#panel-body h3").first.text_content()
    assert page.locator("#point-list li").count() > 0 or "training" in page.locator("#panel p").first.text_content()
    face = page.locator("#panel-body .face").first
    chosen = int(face.get_attribute("data-point"))
    face.click()
    page.locator("#panel-id").wait_for()
    assert page.evaluate("annotriageMap.selected") == chosen


def test_the_list_beside_the_map_is_walked_by_keyboard(page):
    page.locator("#point-list li").first.wait_for()
    page.locator("#point-list").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    second = int(page.locator("#point-list li").nth(1).get_attribute("data-point"))
    assert page.evaluate("annotriageMap.selected") == second
    assert page.locator("#point-list").get_attribute("aria-activedescendant") == "point-1"
    page.locator("#panel-id").wait_for()
    scores = page.evaluate("[...document.querySelectorAll('#point-list li')].map(l => annotriagePoints().score[l.dataset.point])")
    assert scores == sorted(scores, reverse=True)


def test_n_and_p_step_through_the_strange_ones(page):
    page.locator("#map-host canvas").last.focus()
    page.keyboard.press("n")
    first = page.evaluate("annotriageMap.selected")
    page.keyboard.press("n")
    assert page.evaluate("annotriageMap.selected") != first
    page.keyboard.press("p")
    assert page.evaluate("annotriageMap.selected") == first
    page.keyboard.press("Escape")
    assert page.evaluate("annotriageMap.selected") == -1


def test_what_comes_in_appears_without_reloading_and_the_view_stays(page, dashboard, digits):
    place, held = point_of(page, 5), []
    page.route("**/legend", lambda request: held.append(request))
    page.evaluate("annotriageMap.zoom(2)")
    click_point(page, place)
    before, count = page.evaluate("i => annotriageMap.position(i)", place), page.evaluate("annotriagePoints().count")
    service = dashboard.service()
    there = service.tool.projects["1"]
    for picture in digits.incoming[0][:3]:
        there.add(dashboards.data_uri(picture), fields={"scanner": "B"})
    service.settle()
    with service.process.store.reading() as connection:
        project = project_of(connection, "1")
    Placing(service.process).step(project)
    service.close()
    wait_until(lambda: page.evaluate("true") and held, what="for the new points")
    assert point_of(page, 5) == place, "until all of them are there, the points stay as they are"
    held[0].continue_()
    wait_until(lambda: page.evaluate("annotriagePoints().count") == count + 3, what="for the new points to be drawn")
    place = point_of(page, 5)
    assert page.evaluate("i => annotriageMap.position(i)", place) == pytest.approx(before, abs=0.01)
    assert page.evaluate("annotriageMap.selected") == place


def test_the_picture_can_be_taken_away(page):
    with page.expect_download() as download:
        page.locator("#map-png").click()
    assert download.value.suggested_filename.startswith("map-")
    head = download.value.path().read_bytes()[:24]
    assert head.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", head[16:])
    assert (width, height) > (600, 400)


def test_both_methods_have_a_map(signed_in):
    page = signed_in("/projects/1/map")
    page.wait_for_selector(READY)
    umap = page.evaluate("[...annotriagePoints().xy.slice(0, 40)]")
    page.locator("#method").select_option("tsne")
    page.wait_for_url("**method=tsne**")
    page.wait_for_selector(READY)
    assert page.evaluate("[...annotriagePoints().xy.slice(0, 40)]") != umap


@pytest.fixture
def space(signed_in):
    page = signed_in("/projects/1/map?dimensions=3")
    page.wait_for_selector(READY)
    return page


def test_a_map_in_space_is_made_for_who_looks_and_the_switch_keeps_the_colours(signed_in, dashboard):
    page = signed_in("/projects/2/map?colour=class")
    page.get_by_role("radio", name="3-D").check()
    page.wait_for_url("**dimensions=3**")
    assert "colour=class" in page.url
    page.get_by_text("The first map in space is being made.").wait_for()
    service = dashboard.service()
    with service.process.store.reading() as connection:
        project = project_of(connection, "2")

    def is_asked_for():
        with service.process.store.reading() as connection:
            return maps.is_asked_for(connection, project.id, "umap-3d")

    wait_until(lambda: page.evaluate("true") and is_asked_for(), what="for the page to ask")
    making = MapMaking(service.process)
    while making.step(project):
        pass
    service.close()
    page.wait_for_selector(READY)
    assert page.locator("#colour-by").input_value() == "class"
    assert page.evaluate("annotriageMap.values") == 3


def test_dragging_and_arrows_turn_the_map_and_reset_brings_it_back(space):
    view = "[annotriageMap.view.around, annotriageMap.view.above, annotriageMap.scale, annotriageMap.left]"
    start = space.evaluate(view)
    space.locator("#map-host").scroll_into_view_if_needed()
    box = space.locator("#map-host").bounding_box()
    x, y = box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.85
    space.mouse.move(x, y)
    space.mouse.down()
    space.mouse.move(x + 100, y + 30, steps=4)
    space.mouse.up()
    turned = space.evaluate(view)
    assert turned[0] == pytest.approx(start[0] + 0.8)
    assert turned[1] == pytest.approx(start[1] + 0.24)
    assert turned[2:] == start[2:]
    space.locator("#map-host canvas").last.focus()
    space.keyboard.press("ArrowRight")
    assert space.evaluate(view)[0] > turned[0]
    space.keyboard.press("Shift+ArrowRight")
    assert space.evaluate(view)[3] != start[3]
    for _ in range(40):
        space.keyboard.press("ArrowDown")
    assert abs(space.evaluate(view)[1]) == pytest.approx(np.pi / 2), "from above, not over"
    space.keyboard.press("+")
    assert space.evaluate(view)[2] > start[2]
    space.locator("#map-reset").click()
    assert space.evaluate(view) == start


def test_a_click_on_a_point_in_space_shows_that_very_item(space, dashboard):
    assert space.evaluate("annotriageMap.values") == 3
    strange = read(dashboard, select(item.c.id, item.c.external_id).where(item.c.project_id == 1, item.c.route == "outlier").limit(60))
    shown = 0
    for row in strange:
        place = point_of(space, row.id)
        x, y = space.evaluate("i => annotriageMap.position(i)", place)
        if space.evaluate("([x, y]) => annotriageMap.nearest(x, y)", [x, y]) != place:
            continue  # another one lies before it
        click_point(space, place)
        space.get_by_role("heading", name=f"Task {row.external_id}", exact=True).wait_for()
        shown += 1
        if shown == 3:
            break
    assert shown == 3
    assert space.locator("#map-text").text_content().count("laid out together in space") == 1
    assert f"item={row.id}" in space.url


def test_of_open_spot_checks_the_map_in_space_tells_no_class_either(space, dashboard):
    checks = read(dashboard, select(spot_check.c.item_id).where(spot_check.c.state.in_(UNSETTLED)))
    told = "ids => ids.map(id => annotriagePoints().find(id)).filter(i => i >= 0).map(i => annotriagePoints().label[i])"
    assert set(space.evaluate(told, [check.item_id for check in checks])) == {0}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_map_in_space_has_no_barriers(signed_in, barriers, theme):
    page = signed_in("/projects/1/map?dimensions=3", color_scheme=theme, viewport={"width": 390, "height": 844})
    page.wait_for_selector(READY)
    assert barriers(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_project_whose_map_is_being_made_says_so_and_shows_it_when_it_is_there(signed_in, dashboard):
    with dashboard.process.store.writing() as connection:
        project = project_of(connection, "2")
        id = maps.begin(connection, project, "umap", 0)
        maps.change_map(connection, id, progress=0.4, text="laying out 640 training and 40 incoming items")
    page = signed_in("/projects/2/map")
    page.get_by_text("A new map is being made: laying out 640 training and 40 incoming items.").wait_for()
    service = dashboard.service()
    MapMaking(service.process).step(project)
    service.close()
    page.wait_for_selector(READY)


def test_a_map_that_failed_says_why(signed_in, dashboard):
    with dashboard.process.store.writing() as connection:
        id = maps.begin(connection, project_of(connection, "2"), "umap", 0)
        maps.change_map(connection, id, state="failed", text="<b>no room</b> for 20,000 points")
    page = signed_in("/projects/2/map")
    page.get_by_text("could not be made: <b>no room</b> for 20,000 points.").wait_for()


def test_deleted_tasks_and_hostile_text_are_shown_as_what_they_are(page, dashboard):
    with dashboard.process.store.writing() as connection:
        connection.execute(item.update().where(item.c.id == 3).values(gone=True))
        connection.execute(verdict.update().where(verdict.c.item_id == 3).values(reason=dashboards.HOSTILE, cluster=dashboards.HOSTILE))
    page.evaluate("id => annotriageMap.select(annotriagePoints().find(id))", 3)
    page.get_by_text("This task was deleted in Label Studio.").wait_for()
    assert page.locator("#panel-reason").text_content() == dashboards.HOSTILE
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_map_has_no_barriers(signed_in, barriers, theme):
    page = signed_in("/projects/1/map", color_scheme=theme)
    page.wait_for_selector(READY)
    page.evaluate("id => annotriageMap.select(annotriagePoints().find(id))", 3)
    page.locator("#panel-id").wait_for()
    assert barriers(page) == []
    page.locator("#as-cells").click()
    assert barriers(page) == []


@pytest.mark.parametrize("width", [1280, 820])
def test_it_is_no_wider_than_the_screen(signed_in, width):
    page = signed_in("/projects/1/map", viewport={"width": width, "height": 900})
    page.wait_for_selector(READY)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_strangers_and_forged_posts_are_refused(dashboard):
    client = dashboard.app.test_client()
    assert client.get("/projects/1/map", headers={"Accept": "text/html"}).location.startswith("/sign-in")
    assert client.get("/projects/1/map/1/points/0").status_code == 401
    client.post("/sign-in", data={"user": dashboard.user, "password": dashboard.password})
    assert client.post("/projects/1/map/reroute?to=review", data=struct.pack("<I", 1)).status_code in (401, 403)
    assert read(dashboard, select(item.c.id).where(item.c.sent_by.is_not(None))) == []


def test_a_million_points_take_less_than_six_megabytes():
    rng = np.random.default_rng(0)
    sent, piece_size = 0, 50_000
    for start in range(0, 200_000, piece_size):
        places = (
            rng.normal(size=(piece_size, 2)) * 2_500 + rng.uniform(8_000, 57_000, size=(10, 2))[rng.integers(0, 10, piece_size)]
        ).clip(0, 65_535)
        piece = Piece()
        piece.ids.extend(range(start + 1, start + 1 + piece_size))
        piece.x.extend(places[:, 0].astype(int).tolist())
        piece.y.extend(places[:, 1].astype(int).tolist())
        for column, high in ((piece.route, 4), (piece.label, 10), (piece.dataset, 3), (piece.score, 15)):
            column.extend(rng.integers(1, high, piece_size).tolist())
        usual, elsewhere = rng.choice([1, 2, 3, 4, 5], (2, piece_size), p=[0.5, 0.3, 0.15, 0.04, 0.01])  # as of held-out items
        piece.axes.extend((usual | elsewhere << 4).tolist())
        sent += len(pack(piece))
    assert 5 * sent < 6_000_000

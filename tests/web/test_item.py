"""An item's page in a real browser, on real digits: the very picture, the verdict in words, what happened, and on through the queue."""

from __future__ import annotations

import base64
import http.server
import re
import threading
from contextlib import suppress

import pytest
from browsers import follow, pixels, text
from sqlalchemy import select, update
from waiting import wait_until

from annotriage.labeling_tool import Account
from annotriage.service.delivery.rerouting import send_to_review
from annotriage.service.readings import names as naming
from annotriage.service.readings.names import names_of
from annotriage.store import items
from annotriage.store.projects import project_of
from annotriage.store.queue import Filters, queue_page
from annotriage.store.schema import delivery, item, review, spot_check, verdict
from annotriage.web.full_pictures import kind_of

pytestmark = pytest.mark.browser

PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")


def queue(dashboard, **filters):
    with dashboard.process.store.reading() as connection:
        return queue_page(connection, project_of(connection, "1"), filters=Filters(**filters), limit=1000).rows


def change(dashboard, table, id, **values):
    column = table.c.id if table is item else table.c.item_id
    with dashboard.process.store.writing() as connection:
        connection.execute(update(table).where(column == id).values(values))


@pytest.fixture
def outlier(dashboard):
    """The strangest outlier that is no spot check."""
    return next(row for row in queue(dashboard, route="outlier") if not row.spot_check)


@pytest.fixture
def media_server():
    """Serves bytes on a free port: media_server(content) gives their address."""
    contents = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            kind, content = contents[self.path]
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with suppress(ConnectionError):  # whoever has read enough of it hangs up
                self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()

    def put(content, kind="image/png"):
        path = f"/{len(contents)}.png"
        contents[path] = kind, content
        return f"http://127.0.0.1:{server.server_port}{path}"

    put.host = f"127.0.0.1:{server.server_port}"
    yield put
    server.shutdown()
    server.server_close()


def test_it_shows_the_very_picture_and_the_verdict_in_words(signed_in, outlier):
    page = signed_in(f"/projects/1/items/{outlier.task}")
    assert pixels(page.locator("#media")) == [8, 8]
    assert "Outlier score" not in text(page, "#verdict-part"), "figures for engineers are behind a click"
    page.get_by_text("Figures", exact=True).click()
    said = text(page, "#verdict-part")
    assert outlier.verdict.reason.split(". ")[0] in said
    assert (
        "held-out items looks as strange as this one" in said or "look at least as strange" in said or "looks at least as strange" in said
    )
    for what in (
        "The model says",
        "Outlier score",
        "Like no class",
        "Unusual look",
        "p-value",
        "Trust",
        "All items",
        "scanner=",
    ):
        assert what in said


def test_every_score_is_shown_beside_the_edge_of_the_normal_range(signed_in, dashboard, outlier):
    page = signed_in(f"/projects/1/items/{outlier.task}")
    with dashboard.process.store.reading() as connection:
        members = connection.execute(select(verdict.c.members).where(verdict.c.item_id == outlier.id)).scalars().first()
    page.get_by_text("Figures", exact=True).click()
    rows = page.locator("table.members tbody tr")
    assert rows.count() == len(members) > 1
    for row, (name, value) in zip(rows.all(), members.items(), strict=True):
        cells = row.inner_text().split("\t")
        assert cells[0] == name
        assert float(cells[1]) == pytest.approx(value, rel=1e-3)
        edge = float(cells[2])
        beyond = row.locator(".gauge").get_attribute("aria-label") == "beyond the edge of the normal range"
        assert beyond == (value > edge)
    assert page.locator(".gauge.over").count() >= 1, "an outlier is strange by some measure"


def test_the_walk_goes_on_from_item_to_item(signed_in, dashboard):
    rows = queue(dashboard, route="outlier")
    page = signed_in(f"/projects/1/items/{rows[1].task}?route=outlier")
    page.keyboard.press("j")
    page.wait_for_url(f"**/items/{rows[2].task}?route=outlier")
    page.keyboard.press("k")
    page.wait_for_url(f"**/items/{rows[1].task}?route=outlier")
    page.get_by_role("link", name="Previous").click()
    page.wait_for_url(f"**/items/{rows[0].task}?route=outlier")
    assert page.get_by_role("link", name="Previous").count() == 0
    page.keyboard.press("k")
    assert "first one of the queue" in text(page, "#notices")
    page.keyboard.press("q")
    page.wait_for_url("**/queue?route=outlier")


def test_u_takes_it_out_of_the_queue_and_sends_it_back(signed_in, dashboard, outlier):
    page = signed_in(f"/projects/1/items/{outlier.task}")
    page.keyboard.press("u")
    page.locator("#notices", has_text="1 item is out of the queue").wait_for()
    assert "out of the queue" in text(page, "#verdict-part")
    assert outlier.id not in {row.id for row in queue(dashboard)}
    assert "taken out of review by" in text(page, "#history-part")
    follow(page, page.get_by_role("button", name="Send to review"))
    page.locator("#notices", has_text="1 item waits for a person now").wait_for()
    assert outlier.id in {row.id for row in queue(dashboard)}


def test_an_automatic_item_can_be_sent_to_review(signed_in, dashboard):
    with dashboard.process.store.reading() as connection:
        query = select(item.c.id, item.c.external_id).outerjoin(spot_check, spot_check.c.item_id == item.c.id)
        auto = connection.execute(query.where(item.c.route == "auto", item.c.answer == "open", spot_check.c.item_id.is_(None))).first()
    page = signed_in(f"/projects/1/items/{auto.external_id}")
    follow(page, page.get_by_role("button", name="Send to review"))
    page.locator("#notices", has_text="1 item waits for a person now").wait_for()
    assert f"sent to review by {dashboard.user}" in text(page)
    assert auto.id in {row.id for row in queue(dashboard, route="uncertain")}


def test_a_spot_check_says_what_it_is_and_cannot_be_taken_away(signed_in, dashboard):
    row = next(row for row in queue(dashboard, route="spot check"))
    page = signed_in(f"/projects/1/items/{row.task}")
    assert "A spot check" in text(page)
    assert page.locator("#reroute").count() == 0
    assert "was drawn at random" in text(page, "#history-part")


def test_its_history_tells_what_happened(signed_in, dashboard):
    with dashboard.process.store.reading() as connection:
        answered = connection.execute(
            select(item.c.external_id, review.c.annotator, review.c.labels).join(review, review.c.item_id == item.c.id).limit(1)
        ).first()
    page = signed_in(f"/projects/1/items/{answered.external_id}")
    said = text(page, "#history-part")
    for what in ("arrived", "was judged", "is in the labeling tool", f"{answered.annotator} answered {answered.labels[0]}"):
        assert what in said
    assert "People answered" in text(page, "#verdict-part")


def test_people_are_called_as_the_labeling_tool_calls_them_where_pages_name_people(copied, serve_dashboard):
    def said(**settings):
        dashboard = serve_dashboard(*copied, **settings)
        dashboard.tool.people = [Account("ann", "Ann Example", ("ann@example.com",))]
        with dashboard.process.store.reading() as connection:
            by_ann = select(item.c.external_id).join(review, review.c.item_id == item.c.id).where(review.c.annotator == "ann").limit(1)
            task = connection.execute(by_ann).scalar_one()
        client, auth = dashboard.app.test_client(), (dashboard.user, dashboard.password)
        paths = (f"/projects/1/items/{task}", f"/projects/1/items/{task}.json", f"/api/projects/1/items/{task}", "/projects/1/overview")
        return [client.get(path, auth=auth).text for path in paths]

    page, twin, _, overview = said()
    assert "Ann Example answered" in page
    assert "Ann Example answered" in twin
    assert "Ann Example" in overview
    for text_ in said(show_people="off"):
        assert "somebody answered" in text_ or "gave" in text_
        assert not re.search("Ann Example|\\bann\\b", text_)


def test_a_labeling_tool_that_does_not_answer_holds_no_page_up(copied, serve_dashboard, monkeypatch):
    dashboard = serve_dashboard(*copied)
    answers, asked = threading.Event(), []

    def accounts():
        asked.append(1)
        answers.wait()
        return [Account("ann", "Ann Example", ())]

    dashboard.tool.accounts = accounts
    names = names_of(dashboard.process)
    with monkeypatch.context() as patched:
        patched.setattr(naming, "PATIENCE", 0.01)
        assert [names("ann"), names("7"), names("ann")] == ["ann", "annotator 7", "ann"]
    wait_until(lambda: asked, what="for the thread that asks")
    assert asked == [1]
    answers.set()
    assert names_of(dashboard.process)("ann") == "Ann Example"


def test_the_picture_is_seen_on_the_whole_screen_zoomed_and_moved_by_keyboard(signed_in, outlier, barriers):
    page = signed_in(f"/projects/1/items/{outlier.task}")
    assert pixels(page.locator("#media")) == [8, 8]
    page.get_by_role("button", name="Zoom, full screen").press("f")
    page.locator("#viewer[data-ready]").wait_for()
    image, said = page.locator("#viewer img"), page.locator("#viewer output")
    width = image.evaluate("image => image.getBoundingClientRect().width")
    assert width == pytest.approx(
        image.evaluate("image => Math.min(image.parentElement.clientWidth, image.parentElement.clientHeight)"), abs=2
    )
    for _ in range(4):
        page.keyboard.press("+")
    assert said.inner_text() == "2.4 times"
    box = image.bounding_box()
    assert box["width"] == pytest.approx(width * 1.25**4, rel=0.01)
    page.keyboard.press("ArrowLeft")
    assert image.bounding_box()["x"] > box["x"], "it moved, and the page did not walk on"
    assert f"/items/{outlier.task}" in page.url
    assert barriers(page) == []
    page.keyboard.press("0")
    assert said.inner_text() == "all of it"
    page.mouse.move(640, 300)
    page.mouse.wheel(0, -100)
    said.filter(has_text="1.3 times").wait_for()  # a wheel is not waited for as a key is
    page.keyboard.press("f")
    page.locator("#viewer").wait_for(state="hidden")
    assert page.evaluate("document.activeElement.id") == "enlarge"


def test_a_deleted_and_an_unjudged_and_an_unknown_item_say_so(signed_in, open_page, dashboard, outlier):
    open_page.expected("4")
    page = signed_in("/projects/1/items/4711")
    assert "has no task 4711" in text(page)
    with dashboard.process.store.writing() as connection:
        items.mark_gone(connection, [outlier.id])
        connection.execute(item.update().where(item.c.id == outlier.id).values(gone=True))
    page.goto(f"{dashboard.url}/projects/1/items/{outlier.task}")
    assert "This task was deleted in Label Studio" in text(page)
    with dashboard.process.store.writing() as connection:
        connection.execute(verdict.delete().where(verdict.c.item_id == outlier.id))
        connection.execute(item.update().where(item.c.id == outlier.id).values(gone=False, route=None, trust=None))
    page.goto(f"{dashboard.url}/projects/1/items/{outlier.task}")
    assert "It is not judged yet" in text(page)


def test_a_broken_picture_says_why_and_leaves_the_page_usable(signed_in, open_page, dashboard):
    open_page.expected("422")
    failed = next(iter(queue(dashboard, route="failed")))
    page = signed_in(f"/projects/1/items/{failed.task}")
    page.locator("#media-problem", has_text="No picture: ").wait_for()
    assert "no picture that browsers show" in text(page, "#media-problem")
    assert "unreadable" in text(page, "#verdict-part")


def test_where_the_full_picture_cannot_be_had_the_small_one_is_shown(signed_in, open_page, dashboard, outlier):
    open_page.expected("422")
    change(dashboard, item, outlier.id, media="http://not.listed.example/a.png")
    page = signed_in(f"/projects/1/items/{outlier.task}")
    page.locator("#media-problem", has_text="Only the small picture").wait_for()
    assert "add not.listed.example to the setting media_hosts" in text(page, "#media-problem")
    assert pixels(page.locator("#media")) > [0, 0]


@pytest.mark.parametrize(
    ("content", "declared"),
    [
        (b"<!doctype html><script>alert(1)</script>", "image/png"),
        (b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>', "image/svg+xml"),
        (b"%PDF-1.7", "image/png"),
        (b"", "image/png"),
    ],
)
def test_only_what_begins_as_a_picture_is_handed_on_whatever_it_calls_itself(copied, serve_dashboard, media_server, content, declared):
    answer = _media(copied, serve_dashboard, media_server, content, declared)
    assert answer.status_code == 422
    assert content not in answer.data or not content
    assert answer.mimetype != declared


def test_a_picture_is_handed_on_as_what_it_is_and_can_run_nothing(copied, serve_dashboard, media_server):
    answer = _media(copied, serve_dashboard, media_server, PIXEL + b"<script>alert(1)</script>", "text/html")
    assert (answer.status_code, answer.mimetype) == (200, "image/png")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_a_picture_larger_than_the_limit_is_refused(copied, serve_dashboard, media_server):
    answer = _media(copied, serve_dashboard, media_server, PIXEL + bytes(2 * 2**20), "image/png", media_mb=1)
    assert answer.status_code == 422
    assert "is larger than" in answer.get_data(as_text=True)


def _media(copied, serve_dashboard, media_server, content, declared, **settings):
    """What the address of an item's picture answers, whose task holds that content."""
    dashboard = serve_dashboard(*copied, media_hosts=(media_server.host,), **settings)
    change(dashboard, item, 1, media=media_server(content, declared))
    return dashboard.app.test_client().get("/projects/1/items/1/media", auth=(dashboard.user, dashboard.password))


def test_what_is_no_picture_is_none():
    assert kind_of(PIXEL) == "image/png"
    assert kind_of(b"RIFF0000WEBP") == "image/webp"
    assert [kind_of(start) for start in (b"", b"<svg", b"RIFF0000WAVE", b"II*\0", b"\0\0\0")] == [None] * 5


def test_hostile_text_is_text_and_widens_nothing(signed_in, dashboard, outlier):
    evil = "<script>alert(1)</script> \u202egnp.exe " + "W" * 10_000
    change(dashboard, verdict, outlier.id, reason=evil, cluster=evil, labels=[evil], members={evil: 1.5})
    change(dashboard, item, outlier.id, group=evil)
    change(dashboard, delivery, outlier.id, error=evil)
    with dashboard.process.store.writing() as connection:
        flags = {"skipped": False, "empty": False, "ground_truth": False, "machine": False}
        given = {"external_id": "x1", "annotator": evil, "labels": [evil], "updated_at": 0.0}
        row = connection.execute(select(item.c.project_id).where(item.c.id == outlier.id)).one()
        connection.execute(review.insert().values(project_id=row.project_id, item_id=outlier.id, **given, **flags))
    for width in (1280, 820):
        page = signed_in(f"/projects/1/items/{outlier.task}", viewport={"width": width, "height": 900})
        assert "<script>alert(1)</script>" in text(page)
        assert page.locator("main script").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width


def test_what_others_do_meanwhile_shows(signed_in, dashboard, outlier):
    with dashboard.process.store.reading() as connection:
        project = project_of(connection, "1")
        auto = connection.execute(
            select(item.c.id, item.c.external_id)
            .outerjoin(spot_check, spot_check.c.item_id == item.c.id)
            .where(item.c.route == "auto", item.c.answer == "open", spot_check.c.item_id.is_(None))
        ).first()
    page = signed_in(f"/projects/1/items/{auto.external_id}")
    send_to_review(dashboard.process, project, [auto.id], "Ann")
    page.locator("#verdict-part", has_text="sent to review by Ann").wait_for()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_there_are_no_barriers(signed_in, barriers, outlier, theme):
    page = signed_in(f"/projects/1/items/{outlier.task}", color_scheme=theme)
    assert barriers(page) == []

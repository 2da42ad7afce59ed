"""report.html in a real browser, opened as people open it: by its file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from waiting import wait_until

from annotriage.advice.diversity_words import diversity_sentence
from annotriage.report.page import write_report

pytestmark = pytest.mark.browser
READY = "globalThis.annotriageMap?.drawMilliseconds > 0"


def wait_for(page, condition, given=None):
    """Wait until something holds on the page, by asking: a page's policy lets no function wait on it, unless it holds at once."""
    wait_until(lambda: page.evaluate(condition, given), every=0.05, what=f"for {condition}")


@pytest.fixture(scope="module")
def address(sample_report, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(sample_report, path)
    return path.as_uri()


@pytest.fixture
def page(open_page, address):
    page = open_page(address)
    wait_for(page, READY)
    return page


def click_point(page, place: int) -> None:
    """Click on the map where point `place` is drawn."""
    page.evaluate("document.getElementById('map').scrollIntoView()")
    x, y = page.evaluate("i => annotriageMap.position(i)", place)
    page.locator("#map-host canvas").last.click(position={"x": x, "y": y})


def test_a_click_on_a_point_shows_that_very_item(page, sample_report):
    outliers = [place for place, point in enumerate(sample_report.drawn) if point.route == "outlier"]
    for place in outliers[:10]:
        point = sample_report.drawn[place]
        click_point(page, place)
        assert page.locator("#panel-id").text_content() == point.id
        assert page.locator("#panel-reason").text_content() == point.reason
        picture = page.locator(".panel-picture img.tiny")  # once its load event has told its size
        assert picture.evaluate("image => image.naturalWidth") == 8
        assert picture.evaluate("image => getComputedStyle(image).imageRendering") == "pixelated"
        labels = page.locator("#panel .face bdi").all_text_contents()
        assert labels == [sample_report.drawn[near].label for near in point.nearest]


def test_a_row_of_the_list_selects_its_point(page, sample_report):
    waiting = sample_report.waiting[3].verdict
    page.locator(f"#waiting tr:has-text('{waiting.id}')").click()
    assert page.locator("#panel-id").text_content() == waiting.id
    assert sample_report.drawn[page.evaluate("annotriageMap.selected")].id == waiting.id


def test_search_and_route_filter_the_list(page, sample_report):
    waiting = sample_report.waiting[-1].verdict
    page.locator("#filter-text").fill(waiting.id.upper())
    assert page.locator("#waiting tbody tr:visible").count() == 1
    assert "1 of 105 listed" in page.locator("#filter-count").text_content()
    page.locator("#filter-text").fill("")
    page.locator("#filter-route").select_option("outlier")
    assert page.locator("#waiting tbody tr:visible").count() == 51
    page.locator("#filter-text").fill("no such thing")
    assert page.locator("#filter-none").is_visible()


def test_the_keyboard_walks_the_items_in_order_of_strangeness(page, sample_report):
    strangest = sorted((point for point in sample_report.drawn if point.kind == "incoming"), key=lambda point: -point.outlier_score)
    page.locator("#map-host canvas").last.focus()
    page.keyboard.press("n")
    page.keyboard.press("n")
    shown = next(point for point in sample_report.drawn if point.id == page.locator("#panel-id").text_content())
    assert shown.outlier_score == pytest.approx(strangest[1].outlier_score)
    page.keyboard.press("p")
    page.keyboard.press("Escape")
    assert "Click a point" in page.locator("#panel").text_content()


def test_the_keyboard_moves_and_zooms_the_map(page):
    view = "[annotriageMap.scale, annotriageMap.left]"
    page.locator("#map-host canvas").last.focus()
    scale, left = page.evaluate(view)
    page.keyboard.press("+")
    assert page.evaluate(view)[0] == pytest.approx(scale * 1.4)
    page.keyboard.press("0")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(view) == pytest.approx([scale, left + 48])


def test_the_page_scrolls_over_the_map_until_it_is_clicked(page, sample_report):
    place = next(place for place, point in enumerate(sample_report.drawn) if point.route == "outlier")
    page.evaluate("document.getElementById('map').scrollIntoView()")
    page.locator("#map-host").hover()
    scale = page.evaluate("annotriageMap.scale")
    page.evaluate("addEventListener('wheel', () => { globalThis.wheeled = true; })")
    page.mouse.wheel(0, -40)
    wait_for(page, "globalThis.wheeled")
    assert page.evaluate("annotriageMap.scale") == scale
    click_point(page, place)
    page.mouse.wheel(0, -100)
    wait_for(page, "scale => annotriageMap.scale > scale", scale)


def test_hiding_training_items_leaves_none_to_click(page, sample_report):
    page.locator("[data-show=training]").uncheck()
    assert page.evaluate("annotriageMap.shown.reduce((sum, point) => sum + point, 0)") == 500
    x, y = page.evaluate("annotriageMap.position(0)")
    nearest = page.evaluate("([x, y]) => annotriageMap.nearest(x, y)", [x, y])
    assert nearest == -1 or sample_report.drawn[nearest].kind == "incoming"


@pytest.mark.parametrize(("way", "entries"), [("route", 4), ("class", 8), ("kind", 2), ("score", 6), ("group", 4)])
def test_every_colouring_has_a_legend_whose_counts_add_up(page, sample_report, way, entries):
    page.locator("#colour-by").select_option(way)
    counts = [int(text.replace(",", "")) for text in page.locator("#legend .muted").all_text_contents()]
    assert len(counts) == entries
    assert sum(counts) == len(sample_report.drawn)


def test_a_lasso_says_what_is_inside(page):
    page.evaluate("document.getElementById('map').scrollIntoView()")
    page.locator("#map-lasso").click()
    box = page.locator("#map-host").bounding_box()
    corners = [(5, 5), (box["width"] - 5, 5), (box["width"] - 5, box["height"] - 5), (5, box["height"] - 5)]
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    for x, y in corners[1:]:
        page.mouse.move(box["x"] + x, box["y"] + y, steps=4)
    page.mouse.up()
    assert "1,100 items inside the lasso" in page.locator("#panel").text_content()
    assert len(page.locator("#panel textarea").input_value().splitlines()) == 500


@pytest.fixture(scope="module")
def address_in_space(sample_report, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    depth = np.linspace(-3, 3, len(sample_report.drawn), dtype=np.float32)
    write_report(replace(sample_report, map_xyz=np.column_stack([sample_report.map_xy, depth])), path)
    return path.as_uri()


def test_the_map_is_turned_in_space_and_the_address_says_so(open_page, address_in_space, sample_report):
    page = open_page(address_in_space)
    wait_for(page, READY)
    place = next(place for place, point in enumerate(sample_report.drawn) if point.route == "outlier")
    page.evaluate("i => annotriageMap.select(i)", place)
    page.get_by_role("radio", name="3-D").check()
    assert page.url.endswith("#map-3d")
    assert page.evaluate("[annotriageMap.values, annotriageMap.selected]") == [3, place], "what is chosen stays so"
    assert page.locator("#panel-id").text_content() == sample_report.drawn[place].id
    assert page.locator("#map-host canvas").count() == 2
    before = page.evaluate("i => annotriageMap.position(i)", place)
    page.locator("#map-host canvas").last.focus()
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("i => annotriageMap.position(i)", place) != before
    assert "arrows turn" in " ".join(page.locator("#map-help").inner_text().split())
    again = open_page(page.url)
    wait_for(again, READY)
    assert again.evaluate("annotriageMap.values") == 3
    again.get_by_role("radio", name="2-D").check()
    assert again.evaluate("annotriageMap.values") == 2


def test_a_report_without_a_map_in_space_has_no_switch(page):
    assert page.locator("[name=dimensions]").count() == 0


def test_a_group_is_shown_on_the_map(page):
    page.locator("[data-group='1']").click()
    assert page.locator("#colour-by").input_value() == "group"


def test_dark_follows_the_system_and_the_toggle(open_page, address):
    page = open_page(address, color_scheme="dark")
    paper = "getComputedStyle(document.querySelector('section')).backgroundColor"
    assert page.evaluate(paper) == "rgb(22, 26, 30)"
    page.locator("#theme").click()
    assert page.evaluate(paper) == "rgb(255, 255, 255)"
    wait_for(page, "annotriageMap.context.getImageData(2, 2, 1, 1).data[0] === 255")


@pytest.mark.parametrize("width", [1280, 820, 400])
def test_hostile_text_neither_runs_nor_widens_the_page(open_page, samples, tmp_path, width):
    path = tmp_path / "hostile.html"
    write_report(samples.hostile_report(), path)
    page = open_page(path.as_uri(), viewport={"width": width, "height": 900})
    page.locator("#waiting tbody tr").first.click()
    assert page.locator("#panel-reason").text_content() == samples.HOSTILE
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_it_reads_without_javascript(open_page, address, sample_report):
    page = open_page(address, java_script_enabled=False)
    assert page.get_by_text("The map needs JavaScript").is_visible()
    assert page.locator(".headline").first.is_visible()
    page.get_by_text("For statisticians").click()
    page.get_by_text(diversity_sentence(sample_report.diversity)).wait_for()
    assert page.locator("#map-app").is_hidden()
    assert page.locator("#waiting tbody tr").count() == 105


def test_twenty_thousand_points_with_thumbnails_open_fast_and_move_smoothly(open_page, samples, tmp_path):
    path, report = tmp_path / "huge.html", samples.huge_report()
    padding = bytes(900)
    write_report(replace(report, drawn=[replace(point, thumbnail=point.thumbnail + padding) for point in report.drawn]), path)
    page = open_page("about:blank")
    seconds = busy_seconds(page)
    page.goto(path.as_uri())
    wait_for(page, READY)
    opened = seconds()
    usual = min(arithmetic_seconds(page, seconds) for _ in range(3))
    assert opened < 25 * usual, (opened, usual)
    before = seconds()
    for _ in range(9):
        page.evaluate("new Promise(done => { annotriageMap.pan(2, 0); requestAnimationFrame(() => requestAnimationFrame(done)); })")
    assert (seconds() - before) / 9 < 0.2 * usual


def busy_seconds(page):
    """How long the page's main thread has worked, as a function: what others do to the machine meanwhile does not count."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def seconds():
        return next(metric["value"] for metric in session.send("Performance.getMetrics")["metrics"] if metric["name"] == "TaskDuration")

    return seconds


def arithmetic_seconds(page, seconds):
    """How long that thread works for thirty million steps of arithmetic: some 0.1 s, and longer on a slower machine."""
    began = seconds()
    page.evaluate("(() => { let x = 1; for (let i = 0; i < 3e7; i++) x = (x * 31 + i) | 0; return x; })()")
    return seconds() - began


def test_the_menu_shows_all_its_entries_on_a_telephone(open_page, address):
    page = open_page(address, viewport={"width": 390, "height": 844})
    for link in page.locator(".links a").all():
        box = link.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_pictures_say_how_they_were_chosen(page):
    page.get_by_role("button", name="Start with the strangest").click()
    assert "Most similar training items" in page.locator("#panel").text_content()
    assert "over all layers" in page.locator("#panel").text_content()


def test_a_page_without_a_map_still_works(open_page, samples, tmp_path):
    path = tmp_path / "failed.html"
    write_report(samples.failed_report(), path)
    page = open_page(path.as_uri())
    page.locator("#filter-text").fill("broken-1")
    assert page.locator("#waiting tbody tr:visible").count() == 1

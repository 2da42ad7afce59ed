"""What people see first: what to do next, words that are explained, and pages that hold together on a telephone and in any colours."""

from __future__ import annotations

import re

import pytest
from browsers import follow, text
from page_sweep import pages_of
from sqlalchemy import select

from annotriage.store.schema import item, spot_check

pytestmark = pytest.mark.browser

PAGES = ("overview", "map", "queue", "diversity", "groups", "guarantee", "compare", "settings", "items/1")
PHONE = {"viewport": {"width": 390, "height": 844}}


def box(page, selector):
    return page.locator(selector).bounding_box()


def test_a_project_opens_on_its_overview_and_says_what_to_do_next(signed_in):
    page = signed_in("/projects/1")
    page.wait_for_url("**/projects/1/overview")
    head = page.locator("#next-step .next")
    assert head.count() == 1
    follow(page, head.get_by_role("link"))
    assert page.locator("#next-step .next").count() == 0, "the page is the one on which it is done"


def test_every_project_card_says_what_to_do_next(signed_in):
    page = signed_in("/")
    assert page.locator(".project-card").count() == page.locator(".project-card .next").count() == 2
    assert "No label is automatic" in page.locator(".project-card .next").nth(1).inner_text()


def test_a_word_leads_to_what_it_means(signed_in):
    page = signed_in("/projects/1/guarantee")
    page.get_by_role("link", name="alarm", exact=False).first.click()
    page.wait_for_url("**/glossary#alarm")
    assert "Right answers never raise it" in text(page)


def test_a_view_of_the_queue_is_kept_for_everybody_and_deleted(signed_in, dashboard):
    page = signed_in("/projects/1/queue?route=outlier&order=newest")
    page.get_by_placeholder("Keep as").fill("Newest strangers")
    follow(page, page.get_by_role("button", name="Keep"))
    page.locator("#notices", has_text="is kept for everybody").wait_for()
    other = signed_in("/projects/1/queue")
    other.get_by_role("link", name="Newest strangers").click()
    other.wait_for_url("**route=outlier*")
    assert "order=newest" in other.url
    follow(other, other.get_by_role("button", name="Delete the view Newest strangers"))
    assert other.get_by_role("link", name="Newest strangers").count() == 0


def test_each_choice_says_how_much_it_leaves(signed_in):
    page = signed_in("/projects/1/queue")
    line = page.locator(".choices li", has=page.get_by_role("link", name="unreadable"))
    assert line.inner_text().split() == ["unreadable", "1"]
    line.get_by_role("link").click()
    page.wait_for_url("**route=failed*")
    assert page.locator("table.queue tbody tr").count() == 1
    follow(page, page.get_by_role("link", name="unreadable"))
    assert "route" not in page.url


def test_nine_rows_of_the_queue_fit_a_laptops_screen(signed_in):
    page = signed_in("/projects/1/queue", viewport={"width": 1440, "height": 900})
    bottoms = page.locator("table.queue tbody tr").evaluate_all("rows => rows.map((row) => row.getBoundingClientRect().bottom)")
    bar = page.locator(".selection").bounding_box()["y"]
    assert sum(bottom <= bar + 1 for bottom in bottoms) >= 9, "rows that the bar below them does not cover"


@pytest.mark.parametrize("path", PAGES)
def test_nothing_is_cut_on_a_telephone(signed_in, path):
    page = signed_in(f"/projects/1/{path}", **PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    if path == "queue":
        assert page.locator("table.queue tbody tr").evaluate_all("rows => rows.every((row) => row.scrollWidth <= row.clientWidth + 1)")
    if path == "map":
        page.locator("#map-app[data-ready]").wait_for() if page.locator("#map-app").count() else None
    if path in ("diversity", "compare"):
        heights = page.locator("tbody tr").evaluate_all("rows => rows.map((row) => row.getBoundingClientRect().height)")
        assert max(heights) < 100


def test_routes_keep_their_markers_in_forced_colours(signed_in):
    page = signed_in("/projects/1/queue", forced_colors="active")
    colour = "element => getComputedStyle(element, '::before').backgroundColor"
    markers = {page.locator(f".choices .route-{route}").first.evaluate(colour) for route in ("outlier", "failed")}
    assert len(markers) == 2


@pytest.mark.parametrize(
    ("path", "chosen", "other"),
    [
        ("diversity", ".tools button[aria-pressed=true]", ".tools button[name=span]:not([aria-pressed])"),
        ("model", ".subtabs a[aria-current]", ".subtabs a:not([aria-current])"),
        ("items", ".zoom[aria-current]", ".zoom:not([aria-current])"),
        ("queue", ".choices a[aria-current]", ".choices a:not([aria-current])"),
    ],
)
def test_what_is_chosen_is_seen_in_forced_colours(signed_in, path, chosen, other):
    page = signed_in(f"/projects/1/{path}", forced_colors="active")
    colour = "element => getComputedStyle(element).backgroundColor"
    assert page.locator(chosen).first.evaluate(colour) != page.locator(other).first.evaluate(colour)
    line = "element => getComputedStyle(element).borderBottomColor"
    tabs = page.locator(".tabs a")
    assert len({tabs.nth(place).evaluate(line) for place in range(tabs.count())}) == 2, "one tab alone is underlined"


def test_every_page_of_a_project_stands_in_one_tab(dashboard):
    client, auth = dashboard.app.test_client(), (dashboard.user, dashboard.password)
    for path in pages_of(dashboard, project="1", task="1"):
        page = client.get(path, auth=auth, headers={"Accept": "text/html"}).text
        if tabs := re.search(r'<div class="tabs">(.*?)</div>', page, re.DOTALL):
            assert tabs.group(1).count("aria-current") == 1, path
    item = client.get("/projects/1/items/1", auth=auth, headers={"Accept": "text/html"}).text
    assert re.search(r'aria-current="true">(\w+)<', item).group(1) == "Queue"


def test_a_share_that_is_out_of_range_is_answered_in_percent(signed_in):
    page = signed_in("/projects/1/settings?max_error=70")
    page.wait_for_load_state("networkidle")  # nothing that the script asks for takes the answer away
    assert "70% is out of range; choose between" in text(page, "#preview")
    assert page.locator("#max_error").input_value() == "70", "what was typed is there to be mended"
    with page.expect_response("**/settings?*"):
        page.locator("#max_error").fill("3")
    page.locator("#preview dl").wait_for()


def test_the_checks_say_at_once_that_they_take_a_while(signed_in):
    page = signed_in("/system")
    page.evaluate("document.querySelector('[data-busy]').addEventListener('click', (event) => event.preventDefault())")
    page.get_by_role("link", name="Run the checks").click()
    assert "Checking" in text(page, "#notices")


def test_what_is_wrong_comes_first_among_the_checks_and_its_fix_is_read_on_a_telephone(signed_in):
    page = signed_in("/system/checks", **PHONE)
    rows = page.locator("table.checks tbody tr")
    wrong = [said.count("wrong") for said in rows.locator("td:nth-child(3)").all_inner_texts()]
    assert wrong[0] == 1, "no process of this service runs"
    assert wrong == sorted(wrong, reverse=True)
    fix = rows.first.locator("td").last.bounding_box()
    assert fix["x"] + fix["width"] <= 390


def test_augmentation_is_judged_only_for_what_is_said_to_be_augmented(signed_in):
    page = signed_in("/projects/1/diversity")
    page.get_by_role("link", name="scanner=B", exact=True).click()
    page.wait_for_url("**dataset=*")
    assert "augmentation useful" not in text(page, "section[aria-labelledby=advice] .cards")
    follow(page, page.get_by_role("button", name="This is augmented training data"))
    assert "augmentation useful" in text(page, "section[aria-labelledby=advice] .cards")


def test_the_class_of_a_strange_item_is_told_to_whoever_asks(signed_in, dashboard):
    checks = select(spot_check.c.item_id)
    waits = (item.c.project_id == 1, item.c.route == "outlier", item.c.answer == "open", item.c.id.not_in(checks))
    with dashboard.process.store.reading() as connection:
        task = connection.execute(select(item.c.external_id).where(*waits).limit(1)).scalar_one()
    page = signed_in(f"/projects/1/items/{task}")
    assert "hidden until people have answered" in text(page, "#verdict-part")
    follow(page, page.get_by_role("button", name="Reveal"))
    assert "The model says" in text(page, "#notices")

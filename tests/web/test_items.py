"""The grid of items in a real browser, on real digits: in its order, narrowed, as large as somebody likes, with nothing hidden told."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from browsers import follow, is_cut, pixels, text

from annotriage.store.filters import Filters
from annotriage.store.projects import project_of
from annotriage.store.queue import queue_page

pytestmark = pytest.mark.browser
ITEMS = "/projects/1/items"


def names(dashboard, **filters):
    """The names of all items in the order of the list, as the store has them."""
    with dashboard.process.store.reading() as connection:
        project = project_of(connection, "1")
        return [row.name for row in queue_page(connection, project, filters=Filters(**{"state": None, **filters}), limit=2000).rows]


def shown(page):
    return page.locator("#grid a").evaluate_all(
        "links => links.map((link) => decodeURIComponent(new URL(link.href).pathname.split('/').pop()))"
    )


def test_all_items_are_there_the_strangest_first_page_after_page(signed_in, dashboard):
    page = signed_in(ITEMS)
    expected, found = names(dashboard), shown(page)
    assert len(found) == 150
    while page.locator("#next").count():
        follow(page, page.locator("#next"))
        found += shown(page)
    assert found == expected
    assert len(expected) > 400
    assert "You have seen" not in text(page)


def test_a_choice_leaves_what_it_says_and_an_item_leads_on_within_it(signed_in, dashboard):
    page = signed_in(ITEMS)
    choice = page.locator("ul[aria-labelledby=facet-state] li", has_text="answered")
    said = int(choice.locator(".muted").inner_text())
    follow(page, choice.locator("a"))
    strange = page.locator("ul[aria-labelledby=facet-route] li", has_text="strange")
    said_of_both = int(strange.locator(".muted").inner_text())
    follow(page, strange.locator("a"))
    both = names(dashboard, state="answered", route="outlier")
    assert (len(names(dashboard, state="answered")), len(both)) == (said, said_of_both)
    assert shown(page) == both
    follow(page, page.locator("#grid a").first)
    follow(page, page.get_by_role("link", name="Next"))
    assert urlsplit(page.url).path == f"{ITEMS}/{both[1]}"
    follow(page, page.get_by_role("link", name="Items", exact=True).last)
    assert parse_qs(urlsplit(page.url).query) == {"state": ["answered"], "route": ["outlier"]}


def test_faces_are_made_larger_in_place_and_a_kept_view_has_their_size(signed_in):
    page = signed_in(f"{ITEMS}?route=outlier")
    side = page.locator("#grid img").first.bounding_box()["width"]
    page.evaluate("globalThis.stayed = true")
    page.get_by_role("link", name="Large").click()
    page.locator("#grid.zoom-large").wait_for()
    assert page.locator("#grid img").first.bounding_box()["width"] > 1.4 * side
    assert page.evaluate("globalThis.stayed"), "the page was not loaded again"
    assert pixels(page.locator("#grid img").first) == [8, 8]
    page.get_by_label("Name of the view").fill("strangers, large")
    follow(page, page.get_by_role("button", name="Keep"))
    follow(page, page.get_by_role("link", name="strangers, large"))
    assert parse_qs(urlsplit(page.url).query) == {"route": ["outlier"], "zoom": ["large"]}
    assert page.locator("#grid.zoom-large").count() == 1


def test_it_works_without_scripts_and_finds_an_item_by_its_task(signed_in, dashboard):
    page = signed_in(ITEMS, java_script_enabled=False)
    follow(page, page.get_by_role("link", name="Small"))
    assert page.locator("#grid.zoom-small").count() == 1
    page.get_by_label("Order").select_option("Newest first")
    follow(page, page.get_by_role("button", name="Show", exact=True))
    assert parse_qs(urlsplit(page.url).query) == {"zoom": ["small"], "order": ["newest"]}
    page.locator("#search").fill(names(dashboard)[3])
    follow(page, page.get_by_role("button", name="Find"))
    assert urlsplit(page.url).path == f"{ITEMS}/{names(dashboard)[3]}"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_there_are_no_barriers_and_nothing_is_cut(signed_in, barriers, theme):
    page = signed_in(ITEMS, color_scheme=theme)
    assert barriers(page) == []
    for width in (390, 820, 1280):
        assert not is_cut(page, width), width
    page.goto(page.url + "?zoom=small")
    assert barriers(page) == []


def test_nothing_that_passes_says_so(signed_in):
    page = signed_in(f"{ITEMS}?label=axolotl")
    assert "No item passes these filters" in text(page)
    follow(page, page.get_by_role("link", name="Show all items"))
    assert page.locator("#grid li").count() == 150

"""The sidebar of lists: its counts are the same on every page, whether items are counted or the kept counts are read."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from annotriage.service.readings import facets
from annotriage.store.schema import spot_check

AUTH = ("annotriage", "right")


@pytest.fixture
def told(copied, serve_dashboard):
    """The counts that a page tells, by kind and value; with the store that it reads."""
    dashboard = serve_dashboard(*copied, password=AUTH[1])
    client = dashboard.app.test_client()

    def told(page):
        found = client.get(f"/projects/1/{page}", auth=AUTH).json["facets"]
        return {facet["name"]: {choice["value"]: choice["n"] for choice in facet["choices"]} for facet in found}

    told.store = dashboard.process.store
    return told


def test_a_group_of_look_alikes_has_no_counts_of_the_whole_queue(told):
    assert told("queue.json")
    assert told("queue.json?proposal=1") == {}


def test_kept_counts_are_those_that_counting_gives(told, monkeypatch):
    scanner = max(told("items.json")["dataset"], key=int)
    asked = ("queue.json", "items.json", f"queue.json?dataset={scanner}", f"items.json?dataset={scanner}", "map.json")
    counted = {page: told(page) for page in asked}
    monkeypatch.setattr(facets, "COUNTED", 0)
    for page in asked:
        kept = told(page)
        routes = {route: n for route, n in kept["route"].items() if n}
        assert (routes, kept["dataset"]) == (counted[page]["route"], counted[page]["dataset"]), page
        assert set(kept["label"].values()) == {None}, "nobody counts classes of a large project"
        if page.startswith("queue"):
            assert {number: n for number, n in kept.get("group", {}).items() if n} == counted[page].get("group", {}), page


def test_the_map_and_the_items_tell_the_same_and_spot_checks_are_told_under_no_class(told):
    assert told("map.json") == told("items.json")
    before = told("items.json")
    with told.store.writing() as connection:
        connection.execute(update(spot_check).values(state="right"))
    after = told("items.json")
    opened = before["route"]["spot check"]
    assert opened > 20
    assert "spot check" not in after["route"]
    assert sum(after["route"].values()) == sum(before["route"].values())
    assert sum(after["score"].values()) == sum(before["score"].values()) + opened, "and under no score"
    assert sum(before["label"].values()) < sum(after["label"].values())

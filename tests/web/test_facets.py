"""The sidebar of lists: its counts are the same on every page, whether items are counted or the kept counts are read."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from annotriage.service.readings import facets
from annotriage.states import Role
from annotriage.store import people
from annotriage.store.schema import spot_check

AUTH, LOOKER = ("annotriage", "right"), ("looker", "right password")


@pytest.fixture
def told(copied, serve_dashboard):
    """The counts that a page tells, by kind and value; with the store that it reads, and all that the page says."""
    dashboard = serve_dashboard(*copied, password=AUTH[1])
    client = dashboard.app.test_client()

    def answer(page, auth=AUTH):
        return client.get(f"/projects/1/{page}", auth=auth).json

    def of(page, auth=AUTH):
        return {facet["name"]: facet for facet in answer(page, auth)["facets"]}

    def told(page):
        return {name: {choice["value"]: choice["n"] for choice in facet["choices"]} for name, facet in of(page).items()}

    told.store, told.answer, told.of = dashboard.process.store, answer, of
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


def test_the_choices_and_the_rest_add_up_to_all_that_is_listed_or_waits(told):
    listed = told.of("items.json")
    everything = sum(choice["n"] for choice in listed["route"]["choices"])
    for kind in ("state", "label", "score"):
        rows = [*listed[kind]["choices"], *listed[kind]["rest"]]
        assert sum(row["n"] for row in rows) == everything, kind
    checks = told("items.json")["route"]["spot check"]
    assert [row["n"] for row in listed["state"]["rest"] if row["name"] == "open spot checks"] == [checks]
    waits = told.answer("queue.json")["waiting"]["total"]
    queue = told.of("queue.json")
    assert sum(row["n"] for row in [*queue["state"]["choices"], *queue["state"]["rest"]]) == waits
    assert "%" in queue["score"]["choices"][0]["name"], "as the rows of the queue have it"
    assert "open spot checks" not in {row["name"] for row in told.of("items.json?route=outlier")["label"]["rest"]}


def test_each_dataset_has_the_number_of_items_that_it_leaves_whatever_else_is_chosen(told):
    def listed(query):
        lines, page = 0, f"queue.json?{query}"
        while page:
            found = told.answer(page)
            lines, page = lines + len(found["lines"]), (found["next"] or "").partition("queue")[2]
            page = f"queue.json{page}" if page else ""
        return lines

    for chosen in ("route=spot+check", "route=outlier", "since=month", "score=0.99", "state=out"):
        counts = told(f"queue.json?{chosen}").get("dataset", {})
        for dataset, n in counts.items():
            assert n == listed(f"{chosen}&dataset={dataset}"), (chosen, dataset)
    assert told("queue.json?route=spot+check")["dataset"]
    grouped = told("groups.json?state=waiting")
    assert grouped["dataset"]
    for dataset, n in grouped["dataset"].items():
        assert n == sum(told(f"groups.json?state=waiting&dataset={dataset}")["group"].values())


def test_the_overview_the_items_and_the_map_tell_the_same_routes_and_what_of_a_group_waits(told):
    overview, queue = told.answer("overview.json"), told("queue.json")
    assert {route: n for route, n in overview["card"]["counts"].items() if n} == told("items.json")["route"] == told("map.json")["route"]
    assert overview["waiting"] == {number: n for number, n in queue["group"].items() if number in overview["waiting"]}


def test_whoever_may_only_look_is_told_of_no_spot_check(told):
    with told.store.writing() as connection:
        people.set_person(connection, LOOKER[0], Role.LOOK, LOOKER[1], service_user=AUTH[0])
    for page in ("queue.json", "items.json", "map.json"):
        for facet in told.of(page, LOOKER).values():
            assert "open spot checks" not in {row["name"] for row in facet["rest"]}, (page, facet["name"])

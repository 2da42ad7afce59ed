"""Items that other systems push: taken in once, judged before they have a task."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import select

from annotriage.labeling_tool import Task
from annotriage.store import datasets, items
from annotriage.store.pushing import PushedItem, add_pushed, marker_of
from annotriage.store.schema import item, work


def scan(name, **data):
    return PushedItem(marker_of("3", "ward", name), f"http://host/{name}.png", None, data)


class TestPushing:
    def test_what_is_pushed_is_taken_in_with_work_for_each_reference_and_no_task_yet(self, store, filled):
        project = replace(filled.project, next_reference_id=filled.references[1])
        with store.writing() as connection:
            dataset_id, new = add_pushed(connection, project, "ward", [scan("a", scanner="B"), scan("b")])
            assert new == {scan("a").marker, scan("b").marker}
            rows = connection.execute(item.select().order_by(item.c.id)).all()
            assert [(row.external_id, row.media, row.data) for row in rows] == [
                (None, "http://host/a.png", {"scanner": "B"}),
                (None, "http://host/b.png", {}),
            ]
            assert len(connection.execute(work.select()).all()) == 4
            assert {(row.kind, row.name) for row in datasets.datasets_of_item(connection, rows[0].id)} == {
                ("all", "all"),
                ("pushed", "ward"),
                ("field", "scanner=B"),
            }
            assert dataset_id in {row.id for row in datasets.datasets_of_item(connection, rows[1].id)}

    def test_pushing_again_changes_nothing_and_tells_only_of_what_is_new(self, store, filled):
        with store.writing() as connection:
            first, _ = add_pushed(connection, filled.project, "ward", [scan("a")])
        with store.writing() as connection:
            again, new = add_pushed(connection, filled.project, "ward", [replace(scan("a"), media="http://host/other.png"), scan("b")])
            assert (again, new) == (first, {scan("b").marker})
            assert connection.execute(select(item.c.media).where(item.c.marker == scan("a").marker)).scalar_one() == "http://host/a.png"
            assert len(connection.execute(work.select()).all()) == 2

    def test_what_stands_twice_in_one_push_is_one_item(self, store, filled):
        with store.writing() as connection:
            _, new = add_pushed(connection, filled.project, "ward", [scan("a"), scan("a")])
            assert len(new) == len(connection.execute(item.select()).all()) == 1

    def test_an_empty_push_makes_its_dataset(self, store, filled):
        with store.writing() as connection:
            dataset_id, new = add_pushed(connection, filled.project, "ward", [])
            assert new == set()
            assert add_pushed(connection, filled.project, "ward", [scan("a")])[0] == dataset_id

    def test_the_task_that_is_made_for_it_is_the_same_item(self, store, filled):
        with store.writing() as connection:
            add_pushed(connection, filled.project, "ward", [scan("a")])
            assert items.add_tasks(connection, filled.project, [Task("7", "http://host/a.png", marker=scan("a").marker)]) == 0
            assert connection.execute(select(item.c.external_id)).scalar_one() == "7"


def test_a_marker_tells_projects_datasets_and_ids_apart_and_is_the_same_each_time():
    named = [("3", "ward", "a"), ("3", "ward", "b"), ("3", "war", "da"), ("4", "ward", "a"), ("3", "ward", "\ud800")]
    assert len({marker_of(*names) for names in named}) == len(named)
    assert marker_of("3", "ward", "a") == marker_of("3", "ward", "a")

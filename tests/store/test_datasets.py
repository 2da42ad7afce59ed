"""Datasets: what belongs to which, and how many items of each route they hold."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import select

from annotriage.errors import UnknownError
from annotriage.store import datasets, items
from annotriage.store.datasets import RouteCount, datasets_of_item
from annotriage.store.reviews import Answer, set_answers
from annotriage.store.schema import dataset, item


class TestDatasets:
    def test_an_item_belongs_to_all_to_its_batch_and_to_one_dataset_per_field(self, store, filled):
        (id,) = filled.add(1, fields={"scanner": "B", "hospital": "x"})
        with store.reading() as connection:
            found = datasets_of_item(connection, id)
            shown = connection.execute(select(item.c.shown_dataset_id)).scalar_one()
        assert {row.kind for row in found} == {"all", "batch", "field"}
        (field,) = [row for row in found if row.kind == "field"]
        assert field.name == "scanner=B"
        assert shown == field.id, "the configured field's, not the batch's"

    def test_tasks_of_one_minute_are_one_batch(self, store, filled):
        filled.add(1)
        filled.add(1)
        with store.reading() as connection:
            assert len(connection.execute(dataset.select().where(dataset.c.kind == "batch")).all()) == 1

    def test_datasets_are_listed_the_latest_first_page_after_page(self, store, filled):
        filled.add(1, fields={"scanner": "A"})
        filled.add(1, fields={"scanner": "B"})
        with store.reading() as connection:
            first = datasets.datasets_page(connection, filled.project, limit=2)
            rest = datasets.datasets_page(connection, filled.project, after=first[-1].id, limit=9)
            fields = datasets.datasets_page(connection, filled.project, kind="field", limit=9)
        every = [*first, *rest]
        assert [found.id for found in every] == sorted((found.id for found in every), reverse=True)
        assert {found.kind for found in every} == {"all", "batch", "field"}
        assert [found.title for found in fields] == ["scanner=B", "scanner=A"]

    def test_a_dataset_is_one_of_the_project(self, store, filled):
        with store.reading() as connection:
            assert datasets.dataset_of_all(connection, filled.project) is None
        filled.add(1)
        with store.reading() as connection:
            every = datasets.dataset_of_all(connection, filled.project)
            assert (every.title, datasets.dataset_of_project(connection, filled.project, every.id)) == ("All items", every)
            assert datasets.datasets_named(connection, filled.project, {every.id, 99}) == {every.id: every}
            with pytest.raises(UnknownError, match="project 3 has no dataset 99"):
                datasets.dataset_of_project(connection, filled.project, 99)

    def test_items_are_counted_by_route_under_the_projects_reference(self, store, filled):
        ids = filled.judged(3)
        filled.judge(filled.add(2, fields={"scanner": "B"}), "outlier")
        filled.judge(ids, "failed", reference_id=filled.references[1])
        now = time.time()
        with store.writing() as connection:
            set_answers(connection, {ids[0]: Answer("resolved", ("cat",), at=1.0)})
        counts = [RouteCount("auto", 3, 2), RouteCount("outlier", 2, 2)]
        with store.reading() as connection:
            assert datasets.routes_of(connection, filled.project) == counts
            (field,) = datasets.datasets_page(connection, filled.project, kind="field", limit=1)
            assert datasets.routes_of_datasets(connection, filled.project, [1, field.id, 99]) == {1: counts, field.id: counts[1:]}
            assert datasets.routes_between(connection, filled.project, now - 60, now + 60) == counts
            assert datasets.routes_between(connection, filled.project, 0.0, now - 60) == []
        with store.writing() as connection:
            items.mark_gone(connection, ids)
        with store.reading() as connection:
            assert datasets.routes_of(connection, filled.project) == counts[1:]

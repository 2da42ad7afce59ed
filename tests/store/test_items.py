"""Items: what comes in, to which datasets it belongs, and what becomes of it in the labeling tool."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import select
from stores import on_postgresql, while_it_waits

from annotriage.labeling_tool import Task
from annotriage.store import items
from annotriage.store.schema import delivery, item, item_dataset, work


def tasks(*numbers, **values):
    return [Task(str(number), f"http://host/{number}.png", **values) for number in numbers]


class TestItems:
    def test_a_task_is_taken_in_once_with_work_for_each_reference(self, store, filled):
        project = replace(filled.project, next_reference_id=filled.references[1])
        with store.writing() as connection:
            assert items.add_tasks(connection, project, tasks(1, 2, 3)) == 3
            assert items.add_tasks(connection, project, tasks(2, 3, 4)) == 1
            assert len(connection.execute(work.select()).all()) == 8
            assert items.find_items(connection, project.id, ["2", "9"]).keys() == {"2"}
            assert items.tasks_besides(connection, project.id, {"1", "2", "3"}, before=1e12) == ["4"]

    def test_tasks_that_people_labelled_before_get_no_work(self, store, filled):
        filled.add(1, labelled=True)
        with store.reading() as connection:
            assert connection.execute(work.select()).all() == []

    def test_what_shows_something_else_now_is_judged_anew(self, store, filled):
        (id,) = filled.judged(1)
        with store.writing() as connection:
            items.change_media(connection, filled.project, id, "http://host/other.png")
            (found,) = connection.execute(item.select()).all()
            assert found.media_hash == items.media_hash("http://host/other.png")
            assert [row.item_id for row in connection.execute(work.select())] == [id]

    def test_what_is_gone_is_neither_judged_nor_delivered_until_it_is_back(self, store, filled):
        (id,) = filled.judged(1)
        with store.writing() as connection:
            items.mark_gone(connection, [id])
            assert connection.execute(delivery.select()).all() == []
            items.mark_back(connection, filled.project, [id])
            assert [row.item_id for row in connection.execute(work.select())] == [id]
            assert not connection.execute(select(item.c.gone)).scalar_one()


@on_postgresql
class TestItemsOnPostgreSQL:
    def test_two_workers_that_take_in_the_same_tasks_take_them_in_once(self, store, filled):
        added = []

        def second():
            with store.writing() as connection:
                added.append(items.add_tasks(connection, filled.project, tasks(1, 2, 3)))

        first = store.writing()
        items.add_tasks(first.__enter__(), filled.project, tasks(1, 2))
        while_it_waits(store, second, lambda: first.__exit__(None, None, None))
        assert added == [1]
        with store.reading() as connection:
            assert len(connection.execute(item_dataset.select().where(item_dataset.c.dataset_id == 1)).all()) == 3

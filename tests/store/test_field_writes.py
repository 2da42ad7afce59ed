"""Field writes are taken once, and one that is queued again while it is written is written again."""

from __future__ import annotations

from sqlalchemy import select

from annotriage.store import field_writes
from annotriage.store.schema import field_write


class TestFieldWrites:
    def test_the_strangest_come_first_and_what_is_taken_is_nobody_elses(self, store, project, judged):
        ids = judged(3)
        with store.writing() as connection:
            field_writes.queue(connection, project.id, dict(zip(ids, (0.3, 0.1, 0.2), strict=True)), [])
            assert field_writes.any_due(connection, project.id)
            mine = field_writes.take(connection, project.id, "me", 2)
            assert [write.external_id for write in mine.writes] == ["2", "3"]
            assert [write.external_id for write in field_writes.take(connection, project.id, "you", 9).writes] == ["1"]
            assert field_writes.any_held(connection, project.id)
            assert not field_writes.any_due(connection, project.id)

    def test_what_is_queued_again_meanwhile_does_not_move_and_is_let_go_of(self, store, project, judged):
        ids = judged(2)
        with store.writing() as connection:
            field_writes.queue(connection, project.id, dict.fromkeys(ids, 0.5), [])
            taken = field_writes.take(connection, project.id, "me", 2)
            field_writes.queue(connection, project.id, {ids[0]: 0.4}, [])
            assert field_writes.take(connection, project.id, "you", 2).writes == (), "nobody writes a task at the same time"
            assert field_writes.finish(connection, taken, ids, "written", shown=field_writes.Written(None, 0.1, 0.2, None)) == {ids[1]}
            field_writes.let_go(connection, taken)
            rows = connection.execute(select(field_write).order_by(field_write.c.item_id)).all()
            assert [(row.state, row.owner) for row in rows] == [("pending", None), ("written", None)]
            assert not field_writes.any_held(connection, project.id)

    def test_what_is_let_go_of_is_free_at_once(self, store, project, judged):
        ids = judged(1)
        with store.writing() as connection:
            field_writes.queue(connection, project.id, {ids[0]: 0.5}, [])
            field_writes.let_go(connection, field_writes.take(connection, project.id, "me", 1))
            assert len(field_writes.take(connection, project.id, "you", 1).writes) == 1

    def test_only_what_is_held_is_dropped(self, store, project, judged):
        ids = judged(2)
        with store.writing() as connection:
            field_writes.queue(connection, project.id, dict.fromkeys(ids, 0.5), [])
            taken = field_writes.take(connection, project.id, "me", 1)
            field_writes.drop(connection, taken, ids)
            assert list(connection.execute(select(field_write.c.item_id)).scalars()) == ids[1:]

    def test_what_failed_is_counted_and_written_again(self, store, project, judged):
        ids = judged(2)
        with store.writing() as connection:
            field_writes.queue(connection, project.id, dict.fromkeys(ids, 0.5), [])
            taken = field_writes.take(connection, project.id, "me", 1)
            field_writes.finish(connection, taken, ids[:1], "failed")
            assert (field_writes.failed(connection, project), field_writes.retry(connection, project)) == (1, 1)
            assert field_writes.failed(connection, project) == 0
            assert len(field_writes.take(connection, project.id, "you", 9).writes) == 2

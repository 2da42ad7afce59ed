"""An erased item is nowhere any more: every row, every packed file and SQLite's own file are searched for its names and its content."""

from __future__ import annotations

import dataclasses
import gzip
import json

import databases
import pytest
from sqlalchemy import func, select, update
from triaged import data_uri, import_tasks, judge

from annotriage.errors import UnknownError
from annotriage.labeling_tool import Task
from annotriage.service.guarantee.model_choice import work_folder
from annotriage.service.inside.keeping import keeping
from annotriage.service.maps.training_items import keep_training
from annotriage.service.operations.erasing import erase
from annotriage.service.operations.jobs import run_queued
from annotriage.service.readings.reporting import make_report
from annotriage.service.readings.snapshots import snapshot
from annotriage.states import EventKind, InsightKind
from annotriage.store import events, inbox, items, jobs, maps, schema, snapshots
from annotriage.store.erasing import ask
from annotriage.store.insights import insight_of, job_kind, keep_insight
from annotriage.store.map_points import Piece
from annotriage.store.projects import change_project, get_project
from annotriage.store.references import get_reference
from annotriage.store.schema import counter, dataset, item, job, metadata, reference_file, verdict

NAME = "870055001"


def everything(process):
    """All that the database holds, as one text: packed points unpacked, files as bytes."""
    parts = []
    with process.store.reading() as connection, process.store.inbox.reading() as inbox_connection:
        for table in metadata.sorted_tables:
            for row in (inbox_connection if table is schema.inbox else connection).execute(select(table)):
                for value in row:
                    content = bytes(value) if isinstance(value, bytes | memoryview) else None
                    if content is None:
                        parts.append(json.dumps(value, default=str))
                    else:
                        content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
                        parts.append(content.decode("latin-1"))
    return "\n".join(parts)


@pytest.fixture
def remembered(digits_reference):
    """A reference whose sample holds an item that is called as the task."""
    kept = digits_reference.sample
    changed = dataclasses.replace(digits_reference, sample=dataclasses.replace(kept, ids=(NAME, *kept.ids[1:])))
    return dataclasses.replace(changed, version=changed.content_hash())


@pytest.fixture
def full(process, connect, remembered, digits):
    """A project whose task 870055001 is judged, drawn, reported, grouped, told of in webhooks and history."""
    project, tool = connect(reference=remembered, sample_share=0.0, audit_share=0.0)
    tool.numbers = iter(range(int(NAME), int(NAME) + 1000))
    strange = digits.strangers[0][:40]
    private = data_uri(strange[0])
    tasks = import_tasks(process, project, tool, [private, *strange[1:], *digits.incoming[0][:60]])
    assert tasks[0].id == NAME
    judge(process)
    with process.store.reading() as connection:
        every = connection.execute(select(dataset.c.id).where(dataset.c.kind == "all")).scalar_one()
    snapshot(process, project, every)
    make_report(process, project, every)
    with process.store.inbox.writing() as connection:
        inbox.put(connection, json.dumps({"action": "TASKS_CREATED", "task": {"id": int(NAME)}}).encode())
        inbox.put(connection, json.dumps({"id": int(NAME) * 10, "task": {"id": 12}}).encode())
    with process.store.writing() as connection:
        (found,) = snapshots.latest(connection, [every], project.reference_id).values()
        facts = dict(found.facts) | {"groups": [{"number": 1, "size": 5, "label": "8", "medoid": NAME, "ids": [NAME, tasks[1].id]}]}
        snapshots.save(connection, every, project.reference_id, n=100, outliers=40, failed=0, low=0.1, high=0.9, facts=facts)
        events.note(connection, project.id, EventKind.DECIDED, task=NAME, by="ann", right=True)
        events.note(connection, project.id, EventKind.REFUSED, error=f"task {NAME}: {private} cannot be shown")
        change_project(connection, project.id, trouble=f"task {NAME}: out of memory")
        drawn = maps.begin(connection, project, "umap", 0)
        points, ids = Piece(), connection.execute(select(item.c.id)).scalars().all()
        for id in ids:
            points.put(id, (1, 2, 3, 4, 5, 6, 7))
        maps.write_piece(connection, drawn, 1, points)
        maps.finish(connection, drawn)
    return get(process, project), tool, tasks


def get(process, project):
    with process.store.reading() as connection:
        return get_project(connection, project.id)


@databases.both
def test_nothing_of_an_erased_item_is_left_and_everything_else_is(process, full, remembered):
    project, _, tasks = full
    picture = remembered.sample.thumbnail(0)
    private = tasks[0].media
    with process.store.reading() as connection:
        (id,) = connection.execute(select(item.c.id).where(item.c.external_id == NAME)).scalars()
        reference = get_reference(connection, project.reference_id)
        thumbnail = bytes(connection.execute(select(schema.thumbnail.c.content).where(schema.thumbnail.c.item_id == id)).scalar_one())
        (drawn,) = maps.ready_maps(connection, project.id, "umap")
    before = everything(process)
    assert all(part in before for part in (NAME, private, thumbnail.decode("latin-1")))
    done = erase(process, project, [NAME, "no such task"], "ann")
    assert (done.erased, done.unknown, done.references) == (1, ("no such task",), ("digits",))
    assert f"still has task {NAME}" in done.remains[0]
    after = everything(process)
    assert after.replace(f"{NAME}0", "").count(NAME) == 0
    assert private not in after
    assert thumbnail.decode("latin-1") not in after
    with process.store.inbox.reading() as connection:
        assert [len(row.body) > 0 for row in inbox.unread(connection, 9)] == [True]  # the other task's webhook
    with process.store.reading() as connection:
        assert connection.execute(select(func.count()).select_from(item)).scalar_one() == len(tasks) - 1
        points = maps.read_piece(connection, drawn.id, 1)
        assert (points.find(id), len(points)) == (None, len(tasks) - 1)
        told = events.history(connection, project.id)
        assert (told[0].kind, told[0].facts) == (EventKind.ERASED, {"items": 1, "by": "ann"})
        assert told[1].facts == {"error": "task (erased): (erased) cannot be shown"}
        assert told[2].facts == {"task": "(erased)", "by": "ann", "right": True}
        now = get_reference(connection, project.reference_id)
    assert now.version != reference.version
    assert now.prediction_version == reference.prediction_version
    rewritten = process.reference(project.reference_id)
    assert rewritten.version == now.version
    assert NAME not in rewritten.sample.ids
    assert not picture or rewritten.sample.thumbnail(0) == b""
    assert rewritten.sample.compressed.shape == remembered.sample.compressed.shape
    assert not any((row == remembered.sample.compressed[0]).all() for row in rewritten.sample.compressed)


@databases.both
def test_counts_are_those_of_what_is_left(process, full):
    project, _, tasks = full

    def counted(connection):
        keys = (verdict.c.route, func.coalesce(verdict.c.cluster, ""))
        real = select(*keys, func.count()).where(verdict.c.reference_id == project.reference_id).group_by(*keys)
        every = select(dataset.c.id).where(dataset.c.kind == "all").scalar_subquery()
        kept = select(counter.c.route, counter.c.cluster, counter.c.n).where(counter.c.dataset_id == every, counter.c.n > 0)
        return ({tuple(row) for row in connection.execute(query)} for query in (real, kept))

    erase(process, project, [task.id for task in tasks[:30]], "ann")
    with process.store.reading() as connection:
        real, kept = counted(connection)
        changed = snapshots.changed(connection, project)
    assert real == kept
    assert sum(n for *_, n in real) == len(tasks) - 30
    assert changed  # the next snapshot is taken without them


@databases.both
def test_a_task_that_stands_in_the_labeling_tool_is_not_taken_in_again(process, full):
    project, _, tasks = full
    erase(process, project, [NAME], "ann")
    with process.store.writing() as connection:
        assert items.add_tasks(connection, get(process, project), tasks) == 0
        assert items.find_items(connection, project.id, [NAME]) == {}


@databases.both
def test_two_that_ask_at_once_both_get_what_they_asked_for_and_the_job_forgets_it(process, full):
    project, _, tasks = full
    with process.store.writing() as connection:
        ask(connection, project, [NAME], "ann")
        ask(connection, project, [tasks[1].id], "bob")
    assert run_queued(process)
    with process.store.reading() as connection:
        assert items.find_items(connection, project.id, [NAME, tasks[1].id]) == {}
        (row,) = connection.execute(select(job.c.state, job.c.payload, job.c.text).where(job.c.kind == "erase"))
    assert (row.state, row.payload) == ("done", {})
    assert row.text.startswith("2 items erased, 0 not found.")


def test_a_job_that_is_run_again_after_it_erased_names_nothing(process, full):
    project, _, _ = full
    erase(process, project, [NAME], "ann")
    with process.store.writing() as connection:
        ask(connection, project, [NAME], "ann")
    assert run_queued(process)
    with process.store.reading() as connection:
        (row,) = connection.execute(select(job.c.state, job.c.text).where(job.c.kind == "erase"))
    assert (row.state, NAME in row.text) == ("done", False)


def erasures(process):
    """The jobs that erase: state, payload and text of each."""
    with process.store.reading() as connection:
        return [tuple(row) for row in connection.execute(select(job.c.state, job.c.payload, job.c.text).where(job.c.kind == "erase"))]


@databases.both
def test_what_cannot_be_erased_now_is_told_and_tried_again_until_it_is(process, full):
    project, _, _ = full
    renamed = reference_file.c.path.like("reference/%")
    with process.store.writing() as connection:
        ask(connection, project, [NAME], "ann")
        connection.execute(update(reference_file).where(renamed).values(path="lost-" + reference_file.c.path))
    assert run_queued(process)
    assert not run_queued(process), "it waits before it is tried again"
    ((state, payload, text),) = erasures(process)
    assert (state, payload) == ("queued", {"names": [NAME], "by": "ann"})
    assert text.startswith("reference digits, which may keep the items, cannot be read:")
    assert text.endswith("It is tried again by itself.")
    with process.store.writing() as connection:
        assert items.find_items(connection, project.id, [NAME])
        told = events.history(connection, project.id, limit=1)[0]
        assert (told.kind, told.facts) == (EventKind.ERASURE_FAILED, {"error": text})
        connection.execute(update(job).values(not_before=0.0))
    assert run_queued(process)
    with process.store.writing() as connection:
        assert events.history(connection, project.id, limit=1)[0].id == told.id, "what is wrong is told once"
        connection.execute(update(reference_file).values(path=func.replace(reference_file.c.path, "lost-", "")))
        connection.execute(update(job).values(not_before=0.0))
    assert run_queued(process)
    ((state, payload, text),) = erasures(process)
    assert (state, payload) == ("done", {})
    assert text.startswith("1 item erased, 0 not found.")
    assert everything(process).replace(f"{NAME}0", "").count(NAME) == 0


@databases.both
def test_what_nobody_foresaw_is_no_reason_to_forget_what_is_to_be_erased(process, full, monkeypatch):
    project, _, tasks = full
    with process.store.writing() as connection:
        ask(connection, project, [NAME], "ann")

    def fails(*_):
        with process.store.writing() as connection:
            ask(connection, project, [tasks[1].id], "bob")
        raise RuntimeError("nobody foresaw this")

    with monkeypatch.context() as patched:
        patched.setattr("annotriage.service.operations.erasing.kept_references", fails)
        assert run_queued(process)
    ((state, payload, text),) = erasures(process)
    assert (state, payload["names"]) == ("queued", sorted([NAME, tasks[1].id])), "what was asked for meanwhile is erased with it"
    assert text.startswith("nobody foresaw this")
    with process.store.writing() as connection:
        connection.execute(update(job).values(not_before=0.0))
    assert run_queued(process)
    assert [(state, payload) for state, payload, _ in erasures(process)] == [("done", {})]
    with process.store.reading() as connection:
        assert items.find_items(connection, project.id, [NAME, tasks[1].id]) == {}


def test_a_full_disk_stops_no_training_however_often_erasing_is_tried(process, full, tmp_path, disk_of):
    project, _, _ = full
    look = job_kind(InsightKind.DIAGNOSIS)
    with process.store.writing() as connection:
        for kind in (jobs.TRAINING, look):
            jobs.queue(connection, project.id, kind)
            jobs.take(connection, process.owner, [kind])
        ask(connection, project, [NAME], "ann")
    folder = work_folder(process, project)
    folder.mkdir(parents=True, exist_ok=True)
    size = max(file.stat().st_size for file in tmp_path.glob("store.db*"))

    def states():
        with process.store.reading() as connection:
            return [jobs.latest_of(connection, project.id, kind).state for kind in (jobs.TRAINING, look, jobs.ERASURE)]

    for _ in range(2):
        with disk_of(size + 200_000):
            assert run_queued(process)
        assert states() == ["running", "running", "queued"]
        assert folder.exists()
        with process.store.writing() as connection:
            connection.execute(update(job).values(not_before=0.0))
    assert run_queued(process)
    assert states() == ["cancelled", "cancelled", "done"]
    assert not folder.exists()
    assert everything(process).replace(f"{NAME}0", "").count(NAME) == 0


def test_the_file_of_sqlite_itself_has_nothing_of_it(process, full, tmp_path):
    project, _, _ = full
    erase(process, project, [NAME], "ann")
    content = b"".join(file.read_bytes() for file in tmp_path.glob("store.db*"))
    assert full[2][0].media.encode() not in content


@databases.both
def test_a_look_into_the_model_that_saw_an_erased_item_keeps_nothing(process, full, connect, remembered):
    project, _, _ = full
    other, _ = connect("another with the same reference", remembered)
    kind = job_kind(InsightKind.DIAGNOSIS)
    with process.store.writing() as connection:
        keep_insight(connection, other.id, InsightKind.GRAPH, "v1", {"names": [NAME]})
        jobs.queue(connection, project.id, kind)
        running = jobs.take(connection, process.owner, [kind])
    done = erase(process, project, [NAME], "ann")
    assert any("look into the model" in said for said in done.remains)
    with pytest.raises(jobs.Cancelled), keeping(process, running) as connection:
        keep_insight(connection, project.id, InsightKind.DIAGNOSIS, "v1", {"names": [NAME]})
    with process.store.reading() as connection:
        assert insight_of(connection, project.id, InsightKind.DIAGNOSIS) is None
        assert insight_of(connection, other.id, InsightKind.GRAPH) is None


@databases.both
def test_a_dataset_that_the_item_alone_was_in_is_no_longer_called_by_what_it_held(process, connect):
    project, _ = connect(dataset_fields=("patient", "ward"))
    fields = ({"patient": "Jane Doe", "ward": "north"}, {"patient": "John Roe", "ward": "north"})
    given = [Task(str(number), f"https://host/{number}.png", fields=of) for number, of in enumerate(fields, 7)]
    with process.store.writing() as connection:
        items.add_tasks(connection, project, given)
        events.note(connection, project.id, EventKind.CERTIFIED, dataset="patient=Jane Doe", by="ann")
    erase(process, project, ["7"], "ann")
    assert "Jane Doe" not in everything(process)

    def called():
        with process.store.reading() as connection:
            query = select(dataset.c.name, func.count(schema.item_dataset.c.item_id)).outerjoin(schema.item_dataset)
            return sorted(tuple(row) for row in connection.execute(query.where(dataset.c.kind == "field").group_by(dataset.c.id)))

    (erased, left), *others = called()
    assert (erased.startswith("patient=(erased)"), left) == (True, 0)
    assert others == [("patient=John Roe", 1), ("ward=north", 1)]
    with process.store.writing() as connection:
        items.add_tasks(connection, project, [Task("9", "https://host/9.png", fields=fields[0])])
    assert ("patient=Jane Doe", 1) in called(), "another item of hers begins another one"


@databases.both
def test_the_same_picture_under_another_name_and_a_path_that_ends_with_its_file_go_too(process, connect, digits_reference, digits):
    kept, places = digits_reference.sample, [0, 1, 2]
    names = ("cat/scan-0815.png", "somebody else.png", "cat/other-scan-0815.png")
    changed = dataclasses.replace(digits_reference, sample=dataclasses.replace(kept, ids=(*names, *kept.ids[3:])))
    reference = dataclasses.replace(changed, version=changed.content_hash())
    project, _ = connect(reference=reference)
    keep_training(process.store, project.reference_id, reference)
    pictures = [kept.thumbnail(place) for place in places]
    assert len({*pictures}) == 3
    with process.store.writing() as connection:
        items.add_tasks(connection, project, [Task("7", "https://host/upload/scan-0815.png"), Task("8", "https://host/a.png")])
        (other,) = items.find_items(connection, project.id, ["8"]).values()
        connection.execute(schema.thumbnail.insert().values(item_id=other.id, content=pictures[1]))
    done = erase(process, project, ["7", "8"], "ann")
    assert done.references == ("digits",)
    after = process.reference(project.reference_id).sample
    assert after.ids[:3] == ("(erased)", "(erased)", names[2])
    assert [after.thumbnail(place) for place in places] == [b"", b"", pictures[2]]
    with process.store.reading() as connection:
        rows = connection.execute(
            select(schema.training_item.c.name, schema.training_item.c.thumbnail).order_by(schema.training_item.c.place)
        )
        shown = [(row.name, bytes(row.thumbnail or b"")) for row in rows][:3]
    assert shown == [("(erased)", b""), ("(erased)", b""), (names[2], pictures[2])]


def test_what_nobody_knows_is_an_error(process, full):
    with pytest.raises(UnknownError, match="none of 5, 6"):
        erase(process, full[0], ["5", "6"], "ann")

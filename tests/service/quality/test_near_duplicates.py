"""Near duplicates among real digits that come in: marked, told apart from different ones, and heirs of an answer where that is wanted."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from sqlalchemy import select, update

from annotriage.errors import OutcomeUnknown, StateError, ToolUnavailable
from annotriage.labeling_tool import INHERITED_VERSION
from annotriage.service.quality.inheriting import inherit, take_inherited_back
from annotriage.service.quality.near_duplicates import NearDuplicates
from annotriage.store import certificates, label_audits, proposals, spot_checks
from annotriage.store.locks import lock_items
from annotriage.store.projects import get_project
from annotriage.store.schema import item, point, spot_check, twin

DIGITS, COPIES = 40, 12
MANY = 20_000


@pytest.fixture
def came_in(process, connect, worker, digits, picture):
    """A project with digits, which inherits answers, and after them copies of the first, the first three exact: project, tool, tasks."""
    project, tool = connect(sample_share=0.0, audit_share=0.0, inherit_answers=True)
    rng = np.random.default_rng(0)
    images = digits.incoming[0][:DIGITS]
    originals = [tool.add(picture(image)).id for image in images]
    worker.settle()
    step = NearDuplicates(process).step
    assert step(project)
    noisy = [np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8) for image in images[3:COPIES]]
    copies = [tool.add(picture(image)).id for image in [*images[:3], *noisy]]
    worker.settle()
    worker.follow()
    with process.store.reading() as connection:
        project = get_project(connection, project.id)
    assert step(project)
    assert not step(project), "each item is compared once"
    return project, tool, originals, copies


def found(process):
    """Which task repeats which, and how."""
    with process.store.reading() as connection:
        names = dict(connection.execute(select(item.c.id, item.c.external_id)).all())
        rows = connection.execute(select(twin.c.item_id, twin.c.twin_id, twin.c.kind)).all()
    return {names[row.item_id]: (names[row.twin_id], row.kind) for row in rows}


def test_copies_are_marked_with_what_they_repeat_and_different_digits_are_not(process, came_in):
    _, _, originals, copies = came_in
    twins = found(process)
    assert [twins[copy] for copy in copies[:3]] == [(original, "exact") for original in originals[:3]]
    near = [twins.get(copy) for copy in copies[3:]]
    assert sum(one == (original, "near") for one, original in zip(near, originals[3:], strict=False)) >= 0.8 * len(near)
    assert not set(twins) & set(originals)


def test_what_was_compared_before_a_restart_is_known_after_it(process, came_in, worker, digits, picture):
    project, tool, originals, _ = came_in
    again = tool.add(picture(digits.incoming[0][5])).id
    worker.settle()
    NearDuplicates(process).step(project)
    assert found(process)[again] == (originals[5], "exact")


def test_a_project_of_many_items_takes_little_memory_and_a_new_one_hardly_any_more(process, connect, worker, digits, picture):
    project, tool = connect(sample_share=0.0, audit_share=0.0)
    first = tool.add(picture(digits.incoming[0][0])).id
    worker.settle()
    with process.store.writing() as connection:
        it, place = (connection.execute(select(table)).mappings().one() for table in (item, point))
        ids = range(it["id"] + 1, it["id"] + 1 + MANY)
        strangers = np.random.default_rng(0).normal(0, 1e3, (MANY, len(place["compressed"]) // 2)).astype(np.float16)
        connection.execute(item.insert(), [{**it, "id": id, "external_id": str(10**6 + id)} for id in ids])
        rows = zip(ids, strangers, strict=True)
        connection.execute(
            point.insert(), [{**place, "item_id": id, "compressed": one.tobytes(), "fingerprint": bytes(8)} for id, one in rows]
        )
    step = NearDuplicates(process).step
    tracemalloc.start()
    assert step(project)
    kept, _ = tracemalloc.get_traced_memory()
    again = tool.add(picture(digits.incoming[0][0])).id
    worker.settle()
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    assert step(project)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found(process)[again] == (first, "exact")
    assert kept < 4 * strangers.nbytes, "what is kept of an item is its point and its fingerprint"
    assert peak - before < 8 * strangers.nbytes, "what was compared before was copied as a whole, and several times"


def test_what_was_erased_meanwhile_is_repeated_by_nothing(process, connect, worker, digits, picture):
    project, tool = connect(sample_share=0.0, audit_share=0.0)
    images, step = digits.incoming[0][:3], NearDuplicates(process).step
    originals = [tool.add(picture(image)).id for image in images]
    worker.settle()
    assert step(project)
    copies = [tool.add(picture(image)).id for image in images]
    worker.settle()
    with process.store.writing() as connection:
        connection.execute(item.delete().where(item.c.external_id == originals[0]))
    while step(project):
        pass
    assert found(process) == {copy: (original, "exact") for copy, original in zip(copies[1:], originals[1:], strict=True)}


def test_taking_inherited_answers_back_goes_on_where_it_broke_off(process, came_in, worker):
    def refuse(name):
        if name == "drop_version":
            raise ToolUnavailable("not now")

    project, tool, originals, _ = came_in
    tool.annotate(originals[0], "something else")
    worker.follow()
    assert inherit(process, project)
    tool.faults = refuse
    with pytest.raises(ToolUnavailable):
        take_inherited_back(process, project, "boss")
    tool.faults = lambda name: None
    assert take_inherited_back(process, project, "boss") == 1
    assert [stored for stored in tool.predictions if stored.version == INHERITED_VERSION] == []


def test_an_answer_is_inherited_as_a_prediction_that_counts_nowhere_and_is_taken_back(process, came_in, worker):
    project, tool, originals, copies = came_in
    assert not inherit(process, project), "nobody has answered anything"
    for task in (originals[0], originals[20]):
        tool.annotate(task, "something else")
    worker.follow()
    assert inherit(process, project)
    assert not inherit(process, project)
    given = [stored for stored in tool.predictions if stored.version == INHERITED_VERSION]
    assert [(stored.task, stored.labels) for stored in given] == [(copies[0], ("something else",))]
    assert tool.shown(copies[0]), "the model's own prediction stays"
    with process.store.reading() as connection:
        assert spot_checks.learnable(connection, project.id, 100) == len(label_audits.answered_items(connection, project.id, 100)) == 2
    assert take_inherited_back(process, project, "boss") == 1
    assert [stored for stored in tool.predictions if stored.version == INHERITED_VERSION] == []
    assert not inherit(process, project), "what was taken back is not given again"
    with pytest.raises(StateError, match="no answer was inherited"):
        take_inherited_back(process, project, "boss")


def test_no_item_is_a_blind_check_that_has_or_gets_an_inherited_answer(process, came_in, worker):
    project, tool, originals, copies = came_in
    for task in originals[:COPIES]:
        tool.annotate(task, "something else")
    worker.follow()
    drawn = []

    def draw_while(name):
        if name not in ("delivered", "deliver"):
            return
        with process.store.writing() as connection:
            waiting = connection.execute(select(item.c.id).where(item.c.external_id.in_(copies))).scalars().all()
            lock_items(connection, waiting)
            free = certificates.still_unseen(connection, waiting)
            certificates.draw(connection, project, dict.fromkeys(free, 0.5))
            drawn.extend(free)
            drawn.extend(proposals.free_items(connection, project, waiting))

    tool.faults = draw_while
    assert inherit(process, project)
    with process.store.reading() as connection:
        checks = set(connection.execute(select(item.c.external_id).join(spot_check, spot_check.c.item_id == item.c.id)).scalars())
        among = connection.execute(select(item.c.external_id).where(item.c.id.in_(drawn))).scalars().all()
    told = {stored.task for stored in tool.predictions if stored.version == INHERITED_VERSION}
    assert told
    assert not told & checks, "whoever answers this check sees an answer beside it"
    assert not told & set(among)


def test_what_was_lost_on_its_way_is_sent_again_once(process, came_in, worker):
    project, tool, originals, copies = came_in
    tool.annotate(originals[0], "something else")
    worker.follow()
    tool.lose_answers = 1
    with pytest.raises(OutcomeUnknown):
        inherit(process, project)
    assert inherit(process, project)
    given = [stored for stored in tool.predictions if stored.version == INHERITED_VERSION]
    assert [(stored.task, stored.labels) for stored in given] == [(copies[0], ("something else",))]
    assert not inherit(process, project)


def test_what_is_taken_back_while_it_is_on_its_way_does_not_stay(process, came_in, worker):
    project, tool, originals, _ = came_in
    tool.annotate(originals[0], "something else")
    worker.follow()

    def take_back(name):
        if name == "deliver":
            tool.faults = lambda name: None
            assert take_inherited_back(process, project, "boss") == 1

    tool.faults = take_back
    inherit(process, project)
    assert [stored for stored in tool.predictions if stored.version == INHERITED_VERSION] == []
    assert not inherit(process, project)


def test_what_a_task_inherited_goes_when_it_shows_something_else(process, came_in, worker, digits, picture):
    project, tool, originals, copies = came_in
    for task in originals[:2]:
        tool.annotate(task, "something else")
    worker.follow()
    assert inherit(process, project)
    tool.change_media(copies[0], picture(digits.incoming[0][30]))
    worker.follow()
    worker.settle()
    while NearDuplicates(process).step(project) or inherit(process, project):
        pass
    assert {stored.task for stored in tool.predictions if stored.version == INHERITED_VERSION} == {copies[1]}
    assert found(process)[copies[0]] == (originals[30], "exact"), "it is compared anew"


def test_an_answer_that_nothing_applies_is_not_inherited_and_holds_up_no_other(process, came_in, worker):
    project, tool, originals, copies = came_in
    for task in originals[:2]:
        tool.annotate(task, "something else")
    worker.follow()
    with process.store.writing() as connection:
        connection.execute(update(item).where(item.c.external_id == originals[0]).values(labels=[]))
    assert inherit(process, project)
    assert {stored.task for stored in tool.predictions if stored.version == INHERITED_VERSION} == {copies[1]}


def test_without_the_setting_nothing_is_inherited(process, connect, worker, digits, picture):
    project, tool = connect(sample_share=0.0, audit_share=0.0)
    first, _ = (tool.add(picture(digits.incoming[0][0])).id for _ in range(2))
    worker.settle()
    tool.annotate(first, "3")
    worker.follow()
    with process.store.reading() as connection:
        project = get_project(connection, project.id)
    NearDuplicates(process).step(project)
    assert len(found(process)) == 1
    assert not inherit(process, project)
    assert [stored for stored in tool.predictions if stored.version == INHERITED_VERSION] == []

"""Gold tasks on their way: brought at their share, blind, once, whatever fails; and what becomes of them."""

from __future__ import annotations

import random
from dataclasses import asdict, replace

import pytest
from databases import both

from annotriage.errors import OutcomeUnknown, StateError, ToolUnavailable
from annotriage.service.guarantee.certifying import certify
from annotriage.service.operations.connecting import disconnect
from annotriage.service.operations.jobs import Snapshots
from annotriage.service.quality.gold import keep_ground_truths, keep_known, next_known, place_among, take_gold_out, tend_gold
from annotriage.states import GoldState
from annotriage.store import gold, spot_checks
from annotriage.store.datasets import dataset_of_all, routes_of
from annotriage.store.gold import GoldTask
from annotriage.store.projects import change_project, get_project
from annotriage.store.queue import queue_page
from annotriage.store.schema import certificate_item, snapshot


class Gold:
    """A project whose digits people have answered in part, with known answers kept."""

    def __init__(self, process, project, tool, worker, truth):
        self.process, self.key, self.tool, self.worker, self.truth = process, project.id, tool, worker, truth
        self.rng = random.Random(0)

    @property
    def project(self):
        with self.process.store.reading() as connection:
            return get_project(connection, self.key)

    def tend(self):
        """The copies that come: the tasks that were not there before."""
        before = set(self.tool.tasks_by_id)
        try:
            tend_gold(self.process, self.project, self.rng)
        finally:
            new = sorted(set(self.tool.tasks_by_id) - before, key=int)
        self.worker.settle()
        return new

    def counts(self):
        with self.process.store.reading() as connection:
            return gold.gold_counts(connection, self.key)

    def share(self, share):
        with self.process.store.writing() as connection:
            change_project(connection, self.key, options=asdict(replace(self.project.options, gold_share=share)))


@pytest.fixture
def asked(process, connect, worker, digits, picture):
    project, tool = connect(sample_share=0.1, audit_share=0.0, gold_share=0.25)
    images, labels = digits.incoming[0][:60], digits.incoming[1][:60]
    truth = {tool.add(picture(image)).id: str(label) for image, label in zip(images, labels, strict=True)}
    strange = [tool.add(picture(image)).id for image in digits.strangers[0][:20]]
    worker.settle()
    with process.store.reading() as connection:
        checks = {line.task for line in spot_checks.spot_checks_page(connection, project, state=None, after=None, limit=99)}
    first = [task for task in truth if task not in checks][:12]
    for task in first:
        tool.annotate(task, truth[task])
    worker.settle()
    found = Gold(process, project, tool, worker, truth)
    done = keep_known(process, found.project, {task: (truth[task],) for task in first}, "boss")
    assert (done.added, done.left, bool(strange), bool(checks)) == (12, {}, True, True)
    return found


@both
def test_a_copy_comes_before_people_as_a_spot_check_does(asked):
    (copy,) = asked.tend()
    with asked.process.store.reading() as connection:
        (check, *_) = [
            line.task
            for line in spot_checks.spot_checks_page(connection, asked.project, state="open", after=None, limit=99)
            if line.task != copy
        ]
        (known,) = gold.gold_tasks(connection, asked.key, GoldState.OPEN)
    (shown,), (drawn,) = asked.tool.shown(copy), asked.tool.shown(check)
    assert (shown.labels, shown.version) == (drawn.labels, drawn.version) == (None, asked.project.version)
    source = known.task
    assert asked.tool.tasks_by_id[copy].media == asked.tool.tasks_by_id[source].media
    assert asked.tool.data[copy]["triage_route"] == "spot check"
    assert asked.tool.data[copy]["triage_spot_check"] == "yes"
    assert "gold" not in repr(asked.tool.data[copy]).lower()
    assert asked.tool.tasks_by_id[copy].reviews in (None, ())
    assert asked.tend() == []  # one at a time


@both
def test_nothing_that_is_claimed_or_counted_changes_by_it(asked):
    process = asked.process

    def readings():
        with process.store.reading() as connection:
            project, every = asked.project, dataset_of_all(connection, asked.project)
            certified = {row.item_id for row in connection.execute(certificate_item.select())}
            counted = [(row.n, row.outliers) for row in connection.execute(snapshot.select().where(snapshot.c.dataset_id == every.id))]
            return {
                "routes": routes_of(connection, project),
                "score": counted[-1:],
                "sample": spot_checks.sample_size(connection, asked.key),
                "alarm": spot_checks.automatic_answers(connection, asked.key, project.reference_id),
                "learned": spot_checks.other_answers(connection, asked.key),
                "certified": certified,
                "queue": [row.task for row in queue_page(connection, project, limit=99).rows],
            }

    with process.store.reading() as connection:
        every = dataset_of_all(connection, asked.project)
    certify(process, asked.project, every, until=None, wanted=None, by="boss")
    Snapshots(process).step(asked.project)
    before = readings()
    (copy,) = asked.tend()
    asked.tool.annotate(copy, "7")
    asked.worker.settle()
    certify(process, asked.project, every, until=None, wanted=None, by="boss")
    Snapshots(process).step(asked.project)
    after = readings()
    assert asked.counts()["answered"] == 1
    assert after == before
    assert before["learned"] == []  # all that people answered is kept


def test_gold_keeps_its_share_of_what_people_answer(asked):
    answered = golden = 0
    for _ in range(40):
        asked.tend()
        with asked.process.store.reading() as connection:
            waiting = {row.task: row.trust for row in queue_page(connection, asked.project, limit=99).rows}
            open_ = {known.copy: known.trust for known in gold.gold_tasks(connection, asked.key, GoldState.OPEN)}
        if not waiting:
            break
        task = min(waiting | open_, key=(waiting | open_).get)  # as the Label button hands them out
        golden += task in open_
        answered += 1
        asked.tool.annotate(task, "1")
        asked.worker.settle()
    assert answered >= 10
    assert 1 <= golden <= 0.25 * answered + 2


def test_no_class_and_no_group_comes_twice_in_a_row_where_others_wait():
    def known(id, label, group=None):
        return GoldTask(id, str(id), (label,), group, GoldState.WAITING, True, None, None, None, None)

    waiting = [known(1, "a", "x"), *(known(id, "b", "y") for id in range(2, 20))]
    rng = random.Random(0)
    assert {next_known(waiting, (("b",), "y"), rng).id for _ in range(20)} == {1}
    assert next_known(waiting[1:], (("b",), "y"), rng).labels == ("b",)  # there is nothing else
    labels = [next_known(waiting, None, rng).labels for _ in range(200)]
    assert 60 < labels.count(("a",)) < 140  # a rare class is asked as often as a common one


def test_a_place_lies_within_what_is_handed_out_next():
    rng, places = random.Random(0), [0.01 * number for number in range(1, 60)]
    drawn = [place_among(places, 1, 0.1, rng) for _ in range(2_000)]
    before = [sum(place < trust for place in places) for trust in drawn]
    assert max(before) <= 20
    assert sum(before) / len(before) == pytest.approx(10, abs=0.5)


def test_a_share_of_nothing_brings_nothing(asked):
    asked.share(0.0)
    assert asked.tend() == []
    with asked.process.store.writing() as connection:
        change_project(connection, asked.key, watch=True)
    asked.share(0.2)
    assert asked.tend() == []


def test_a_copy_that_was_made_without_our_knowing_is_found_and_made_no_second_time(asked):
    def lose(name):
        if name == "copy_task":
            asked.tool.faults = lambda name: None
            asked.tool.copy_task(known, {"triage_route": "spot check"})
            raise OutcomeUnknown("the connection broke off")

    with asked.process.store.reading() as connection:
        known = gold.gold_tasks(connection, asked.key, GoldState.WAITING)[0].task
    with asked.process.store.writing() as connection:  # it alone is left to choose
        for other in gold.gold_tasks(connection, asked.key, GoldState.WAITING)[1:]:
            gold.forget(connection, asked.project, other.id)
    asked.tool.faults = lose
    with pytest.raises(OutcomeUnknown):
        tend_gold(asked.process, asked.project, asked.rng)
    assert asked.counts() == {"sending": 1}
    asked.worker.settle()
    assert asked.counts() == {"open": 1}
    assert asked.tend() == []


def test_the_link_to_its_page_is_written_later_where_it_could_not_be_at_once(asked):
    def refuse(name):
        if name == "write_fields":
            raise ToolUnavailable("not now")

    asked.process.settings = replace(asked.process.settings, public_url="https://triage.example.com/")
    asked.tool.faults = refuse
    before = set(asked.tool.tasks_by_id)
    with pytest.raises(ToolUnavailable):
        tend_gold(asked.process, asked.project, asked.rng)
    (copy,) = set(asked.tool.tasks_by_id) - before
    asked.tool.faults = lambda name: None
    for _ in range(2):
        assert asked.tend() == []
    assert asked.tool.data[copy]["triage_link"] == f"https://triage.example.com/projects/{asked.project.external_id}/items/{copy}"
    assert asked.tool.calls.count("write_fields") == 2


def test_what_the_tool_does_not_take_is_asked_later_and_a_deleted_task_never(asked):
    def refuse(name):
        if name == "copy_task":
            raise ToolUnavailable("not now")

    asked.tool.faults = refuse
    with pytest.raises(ToolUnavailable):
        asked.tend()
    assert asked.counts() == {"waiting": 12}
    asked.tool.faults = lambda name: None
    for task in list(asked.truth):
        if not asked.tool.tasks_by_id[task].reviews:
            continue
        asked.tool.delete_task(task)
    assert asked.tend() == []
    assert asked.counts() == {"waiting": 11, "withdrawn": 1}


def test_a_copy_that_no_longer_counts_is_deleted_so_that_nobody_is_asked_it(asked, picture, digits):
    (copy,) = asked.tend()
    with asked.process.store.reading() as connection:
        (known,) = gold.gold_tasks(connection, asked.key, GoldState.OPEN)
    asked.tool.change_media(known.task, picture(digits.incoming[0][-1]))
    asked.worker.follow()
    asked.tend()
    assert asked.counts()["withdrawn"] == 1
    assert copy not in asked.tool.tasks_by_id


def test_a_label_that_the_config_does_not_offer_is_not_asked(asked, monkeypatch):
    with pytest.raises(StateError, match="'zebra' is none of the labels"):
        keep_known(asked.process, asked.project, {"1": ("zebra",)}, "boss")
    monkeypatch.setattr(asked.tool, "choices", lambda: type("Choices", (), {"labels": ("zebra",), "several": False})())
    assert asked.tend() == []
    with asked.process.store.reading() as connection:
        assert gold.unfit_count(connection, asked.key) == 12


def test_ground_truths_of_the_labeling_tool_are_kept_at_random(asked):
    (task, *_) = [
        task for task in asked.truth if not asked.tool.tasks_by_id[task].reviews and len(asked.tool.shown(task)[0].labels or ()) > 0
    ]
    asked.tool.annotate(task, asked.truth[task], ground_truth=True)
    asked.worker.settle()
    assert keep_ground_truths(asked.process, asked.project, 5, "boss").added == 1
    assert keep_ground_truths(asked.process, asked.project, 5, "boss").added == 0


def test_answered_copies_are_taken_out_of_the_tool_and_stay_counted(asked):
    (copy,) = asked.tend()
    assert take_gold_out(asked.process, asked.project) == []
    asked.tool.annotate(copy, "7")
    asked.worker.settle()
    assert take_gold_out(asked.process, asked.project) == ["Tasks with a known answer, copies of others: 1 task deleted."]
    assert copy not in asked.tool.tasks_by_id
    asked.worker.sweep(asked.project)
    with asked.process.store.reading() as connection:
        assert len(gold.gold_answers(connection, asked.key)) == 1
    assert take_gold_out(asked.process, asked.project) == []


def test_disconnecting_leaves_no_copy_behind(asked):
    (copy,) = asked.tend()
    change = disconnect(asked.process, asked.project.external_id)
    assert copy not in asked.tool.tasks_by_id
    assert any("copies of others" in sentence for sentence in change.done)

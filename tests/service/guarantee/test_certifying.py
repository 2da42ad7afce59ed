"""A finished dataset is certified: on real digits, by checks that were really drawn, whatever happens to its items."""

from __future__ import annotations

import time

import numpy as np
import pytest
from sqlalchemy import func, select, update

from annotriage.errors import DataError, StateError, UnknownError
from annotriage.guarantee.certificate import most_wrong, most_wrong_at_any_time
from annotriage.service.guarantee.certifying import certify, certify_again, dataset_called
from annotriage.service.readings.certificate import certificate_now
from annotriage.states import EventKind
from annotriage.store.certificates import automatic_labels, certificates_page
from annotriage.store.datasets import dataset_of_all
from annotriage.store.events import note
from annotriage.store.projects import change_project, get_project
from annotriage.store.schema import certificate_item, item, spot_check, verdict


class Certifying:
    """A project of real digits, and what is certified of it."""

    def __init__(self, process, worker, project, tool, truth):
        self.process, self.worker, self.project, self.tool, self.truth = process, worker, project, tool, truth

    def present(self):
        with self.process.store.reading() as connection:
            return get_project(connection, self.project.id)

    def all(self):
        with self.process.store.reading() as connection:
            return dataset_of_all(connection, self.project)

    def certify(self, dataset=None, **values):
        return self.now(certify(self.process, self.present(), dataset or self.all(), by="ada", **values))

    def now(self, id):
        with self.process.store.reading() as connection:
            return certificate_now(connection, self.present(), id)

    def labels(self):
        with self.process.store.reading() as connection:
            return automatic_labels(connection, self.present(), self.all().id, time.time())

    def checks(self):
        """The tasks that wait as spot checks of automatic labels."""
        query = select(item.c.external_id).join(spot_check, spot_check.c.item_id == item.c.id)
        with self.process.store.reading() as connection:
            mine = (spot_check.c.state == "open", spot_check.c.route == "auto", ~item.c.gone)
            return list(connection.execute(query.where(*mine).order_by(item.c.id)).scalars())

    def answer(self, tasks, label=None, by="ann"):
        """A person labels tasks, as the truth is or otherwise; the service reads it."""
        for task in tasks:
            self.tool.annotate(task, label or self.truth[task], by=by)
        self.worker.settle()

    def of(self, task):
        """The row of a task's item."""
        with self.process.store.reading() as connection:
            return connection.execute(select(item).where(item.c.external_id == task)).one()


@pytest.fixture
def certifying(process, scene, worker, digits, picture):
    """240 known digits and 10 strangers, one in ten of the automatic ones audited, from two scanners."""

    def begin(scene):
        project, tool = scene.connect("1", sample_share=0.05, audit_share=0.1, dataset_fields=("scanner",))
        truth = {}
        parts = zip(digits.incoming, digits.strangers, strict=True)
        images, labels = (np.concatenate([known[:240], strange[:10]]) for known, strange in parts)
        for place, (image, label) in enumerate(zip(images, labels, strict=True)):
            task = tool.add(picture(image), fields={"scanner": "AB"[place % 2]})
            truth[task.id] = str(label)
        scene.worker.settle()
        return project, truth

    project, truth = scene((), begin)
    return Certifying(process, worker, project, process.tool_project(project), truth)


def test_open_checks_count_as_wrong_and_the_number_falls_as_people_answer(certifying):
    found = certifying.certify()
    labels, checks = certifying.labels(), certifying.checks()
    assert found.labels == len(labels) > 150
    assert 15 < found.checks == found.open <= len(checks) < 60
    assert (found.most, found.right, found.wrong, found.whole) == (found.labels, 0, 0, 0)
    assert "Nothing can be said" in found.sentence
    numbers = [found.most]
    for start in range(0, len(checks), 10):
        certifying.answer(checks[start : start + 10])
        numbers.append(certifying.now(found.id).most)
    assert numbers == sorted(numbers, reverse=True)
    done = certifying.now(found.id)
    assert (done.open, done.right + done.wrong) == (0, done.checks)
    assert done.most == most_wrong(done.labels, done.checks, done.wrong)
    assert done.most < done.labels / 3
    assert done.sentence.startswith(
        f"At most {done.most} of these {done.labels} automatic labels are wrong (95% sure), strange items included"
    )


def test_two_at_once_do_not_both_pass_for_the_first(certifying, monkeypatch):
    from annotriage.service.guarantee import certifying as module

    parts = module._parts

    def while_it_computes(*given):
        monkeypatch.setattr(module, "_parts", parts)
        certifying.certify()
        return parts(*given)

    monkeypatch.setattr(module, "_parts", while_it_computes)
    with pytest.raises(StateError, match="certified by somebody else at this moment"):
        certifying.certify()
    with certifying.process.store.reading() as connection:
        made = certificates_page(connection, certifying.present(), limit=9)
    assert [found.fixed for found in made] == [True]


def test_nothing_is_certified_of_what_is_still_to_come(certifying):
    before = time.time()
    assert before <= certifying.certify(until=before + 1e9).until <= time.time()


def test_more_checks_are_drawn_for_a_smaller_number_and_their_labels_are_hidden(certifying):
    wanted = 12
    found = certifying.certify(wanted=wanted)
    drawn = certifying.checks()
    assert 40 < found.checks <= len(drawn)
    certifying.worker.settle()
    assert {certifying.tool.shown(task)[0].labels for task in drawn} == {None}
    assert all(0 < certifying.tool.shown(task)[0].trust < 2 / 3 for task in drawn)
    certifying.answer(drawn)
    done = certifying.now(found.id)
    assert done.most <= wanted or done.wrong
    assert done.most == most_wrong(done.labels, done.checks, done.wrong)


def test_checks_that_are_added_after_a_look_at_the_answers_take_the_limit_that_allows_that(certifying):
    first = certifying.certify()
    certifying.answer(certifying.checks())
    second = certifying.certify(wanted=20)
    certifying.answer(certifying.checks())
    done = certifying.now(second.id)
    assert done.method != certifying.now(first.id).method
    assert done.most == most_wrong_at_any_time(done.labels, done.checks, done.wrong) <= 20


def test_one_contradiction_is_wrong_until_a_second_person_sides_with_the_model(certifying):
    found = certifying.certify()
    task, *others = [task for task in certifying.checks() if certifying.truth[task] != "5"]
    certifying.answer(others)
    before = certifying.now(found.id)
    certifying.answer([task], label="5", by="bob")
    contradicted = certifying.now(found.id)
    assert (contradicted.most, contradicted.wrong, contradicted.open) == (before.most, before.wrong + 1, before.open - 1)
    certifying.answer([task], by="eve")
    assert certifying.now(found.id).most < before.most


def test_what_one_person_decided_alone_counts_as_wrong(certifying):
    found = certifying.certify()
    certifying.answer(certifying.checks())
    before = certifying.now(found.id)
    with certifying.process.store.writing() as connection:
        some = select(spot_check.c.item_id).where(spot_check.c.state == "right", spot_check.c.route == "auto").limit(1).scalar_subquery()
        connection.execute(update(spot_check).where(spot_check.c.item_id == some).values(decided_by="ada"))
    assert certifying.now(found.id).wrong == before.wrong + 1


def test_corrected_and_deleted_items_stay_in_it(certifying):
    found = certifying.certify()
    checks = certifying.checks()
    certifying.answer(checks[:-2])
    before = certifying.now(found.id)
    certifying.tool.delete_task(checks[0])
    certifying.tool.delete_task(checks[-1])
    certifying.answer([next(label.external_id for label in certifying.labels() if not label.seen)], label="7")
    certifying.worker.sweep(certifying.project)
    assert certifying.of(checks[0]).gone
    assert certifying.of(checks[-1]).gone
    after = certifying.now(found.id)
    assert (after.labels, after.most, after.right) == (before.labels, before.most, before.right)
    again = certifying.certify()
    assert (again.labels, again.gone, again.open, again.lost) == (found.labels, 2, 1, 1)
    assert again.data_hash == found.data_hash


def test_checks_whose_items_were_erased_count_as_wrong(certifying):
    found = certifying.certify()
    certifying.answer(certifying.checks())
    before = certifying.now(found.id)
    with certifying.process.store.writing() as connection:
        first = select(certificate_item.c.item_id).limit(1).scalar_subquery()
        connection.execute(certificate_item.delete().where(certificate_item.c.item_id == first))
    after = certifying.now(found.id)
    assert (after.checks, after.lost) == (before.checks, 1)
    assert after.most >= before.most


def test_what_came_in_later_is_not_part_of_it(certifying, digits, picture):
    found = certifying.certify()
    for image in digits.incoming[0][240:280]:
        certifying.tool.add(picture(image))
    certifying.worker.settle()
    assert certifying.now(found.id).labels == found.labels
    assert (
        certify_again(certifying.process, certifying.present(), certifying.all(), until=None, wanted=None, anew=False, by="bob") == found.id
    )
    grown = certifying.certify()
    assert grown.labels > found.labels
    early = certifying.certify(until=found.until)
    assert (early.labels, early.data_hash) == (found.labels, found.data_hash)
    with pytest.raises(DataError, match="no automatic label"):
        certifying.certify(until=1.0)


def test_a_part_that_was_drawn_completely_is_counted_as_it_is(certifying):
    ids = [label.id for label in certifying.labels()]
    first = ids[: len(ids) // 2]
    with certifying.process.store.writing() as connection:
        connection.execute(update(spot_check).where(spot_check.c.item_id.in_(first)).values(share=1.0))
        drawn = connection.execute(select(func.count()).where(spot_check.c.item_id.in_(first))).scalar_one()
    found = certifying.certify()
    assert (found.whole, found.whole_wrong) == (drawn, drawn)
    certifying.answer(certifying.checks())
    done = certifying.now(found.id)
    assert done.most == done.whole_wrong + most_wrong(done.labels - done.whole, done.checks, done.wrong)


def test_answers_from_before_the_present_reference_are_counted_as_they_are_and_speak_for_nothing_else(certifying):
    first = certifying.certify()
    certifying.answer(certifying.checks())
    with certifying.process.store.writing() as connection:
        note(connection, certifying.project.id, EventKind.SWITCHED, version="v2")
    found = certifying.certify()
    assert found.whole >= certifying.now(first.id).right > 15
    assert found.right == 0
    assert found.wrong <= certifying.now(first.id).wrong, "contradicted by one person, and not settled yet"
    assert found.open == found.checks - found.wrong > 0


def test_there_is_nothing_to_certify_without_automatic_labels_or_checks(certifying):
    with certifying.process.store.writing() as connection:
        connection.execute(update(verdict).values(judged="uncertain"))
    with pytest.raises(DataError, match="no automatic label"):
        certifying.certify()
    with certifying.process.store.writing() as connection:
        first = select(func.min(spot_check.c.item_id)).scalar_subquery()
        connection.execute(update(verdict).where(verdict.c.item_id == first).values(judged="auto"))
        connection.execute(spot_check.delete())
        change_project(connection, certifying.project.id, options={"sample_share": 0.0, "audit_share": 0.0, "dataset_fields": ()})
    alone = certifying.certify()
    assert (alone.labels, alone.checks, alone.most) == (1, 0, 1)
    assert "this one automatic label" in alone.sentence
    proven = certifying.certify(wanted=0)
    assert (proven.checks, proven.open, proven.most) == (1, 1, 1)
    (task,) = certifying.checks()
    certifying.answer([task])
    assert certifying.now(proven.id).most == (0 if certifying.now(proven.id).right else 1)


def test_what_people_answered_with_the_label_in_view_cannot_be_checked_blind(certifying):
    checks = {*certifying.checks()}
    seen = [label.external_id for label in certifying.labels() if label.external_id not in checks]
    certifying.answer(seen)
    with pytest.raises(DataError, match="can be checked blind no more"):
        certifying.certify(wanted=2)
    assert {*certifying.checks()} == checks


def test_a_dataset_is_found_by_its_name_its_value_or_its_number(certifying):
    with certifying.process.store.reading() as connection:
        b = dataset_called(connection, certifying.project, "B")
        assert b.name == "scanner=B"
        assert dataset_called(connection, certifying.project, "scanner=B") == dataset_called(connection, certifying.project, str(b.id)) == b
        assert dataset_called(connection, certifying.project, "all").kind == "all"
        with pytest.raises(UnknownError, match="scanner=A"):
            dataset_called(connection, certifying.project, "C")
    assert certifying.certify(b).labels < certifying.certify().labels


def test_nothing_is_certified_while_labels_may_change(certifying):
    with certifying.process.store.writing() as connection:
        change_project(connection, certifying.project.id, next_reference_id=certifying.project.reference_id)
    with pytest.raises(StateError, match="taking over"):
        certifying.certify()

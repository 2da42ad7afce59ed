"""Gold tasks in the store: what may be kept, how a copy is known again, and that no query finds it where it does not belong."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select

from annotriage.errors import StateError, UnknownError
from annotriage.labeling_tool import Review, Task
from annotriage.service.intake.reviewing import take_reviews
from annotriage.states import GoldState
from annotriage.store import gold, items, reroutings, spot_checks
from annotriage.store.blind_answers import answers_of, several_answers
from annotriage.store.browsing import BlindCheck, is_item_hidden, item_of_task, items_page, last_import
from annotriage.store.erasing import doomed, erase
from annotriage.store.items import media_hash
from annotriage.store.predictions import known_predictions
from annotriage.store.projects import change_project
from annotriage.store.provenance import labels_page
from annotriage.store.queue import queue_page, still_waiting
from annotriage.store.rescores import unjudged
from annotriage.store.reviews import Answer, keep_reviews, set_answers
from annotriage.store.schema import delivery, verdict, work

COPY = "900"


@pytest.fixture
def answered(store, filled):
    """Five judged and answered items, the first three kept: their ids."""
    ids = filled.judged(5)
    with store.writing() as connection:
        set_answers(connection, {id: Answer("resolved", ("cat",), at=float(id)) for id in ids})
        gold.keep_known(connection, filled.project, {str(id): ("cat",) for id in ids[:3]}, "boss")
    return ids


def bring(store, filled, by="tool"):
    """The first known answer comes before people as task 900."""
    with store.writing() as connection:
        (known, *_) = gold.gold_tasks(connection, filled.project.id, GoldState.WAITING)
        assert gold.send(connection, known.id, 0.2)
        assert not gold.send(connection, known.id, 0.2)
        task = Task(COPY, f"http://host/{known.task}.png", reviews=())
        if by == "poll":
            items.add_tasks(connection, filled.project, [task])
        else:
            gold.adopt(connection, filled.project, [task], {COPY: media_hash(task.media)})
            items.add_tasks(connection, filled.project, [task])  # the poll finds it a moment later
    return task


def answer(store, filled, task, label, person="7", at=100.0):
    with store.writing() as connection:
        review = Review(f"{person}-{at}", person, (label,), updated_at=at)
        take_reviews(connection, filled.present(), [Task(task.id, task.media, labelled=True, reviews=(review,))])


class TestGold:
    def test_spot_checks_strangers_and_what_waits_already_are_not_kept(self, store, filled, answered):
        check = filled.judged(1, spot_check="sample")[0]
        asked = {str(check): ("cat",), str(answered[0]): ("cat",), "777": ("cat",), str(answered[4]): (), str(answered[3]): ("dog",)}
        with store.writing() as connection:
            done = gold.keep_known(connection, filled.project, asked, "boss")
        assert done.added == 1
        assert sorted(done.left.values()) == [1, 1, 1, 1]

    @pytest.mark.parametrize("by", ["tool", "poll"])
    def test_a_copy_is_known_again_whoever_reads_it_first(self, store, filled, answered, by):
        task = bring(store, filled, by)
        with store.writing() as connection:
            found = item_of_task(connection, filled.project, COPY)
            assert gold.gold_counts(connection, filled.project.id) == {"waiting": 2, "open": 1}
            assert (found.answer, found.verdict, found.route) == ("open", None, "spot check")
            assert found.spot_check == BlindCheck(None, "open", found.spot_check.drawn_at, None)
            shown = known_predictions(connection, "3", [COPY]).by_task[COPY]
            assert (shown.labels, shown.trust) == (None, 0.2)
            assert items.add_tasks(connection, filled.project, [task]) == 0
            assert items.add_tasks(connection, filled.project, [Task("901", task.media)]) == 1  # another import of the same picture

    def test_a_copy_is_never_judged_counted_drawn_trained_on_or_exported(self, store, filled, answered):
        counts = filled.counts()
        with store.reading() as connection:
            listed = [row.id for row in items_page(connection, filled.project, limit=99)]
            labelled = labels_page(connection, filled.project, limit=99).labels
            sample = spot_checks.sample_size(connection, filled.project.id)
        task = bring(store, filled)
        answer(store, filled, task, "dog")
        with store.writing() as connection:
            copy = item_of_task(connection, filled.project, COPY)
            items.add_work(connection, filled.project, [copy.id])  # whoever means to have it judged
            items.mark_back(connection, filled.project, [copy.id])
            assert connection.execute(select(work).where(work.c.item_id == copy.id)).all() == []
            assert connection.execute(select(verdict).where(verdict.c.item_id == copy.id)).all() == []
            assert copy.id not in unjudged(connection, filled.project, filled.references[1], 99)
            assert [row.id for row in items_page(connection, filled.project, limit=99)] == listed
            assert labels_page(connection, filled.project, limit=99).labels == labelled
            assert spot_checks.sample_size(connection, filled.project.id) == sample
            assert spot_checks.waiting(connection, filled.project.id) == []
            learned = {row.id for row in spot_checks.other_answers(connection, filled.project.id)}
            kept_out = {row.id for row in spot_checks.all_drawn(connection, filled.project.id)}
            assert learned == set(answered[3:])
            assert spot_checks.learnable(connection, filled.project.id, 99) == 2
            assert kept_out == {*answered[:3], copy.id}
            assert spot_checks.labels_of_tasks(connection, filled.project.id, [COPY]) == {}
            assert copy.id not in {row.id for row in spot_checks.unanswered_items(connection, filled.project.id)}
            assert several_answers(connection, filled.project) == ([], 0)
        assert filled.counts() == counts

    def test_it_is_in_no_list_open_or_answered_and_what_people_say_is_compared(self, store, filled, answered):
        def listed():
            with store.reading() as connection:
                checks = spot_checks.spot_checks_page(connection, filled.project, state=None, after=None, limit=9)
                counts = spot_checks.spot_check_counts(connection, filled.project)
                rows = [*checks, *items_page(connection, filled.project, limit=9), *labels_page(connection, filled.project, limit=9).labels]
                walked = [row.task for row in queue_page(connection, filled.project).rows]
            return counts, {row.task for row in rows}, walked

        before = listed()
        task = bring(store, filled)
        assert listed() == before
        answer(store, filled, task, "dog")
        assert listed() == before
        with store.reading() as connection:
            (said,) = gold.gold_answers(connection, filled.project.id)
            shown = item_of_task(connection, filled.project, COPY)
            assert answers_of(connection, filled.project) == {"7": {("dog",): 1}}
        assert (said.of, said.known, said.given, said.person) == (str(answered[0]), ("cat",), ("dog",), "7")
        assert (shown.answer, shown.answered, shown.spot_check, shown.verdict) == ("resolved", ("dog",), None, None)
        with store.writing() as connection:  # they take it back
            take_reviews(connection, filled.present(), [Task(task.id, task.media, reviews=())])
            assert gold.gold_answers(connection, filled.project.id) == []
            assert gold.gold_counts(connection, filled.project.id) == {"waiting": 2, "open": 1}

    def test_asked_for_by_its_row_it_is_told_and_hidden_as_an_open_spot_check(self, store, filled, answered):
        (check,) = filled.judged(1, spot_check="sample")
        bring(store, filled)
        with store.writing() as connection:
            both = [check, item_of_task(connection, filled.project, COPY).id]
            assert sorted(still_waiting(connection, filled.project, both)) == both
            assert still_waiting(connection, filled.project, both, out=True) == []
            assert still_waiting(connection, replace(filled.project, hides_checks=True), both) == []
            assert [is_item_hidden(connection, id) for id in (*both, answered[4])] == [True, True, False]
            assert [row.spot_check for row in reroutings.hold(connection, filled.project.id, both)[1]] == ["open", "open"]
            assert not reroutings.any_automatic(connection, filled.project, both), "the one is, which is not told"
            assert reroutings.any_automatic(connection, filled.project, answered)

    def test_a_reference_that_takes_over_finds_it_delivered_as_spot_checks_are(self, store, filled, answered):
        bring(store, filled)
        with store.writing() as connection:
            assert gold.undelivered(connection, filled.project) == {}
            change_project(connection, filled.project.id, next_reference_id=filled.references[1])
        project = filled.present()
        with store.writing() as connection:
            lacking = gold.undelivered(connection, project)
            gold.deliver(connection, project, lacking)
            (copy,) = lacking
            rows = connection.execute(select(delivery.c.reference_id, delivery.c.labels).where(delivery.c.item_id == copy)).all()
            assert {tuple(row) for row in rows} == {(filled.references[0], None), (filled.references[1], None)}
            assert gold.undelivered(connection, project) == {}

    def test_what_shows_something_else_since_is_not_asked(self, store, filled, answered):
        task = bring(store, filled)
        with store.writing() as connection:
            take_reviews(connection, filled.present(), [Task(COPY, "http://host/other.png", reviews=())])
            take_reviews(connection, filled.present(), [Task(str(answered[1]), "http://host/other.png", reviews=())])
            assert gold.gold_counts(connection, filled.project.id) == {"waiting": 1, "withdrawn": 2}
        answer(store, filled, task, "dog")
        with store.reading() as connection:
            assert gold.gold_answers(connection, filled.project.id) == []

    def test_only_what_nobody_was_asked_yet_is_forgotten(self, store, filled, answered):
        bring(store, filled)
        with store.writing() as connection:
            (out,) = gold.gold_tasks(connection, filled.project.id, GoldState.OPEN)
            waiting = gold.gold_tasks(connection, filled.project.id, GoldState.WAITING)
            gold.forget(connection, filled.project, waiting[0].id)
            with pytest.raises(StateError, match="with people already"):
                gold.forget(connection, filled.project, out.id)
            with pytest.raises(UnknownError):
                gold.forget(connection, filled.project, 999)
            assert gold.gold_counts(connection, filled.project.id) == {"waiting": 1, "open": 1}

    def test_answers_marked_as_ground_truth_are_offered_once(self, store, filled):
        ids = filled.judged(3)
        check = filled.judged(1, spot_check="sample")[0]
        with store.writing() as connection:
            given = {id: [Review(f"r{id}", "7", ("dog",), ground_truth=True, updated_at=1.0)] for id in (ids[0], ids[1], check)}
            keep_reviews(connection, filled.project.id, given)
            gold.keep_known(connection, filled.project, {str(ids[0]): ("dog",)}, "boss")
            assert gold.ground_truths(connection, filled.project, 9) == {str(ids[1]): ("dog",)}

    def test_a_label_that_is_no_longer_offered_is_told_and_comes_back_with_it(self, store, filled, answered):
        with store.writing() as connection:
            gold.set_fits(connection, gold.changed_fits(connection, filled.project.id, ["dog"]))
            assert gold.unfit_count(connection, filled.project.id) == 3
            gold.set_fits(connection, gold.changed_fits(connection, filled.project.id, ["dog", "cat"]))
            assert gold.unfit_count(connection, filled.project.id) == 0

    def test_what_is_deleted_in_the_labeling_tool_is_out_no_more(self, store, filled, answered):
        bring(store, filled)
        with store.writing() as connection:
            items.mark_gone(connection, [item_of_task(connection, filled.project, COPY).id])
            assert gold.gold_tasks(connection, filled.project.id, *gold.UNASKED[1:]) == []
            assert gold.unlinked(connection, filled.project.id) == []
            assert gold.gold_counts(connection, filled.project.id) == {"waiting": 2, "withdrawn": 1}
            items.mark_gone(connection, [answered[1]])  # that waits to be asked
            assert gold.gold_counts(connection, filled.project.id) == {"waiting": 1, "withdrawn": 1}

    def test_a_copy_is_no_import(self, store, filled, answered):
        with store.reading() as connection:
            before = last_import(connection, filled.project)
        bring(store, filled)
        with store.reading() as connection:
            assert last_import(connection, filled.project) == before

    def test_erasing_an_item_erases_its_copy(self, store, filled, answered):
        bring(store, filled)
        with store.writing() as connection:
            found = doomed(connection, filled.project, [str(answered[0])])
            assert set(found) == {str(answered[0]), COPY}
            erase(connection, filled.project, list(found.values()))
            assert gold.gold_counts(connection, filled.project.id) == {"waiting": 2}

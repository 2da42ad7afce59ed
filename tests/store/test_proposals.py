"""Groups of look-alikes: an item is in one at a time, a state is left once, and who is asked is asked blind."""

from __future__ import annotations

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from annotriage.errors import UnknownError
from annotriage.states import ProposalState
from annotriage.store import proposals, queue, versions
from annotriage.store.browsing import is_item_hidden, items_of
from annotriage.store.datasets import dataset_of
from annotriage.store.provenance import labels_page
from annotriage.store.reviews import Answer, set_answers
from annotriage.store.schema import group_member
from annotriage.store.versions import Said

LIMITS = {"group_error": 0.05, "confidence": 0.95}


def offer(store, project, ids, **values):
    with store.writing() as connection:
        return proposals.add_proposal(connection, project, ids, "outlier group 1", "ann", **LIMITS | values)


def answer(store, id, label="cat", **values):
    with store.writing() as connection:
        set_answers(connection, {id: Answer("resolved", (label,), at=1.0, **values)})


class TestProposals:
    def test_an_item_is_in_one_group_as_long_as_that_goes_on(self, store, project, judged):
        first, second, third = judged(3, "outlier")
        group = offer(store, project, [second, first])
        with pytest.raises(IntegrityError):
            offer(store, project, [third, first])
        with store.writing() as connection:
            assert proposals.free_items(connection, project) == [third]
            found = proposals.members_of(connection, project, group)
            assert [(member.item_id, member.place, member.labels) for member in found] == [(second, 0, None), (first, 1, None)]
            proposals.let_go(connection, group)
            assert proposals.free_items(connection, project, [first, third]) == [first, third]
        assert offer(store, project, [third, first]) > group

    def test_only_what_waits_for_a_person_and_was_not_drawn_at_random_may_be_in_one(self, store, project, judged):
        strange, unsure = judged(1, "outlier"), judged(1, "uncertain")
        judged(1, "auto"), judged(1, "failed"), judged(1, "outlier", spot_check="sample")
        answered, gone = judged(2, "outlier")
        answer(store, answered)
        with store.writing() as connection:
            connection.exec_driver_sql(f"UPDATE item SET gone = true WHERE id = {gone}")
            assert proposals.free_items(connection, project) == [*strange, *unsure]

    def test_a_state_is_left_once(self, store, project, judged):
        group = offer(store, project, judged(2, "outlier"))
        with store.writing() as connection:
            assert [found.id for found in proposals.at_work(connection, project.id)] == []
            assert proposals.move(connection, group, ProposalState.OFFERED, ProposalState.ASKING, asked=1)
            assert not proposals.move(connection, group, ProposalState.OFFERED, ProposalState.CLOSED)
            (found,) = proposals.at_work(connection, project.id)
            assert (found.id, found.state, found.asked, found.labels) == (group, ProposalState.ASKING, 1, None)
            assert proposals.proposals_page(connection, project, limit=5) == [found]
            with pytest.raises(UnknownError, match="no group of look-alikes with the number 99"):
                proposals.proposal_of(connection, project, 99)

    def test_who_is_asked_sees_nothing_of_what_the_model_says_until_they_have_answered(self, store, project, judged):
        asked, other = judged(2, "uncertain")
        group = offer(store, project, [asked, other])

        def seen():
            with store.reading() as connection:
                rows = items_of(connection, project, [asked, other])
                filtered = queue.queue_page(connection, project, filters=queue.Filters(label="cat")).rows
                of_group = queue.queue_page(connection, project, filters=queue.Filters(proposal=group)).rows
                waits = queue.still_waiting(connection, project, [asked, other])
                assert [is_item_hidden(connection, row.id) for row in rows] == [row.asked for row in rows]
            shown = [(row.verdict is not None, row.asked) for row in rows]
            return shown, [row.id for row in filtered], [row.id for row in of_group], waits

        assert seen() == ([(True, False), (True, False)], [asked, other], [], [asked, other])
        with store.writing() as connection:
            proposals.move(connection, group, ProposalState.OFFERED, ProposalState.ASKING, asked=1)
        assert seen() == ([(False, True), (True, False)], [other], [asked], [asked, other])
        answer(store, asked)
        assert seen() == ([(True, False), (True, False)], [other], [], [other])

    def test_who_is_asked_is_in_no_comparison_of_versions(self, store, project, judged):
        asked, other = judged(2, "uncertain")
        group, said = offer(store, project, [asked, other]), (Said("auto", ("cat",)), Said("uncertain", ("dog",)))
        with store.writing() as connection:
            versions.keep_comparison(connection, project, 1, 2, {asked: said, other: said}, 2, "ann")
            made = versions.comparison_of(connection, project, 1, 2)
            assert versions.compared_items(connection, made.id).blind == 0
            proposals.move(connection, group, ProposalState.OFFERED, ProposalState.ASKING, asked=1)
            found = versions.compared_items(connection, made.id)
        assert ([row.item_id for row in found.shown], found.blind) == ([other], 1)

    def test_what_nobody_answered_is_counted_without_reading_the_members(self, store, project, judged):
        ids = judged(6, "outlier")
        group = offer(store, project, ids)
        answer(store, ids[0])
        answer(store, ids[3])
        answer(store, ids[4], machine=True)
        with store.writing() as connection:
            set_answers(connection, {ids[5]: Answer("disputed", None, at=1.0)})
            proposals.change(connection, group, asked=1)
            proposals.set_at_once(connection, group, ids[2:])
            found = proposals.proposal_of(connection, project, group)
            assert proposals.rest_of(connection, found) == proposals.Rest(unasked=2, at_once=2, annotations=1)
            assert [member.item_id for member in proposals.members_of(connection, project, group, first=2)] == ids[:2]
            proposals.not_at_once(connection, group, ids[2:3])
            assert proposals.rest_of(connection, found).at_once == 1

    def test_attempts_count_where_people_were_asked(self, store, project, judged):
        ids = judged(3, "outlier")
        for asked in (0, 2):
            group = offer(store, project, ids[:2])
            with store.writing() as connection:
                proposals.change(connection, group, asked=asked)
                proposals.let_go(connection, group)
        with store.reading() as connection:
            assert [proposals.attempts(connection, some) for some in (ids[:1], ids, ids[2:])] == [1, 1, 0]

    def test_what_is_free_of_groups_is_counted_with_its_attempts(self, store, project, judged):
        tried, fresh, answered = judged(3, "outlier"), judged(2, "outlier"), judged(2, "outlier")
        for asked, some in ((1, tried[:1]), (0, tried), (2, tried[:2]), (1, answered)):
            group = offer(store, project, some)
            with store.writing() as connection:
                proposals.change(connection, group, asked=asked)
                proposals.let_go(connection, group)
        offer(store, project, fresh[:1])
        answer(store, answered[0])
        numbers = dict.fromkeys(tried, 1) | dict.fromkeys(fresh, 2) | dict.fromkeys(answered, 3)
        with store.writing() as connection:
            every = dataset_of(connection, project.id, "all", "all", 0.0)
            rows = [{"dataset_id": every, "item_id": id, "number": number} for id, number in numbers.items()]
            connection.execute(insert(group_member), rows)
            found = proposals.free_in_groups(connection, project, every, [1, 2, 3, 4])
        assert {number: (some.items, some.attempts) for number, some in found.items()} == {1: (3, 2), 2: (1, 0), 3: (1, 1)}

    def test_a_label_given_at_once_says_so_and_a_persons_answer_goes_before_it(self, store, project, judged):
        asked, first, second = judged(3, "outlier")
        group = offer(store, project, [asked, first, second])
        answer(store, asked, "dog")
        with store.writing() as connection:
            proposals.set_at_once(connection, group, [first, second])
            values = {"labels": ["dog"], "labelled_at": 5.0, "labelled_by": "ann"}
            proposals.move(connection, group, ProposalState.OFFERED, ProposalState.LABELLED, **values)
        answer(store, second, "cat")

        def labels():
            with store.reading() as connection:
                page = labels_page(connection, project, limit=9).labels
            return [(label.source, label.label, label.look_alikes, label.guaranteed) for label in page]

        assert labels() == [
            ("person", ("dog",), None, False),
            ("look-alike", ("dog",), group, False),
            ("person", ("cat",), None, False),
        ]
        with store.writing() as connection:
            proposals.let_go(connection, group)
        assert labels()[1][:3] == ("nobody", None, None)

    def test_which_deliveries_tell_what_the_model_says(self, store, project, judged):
        shown, hidden = judged(1, "uncertain"), judged(1, "outlier")
        with store.reading() as connection:
            assert proposals.seen_labels(connection, project, [*shown, *hidden]) == shown
            assert set(proposals.points_of(connection, project, [*shown, 99])) == set(shown)

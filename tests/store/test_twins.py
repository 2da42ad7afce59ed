"""Twins: what was compared, what repeats what, and the answers that are inherited once."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

from sqlalchemy import select
from stores import while_it_waits

from annotriage.states import ProposalState, TwinKind
from annotriage.store import certificates, columns, proposals, twins
from annotriage.store.blind_answers import blind_answers
from annotriage.store.items import change_media
from annotriage.store.locks import lock_items
from annotriage.store.reviews import Answer, set_answers
from annotriage.store.schema import dataset, spot_check, verdict


def keep(store, project, found, *, others=()):
    """Items that repeat another one, and others, are compared."""
    with store.writing() as connection:
        compared = dict.fromkeys([*found, *others], b"12345678")
        twins.keep_compared(connection, project, compared, {id: (other, TwinKind.NEAR, 0.5) for id, other in found.items()})


def wants(filled):
    """The project, which lets near duplicates inherit."""
    project = filled.present()
    return replace(project, options=replace(project.options, inherit_answers=True))


def answer(store, id, label="dog", **values):
    with store.writing() as connection:
        set_answers(connection, {id: Answer("resolved", (label,), at=1.0, **values)})


class TestTwins:
    def test_each_item_is_compared_once_and_again_when_it_was_judged_anew(self, store, filled):
        first, second = filled.judged(2, "outlier")

        def waiting():
            with store.reading() as connection:
                return [placed.item_id for placed, _ in twins.uncompared(connection, filled.project, 9)]

        assert waiting() == [first, second]
        keep(store, filled.project, {second: first}, others=[first])
        assert waiting() == []
        with store.reading() as connection:
            assert [(one.item_id, one.fingerprint) for one in twins.compared(connection, filled.project)] == [
                (second, b"12345678"),
                (first, b"12345678"),
            ], "the latest first"
            assert twins.roots_of(connection, [first, second]) == {second: first}
        filled.judge([second], "outlier")
        assert waiting() == [second]
        keep(store, filled.project, {}, others=[second])
        with store.reading() as connection:
            assert twins.roots_of(connection, [first, second]) == {}, "it shows something else now"

    def test_a_persons_answer_is_inherited_and_no_machines_or_blind_ones(self, store, filled):
        root, heir, other, heir_of_machine = filled.judged(4, "outlier")
        (check,) = filled.judged(1, "outlier", spot_check="sample")
        keep(store, filled.project, {heir: root, check: root, heir_of_machine: other})

        def heirs():
            with store.reading() as connection:
                return [(found.item_id, found.labels) for found in twins.heirs(connection, filled.project, 9)]

        assert heirs() == []
        answer(store, root)
        answer(store, other, machine=True)
        assert heirs() == [(heir, ("dog",))]
        with store.reading() as connection:
            told = twins.near_duplicates(connection, [heir, check, heir_of_machine, root])
        assert {id: (found.task, found.labels, found.inherited) for id, found in told.items()} == {
            heir: (str(root), ("dog",), None),
            heir_of_machine: (str(other), None, None),
        }
        with store.writing() as connection:
            twins.claim(connection, wants(filled), 9)
            twins.set_inherited(connection, [heir])
        assert heirs() == []
        answer(store, root, "cat")
        with store.writing() as connection:
            told = twins.near_duplicates(connection, [heir])[heir]
            assert (told.labels, told.inherited) == (("cat",), ("dog",)), "what was sent, whatever people say since"
            assert twins.twin_counts(connection, filled.project) == {"found": 2, "inherited": 1}
            assert [twins.undo_inherited(connection, filled.project) for _ in range(2)] == [1, 0]
        assert heirs() == [], "what was taken back is not given again"

    def test_what_repeats_a_spot_check_is_told_once_that_is_answered(self, store, filled):
        (check,) = filled.judged(1, "auto", spot_check="sample")
        root, copy, other = filled.judged(3, "auto")
        keep(store, filled.project, {copy: check, other: root})

        def told():
            with store.reading() as connection:
                listed = twins.latest_repeats(connection, filled.project, 9)
                assert {one.of.item_id: one.of for one in listed} == twins.near_duplicates(connection, [other, copy])
                return [(one.task, one.of.task) for one in listed]

        assert told() == [(str(other), str(root))], "the model's label on the one is as good as that on the other"
        with store.writing() as connection:
            connection.execute(spot_check.update().values(state="right"))
        assert told() == [(str(other), str(root)), (str(copy), str(check))]

    def test_who_is_asked_about_look_alikes_is_told_of_no_twin(self, store, filled):
        root, heir = filled.judged(2, "outlier")
        keep(store, filled.project, {heir: root})
        answer(store, root)
        with store.writing() as connection:
            group = proposals.add_proposal(connection, filled.project, [heir], "some", "ann", group_error=0.05, confidence=0.95)
            assert twins.heirs(connection, filled.project, 9) == [], "it may be asked about any time"
            proposals.move(connection, group, ProposalState.OFFERED, ProposalState.ASKING, asked=1)
            assert twins.near_duplicates(connection, [heir]) == {}
            assert twins.heirs(connection, filled.project, 9) == []

    def test_whose_answer_was_seen_as_a_prediction_is_asked_blind_no_more(self, store, filled):
        root, heir, other = filled.judged(3, "outlier")
        keep(store, filled.project, {heir: root})
        answer(store, root)
        with store.writing() as connection:
            twins.claim(connection, wants(filled), 9)
            twins.set_inherited(connection, [heir])
            free = [proposals.free_items(connection, filled.project), certificates.still_unseen(connection, [heir, other])]
            assert free == [[other]] * 2
            twins.undo_inherited(connection, filled.project)
            assert proposals.free_items(connection, filled.project) == [other]
        answer(store, heir), answer(store, other)
        with store.reading() as connection:
            assert {row.item_id for row in blind_answers(connection, filled.project)} == {root, other}

    def test_whose_answer_is_on_its_way_is_drawn_for_no_check(self, store, filled):
        root, heir, other = filled.judged(3, "auto")
        keep(store, filled.project, {heir: root})
        answer(store, root)
        with store.writing() as connection:
            assert [one.item_id for one in twins.claim(connection, wants(filled), 9).given] == [heir]
            assert certificates.still_unseen(connection, [heir, other]) == [other]
        filled.judge([heir, other], spot_check="audit", reference_id=filled.references[1])
        with store.reading() as connection:
            assert connection.execute(select(spot_check.c.item_id)).scalars().all() == [other]
            judged = select(verdict.c.item_id).where(verdict.c.reference_id == filled.references[1])
            assert connection.execute(judged).scalars().all() == [other], "the other one is drawn, and judged, anew"

    def test_whoever_locks_an_item_first_keeps_it(self, store, filled):
        if store.is_sqlite:
            return  # a writing transaction is alone
        root, heir = filled.judged(2, "auto")
        keep(store, filled.project, {heir: root})
        answer(store, root)
        given = []

        def claim():
            with store.writing() as connection:
                given.extend(twins.claim(connection, wants(filled), 9).given)

        with ExitStack() as drawing:
            connection = drawing.enter_context(store.writing())
            lock_items(connection, [heir])
            assert certificates.still_unseen(connection, [heir]) == [heir]

            def draw():
                certificates.draw(connection, filled.present(), {heir: 0.5})
                drawing.close()

            while_it_waits(store, claim, draw)
        assert given == [], "it was found before the check was drawn, and looked at again after"

    def test_what_is_answered_blind_is_inherited_once_that_is_settled(self, store, filled):
        (check,) = filled.judged(1, "auto", spot_check="sample")
        (heir,) = filled.judged(1, "auto")
        keep(store, filled.project, {heir: check})
        answer(store, check)
        with store.writing() as connection:
            assert twins.heirs(connection, filled.project, 9) == [], "a second person may still be asked about its twin"
            connection.execute(spot_check.update().values(state="wrong"))
            assert [one.item_id for one in twins.heirs(connection, filled.project, 9)] == [heir]

    def test_what_shows_something_else_inherits_nothing_of_what_it_was_like(self, store, filled):
        root, before, after, copy = filled.judged(4, "outlier")
        keep(store, filled.project, {before: root, after: root, copy: before}, others=[root])
        answer(store, root)
        with store.writing() as connection:
            change_media(connection, filled.present(), before, "http://host/another.png")
            assert [one.item_id for one in twins.heirs(connection, filled.project, 9)] == [after]
            assert [placed.item_id for placed, _ in twins.uncompared(connection, filled.project, 9)] == [before, copy]
            twins.claim(connection, wants(filled), 9)
            change_media(connection, filled.present(), after, "http://host/another.png")
            assert twins.set_inherited(connection, [after]) == set(), "it is to be taken back"
            claimed = twins.claim(connection, wants(filled), 9)
            assert (claimed.given, claimed.taken) == ((), {after: str(after)})
            twins.set_undone(connection, claimed.taken)
            assert twins.twin_counts(connection, filled.project) == {}
            assert not twins.anything_to_do(connection, wants(filled))

    def test_groups_that_a_near_duplicate_joins_count_as_one(self, store, filled):
        (first,), (second,) = (filled.judge(filled.add(1, group=name), "outlier") for name in ("patient 7", "patient 8"))
        (plain,), (third,) = filled.judged(1, "outlier"), filled.judge(filled.add(1, group="patient 9"), "outlier")
        (alone,) = filled.judge(filled.add(1, group="patient 10"), "outlier")
        keep(store, filled.project, {second: first, third: plain})
        with store.reading() as connection:
            every = connection.execute(select(dataset.c.id).where(dataset.c.kind == "all")).scalar_one()
            scored = columns.of_dataset(connection, every, filled.project.reference_id, ["cat"])
        groups = dict(zip(scored.ids.tolist(), scored.groups, strict=True))
        assert groups[first] == groups[second]
        assert groups[plain] == groups[third]
        assert len({groups[first], groups[plain], groups[alone]}) == 3

    def test_near_duplicates_count_once_as_a_group_with_what_they_repeat(self, store, filled):
        first, second, third, alone = filled.judged(4, "outlier")
        (patient,) = filled.judge(filled.add(1, group="patient 7"), "outlier")
        (copy,) = filled.judged(1, "outlier")
        keep(store, filled.project, {second: first, third: first, copy: patient})
        with store.reading() as connection:
            every = connection.execute(select(dataset.c.id).where(dataset.c.kind == "all")).scalar_one()
            scored = columns.of_dataset(connection, every, filled.project.reference_id, ["cat"])
        groups = dict(zip(scored.ids.tolist(), scored.groups, strict=True))
        assert groups[first] == groups[second] == groups[third] != groups[alone]
        assert groups[patient] == groups[copy] != groups[alone]

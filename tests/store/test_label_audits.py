"""Label audits: what is looked through, and that decisions outlive the next audit."""

from __future__ import annotations

import pytest
from sqlalchemy import event

from annotriage.errors import UnknownError
from annotriage.states import FindingState, IssueKind
from annotriage.store.label_audits import Finding, answered_items, audit_of, findings_of, keep_audit, keep_label
from annotriage.store.reviews import Answer, set_answers


def doubt(item_id, place=0, given=("cat",)):
    return Finding(item_id, str(item_id), place, IssueKind.WRONG, given, ("dog",), 0.9, "looks like dog", True, FindingState.OPEN)


def answer(store, ids, label="cat", **values):
    with store.writing() as connection:
        set_answers(connection, {id: Answer("resolved", (label,), at=float(place), **values) for place, id in enumerate(ids)})


class TestLabelAudits:
    def test_answers_of_people_are_looked_through_the_latest_first_and_spot_checks_are_not(self, store, filled):
        ids = filled.judged(3)
        machine, unanswered, check = filled.judged(1)[0], filled.judged(1)[0], filled.judged(1, spot_check="sample")[0]
        answer(store, [*ids, check])
        answer(store, [machine], machine=True)
        with store.reading() as connection:
            found = answered_items(connection, filled.project.id, 2)
            everything = {row.id for row in answered_items(connection, filled.project.id, 99)}
        assert [(row.id, row.given, row.media) for row in found] == [(id, ("cat",), f"http://host/{id}.png") for id in (ids[2], ids[1])]
        assert everything.isdisjoint({machine, unanswered, check})

    def test_findings_come_in_their_order_and_a_new_audit_replaces_the_open_ones(self, store, filled):
        ids = filled.judged(3)
        answer(store, ids)
        with store.writing() as connection:
            assert audit_of(connection, filled.project) is None
            keep_audit(connection, filled.project.id, {"items": 3}, [doubt(ids[1], 0), doubt(ids[0], 1)])
            assert [found.item_id for found in findings_of(connection, filled.project.id)] == [ids[1], ids[0]]
            keep_audit(connection, filled.project.id, {"items": 4}, [doubt(ids[2])])
            assert [found.item_id for found in findings_of(connection, filled.project.id)] == [ids[2]]
            assert audit_of(connection, filled.project).facts == {"items": 4}

    def test_a_page_reads_the_findings_once_however_often_they_are_asked_for(self, store, filled):
        ids = filled.judged(2)
        answer(store, ids)
        with store.writing() as connection:
            keep_audit(connection, filled.project.id, {"items": 2}, [doubt(ids[0])])
        asked = []
        event.listen(store.engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
        with store.reading() as connection:
            first, second = (findings_of(connection, filled.project.id) for _ in range(2))
        assert [(found.given, found.likely, found.now) for found in first] == [(("cat",), ("dog",), ("cat",))]
        assert second == first
        assert sum("FROM finding" in statement for statement in asked) == 1

    def test_decisions_outlive_the_next_audit(self, store, filled):
        kept, corrected, still = filled.judged(3)
        answer(store, [kept, corrected, still])
        with store.writing() as connection:
            keep_audit(connection, filled.project.id, {}, [doubt(id, place) for place, id in enumerate((kept, corrected, still))])
            keep_label(connection, filled.project, kept, "boss")
        answer(store, [corrected], "dog")
        with store.writing() as connection:
            keep_audit(connection, filled.project.id, {}, [doubt(kept), doubt(corrected, given=("dog",))])
            states = {found.item_id: (found.state, found.decided_by) for found in findings_of(connection, filled.project.id)}
        assert states == {kept: (FindingState.RIGHT, "boss"), corrected: (FindingState.CORRECTED, None)}

    def test_what_is_not_in_doubt_cannot_be_decided(self, store, filled):
        (id,) = filled.judged(1)
        with store.writing() as connection, pytest.raises(UnknownError, match="not in doubt any more"):
            keep_label(connection, filled.project, id, "boss")

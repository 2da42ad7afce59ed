"""Where labels come from: people, accepted and suggested ones, under the reference that was in force, and nothing of open checks."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from annotriage.labeling_tool import Review
from annotriage.states import EventKind
from annotriage.store import events
from annotriage.store.provenance import labels_page
from annotriage.store.reviews import Answer, keep_reviews, set_answers
from annotriage.store.schema import acceptance, accepted, event, item, spot_check


def labels(filled, **options):
    with filled.store.reading() as connection:
        return {int(label.task): label for label in labels_page(connection, filled.present(), limit=100, **options).labels}


def answer(filled, id, *given, state="resolved", labels=None, machine=False, at=1e9):
    """given: (annotator, label) of each review."""
    with filled.store.writing() as connection:
        made = [Review(f"{id}-{number}", by, (label,), updated_at=at, machine=machine) for number, (by, label) in enumerate(given)]
        keep_reviews(connection, filled.project.id, {id: made})
        set_answers(connection, {id: Answer(state, labels, machine, at)})


class TestProvenance:
    def test_a_suggestion_is_the_models_under_its_guarantee(self, filled):
        (automatic,), (unsure,), (strange,) = filled.judged(1), filled.judged(1, "uncertain"), filled.judged(1, "outlier")
        (waits,) = filled.add(1)
        found = labels(filled)
        auto = found[automatic]
        assert (auto.source, auto.label, auto.by, auto.route) == ("model", ("cat",), (), "auto")
        assert (auto.guaranteed, auto.max_error, auto.guarantee_confidence) == (True, 0.02, 0.95)
        assert (auto.reference, auto.reference_version) == ("pets", "v1")
        for id in (unsure, strange, waits):
            assert (found[id].source, found[id].label, found[id].guaranteed) == ("nobody", None, False)
        assert (found[unsure].model_label, found[waits].model_label) == (("cat",), None)
        assert found[waits].route is None

    def test_a_persons_label_names_those_who_said_so(self, filled):
        first, disputed = filled.judged(2)
        answer(filled, first, ("ann", "dog"), ("bob", "dog"), ("eve", "cat"), labels=("dog",))
        answer(filled, disputed, ("ann", "dog"), ("bob", "cat"), state="disputed")
        found = labels(filled)
        assert (found[first].source, found[first].label, found[first].by, found[first].answers) == ("person", ("dog",), ("ann", "bob"), 3)
        assert (found[first].at, found[first].guaranteed, found[first].model_label) == (1e9, False, ("cat",))
        assert (found[disputed].source, found[disputed].label, found[disputed].answer) == ("nobody", None, "disputed")

    def test_an_accepted_label_names_its_batch_and_the_reference_it_was_accepted_under(self, filled):
        first, second = filled.judged(2)
        filled.judge([first], reference_id=filled.references[1], labels=("dog",))
        with filled.store.writing() as connection:
            for batch, id, undone in ((1, first, None), (2, second, 5.0)):
                row = {"id": batch, "project_id": filled.project.id, "reference_id": filled.references[2 - batch], "at": 4.0}
                connection.execute(acceptance.insert().values(**row, undone_at=undone))
                connection.execute(accepted.insert().values(item_id=id, acceptance_id=batch, state="made"))
        answer(filled, first, ("service", "dog"), labels=("dog",), machine=True)
        found = labels(filled)
        assert (found[first].source, found[first].by, found[first].batch, found[first].reference_version) == (
            "machine", ("service",), 1, "v2",
        )  # fmt: skip
        assert found[first].guaranteed
        assert (found[second].source, found[second].batch) == ("model", None)

    def test_what_was_guaranteed_is_that_of_the_reference_in_force_when_it_was_answered(self, filled):
        before, after = filled.judged(2)
        filled.judge([before, after], reference_id=filled.references[1], labels=("dog",))
        with filled.store.writing() as connection:
            told = [("annotriage pets v1", 100.0), ("annotriage pets v2", 200.0), ("annotriage pets v2", 300.0)]
            for kind, (version, at) in zip((EventKind.CONNECTED, EventKind.CONNECTED, EventKind.SWITCHED), told, strict=True):
                events.note(connection, filled.project.id, kind, version=version)
                connection.execute(update(event).where(event.c.at > 1e6).values(at=at))
        answer(filled, before, ("ann", "cat"), labels=("cat",), at=250.0)
        answer(filled, after, ("ann", "cat"), labels=("cat",), at=350.0)
        found = labels(filled)
        assert (found[before].reference_version, found[before].model_label) == ("v1", ("cat",))
        assert (found[after].reference_version, found[after].model_label) == ("v2", ("dog",))

    @pytest.mark.parametrize(("state", "hidden"), [("open", True), ("disagreed", True), ("right", False), ("wrong", False)])
    def test_an_open_spot_check_tells_nothing_of_the_model(self, filled, state, hidden):
        filled.judged(1, "auto", spot_check="audit")
        with filled.store.writing() as connection:
            connection.execute(update(spot_check).values(state=state))
        (found,) = labels(filled).values()
        assert (found.spot_check, found.check_state) == (None if hidden else "audit", state), "an audit is of what is automatic"
        seen = (found.model_label, found.confidence, found.label, found.judged_at)
        assert (seen == (None,) * 4) is hidden
        assert found.route == ("spot check" if hidden else "auto"), "as pages and lists say"

    def test_pages_go_on_behind_the_last_one_and_leave_out_what_is_gone(self, filled):
        ids = filled.judged(5)
        with filled.store.writing() as connection:
            connection.execute(update(item).where(item.c.id == ids[1]).values(gone=True))
        seen, after = [], None
        while True:
            with filled.store.reading() as connection:
                page = labels_page(connection, filled.present(), after=after, limit=2)
            seen += [label.task for label in page.labels]
            after = page.next
            if after is None:
                break
        assert seen == ["1", "3", "4", "5"]

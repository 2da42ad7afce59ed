"""Previews of other limits, on real digits: they count what a calibration with these limits would decide."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache

import databases
import numpy as np
import pytest
from stores import FACTS
from triaged import import_tasks

from annotriage import triage
from annotriage.engine.fitting import fit
from annotriage.engine.reference import Reference
from annotriage.engine.verdict import Verdict
from annotriage.engine.what_if import WhatIf, what_if
from annotriage.errors import SettingError, StateError
from annotriage.labeling_tool import Task
from annotriage.service.operations.references import keep_reference
from annotriage.store import items
from annotriage.store.datasets import routes_of
from annotriage.store.previews import limits_of, preview
from annotriage.store.projects import change_project, get_project
from annotriage.store.references import save_reference
from annotriage.store.verdicts import Judgement, record


@pytest.fixture
def triaged(scene, mixed):
    """All incoming digits and strangers, judged."""

    def begin(scene):
        triaged, tool = scene.connect(sample_share=0.0, audit_share=0.0)
        import_tasks(scene.process, triaged, tool, mixed[0])
        scene.worker.settle()
        return triaged

    return scene((), begin)


def previewed(process, triaged, **limits):
    with process.store.reading() as connection:
        return preview(connection, triaged, **limits)


def routes(found):
    return Counter({name: getattr(found, name) for name in ("auto", "uncertain", "outlier", "failed") if getattr(found, name)})


@databases.both
def test_under_the_present_limits_it_counts_the_present_routes(process, triaged):
    found = previewed(process, triaged)
    with process.store.reading() as connection:
        assert routes(found) == Counter({line.route: line.items for line in routes_of(connection, triaged)})
    assert found.total == found.auto + found.waiting


@pytest.fixture(scope="module")
def decided(digits, digits_model, mixed, quick):
    """How many items a fit with other limits decides in which way."""

    @cache
    def decided(**limits):
        fitted = fit(digits_model, digits.train, digits.held_out, settings=replace(quick, **limits), name="other")
        return Counter(verdict.route for verdict in triage(fitted, (mixed[0], np.array([""] * len(mixed[0])))).verdicts)

    return decided


@databases.both
@pytest.mark.parametrize("limits", [{"alpha": 0.1}, {"max_error": 0.1}, {"alpha": 0.02, "max_error": 0.05, "confidence": 0.8}])
def test_under_other_limits_it_counts_what_a_fit_with_them_decides(process, triaged, decided, limits):
    assert routes(previewed(process, triaged, **limits)) == decided(**limits)


@databases.both
def test_classes_that_never_are_automatic_stay_so_and_each_class_may_have_its_own_limit(
    process, connect, worker, digits, digits_model, mixed, quick
):
    settings = replace(quick, never_auto=("3",), max_error_per="class", max_error=0.1)
    reference = fit(digits_model, digits.train, digits.held_out, settings=settings, name="each")
    triaged, tool = connect("7", reference, sample_share=0.0, audit_share=0.0)
    import_tasks(process, triaged, tool, mixed[0])
    worker.settle()
    found = previewed(process, triaged)
    with process.store.reading() as connection:
        assert routes(found) == Counter({line.route: line.items for line in routes_of(connection, triaged)})
    assert found.auto > 0


@databases.both
def test_items_that_are_gone_are_not_counted(process, triaged):
    before = previewed(process, triaged)
    with process.store.writing() as connection:
        items.mark_gone(connection, [1, 2, 3])
    assert previewed(process, triaged).total == before.total - 3


@databases.both
def test_a_limit_between_two_of_the_grid_counts_with_the_stricter_one(process, triaged):
    found = previewed(process, triaged, max_error=0.09, alpha=0.09, confidence=0.93)
    assert (found.max_error, found.alpha, found.confidence) == (0.08, 0.1, 0.95)
    with process.store.reading() as connection:
        now = limits_of(connection, triaged).now
    assert now == (0.05, 0.04, 0.95)


@databases.both
def test_a_limit_stricter_than_all_is_refused_with_what_there_is(process, triaged):
    with pytest.raises(SettingError, match=r"max_error = 0\.0001: previews go from 0\.005 to 0\.1"):
        previewed(process, triaged, max_error=0.0001)


@databases.both
def test_without_labelled_held_out_items_there_is_nothing_to_preview(process, connect, digits, digits_model, quick):
    triaged, _ = connect("8", fit(digits_model, digits.train, settings=quick, name="bare"))
    with pytest.raises(StateError, match="no labelled held-out items"):
        previewed(process, triaged)
    with process.store.reading() as connection:
        assert limits_of(connection, triaged) is None


@databases.both
def test_a_stricter_limit_never_makes_more_automatic(process, triaged):
    counts = [previewed(process, triaged, max_error=limit).auto for limit in (0.005, 0.02, 0.05, 0.1)]
    assert counts == sorted(counts)


@databases.both
def test_the_answers_survive_saving(process, digits_reference, tmp_path):
    digits_reference.save(tmp_path / "reference")
    loaded = Reference.load(tmp_path / "reference")
    assert what_if(loaded) == what_if(digits_reference) != []
    assert keep_reference(process.store, loaded)


def of_grid(alpha, threshold, **taus_of_limits):
    """What the held-out items say of one alpha: the sureness from which on cats and dogs are automatic, by max_error in percent."""
    limits = tuple({"max_error": int(name[1:]) / 100, "confidence": 0.95, "taus": taus} for name, taus in taus_of_limits.items())
    return WhatIf(alpha, threshold, ("cat", "dog"), "dog", limits)


class TestPreviewsOfAGrid:
    """Items with sureness 0.5, 1.0 and 1.5 of each class; one that is strange and one that failed."""

    @pytest.fixture
    def previewed(self, store, project):
        grid = (
            of_grid(0.05, 2.0, p1={"cat": 1.4}, p2={"cat": 0.9, "dog": 1.4}, p5={"cat": 0.4, "dog": 0.4}),
            of_grid(0.1, 0.5, p1={}, p2={"dog": 1.4}, p5={"dog": 0.4}),
        )
        facts = FACTS | {"settings": {"alpha": 0.05, "max_error": 0.02, "confidence": 0.95}}
        with store.writing() as connection:
            reference = save_reference(
                connection, version="v3", name="pets", prediction_version="annotriage pets v3", facts=facts, files={}, grid=grid
            )
            change_project(connection, project.id, reference_id=reference)
            project = get_project(connection, project.id)
            given = [("auto", label, sureness, score) for label, score in (("cat", 1.0), ("newt", 0.0)) for sureness in (0.5, 1.0, 1.5)]
            given += [("outlier", "cat", 1.9, 9.0), ("failed", "", None, None)]
            items.add_tasks(connection, project, [Task(str(number), "") for number in range(1, len(given) + 1)])
            for id, (route, label, sureness, score) in enumerate(given, start=1):
                verdict = Verdict(
                    "", "", (label,) if label else (), 0.9, label or None, sureness=sureness, score=score, trust=0.5, route=route
                )
                record(connection, project, reference, [Judgement(id, verdict, route, None, 0.5, None, b"", b"")])

        def previewed(**limits):
            with store.reading() as connection:
                found = preview(connection, project, **limits)
            return found.auto, found.uncertain, found.outlier, found.failed

        previewed.project = project
        return previewed

    def test_each_class_has_its_limit_and_classes_that_nobody_named_that_of_the_rest(self, previewed):
        assert previewed() == (3, 3, 1, 1)
        assert previewed(max_error=0.01) == (1, 5, 1, 1)
        assert previewed(max_error=0.05) == (6, 0, 1, 1)

    def test_another_alpha_calls_others_strange(self, previewed):
        assert previewed(alpha=0.1) == (1, 2, 4, 1)
        assert previewed(alpha=0.1, max_error=0.01) == (0, 3, 4, 1)

    def test_a_limit_in_between_counts_with_the_stricter_one(self, previewed):
        assert previewed(max_error=0.04) == previewed()
        with pytest.raises(SettingError, match="previews go from"):
            previewed(max_error=0.001)

    def test_what_is_gone_is_not_counted(self, store, previewed):
        with store.writing() as connection:
            items.mark_gone(connection, [1, 3, 7])
        assert previewed() == (2, 2, 0, 1)

    def test_the_limits_that_can_be_asked_for_are_those_of_the_grid(self, store, project, previewed):
        with store.reading() as connection:
            found = limits_of(connection, previewed.project)
            assert limits_of(connection, project) is None
            with pytest.raises(StateError, match="no labelled held-out items"):
                preview(connection, project)
        assert (found.alphas, found.max_errors, found.confidences) == ((0.05, 0.1), (0.01, 0.02, 0.05), (0.95,))
        assert found.now == (0.05, 0.02, 0.95)

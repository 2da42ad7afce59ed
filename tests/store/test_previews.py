"""Previews of other limits, on real digits: they count what a calibration with these limits would decide."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import databases
import numpy as np
import pytest
from triaged import import_tasks

from annotriage import triage
from annotriage.engine.fitting import fit
from annotriage.engine.reference import Reference
from annotriage.engine.what_if import what_if
from annotriage.errors import SettingError, StateError
from annotriage.service.operations.references import keep_reference
from annotriage.store import items
from annotriage.store.browsing import routes_of
from annotriage.store.previews import limits_of, preview

pytestmark = databases.both


@pytest.fixture
def project(process, connect, worker, mixed):
    """All incoming digits and strangers, judged."""
    project, tool = connect(sample_share=0.0, audit_share=0.0)
    import_tasks(process, project, tool, mixed[0])
    worker.settle()
    return project


def previewed(process, project, **limits):
    with process.store.reading() as connection:
        return preview(connection, project, **limits)


def routes(found):
    return Counter({name: getattr(found, name) for name in ("auto", "uncertain", "outlier", "failed") if getattr(found, name)})


def test_under_the_present_limits_it_counts_the_present_routes(process, project):
    found = previewed(process, project)
    with process.store.reading() as connection:
        assert routes(found) == Counter({one.route: one.items for one in routes_of(connection, project)})
    assert found.total == found.auto + found.waiting


@pytest.mark.parametrize("limits", [{"alpha": 0.1}, {"max_error": 0.1}, {"alpha": 0.02, "max_error": 0.05, "confidence": 0.8}])
def test_under_other_limits_it_counts_what_a_fit_with_them_decides(process, project, digits, digits_model, mixed, quick, limits):
    fitted = fit(digits_model, digits.train, digits.held_out, settings=replace(quick, **limits), name="other")
    decided = Counter(one.route for one in triage(fitted, (mixed[0], np.array([""] * len(mixed[0])))).verdicts)
    assert routes(previewed(process, project, **limits)) == decided


def test_classes_that_never_are_automatic_stay_so_and_each_class_may_have_its_own_limit(
    process, connect, worker, digits, digits_model, mixed, quick
):
    settings = replace(quick, never_auto=("3",), max_error_per="class", max_error=0.1)
    reference = fit(digits_model, digits.train, digits.held_out, settings=settings, name="each")
    project, tool = connect("7", reference, sample_share=0.0, audit_share=0.0)
    import_tasks(process, project, tool, mixed[0])
    worker.settle()
    found = previewed(process, project)
    with process.store.reading() as connection:
        assert routes(found) == Counter({one.route: one.items for one in routes_of(connection, project)})
    assert found.auto > 0


def test_items_that_are_gone_are_not_counted(process, project):
    before = previewed(process, project)
    with process.store.writing() as connection:
        items.mark_gone(connection, [1, 2, 3])
    assert previewed(process, project).total == before.total - 3


def test_a_limit_between_two_of_the_grid_counts_with_the_stricter_one(process, project):
    found = previewed(process, project, max_error=0.09, alpha=0.09, confidence=0.93)
    assert (found.max_error, found.alpha, found.confidence) == (0.08, 0.1, 0.95)
    with process.store.reading() as connection:
        now = limits_of(connection, project).now
    assert now == (0.05, 0.04, 0.95)


def test_a_limit_stricter_than_all_is_refused_with_what_there_is(process, project):
    with pytest.raises(SettingError, match=r"max_error = 0\.0001: previews go from 0\.005 to 0\.1"):
        previewed(process, project, max_error=0.0001)


def test_without_labelled_held_out_items_there_is_nothing_to_preview(process, connect, digits, digits_model, quick):
    project, _ = connect("8", fit(digits_model, digits.train, settings=quick, name="bare"))
    with pytest.raises(StateError, match="no labelled held-out items"):
        previewed(process, project)
    with process.store.reading() as connection:
        assert limits_of(connection, project) is None


def test_a_stricter_limit_never_makes_more_automatic(process, project):
    counts = [previewed(process, project, max_error=limit).auto for limit in (0.005, 0.02, 0.05, 0.1)]
    assert counts == sorted(counts)


def test_the_answers_survive_saving(process, digits_reference, tmp_path):
    digits_reference.save(tmp_path / "reference")
    loaded = Reference.load(tmp_path / "reference")
    assert what_if(loaded) == what_if(digits_reference) != []
    assert keep_reference(process.store, loaded)

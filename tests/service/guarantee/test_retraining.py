"""Retraining from a project: people's answers are learned, spot checks never, and the random sample judges."""

from __future__ import annotations

import numpy as np
import pytest

from annotriage.errors import StateError
from annotriage.service.guarantee.retraining import retrain_project
from annotriage.store.schema import spot_check


@pytest.fixture
def answered(process, connect, worker, digits, picture):
    """A project into which digits came, 8s and 9s among them, all answered by people; and which tasks are spot checks."""
    project, tool = connect(sample_share=0.5, audit_share=0.0)
    images, labels = (np.concatenate(part) for part in zip(digits.incoming, digits.strangers, strict=True))
    rows = np.random.default_rng(0).permutation(len(images))[:240]
    truth = {tool.add(picture(images[row])).id: labels[row] for row in rows}
    worker.settle()
    for number, label in truth.items():
        tool.annotate(number, label)
    worker.follow()
    with process.store.reading() as connection:
        drawn = {str(row.item_id) for row in connection.execute(spot_check.select())}
    return project, drawn, truth


def test_answers_are_learned_and_spot_checks_are_not(process, answered, digits, tmp_path):
    project, drawn, truth = answered
    made = retrain_project(process, project, digits.train, tmp_path / "better")
    learned = set(made.examples.collected.ids[len(digits.train[0]) :])
    assert made.new_classes == ("8", "9")
    assert 0 < len(learned) <= len(truth) - len(drawn)
    assert not learned & drawn
    assert made.comparison.new.n > 50
    assert made.comparison.new.accuracy > made.comparison.old.accuracy
    assert (tmp_path / "better" / "reference" / "reference.json").exists()


def test_a_project_without_answers_says_what_to_do(process, connect, digits, tmp_path):
    project, _ = connect()
    with pytest.raises(StateError, match="Manual review"):
        retrain_project(process, project, digits.train, tmp_path / "better")
    assert not (tmp_path / "better").exists()

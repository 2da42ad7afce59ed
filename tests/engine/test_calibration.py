"""Calibration with items that people call none of the model's classes."""

import numpy as np
import pytest

from annotriage.data import Dataset, Item
from annotriage.engine.calibration import calibrate
from annotriage.engine.collecting import collect
from annotriage.engine.labels import FOREIGN
from annotriage.errors import FitError
from annotriage.progress import silent


def test_strangers_among_the_held_out_items_count_against_the_guarantee_alone(digits, digits_reference, quick):
    space = digits_reference.space
    images, labels = (
        np.concatenate(pair) for pair in zip(digits.held_out, (digits.strangers[0][:40], digits.strangers[1][:40]), strict=True)
    )
    items = [Item(str(number), image, (label,)) for number, (image, label) in enumerate(zip(images, labels, strict=True))]
    model = digits_reference.open_model()
    found = collect(model, Dataset("sample", len(items), lambda: iter(items)), space, quick, silent, "items", space.known_or_foreign)
    assert found.labels.count(FOREIGN) == 40
    reference = calibrate(digits_reference, found)
    assert reference.held_out.scores.tolist() == digits_reference.held_out.scores.tolist()
    assert reference.threshold == digits_reference.threshold
    assert reference.held_out.correct == digits_reference.held_out.correct
    assert reference.guarantee.labelled == digits_reference.guarantee.labelled + 40
    assert reference.guarantee.tau >= digits_reference.guarantee.tau
    assert sum(row.n for row in reference.guarantee.classes if row.side == "true") <= reference.guarantee.n


def test_held_out_items_that_are_all_foreign_calibrate_nothing(digits, digits_reference, quick):
    items = [Item(str(number), image, ("8",)) for number, image in enumerate(digits.strangers[0][:5])]
    space, model = digits_reference.space, digits_reference.open_model()
    found = collect(model, Dataset("sample", 5, lambda: iter(items)), space, quick, silent, "items", space.known_or_foreign)
    with pytest.raises(FitError, match="sample: people call all 5 held-out items none of the model's classes"):
        calibrate(digits_reference, found)

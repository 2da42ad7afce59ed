"""Calibration with items that people call none of the model's classes."""

import numpy as np
import pytest

from annotriage import Reference, fit, triage
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


def passing(reference, strangers, known):
    """The share of strangers that are as sure as four in five known items are."""

    def sureness(images):
        return np.array([-1 if verdict.route == "outlier" else verdict.sureness for verdict in triage(reference, (images, None)).verdicts])

    return np.mean(sureness(strangers) >= np.quantile(sureness(known), 0.2))


def test_strangers_that_come_in_numbers_are_less_sure_once_they_are_compared(
    digits_model, digits, digits_reference, mixed, quick, tmp_path
):
    reference = fit(digits_model, digits.train, digits.held_out, incoming=mixed, settings=quick, name="digits")
    assert reference.ratio.incoming == len(mixed[0])
    assert reference.ratio.held_out + reference.guarantee.labelled == len(digits.held_out[0])
    assert reference.threshold == digits_reference.threshold
    assert reference.held_out.labelled == digits_reference.held_out.labelled
    assert any(note.startswith(f"{reference.ratio.held_out:,} held-out items were compared with") for note in reference.notes)
    before, after = (passing(each, digits.strangers[0], digits.incoming[0]) for each in (digits_reference, reference))
    assert after < 0.7 * before
    unsure = [verdict for verdict in triage(reference, mixed).verdicts if verdict.route == "uncertain"]
    assert len({verdict.trust for verdict in unsure}) == len({verdict.sureness for verdict in unsure}), (
        "the least sure ones have places, too"
    )
    reference.save(tmp_path / "reference")
    assert Reference.load(tmp_path / "reference").version == reference.version


def test_incoming_items_are_left_alone_where_too_few_held_out_ones_would_remain(digits_model, digits, mixed, quick):
    few = tuple(part[:120] for part in digits.held_out)
    reference = fit(digits_model, digits.train, few, incoming=mixed, settings=quick)
    assert reference.ratio is None
    assert reference.guarantee.labelled == 120
    (note,) = (note for note in reference.notes if note.startswith("Incoming items were not compared"))
    assert "needs 76. Give 152 labelled ones or more" in note


def test_a_new_calibration_forgets_what_came_in_before(digits_model, digits, mixed, quick):
    reference = fit(digits_model, digits.train, digits.held_out, incoming=mixed, settings=quick)
    space, model = reference.space, reference.open_model()
    items = [Item(str(number), image, (label,)) for number, (image, label) in enumerate(zip(*digits.held_out, strict=True))]
    found = collect(model, Dataset("held out", len(items), lambda: iter(items)), space, quick, silent, "items", space.known_or_foreign)
    anew = calibrate(reference, found, previous=reference.held_out)
    assert anew.ratio is None
    assert anew.guarantee.labelled == len(items)

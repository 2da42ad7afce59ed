"""Fitting: what is learnt, what is guaranteed, what is refused and how it is said."""

import re
from dataclasses import replace

import numpy as np
import pytest
from convolutional_digits import write_convolutional_digits

from annotriage import Plan, audit_labels, sample, train, triage
from annotriage.data import Item
from annotriage.engine import kept_rows
from annotriage.engine.fitting import fit
from annotriage.errors import DataError, FitError, MismatchError, ModelError, SettingError
from annotriage.model.spec import ModelSpec


@pytest.fixture
def fitted(digits_model, digits, quick):
    """Fit on the digits; what is not given is as usual."""

    def fitted(train=None, held_out=None, *, previous=None, **changed):
        given = (digits.train if train is None else train, digits.held_out if held_out is None else held_out)
        return fit(digits_model, *given, settings=replace(quick, **changed), previous=previous and previous.held_out)

    return fitted


@pytest.fixture
def items(digits):
    """Rows of a part of the digits as items, with whatever else is known about them."""

    def items(part, rows, **known):
        images, labels = getattr(digits, part)
        fields = {name: [value(row) for row in rows] for name, value in known.items()}
        return [
            Item(f"{part} {row}", images[row], (labels[row],), path=f"{part}/{row}.png", **{name: fields[name][place] for name in fields})
            for place, row in enumerate(rows)
        ]

    return items


def labels_of(images, name):
    return images, np.full(len(images), name)


# what is learnt


def test_the_same_seed_gives_the_same_reference(fitted, digits_reference):
    assert fitted().version == replace(digits_reference, name="array", version="").content_hash()
    assert fitted(seed=1).version != fitted().version


def test_activations_that_do_not_fit_into_memory_give_the_same_reference(fitted, digits_reference, digits, monkeypatch):
    for name, small in (("IN_MEMORY", 5_000), ("GATHERED", 7), ("BLOCK", 100)):
        monkeypatch.setattr(kept_rows, name, small)
    wanted = replace(digits_reference, name="array", version="").content_hash()
    assert fitted().version == wanted
    images, labels = digits.train
    some = fitted((np.concatenate([images, images[:50]]), np.concatenate([labels, np.full(50, "")])))
    assert some.notes[0] == f"50 of {len(images) + 50} training items carry no label and were left out."
    assert np.array_equal(some.detector.training, digits_reference.detector.training)


def test_a_class_of_one_item_has_a_cluster_of_its_own(fitted, digits):
    images, labels = digits.train
    rows = np.concatenate([np.flatnonzero(labels != "5"), np.flatnonzero(labels == "5")[:1]])
    reference = fitted((images[rows], labels[rows]))
    assert dict(zip(reference.detector.clusters.names, reference.detector.clusters.counts.tolist(), strict=True))["5"] == 1
    assert any(note.endswith("little is known about what is usual: 5 (1).") for note in reference.notes)
    assert all(np.isfinite(verdict.score) for verdict in triage(reference, digits.strangers).verdicts)


def test_a_class_without_training_items_has_no_cluster(fitted, digits):
    images, labels = digits.train
    reference = fitted((images[labels != "5"], labels[labels != "5"]))
    assert reference.detector.clusters.names == tuple("0123467")
    assert any(note.startswith("No training items of 5:") for note in reference.notes)


def test_a_class_never_seen_in_calibration_goes_to_a_person(fitted, digits):
    images, labels = digits.held_out
    kept = labels != "5"
    reference = fitted(held_out=(images[kept], labels[kept]))
    assert reference.guarantee.auto
    untested = [verdict for verdict in triage(reference, digits.incoming).verdicts if verdict.labels == ("5",)]
    assert {verdict.route for verdict in untested} <= {"uncertain", "outlier"}
    assert any(verdict.reason.endswith("because no automatic label of 5 was tested.") for verdict in untested)


def test_a_model_whose_classes_are_in_the_wrong_order_is_noticed(fitted, digits):
    images, labels = digits.train
    reference = fitted((images, np.array([str(7 - int(label)) for label in labels])))
    assert any("right on only" in note and "check the order of the classes" in note for note in reference.notes)


@pytest.mark.parametrize("count", [3, 12])
def test_fewer_items_than_dimensions_can_be_fitted(fitted, digits, count):
    images, labels = digits.train
    reference = fitted((images[:count], labels[:count]))
    assert all(np.isfinite(verdict.score) for verdict in triage(reference, digits.strangers).verdicts)


def test_identical_training_items_can_be_fitted(fitted, digits):
    images, _ = digits.train
    reference = fitted((np.repeat(images[:1], 40, axis=0), np.array(["0", "1"] * 20)))
    assert all(np.isfinite(verdict.score) for verdict in triage(reference, digits.strangers).verdicts)


def test_unlabelled_training_items_are_left_out_and_counted(fitted, digits):
    images, labels = digits.train
    some = np.where(np.arange(len(labels)) < 40, "", labels)
    reference = fitted((images, some))
    assert reference.counts["training"] == len(images) - 40
    assert "40 of 640 training items carry no label and were left out." in reference.notes


def test_unreadable_training_items_are_left_out_named_and_counted(fitted, items):
    broken = Item("broken", b"no image", ("1",), path="train/broken.png")
    reference = fitted([*items("train", range(100)), broken])
    assert (reference.counts["training_read"], reference.counts["training"]) == (101, 100)
    assert any("1 of 101 training items could not be used" in note and "train/broken.png" in note for note in reference.notes)


# what is guaranteed


def test_enough_held_out_items_carry_a_guarantee(digits_reference):
    assert digits_reference.calibrated
    assert digits_reference.guarantee.auto
    assert digits_reference.guarantee.bound <= 0.04
    assert digits_reference.held_out.labelled == 480


def test_without_held_out_items_nothing_is_guaranteed(digits_model, digits, quick):
    reference = fit(digits_model, digits.train, settings=quick)
    verdicts = list(triage(reference, digits.incoming).verdicts)
    assert not reference.calibrated
    assert not reference.guarantee.auto
    assert {verdict.p_value for verdict in verdicts} == {None}
    assert "auto" not in {verdict.route for verdict in verdicts}
    assert any("No held-out items were given" in note and "--calibration" in note for note in reference.notes)


@pytest.mark.parametrize(("count", "calibrated"), [(18, False), (19, True)])
def test_nineteen_held_out_items_are_the_fewest_that_calibrate_five_percent(fitted, digits, count, calibrated):
    images, labels = digits.held_out
    reference = fitted(held_out=(images[:count], labels[:count]))
    told = "18 held-out items are too few for alpha = 0.05: at least 19 calibrate the threshold." in reference.notes
    assert (reference.calibrated, told) == (calibrated, not calibrated)


def test_unlabelled_held_out_items_calibrate_the_outlier_score_alone(fitted, digits):
    reference = fitted(held_out=labels_of(digits.held_out[0], ""))
    assert reference.calibrated
    assert not reference.guarantee.auto
    assert any("480 held-out items carry no label" in note for note in reference.notes)


def test_of_each_group_one_held_out_item_is_used(fitted, items):
    reference = fitted(held_out=items("held_out", range(480), group=lambda row: f"patient {row // 4}"))
    assert reference.counts["held_out"] == len(reference.held_out.scores) == 120
    assert any("360 held-out items were left out" in note for note in reference.notes)


def test_asking_the_same_held_out_items_again_is_tested_more_strictly(fitted):
    first = fitted()
    second = fitted(previous=first)
    third = fitted(previous=second)
    assert [reference.guarantee.attempt for reference in (first, second, third)] == [1, 2, 3]
    confidences = [reference.guarantee.tested_confidence for reference in (first, second, third)]
    assert confidences == sorted(set(confidences))
    assert any("Attempt 2" in note for note in second.notes)


def test_fresh_held_out_items_start_anew(fitted, digits):
    (images, labels), (more, names) = digits.held_out, digits.incoming
    first = fitted(held_out=(images, labels))
    assert fitted(held_out=(more, names), previous=first).guarantee.attempt == 1


def test_held_out_items_of_an_earlier_attempt_are_recognised_across_a_fresh_one(fitted, digits):
    first = fitted()
    fresh = fitted(held_out=digits.incoming, previous=first)
    assert fitted(previous=fresh).guarantee.attempt == 2


def test_attempts_are_counted_over_the_whole_history(fitted, digits):
    second = fitted(previous=fitted())
    detour = fitted(held_out=labels_of(digits.incoming[0], ""), previous=fitted(held_out=digits.incoming, previous=second))
    assert (second.guarantee.attempt, fitted(previous=detour).guarantee.attempt) == (2, 3)


def test_another_seed_does_not_make_grouped_held_out_items_fresh(fitted, items):
    held_out = items("held_out", range(480), group=lambda row: f"patient {row // 4}")
    first = fitted(held_out=held_out)
    assert fitted(held_out=held_out, previous=first, seed=5).guarantee.attempt == 2


def test_labelling_held_out_items_that_had_no_labels_is_the_first_attempt(fitted, digits):
    unlabelled = fitted(held_out=labels_of(digits.held_out[0], ""))
    assert fitted(previous=unlabelled).guarantee.attempt == 1


def test_a_limit_for_each_class_gives_each_class_its_own_threshold(fitted):
    guarantee = fitted(max_error_per="class", max_error=0.1).guarantee
    taus = {evidence.tau for evidence in guarantee.classes if evidence.side == "predicted"}
    assert guarantee.auto
    assert len(taus) > 2


def test_classes_that_are_never_auto_always_go_to_a_person(fitted, digits):
    reference = fitted(never_auto=("3",))
    routes = {(verdict.labels == ("3",), verdict.route) for verdict in triage(reference, digits.incoming).verdicts}
    assert (True, "auto") not in routes
    assert {(False, "auto"), (True, "uncertain")} <= routes


def test_copies_that_the_model_was_trained_on_look_seen(fitted, digits):
    images, labels = digits.train
    nearly = np.where(images > 0, images - 1, images)  # other bytes, the same pictures
    reference = fitted(held_out=(nearly, labels))
    assert any("near twin in the training set" in note for note in reference.notes)


def test_really_held_out_items_do_not_look_seen(digits_reference):
    assert digits_reference.notes == ()


# what is refused


def test_held_out_items_that_are_training_items_are_refused_by_their_ids(fitted, items):
    with pytest.raises(FitError, match=r"2 held-out items are training items too \(copy [12] = train [34], copy [12] = train [34]\)") as no:
        fitted(items("train", range(50)), [replace(item, id=f"copy {n}") for n, item in enumerate(items("train", [3, 4]), 1)])
    assert "take them out of one of the two" in str(no.value)


def test_a_group_on_both_sides_is_refused_by_its_name(fitted, items):
    train = items("train", range(50), group=lambda row: f"patient {row}")
    held_out = items("held_out", range(50), group=lambda row: f"patient {row + 40}")
    with pytest.raises(FitError, match=r"group 'patient 40' is in the training set too \(and 9 more\).*split by group"):
        fitted(train, held_out)


@pytest.mark.parametrize("part", ["train", "held_out"])
def test_a_label_that_the_model_does_not_know_is_refused_with_file_label_and_classes(fitted, items, part):
    known = items(part, range(50))
    known[7] = replace(known[7], labels=("nine",))
    with pytest.raises(DataError, match=rf"{part}/7\.png: label 'nine' is none of the model's classes \(0, 1, 2, 3, 4, 5, 6, 7\)"):
        fitted(**{part: known})


def test_a_training_set_without_labels_says_how_to_give_them(fitted, digits):
    with pytest.raises(FitError, match=r"no training item has a label; .* one folder per class, or give a label column"):
        fitted(digits.train[0])


def test_an_empty_training_set_is_refused(fitted):
    with pytest.raises(DataError, match="no items; give at least one"):
        fitted([])
    with pytest.raises(FitError, match="none of the 0 items"):
        fitted(iter([]))


def test_a_training_set_of_broken_items_says_what_is_wrong_with_the_first(fitted):
    with pytest.raises(FitError, match=r"none of the 2 items of items could be used: a\.png: is empty \(0 bytes\)"):
        fitted([Item("a", b"", ("1",), path="a.png"), Item("b", b"?", ("1",), path="b.png")])


def test_two_training_items_are_too_few(fitted, digits):
    with pytest.raises(FitError, match=r"2 training items are too few .* give at least 3"):
        fitted(tuple(part[:2] for part in digits.train))


def test_a_class_that_does_not_exist_cannot_be_never_auto(fitted):
    with pytest.raises(SettingError, match="setting never_auto: 'nine' is none of the model's classes"):
        fitted(never_auto=("3", "nine"))


def test_a_score_that_does_not_exist_cannot_be_a_member(fitted):
    with pytest.raises(SettingError, match="setting members: 'best' is none of"):
        fitted(score="combined", members=("knn", "best"))


def test_two_classes_that_look_exchanged_are_named(digits_network, digits, network, tmp_path, quick):
    names = [str(digit) for digit in (0, 1, 2, 5, 4, 3, 6, 7)]
    exchanged = network(tmp_path, *digits_network, classes=names, size=(8, 8))
    (note,) = [note for note in fit(exchanged, digits.train, settings=quick).notes if "look exchanged" in note]
    assert note.startswith("'3' and '5' look exchanged") or note.startswith("'5' and '3' look exchanged")
    right = network(tmp_path / "right", *digits_network, classes=[str(digit) for digit in range(8)], size=(8, 8))
    assert not any("exchanged" in note for note in fit(right, digits.train, settings=quick).notes)


def test_items_whose_label_the_model_does_not_know_can_be_left_out(digits_model, digits, quick):
    images, labels = digits.train
    some = np.where(np.arange(len(labels)) < 9, "seven", labels)
    with pytest.raises(DataError, match="'seven' is none of the model's classes"):
        fit(digits_model, (images, some), settings=quick)
    found = fit(digits_model, (images, some), settings=quick, ignore_unknown_labels=True)
    assert found.counts["training"] == len(labels) - 9
    assert "9 training items were left out, as the model does not know their label: 'seven' (9)." in found.notes


def test_the_spec_says_what_data_call_a_class(digits_network, digits, network, tmp_path, quick):
    spec = network(tmp_path, *digits_network, classes=[str(digit) for digit in range(8)], size=(8, 8))
    text = spec.read_text("utf-8").replace("[input]", 'aliases = { seven = "7" }\n[input]')
    spec.write_text(text, "utf-8")
    images, labels = digits.train
    named = np.where(labels == "7", "seven", labels)
    found = fit(spec, (images, named), settings=quick)
    assert found.counts["training"] == len(labels)
    coming = digits.incoming[0], np.where(digits.incoming[1] == "7", "seven", digits.incoming[1])
    assert triage(found, coming).compared.foreign == 0
    assert audit_labels(found, coming).new_classes == ()
    assert sample(found, coming, "uniform").wrong == sample(found, digits.incoming, "uniform").wrong
    assert train(found, (images, named), tmp_path / "better", plan=Plan(epochs=1)).new_classes == ()
    spec.write_text(text.replace('seven = "7"', 'seven = "8"'), "utf-8")
    with pytest.raises(ModelError, match="aliases: '8' is none of the classes"):
        fit(spec, digits.train)


def test_fit_says_what_fewer_bits_change_and_the_reference_holds_for_them_alone(digits, quick, tmp_path):
    spec = write_convolutional_digits(tmp_path, *digits.train)
    rounded = replace(ModelSpec.load(spec), precision="float16")
    reference = fit(rounded, digits.train, digits.held_out, settings=quick)
    (note,) = [note for note in reference.notes if "float16" in note]
    looked, routed, labelled = (int(number) for number in re.findall(r"(\d+) (?:held-out|get|of them)", note))
    assert looked == len(digits.held_out[0])
    assert labelled <= routed < looked / 20
    with pytest.raises(MismatchError, match="precision was 'float16', is None"):
        triage(reference, digits.incoming, model=ModelSpec.load(spec))

"""The label audit: wrong labels are found among new and among trained items, each with its kind and reason; nothing is refused silently."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from annotriage import Settings, audit_labels, fit, triage
from annotriage.data import Item
from annotriage.errors import DataError, SettingError
from annotriage.states import IssueKind

TRAINED = slice(0, 900)
HELD_OUT = slice(900, 1300)
NEW = slice(1300, None)


class Mislabelled:
    """All ten digits of which one label in ten is wrong, a network trained on the first of them, and the reference of it."""

    def __init__(self, network, folder):
        images, truth = load_digits(return_X_y=True)
        order = np.random.default_rng(0).permutation(len(truth))
        self.images, truth = (images * 15).astype(np.uint8).reshape(-1, 8, 8)[order], truth[order]
        rng = np.random.default_rng(1)
        wrong = rng.random(len(truth)) < 0.1
        self.labels = np.where(wrong, (truth + rng.integers(1, 10, len(truth))) % 10, truth).astype(str)
        self.truth, self.wrong = truth.astype(str), wrong
        trained = MLPClassifier((48, 32), max_iter=300, random_state=0).fit(
            self.images[TRAINED].reshape(900, -1) / 255, self.labels[TRAINED]
        )
        self.model = network(folder, trained.coefs_, trained.intercepts_, classes=[str(digit) for digit in range(10)], size=(8, 8))
        self.reference = fit(self.model, self.part(TRAINED), self.part(HELD_OUT), settings=Settings(map="none"), name="mislabelled")

    def part(self, rows):
        return self.images[rows], self.labels[rows]

    def found(self, audit, rows):
        """Precision and recall of the findings."""
        ids = np.array([int(finding.id) for finding in audit.findings])
        wrong = self.wrong[rows]
        return wrong[ids].mean(), wrong[ids].sum() / wrong.sum()


@pytest.fixture(scope="module")
def mislabelled(network, tmp_path_factory):
    return Mislabelled(network, tmp_path_factory.mktemp("mislabelled"))


@pytest.fixture(scope="module")
def of_new(mislabelled):
    return audit_labels(mislabelled.reference, mislabelled.part(NEW))


@pytest.fixture(scope="module")
def of_trained(mislabelled):
    return audit_labels(mislabelled.reference, mislabelled.part(TRAINED))


def test_wrong_labels_of_new_items_are_found_by_the_models_own_answers(mislabelled, of_new):
    precision, recall = mislabelled.found(of_new, NEW)
    assert precision > 0.75
    assert recall > 0.75
    assert (of_new.folds, of_new.seen) == (0, 0.0)
    assert "not trained on these items" in of_new.sentences[0]


def test_what_the_model_was_trained_on_is_checked_by_heads_that_did_not_see_the_labels(mislabelled, of_trained):
    precision, recall = mislabelled.found(of_trained, TRAINED)
    assert precision > 0.75
    assert recall > 0.75
    assert (of_trained.folds, of_trained.seen) == (5, 1.0)
    assert "trained on these items" in of_trained.sentences[0]
    by_the_model = audit_labels(mislabelled.reference, mislabelled.part(TRAINED), folds=0)
    assert mislabelled.found(by_the_model, TRAINED)[1] < recall / 2  # it has learned them by heart


def test_the_noise_rate_is_near_the_true_one(mislabelled, of_new, of_trained):
    for audit, rows in ((of_new, NEW), (of_trained, TRAINED)):
        assert audit.noise.share == pytest.approx(mislabelled.wrong[rows].mean(), abs=0.04)
        assert audit.noise.low < mislabelled.wrong[rows].mean() < audit.noise.high


def test_a_wrong_label_comes_with_the_likely_one_and_the_reason(mislabelled, of_trained):
    surest = [finding for finding in of_trained.findings if finding.kind == IssueKind.WRONG and finding.agree][:20]
    right = [finding.likely == (mislabelled.truth[TRAINED][int(finding.id)],) for finding in surest]
    assert np.mean(right) > 0.9
    assert all(f"looks like {finding.likely[0]}" in finding.reason for finding in surest)
    assert all(finding.picture.startswith(b"\x89PNG") for finding in surest)


def test_findings_come_in_the_order_asked_for(mislabelled, of_new):
    assert [finding.quality["self-confidence"] for finding in of_new.findings] == sorted(
        finding.quality["self-confidence"] for finding in of_new.findings
    )
    by_loss = audit_labels(mislabelled.reference, mislabelled.part(NEW), order="loss").findings
    assert [finding.quality["loss"] for finding in by_loss] == sorted((finding.quality["loss"] for finding in by_loss), reverse=True)


def test_rows_of_the_matrix_are_the_labels_given(mislabelled, of_new):
    given = np.unique(mislabelled.labels[NEW], return_counts=True)[1]
    assert of_new.matrix.sum(axis=1) == pytest.approx(given, abs=1.5)
    assert [row.items for row in of_new.classes] == given.tolist()
    assert sum(row.findings for row in of_new.classes) == sum("loss" in finding.quality for finding in of_new.findings)


def test_strangers_are_named_whether_the_model_agrees_with_their_label_or_not(digits_reference, digits):
    noise = np.random.default_rng(0).integers(0, 256, (40, 8, 8)).astype(np.uint8)
    as_called = [verdict.labels[0] for verdict in triage(digits_reference, noise).verdicts]
    labels = [str((int(label) + place % 2) % 8) for place, label in enumerate(as_called)]
    known = len(digits.incoming[0])
    audit = audit_labels(digits_reference, (np.concatenate([digits.incoming[0], noise]), np.concatenate([digits.incoming[1], labels])))
    strange = [finding for finding in audit.findings if finding.kind == IssueKind.STRANGER]
    places = {int(finding.id) - known for finding in strange}
    assert len([place for place in places if place >= 0 and place % 2]) > 15  # called something else
    assert len([place for place in places if place >= 0 and place % 2 == 0]) > 15
    assert len([place for place in places if place < 0]) < 15
    assert all("like none of the classes" in finding.reason for finding in strange)


def test_labels_that_the_model_does_not_know_are_candidates_for_a_new_class(digits_reference, mixed):
    audit = audit_labels(digits_reference, mixed)
    assert {new.label: new.items for new in audit.new_classes} == {name: int((mixed[1] == name).sum()) for name in ("8", "9")}
    assert audit.items == int((mixed[1] < "8").sum())
    assert any("“9”, which is none of the model's classes" in sentence for sentence in audit.sentences)


def test_clean_labels_raise_few_doubts_and_no_warning(digits_reference, digits):
    audit = audit_labels(digits_reference, digits.incoming)
    assert len(audit.findings) < 0.03 * audit.items
    assert not [note for note in digits_reference.notes if "look wrong" in note]


def test_fit_warns_of_a_training_set_that_looks_mislabelled(mislabelled):
    (note,) = [note for note in mislabelled.reference.notes if "look wrong" in note]
    assert "annotriage audit-labels --reference" in note


def test_broken_and_unlabelled_items_are_counted_and_hold_up_nothing(digits_reference, digits):
    items = [Item(str(row), image, (label,)) for row, (image, label) in enumerate(zip(*digits.incoming, strict=True))]
    audit = audit_labels(digits_reference, [*items, Item("broken", b"", ("1",)), Item("open", digits.incoming[0][0])])
    assert (audit.items, audit.failed, audit.unlabelled) == (len(items), 1, 1)
    assert any("1 item without a label" in note for note in audit.notes)


def test_without_labels_there_is_nothing_to_check(digits_reference, digits):
    with pytest.raises(DataError, match=r"no item has a label of the model's classes.*label some items first"):
        audit_labels(digits_reference, digits.incoming[0])


def test_labels_of_one_class_are_refused(digits_reference, digits):
    images, labels = digits.incoming
    with pytest.raises(DataError, match=r"all of one class \(3\).*at least two classes"):
        audit_labels(digits_reference, (images[labels == "3"], labels[labels == "3"]))


def test_a_class_with_fewer_items_than_folds_is_left_out_by_name(digits_reference, digits):
    images, labels = digits.train
    rows = np.concatenate([np.flatnonzero(labels != "5"), np.flatnonzero(labels == "5")[:3]])
    audit = audit_labels(digits_reference, (images[rows], labels[rows]))
    assert audit.items == len(rows) - 3
    assert any("left out: 5 (3)" in note for note in audit.notes)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"folds": 1}, "give 2 or more, or 0"),
        ({"order": "size"}, "none of self-confidence, margin"),
        ({"rules": ["1 => 2"]}, "one label per"),
    ],
)
def test_what_cannot_be_is_refused(digits_reference, digits, given, message):
    with pytest.raises(SettingError, match=message):
        audit_labels(digits_reference, digits.incoming, **given)


@pytest.fixture(scope="module")
def several(choices_model):
    """A reference of items with several labels, and items of which the first 15 lack the label "low"."""
    rng = np.random.default_rng(0)
    rows = (rng.choice([0.3, 2.5], size=(900, 3), p=[0.6, 0.4]) + rng.normal(0, 0.1, (900, 3))).astype(np.float32)
    labels = [tuple(name for name, value in zip(("low", "middle", "high"), row, strict=True) if value > 1) for row in rows]
    items = [Item(f"item {place}", row, given) for place, (row, given) in enumerate(zip(rows, labels, strict=True))]
    reference = fit(choices_model, items[:400], items[400:600], settings=Settings(map="none"))
    lacking = [place for place in range(600, 900) if "low" in labels[place]][:15]
    for place in lacking:
        items[place] = Item(f"item {place}", rows[place], tuple(name for name in labels[place] if name != "low"))
    return reference, items[600:], {f"item {place}" for place in lacking}


def test_missing_labels_are_found_where_items_may_have_several(several):
    reference, items, lacking = several
    audit = audit_labels(reference, items)
    missing = {finding.id for finding in audit.findings if finding.kind == IssueKind.MISSING}
    assert len(missing & lacking) >= 0.6 * len(lacking)
    assert all("low" in finding.likely for finding in audit.findings if finding.id in lacking)
    assert (audit.noise, audit.matrix) == (None, None)
    assert any("no rate of wrong labels" in sentence for sentence in audit.sentences)


def test_missing_labels_are_found_by_heads_too(several):
    reference, items, lacking = several
    audit = audit_labels(reference, items, folds=5)
    missing = {finding.id for finding in audit.findings if finding.kind == IssueKind.MISSING}
    assert len(missing & lacking) >= 0.6 * len(lacking)


def test_a_rule_of_the_user_gives_findings_and_changes_nothing(several):
    reference, items, _ = several
    audit = audit_labels(reference, items, rules=["middle => high"])
    asked = {item.id for item in items if "middle" in item.labels and "high" not in item.labels}
    told = {finding.id for finding in audit.findings if "The rule middle => high asks for high." in finding.reason}
    assert told == asked
    with pytest.raises(SettingError, match="is none of the model's classes"):
        audit_labels(reference, items, rules=["middle => sky"])

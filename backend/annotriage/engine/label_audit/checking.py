"""The check of labels that the model knows: probabilities that did not see them, confident learning, and a reason for each doubt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from annotriage.advice import label_words
from annotriage.advice.numbers import count
from annotriage.engine.collecting import Collected
from annotriage.engine.label_audit.findings import ClassQuality, LabelFinding
from annotriage.engine.labels import NOTHING
from annotriage.engine.reference import Judged, Reference
from annotriage.errors import DataError
from annotriage.quality.heads import answer_probabilities, checkable, class_probabilities, fold_of
from annotriage.quality.label_issues import NoiseRate, answer_issues, kinds, label_issues, strangers
from annotriage.settings import Settings
from annotriage.states import IssueKind

Array = NDArray[Any]
Called = tuple[str, tuple[str, ...] | None]  # of an item: its path, and its labels as text


@dataclass(frozen=True)
class Checked:
    """Items with a known label, all that is known of them, and how they are checked."""

    reference: Reference
    items: Collected
    called: list[Called]
    judged: Judged
    folds: int
    settings: Settings

    def strange(self, row: int) -> str:
        """How strange one item is, in a sentence."""
        return label_words.stranger_sentence(float(self.judged.outlier_score[row]), self.reference.calibrated)


@dataclass(frozen=True)
class Found:
    """What was found among some of the items: `rows` are those that could be checked."""

    rows: Array
    findings: list[LabelFinding]
    classes: tuple[ClassQuality, ...]
    noise: NoiseRate | None
    matrix: Array | None
    notes: tuple[str, ...]


def one_label_each(checked: Checked) -> Found:
    """Check items with one label each. Raises DataError if all have the same."""
    space, items, judged = checked.reference.space, checked.items, checked.judged
    all_labels = np.array([labels[0] for labels in items.labels if labels is not None], dtype=np.intp)
    counts = np.bincount(all_labels, minlength=len(space.classes))
    all_units = units_of(items)
    rows: Array = np.arange(len(all_labels))
    notes = []
    if checked.folds:
        rows = np.flatnonzero(checkable(all_labels, all_units, checked.folds))
        if few := sorted(set(all_labels.tolist()) - set(all_labels[rows].tolist())):
            named = ", ".join(f"{space.classes[place]} ({counts[place]})" for place in few)
            notes.append(
                f"Too few labels to be checked in {checked.folds} folds, or all of one group, and left out: {named}. Fewer --folds, or more"
                " labels."
            )
    labels = all_labels[rows]
    if len(np.unique(labels)) < 2:
        only = f" ({space.classes[labels[0]]})" if len(labels) else ""
        raise DataError(
            f"{items.name}: {count(len(labels), 'label')} to check, all of one class{only}; a label is doubted where another class fits"
            " better, so give items of at least two classes"
        )
    rng = np.random.default_rng(checked.settings.seed)
    units = all_units[rows]
    if checked.folds:
        fold = fold_of(labels, units, checked.folds, rng)
        probabilities = class_probabilities(judged.compressed[rows], labels, len(space.classes), fold)
    else:
        probabilities = softmax(items.logits[rows].astype(np.float64), axis=1)
    issues = label_issues(labels, probabilities, units, rng)
    flagged = np.flatnonzero(issues.flagged)
    findings = []
    for place, kind in zip(flagged, kinds(issues, labels, probabilities, judged.outlier[rows]), strict=True):
        row, given, likely = int(rows[place]), int(labels[place]), int(issues.likely[place])
        mine = float(probabilities[place, given])
        sentence = label_words.finding_sentence(
            kind, space.classes[given], space.classes[likely], mine, float(probabilities[place, likely]), checked.strange(row)
        )
        quality = {name: float(values[place]) for name, values in issues.quality.items()} | {"loss": float(-np.log(max(mine, 1e-300)))}
        findings.append(_finding(checked, row, space.texts((likely,)), kind, 1 - mine, sentence, quality, bool(issues.agree[place])))
    findings += _quiet_strangers(checked, rows, issues.flagged)
    matrix = issues.joint * len(labels)
    by_class = np.bincount(labels[flagged], minlength=len(space.classes))
    off = matrix - np.diag(matrix.diagonal())
    wrong = off.sum(axis=1) / np.maximum(matrix.sum(axis=1), 1e-12)
    classes = tuple(
        ClassQuality(name, int(counts[place]), int(by_class[place]), float(wrong[place]), float(off[:, place].sum()))
        for place, name in enumerate(space.classes)
    )
    return Found(rows, findings, classes, issues.noise, matrix, tuple(notes))


def several_labels(checked: Checked, rules: Sequence[tuple[int, int]]) -> Found:
    """Check items with any number of labels each. rules: pairs of classes, the first of which asks for the second."""
    space, items, judged = checked.reference.space, checked.items, checked.judged
    given = np.zeros((len(items.ids), len(space.classes)), dtype=bool)
    for row, labels in enumerate(items.labels):
        given[row, list(labels or ())] = True
    if checked.folds:
        rng = np.random.default_rng(checked.settings.seed)
        sets = np.unique(given, axis=0, return_inverse=True)[1]
        probabilities = answer_probabilities(judged.compressed, given, fold_of(sets, units_of(items), checked.folds, rng))
    else:
        probabilities = expit(items.logits.astype(np.float64))
    issues = answer_issues(given, probabilities)
    asked = np.zeros_like(given)
    for first, implied in rules:
        asked[:, implied] |= given[:, first] & ~given[:, implied]
    losses = -np.log(np.clip(np.where(given, probabilities, 1 - probabilities), 1e-300, 1)).sum(axis=1)
    findings = []
    for row in np.flatnonzero(issues.flagged.any(axis=1) | asked.any(axis=1)):
        missing = issues.flagged[row] & ~given[row]
        doubted = issues.flagged[row] & given[row]
        sentences = [
            label_words.answers_sentence(
                [(space.classes[place], float(probabilities[row, place])) for place in np.flatnonzero(missing)],
                [(space.classes[place], float(probabilities[row, place])) for place in np.flatnonzero(doubted)],
            ),
            *(
                label_words.rule_sentence(space.classes[first], space.classes[implied])
                for first, implied in rules
                if given[row, first] and not given[row, implied]
            ),
        ]
        kind = IssueKind.WRONG if doubted.any() else IssueKind.MISSING
        likely = tuple(np.flatnonzero((given[row] ^ issues.flagged[row]) | asked[row]).tolist())
        quality = {name: float(values[row]) for name, values in issues.quality.items()} | {"loss": float(losses[row])}
        against = 1 - quality["self-confidence"]
        reason = " ".join(sentence for sentence in sentences if sentence)
        findings.append(_finding(checked, int(row), space.texts(likely), kind, against, reason, quality, bool(issues.agree[row])))
    findings += _quiet_strangers(checked, np.arange(len(given)), np.asarray(issues.flagged.any(axis=1)))
    flagged = issues.flagged & given
    classes = tuple(
        ClassQuality(name, int(given[:, place].sum()), int(flagged[:, place].sum()), None, None) for place, name in enumerate(space.classes)
    )
    return Found(np.arange(len(given)), findings, classes, None, None, ())


def _quiet_strangers(checked: Checked, rows: Array, flagged: Array) -> list[LabelFinding]:
    """Strangers under a known label that nothing else speaks against, where there are more of them than chance gives."""
    found = []
    for place in np.flatnonzero(strangers(checked.judged.p_value[rows]) & ~flagged):
        row = int(rows[place])
        given = text_of(checked.called[row][1])
        sentence = label_words.finding_sentence(IssueKind.STRANGER, given, "", 0.0, 0.0, checked.strange(row))
        score = float(checked.judged.outlier_score[row])
        found.append(_finding(checked, row, (), IssueKind.STRANGER, score, sentence, {}, agree=False))
    return found


def units_of(items: Collected) -> Array:
    """The number of what each item shares with others, its group, else its content: (N,)."""
    names = [group or f"content {content}" for group, content in zip(items.groups, items.hashes, strict=True)]
    return np.asarray(np.unique(names, return_inverse=True)[1])


def text_of(labels: tuple[str, ...] | None) -> str:
    """Labels in one text."""
    return " + ".join(labels or ()) or NOTHING


def _finding(
    checked: Checked,
    row: int,
    likely: tuple[str, ...],
    kind: IssueKind,
    score: float,
    reason: str,
    quality: dict[str, float],
    agree: bool,
) -> LabelFinding:
    path, _ = checked.called[row]
    given = checked.reference.space.texts(checked.items.labels[row] or ())
    strange = float(checked.judged.outlier_score[row])
    picture = checked.items.pictures.get(row, b"")
    return LabelFinding(checked.items.ids[row], path, given, likely, kind, score, reason, quality, agree, strange, picture)

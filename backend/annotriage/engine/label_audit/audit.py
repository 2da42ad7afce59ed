"""The label audit: labels that people gave -> those to look at again, each with its reason, and how many may be wrong.

The doubts are confident learning's (`quality.label_issues`); whether an item is a stranger says the reference. Nothing is changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.advice import label_words
from annotriage.advice.numbers import count
from annotriage.data import Dataset, Item, Source, open_dataset
from annotriage.engine.collecting import Collected, collect
from annotriage.engine.label_audit.checking import Called, Checked, one_label_each, several_labels, text_of, units_of
from annotriage.engine.label_audit.findings import ORDERS, LabelAudit, NewClass
from annotriage.engine.labels import FOREIGN, LabelSet, LabelSpace
from annotriage.engine.reference import Judged, Reference
from annotriage.errors import DataError, SettingError
from annotriage.latent.maps import nearest_training
from annotriage.model import Model, Outputs
from annotriage.model.spec import ModelSpec
from annotriage.progress import Progress, silent
from annotriage.quality.heads import FOLDS, checkable, class_probabilities, fold_of
from annotriage.quality.label_issues import label_issues
from annotriage.settings import ServiceSettings, Settings

Array = NDArray[Any]

PICTURES = 100_000  # items whose pictures are kept until it is known which are needed
SEEN = 0.05  # share of items that the model was trained on, above which its own answers are not trusted
TRAINING_CHECKED = 5_000  # items of a training set that `fit` looks at
SUSPECT = 0.01  # share of wrong labels, surely exceeded, at which it warns
SAME_POINT = 0.005  # of its length, by which the kept point of a training item differs from the same item's new one, at most


def audit_labels(
    reference: Reference,
    data: Source,
    *,
    folds: int | None = None,
    order: str = "self-confidence",
    rules: Sequence[str] = (),
    model: Model | ModelSpec | Path | str | None = None,
    settings: Settings | None = None,
    labeling_config: Path | None = None,
    server: ServiceSettings | None = None,
    progress: Progress = silent,
) -> LabelAudit:
    """Find labels that look wrong among those that people gave to a dataset.

    folds: None takes the model's own answers where it never saw the items, and 5-fold linear heads on its activations where it was
    trained on them; 0 always the first, 2 or more always the second. order: of the findings, one of `ORDERS`; change it to "entropy"
    to see unsure items later, to "loss" where items have several labels. rules: as "runway => airport", an item labelled
    runway must be labelled airport too; only where items may have several labels. model, labeling_config, server: as of `triage`.

    Raises DataError if no item has a label that the model knows, or all have the same one; SettingError for folds, order or rules that
    cannot be. Items that cannot be read or carry no label are counted and left out.
    """
    settings = settings or reference.settings
    space = reference.space
    wanted = _checked(folds, order, rules, space)
    dataset = open_dataset(data, labeling_config=labeling_config, classes=space.classes, server=server)
    model = reference.open_model(model, settings)
    return audit_dataset(reference, model, dataset, folds=folds, order=order, rules=wanted, settings=settings, progress=progress)


def audit_dataset(
    reference: Reference,
    model: Model,
    dataset: Dataset,
    *,
    folds: int | None = None,
    order: str = "self-confidence",
    rules: Sequence[tuple[int, int]] = (),
    settings: Settings,
    progress: Progress = silent,
) -> LabelAudit:
    """As `audit_labels`, for a dataset and a model that are open already. rules: pairs of classes."""
    called: list[Called] = []
    dataset = dataset.renamed(dict(model.spec.aliases))

    def label_of(item: Item) -> LabelSet | None:
        called.append((item.path, None if item.labels is None else tuple(map(str, item.labels))))
        return reference.space.known_or_foreign(item)

    collected = collect(model, dataset, reference.space, replace(settings, map_sample=PICTURES), progress, "labelled items", label_of)
    with progress("checking labels", None):
        return _audited(reference, collected, called, folds=folds, order=order, rules=rules, settings=settings)


def _audited(
    reference: Reference,
    collected: Collected,
    called: Sequence[Called],
    *,
    folds: int | None,
    order: str,
    rules: Sequence[tuple[int, int]],
    settings: Settings,
) -> LabelAudit:
    """The audit of outputs that were collected. called: path and labels of each item, as text."""
    space = reference.space
    known = np.flatnonzero([labels is not None and labels != FOREIGN for labels in collected.labels])
    if not len(known):
        raise DataError(
            f"{collected.name}: no item has a label of the model's classes ({', '.join(space.classes)}), so there is nothing to check;"
            " label some items first, or give the dataset that holds the labels"
        )
    judged = reference.judge(Outputs(collected.logits, collected.activations))
    seen = _share_seen(reference, judged.compressed[known])
    if folds is None:
        folds = FOLDS if seen > SEEN else 0
    checked = Checked(reference, collected.rows(known), [called[row] for row in known], _rows(judged, known), folds, settings)
    found = several_labels(checked, rules) if space.multiple else one_label_each(checked)
    ordered = sorted(found.findings, key=lambda finding: finding.place(order))
    return LabelAudit(
        dataset=collected.name,
        reference=reference.name,
        version=reference.version,
        items=len(found.rows),
        unlabelled=sum(labels is None for labels in collected.labels),
        failed=len(collected.failures),
        folds=folds,
        seen=seen,
        classes=found.classes,
        noise=found.noise,
        matrix=found.matrix,
        agreeing=sum(finding.agree for finding in ordered),
        findings=tuple(ordered),
        new_classes=_new_classes(collected, called, judged),
        notes=(*collected.notes, *found.notes, *_left_out(collected)),
    )


def doubts_of_training(reference: Reference, trained: Collected) -> list[str]:
    """A warning if the training set of a new reference looks mislabelled; looks at a seeded sample, and at single labels alone.

    trained: labelled items. A model that has learned wrong labels by heart hides some of them: their number is rather higher.
    """
    space = reference.space
    if space.multiple:
        return []
    rng = np.random.default_rng(reference.settings.seed)
    rows = np.sort(rng.permutation(len(trained.ids))[:TRAINING_CHECKED])
    some = trained.rows(rows)
    labels = np.array([label_set[0] for label_set in some.labels if label_set is not None], dtype=np.intp)
    usual = np.flatnonzero(checkable(labels, units_of(some), FOLDS))
    if len(np.unique(labels[usual])) < 2:
        return []
    some, labels = some.rows(usual), labels[usual]
    units = units_of(some)
    points = reference.detector.measure(some.activations, some.logits).compressed
    probabilities = class_probabilities(points, labels, len(space.classes), fold_of(labels, units, FOLDS, rng))
    noise = label_issues(labels, probabilities, units, rng).noise
    if noise.low <= SUSPECT:
        return []
    return [label_words.training_sentence(noise.share, noise.low, noise.high, len(labels))]


def _share_seen(reference: Reference, points: Array) -> float:
    """The share of items that the model was trained on, by the training items whose points the reference keeps."""
    bank = reference.sample.compressed.astype(np.float32)
    if not len(bank) or not len(points):
        return 0.0
    nearest = bank[nearest_training(points, bank, 1)[:, 0]]
    same = np.linalg.norm(points - nearest, axis=1) <= SAME_POINT * np.linalg.norm(points, axis=1)
    return float(min(1.0, same.mean() * max(1.0, reference.counts["training"] / len(bank))))


def _new_classes(collected: Collected, called: Sequence[Called], judged: Judged) -> tuple[NewClass, ...]:
    """Labels that the model has no class for, the most frequent first."""
    foreign = [row for row, labels in enumerate(collected.labels) if labels == FOREIGN]
    items = Counter(text_of(called[row][1]) for row in foreign)
    strange = Counter(text_of(called[row][1]) for row in foreign if judged.outlier[row])
    return tuple(NewClass(label, number, strange[label]) for label, number in items.most_common())


def _left_out(collected: Collected) -> list[str]:
    notes = []
    unlabelled = sum(labels is None for labels in collected.labels)
    if unlabelled:
        notes.append(f"{count(unlabelled, 'item')} without a label left out.")
    if collected.failures:
        notes.append(f"{count(len(collected.failures), 'item')} could not be used and left out: {'; '.join(collected.failures[:3])}")
    return notes


def _rows(judged: Judged, which: Array) -> Judged:
    """The judgement on some of the items."""
    columns = {name: value[which] for name, value in vars(judged).items() if isinstance(value, np.ndarray)}
    return replace(judged, labels=[judged.labels[row] for row in which], **columns)


def _checked(folds: int | None, order: str, rules: Sequence[str], space: LabelSpace) -> list[tuple[int, int]]:
    """The rules as pairs of classes. Raises SettingError for what cannot be."""
    if folds is not None and (folds == 1 or folds < 0):
        raise SettingError(f"folds = {folds}: give 2 or more, or 0 for the model's own answers")
    if order not in ORDERS:
        raise SettingError(f"order = {order!r}: is none of {', '.join(ORDERS)}")
    if rules and not space.multiple:
        raise SettingError(f"rule {rules[0]!r}: this model gives one label per item, so no label can ask for another one; leave rules out")
    pairs = []
    for rule in rules:
        first, arrow, implied = (part.strip() for part in rule.partition("=>"))
        if not arrow:
            raise SettingError(f'rule {rule!r}: write it as "runway => airport"')
        for name in (first, implied):
            if name not in space.classes:
                raise SettingError(f"rule {rule!r}: {name!r} is none of the model's classes ({', '.join(space.classes)})")
        pairs.append((space.classes.index(first), space.classes.index(implied)))
    return pairs

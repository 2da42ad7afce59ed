"""The label audit: labels that people gave -> those to look at again, each with its reason, and how many may be wrong.

The doubts are confident learning's (`quality.label_issues`); whether an item is a stranger says the reference. Nothing is changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from annotriage.advice import label_words
from annotriage.advice.numbers import count
from annotriage.data import Item, Source, open_dataset
from annotriage.engine.collecting import Collected, collect
from annotriage.engine.labels import FOREIGN, NOTHING, LabelSet, LabelSpace
from annotriage.engine.reference import Judged, Reference
from annotriage.errors import DataError, SettingError
from annotriage.latent.maps import nearest_training
from annotriage.model import Model, Outputs
from annotriage.model.spec import ModelSpec
from annotriage.progress import Progress, silent
from annotriage.quality.heads import FOLDS, answer_probabilities, class_probabilities, fold_of
from annotriage.quality.label_issues import RANKS, NoiseRate, answer_issues, kinds, label_issues, strangers
from annotriage.settings import ServiceSettings, Settings
from annotriage.states import IssueKind

Array = NDArray[Any]

ORDERS = (*RANKS, "loss")  # in which findings may be listed
PICTURES = 100_000  # items whose pictures are kept until it is known which are needed
SEEN = 0.05  # share of items that the model was trained on, above which its own answers are not trusted
TRAINING_CHECKED = 5_000  # items of a training set that `fit` looks at
SUSPECT = 0.01  # share of wrong labels, surely exceeded, at which it warns
SAME_POINT = 0.005  # of its length, by which the kept point of a training item differs from the same item's new one, at most


@dataclass(frozen=True)
class LabelFinding:
    """A label to look at again.

    given: what people said; likely: what it probably is, () where that is not known. score: how much speaks against the label, from
    0 to 1: 1 - self-confidence. reason: a sentence. quality: by `ORDERS`, small (the loss: large, in nats) where doubtful. agree:
    whether filter, self-confidence and entropy all have it. outlier_score: how strange the item is. picture: b"" if none.
    """

    id: str
    path: str
    given: tuple[str, ...]
    likely: tuple[str, ...]
    kind: IssueKind
    score: float
    reason: str
    quality: dict[str, float]
    agree: bool
    outlier_score: float
    picture: bytes = field(default=b"", repr=False)

    def place(self, order: str) -> float:
        """What sorts the findings, small first; strangers whose labels nothing speaks against come last."""
        if order not in self.quality:
            return float("inf")
        return -self.quality[order] if order == "loss" else self.quality[order]


@dataclass(frozen=True)
class ClassQuality:
    """The labels of one class. items: that have it. findings: of these. wrong: estimated share of these that is another class (None
    where items may have several labels). missed: estimated number of items that are of this class under another label.
    """

    name: str
    items: int
    findings: int
    wrong: float | None
    missed: float | None


@dataclass(frozen=True)
class NewClass:
    """A label that the model has no class for. outliers: how many of its items are strange to the reference, too."""

    label: str
    items: int
    outliers: int


@dataclass(frozen=True)
class LabelAudit:
    """What the audit of a dataset's labels found.

    items: labels checked. unlabelled, failed: items without a label, or unreadable. folds: of the heads, 0 where the model's own answers
    were used. seen: share of the items that the model was trained on, as far as the reference can tell.
    noise, matrix: estimated rate of wrong labels and (K, K) number of items of each (given, likely) pair; None where items may
    have several labels. agreeing: findings on which three ways of looking agree. findings: the most doubtful first.
    """

    dataset: str
    reference: str
    version: str
    items: int
    unlabelled: int
    failed: int
    folds: int
    seen: float
    classes: tuple[ClassQuality, ...]
    noise: NoiseRate | None
    matrix: Array | None
    agreeing: int
    findings: tuple[LabelFinding, ...]
    new_classes: tuple[NewClass, ...]
    notes: tuple[str, ...]

    @property
    def headline(self) -> str:
        """How many labels may be wrong, in a sentence."""
        if self.noise is None:
            return label_words.answers_found_sentence(self.items, len(self.findings))
        return label_words.noise_sentence(self.items, self.noise.share, self.noise.low, self.noise.high, len(self.findings))

    @property
    def sentences(self) -> tuple[str, ...]:
        """What else there is to say: on what it rests, what it assumes."""
        told = (
            label_words.source_sentence(self.folds, self.seen),
            label_words.agreement_sentence(self.agreeing, sum("self-confidence" in finding.quality for finding in self.findings)),
            label_words.ASSUMPTIONS if self.noise is not None else label_words.SEVERAL,
            *(label_words.new_class_sentence(new.label, new.items, new.outliers) for new in self.new_classes),
        )
        return tuple(sentence for sentence in told if sentence)

    def counts(self) -> dict[str, int]:
        """Findings of each kind."""
        found = Counter(finding.kind for finding in self.findings)
        return {kind.value: found[kind] for kind in IssueKind}

    def summary(self) -> dict[str, Any]:
        """The figures as plain values, as in summary.json."""
        return {
            "dataset": self.dataset,
            "reference": {"name": self.reference, "version": self.version},
            "items": self.items,
            "unlabelled": self.unlabelled,
            "failed": self.failed,
            "folds": self.folds,
            "seen": self.seen,
            "noise": None if self.noise is None else asdict(self.noise),
            "findings": self.counts(),
            "agreeing": self.agreeing,
            "classes": [asdict(row) for row in self.classes],
            "matrix": None if self.matrix is None else self.matrix,
            "new_classes": [asdict(row) for row in self.new_classes],
            "sentences": [self.headline, *self.sentences],
            "notes": list(self.notes),
        }


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
    if model is None or isinstance(model, ModelSpec | Path | str):
        model = reference.open_model(model, settings)
    else:
        reference.check(model)
    called: list[tuple[str, tuple[str, ...] | None]] = []

    def label_of(item: Item) -> LabelSet | None:
        called.append((item.path, None if item.labels is None else tuple(map(str, item.labels))))
        return space.known_or_foreign(item)

    collected = collect(model, dataset, space, replace(settings, map_sample=PICTURES), progress, "labelled items", label_of)
    with progress("checking labels", None):
        return audit_collected(reference, collected, called, folds=folds, order=order, rules=wanted, settings=settings)


def audit_collected(
    reference: Reference,
    collected: Collected,
    called: Sequence[tuple[str, tuple[str, ...] | None]],
    *,
    folds: int | None,
    order: str,
    rules: Sequence[tuple[int, int]],
    settings: Settings,
) -> LabelAudit:
    """The second half of `audit_labels`, for outputs that were collected already. called: path and labels of each item, as text."""
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
    checked = _Checked(reference, collected.rows(known), [called[row] for row in known], _rows(judged, known), folds, settings)
    found = _several(checked, rules) if space.multiple else _one_each(checked)
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
    usual = np.flatnonzero(np.bincount(labels, minlength=len(space.classes))[labels] >= FOLDS)
    if len(np.unique(labels[usual])) < 2:
        return []
    some, labels = some.rows(usual), labels[usual]
    units = _units(some)
    points = reference.detector.measure(some.activations, some.logits).compressed
    probabilities = class_probabilities(points, labels, len(space.classes), fold_of(labels, units, FOLDS, rng))
    noise = label_issues(labels, probabilities, units, rng).noise
    if noise.low <= SUSPECT:
        return []
    return [label_words.training_sentence(noise.share, noise.low, noise.high, len(labels))]


@dataclass(frozen=True)
class _Checked:
    """Items with a known label, all that is known of them, and how they are checked."""

    reference: Reference
    items: Collected
    called: list[tuple[str, tuple[str, ...] | None]]
    judged: Judged
    folds: int
    settings: Settings

    def strange(self, row: int) -> str:
        """How strange one item is, in a sentence."""
        return label_words.stranger_sentence(float(self.judged.outlier_score[row]), self.reference.calibrated)


@dataclass(frozen=True)
class _Found:
    """What was found among some of the items: `rows` are those that could be checked."""

    rows: Array
    findings: list[LabelFinding]
    classes: tuple[ClassQuality, ...]
    noise: NoiseRate | None
    matrix: Array | None
    notes: tuple[str, ...]


def _one_each(checked: _Checked) -> _Found:
    """Items with one label each."""
    space, items, judged = checked.reference.space, checked.items, checked.judged
    all_labels = np.array([labels[0] for labels in items.labels if labels is not None], dtype=np.intp)
    counts = np.bincount(all_labels, minlength=len(space.classes))
    rows: Array = np.arange(len(all_labels))
    notes = []
    if checked.folds:
        few = np.flatnonzero((counts > 0) & (counts < checked.folds))
        if len(few):
            named = ", ".join(f"{space.classes[place]} ({counts[place]})" for place in few)
            notes.append(f"Too few labels to be checked in {checked.folds} folds, and left out: {named}. Fewer --folds, or more labels.")
            rows = np.flatnonzero(~np.isin(all_labels, few))
    labels = all_labels[rows]
    if len(np.unique(labels)) < 2:
        only = f" ({space.classes[labels[0]]})" if len(labels) else ""
        raise DataError(
            f"{items.name}: {count(len(labels), 'label')} to check, all of one class{only}; a label is doubted where another class fits"
            " better, so give items of at least two classes"
        )
    rng = np.random.default_rng(checked.settings.seed)
    units = _units(items)[rows]
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
    return _Found(rows, findings, classes, issues.noise, matrix, tuple(notes))


def _several(checked: _Checked, rules: Sequence[tuple[int, int]]) -> _Found:
    """Items with any number of labels each."""
    space, items, judged = checked.reference.space, checked.items, checked.judged
    given = np.zeros((len(items.ids), len(space.classes)), dtype=bool)
    for row, labels in enumerate(items.labels):
        given[row, list(labels or ())] = True
    if checked.folds:
        rng = np.random.default_rng(checked.settings.seed)
        sets = np.unique(given, axis=0, return_inverse=True)[1]
        probabilities = answer_probabilities(judged.compressed, given, fold_of(sets, _units(items), checked.folds, rng))
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
    return _Found(np.arange(len(given)), findings, classes, None, None, ())


def _quiet_strangers(checked: _Checked, rows: Array, flagged: Array) -> list[LabelFinding]:
    """Strangers under a known label that nothing else speaks against, where there are more of them than chance gives."""
    found = []
    for place in np.flatnonzero(strangers(checked.judged.p_value[rows]) & ~flagged):
        row = int(rows[place])
        given = _text(checked.called[row][1])
        sentence = label_words.finding_sentence(IssueKind.STRANGER, given, "", 0.0, 0.0, checked.strange(row))
        score = float(checked.judged.outlier_score[row])
        found.append(_finding(checked, row, (), IssueKind.STRANGER, score, sentence, {}, agree=False))
    return found


def _units(items: Collected) -> Array:
    """The number of what each item shares with others, its group, else its content: (N,)."""
    names = [group or f"content {content}" for group, content in zip(items.groups, items.hashes, strict=True)]
    return np.asarray(np.unique(names, return_inverse=True)[1])


def _finding(
    checked: _Checked,
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


def _share_seen(reference: Reference, points: Array) -> float:
    """The share of items that the model was trained on, by the training items whose points the reference keeps."""
    bank = reference.sample.compressed.astype(np.float32)
    if not len(bank) or not len(points):
        return 0.0
    nearest = bank[nearest_training(points, bank, 1)[:, 0]]
    same = np.linalg.norm(points - nearest, axis=1) <= SAME_POINT * np.linalg.norm(points, axis=1)
    return float(min(1.0, same.mean() * max(1.0, reference.counts["training"] / len(bank))))


def _new_classes(collected: Collected, called: Sequence[tuple[str, tuple[str, ...] | None]], judged: Judged) -> tuple[NewClass, ...]:
    """Labels that the model has no class for, the most frequent first."""
    foreign = [row for row, labels in enumerate(collected.labels) if labels == FOREIGN]
    items = Counter(_text(called[row][1]) for row in foreign)
    strange = Counter(_text(called[row][1]) for row in foreign if judged.outlier[row])
    return tuple(NewClass(label, number, strange[label]) for label, number in items.most_common())


def _left_out(collected: Collected) -> list[str]:
    notes = []
    unlabelled = sum(labels is None for labels in collected.labels)
    if unlabelled:
        notes.append(f"{count(unlabelled, 'item')} without a label left out.")
    if collected.failures:
        notes.append(f"{count(len(collected.failures), 'item')} could not be used and left out: {'; '.join(collected.failures[:3])}")
    return notes


def _text(labels: tuple[str, ...] | None) -> str:
    return " + ".join(labels or ()) or NOTHING


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

"""What a label audit found, as it is handed on: findings, classes, candidates for a new class, and what they say together."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from numpy.typing import NDArray

from annotriage.advice import label_words
from annotriage.quality.label_issues import RANKS, NoiseRate
from annotriage.states import IssueKind

Array = NDArray[Any]

ORDERS = (*RANKS, "loss")  # in which findings may be listed


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

"""The verdict: the judgement on one item, with its reason in a sentence for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from annotriage.advice.numbers import percent, probability
from annotriage.advice.strangeness_words import strangeness_sentence
from annotriage.advice.verdict_words import SPOT_CHECK_REASON, blind_outlier_sentence, outlier_sentence
from annotriage.data import Item, Problem
from annotriage.engine.labels import LabelSet
from annotriage.engine.reference import Judged, Reference
from annotriage.states import SPOT_CHECK, Failure, Route


@dataclass(slots=True)  # not frozen, which for twenty fields would take a third of all that making a verdict takes; nothing changes one
class Verdict:
    """The judgement on one item.

    labels: what the model says (one, or several for multi-choice). confidence, p_value, outlier_score, trust in [0, 1].
    cluster: the nearest center. score: the deciding raw score, larger is stranger; members: raw score of each member.
    class_score, source_score: how rare it is as an item of no class and in its look, -ln of the share of held-out items that
    are at least as strange: 3 = stranger than 95%; None where the rule has no such axis.
    sureness: what the gate compares with its limit.
    route: "auto" | "uncertain" | "outlier" | "failed". reason: one sentence for people. Of a failed item only id, path,
    route, trust (0), failure, reason, reference and model are set; numbers are None.
    """

    id: str
    path: str
    labels: tuple[str, ...] = ()
    confidence: float | None = None
    cluster: str | None = None
    score: float | None = None
    members: Mapping[str, float] = field(default_factory=dict)
    p_value: float | None = None
    outlier_score: float | None = None
    trust: float = 0.0
    route: str = "failed"
    spot_check: bool = False
    reason: str = ""
    reference: str = ""
    model: str = ""
    seconds: float = 0.0
    sureness: float | None = None
    class_score: float | None = None
    source_score: float | None = None
    failure: Failure | None = None

    def blind(self) -> dict[str, str | float | None]:
        """Its route, reason and outlier_score as people may see them before they answer: of an outlier no class is named, of a spot check
        nothing is said."""
        if self.spot_check:
            return {"route": SPOT_CHECK, "reason": SPOT_CHECK_REASON, "outlier_score": None}
        reason = self.reason
        if self.route == Route.OUTLIER and self.outlier_score is not None:
            compared = "training" if self.p_value is None else "held-out"
            reason = blind_outlier_sentence(self.outlier_score, compared, self.class_score, self.source_score)
        return {"route": self.route, "reason": reason, "outlier_score": self.outlier_score}


@dataclass(frozen=True, slots=True)
class OutlierGroup:
    """Outliers that lie close together: a candidate for a new class or a broken source.

    number: from 1, by size. size: members among the outliers searched. label: what the model mostly calls them.
    medoid: id of its face. faces: pictures, the medoid's first. ids: all members, nearest to the medoid first.
    """

    number: int
    size: int
    label: str
    medoid: str
    faces: tuple[bytes, ...] = ()
    ids: tuple[str, ...] = ()


def failed_verdict(reference: Reference, item: Item, problem: Problem, seconds: float = 0.0) -> Verdict:
    """The verdict on an item that could not be scored: it goes to a person with the problem as its reason."""
    return Verdict(
        item.id,
        item.path,
        failure=problem.failure,
        reason=problem.text,
        reference=reference.version,
        model=reference.model.hash,
        seconds=seconds,
    )


def verdicts_of(reference: Reference, items: Sequence[Item], judged: Judged, seconds: float) -> Iterator[Verdict]:
    """One verdict for each of N items from their judgement. seconds: what each of them took."""
    space, names = reference.space, reference.member_names
    clusters = reference.detector.clusters.names
    version, model = reference.version, reference.model.hash
    reasons = _Reasons(reference)
    named: dict[LabelSet, tuple[str, ...]] = {}  # most label sets come often
    columns = zip(
        items,
        judged.labels,
        judged.confidence.tolist(),
        judged.cluster.tolist(),
        judged.score.tolist(),
        judged.surprise.tolist(),
        judged.unlike.tolist(),
        judged.members.tolist(),
        judged.p_value.tolist(),
        judged.outlier_score.tolist(),
        judged.trust.tolist(),
        judged.route.tolist(),
        judged.sureness.tolist(),
        strict=True,
    )
    for item, labels, confidence, cluster, score, axes, unlike, members, p_value, outlier_score, trust, route, sureness in columns:
        if (texts := named.get(labels)) is None:
            texts = named[labels] = space.texts(labels)
        near = clusters[cluster]
        of_class, of_source = _known(axes[0]), _known(axes[1])
        if route == Route.OUTLIER:
            reason = reasons.strange(texts, near, outlier_score, of_class, of_source, unlike)
        else:
            reason = reasons.familiar(route, texts, near, confidence, outlier_score)
        # in the order of the fields: twenty names for each item would cost as much as all else here
        yield Verdict(
            item.id,
            item.path,
            texts,
            confidence,
            near,
            score,
            dict(zip(names, members, strict=True)),
            _known(p_value),
            outlier_score,
            trust,
            route,
            False,
            reason,
            version,
            model,
            seconds,
            sureness,
            of_class,
            of_source,
        )


def _known(value: float) -> float | None:
    return value if value == value else None  # not NaN


class _Reasons:
    """The reasons of one reference's verdicts. All but the two shares is the same for many items, and put together once."""

    def __init__(self, reference: Reference) -> None:
        self._reference = reference
        self._compared = "held-out" if reference.calibrated else "training"
        self._around: dict[tuple[bool, tuple[str, ...], str], tuple[str, str, str]] = {}

    def strange(
        self, labels: tuple[str, ...], near: str, outlier_score: float, of_class: float | None, of_source: float | None, unlike: int
    ) -> str:
        """Of an outlier."""
        label = _named(labels)
        differs = "" if label == near else f", though the model says {label}"
        sentence = outlier_sentence(outlier_score, self._compared, f"the center of {near}{differs}")
        depth = self._reference.detector.depth(unlike)
        why = strangeness_sentence(of_class, of_source, depth, pictures=self._reference.model.pictures)
        return f"{sentence} {why}".rstrip()

    def familiar(self, route: str, labels: tuple[str, ...], near: str, confidence: float, outlier_score: float) -> str:
        """Of an item that is automatic or unsure."""
        key = (route == Route.AUTO, labels, near)
        around = self._around.get(key)
        if around is None:
            around = self._around[key] = self._put_together(*key)
        before, between, after = around
        return f"{before}{percent(outlier_score)}{between}{probability(confidence)}{after}"

    def _put_together(self, automatic: bool, labels: tuple[str, ...], near: str) -> tuple[str, str, str]:
        """What stands before the share of items that are less strange, between it and how sure the model is, and after that."""
        label = _named(labels)
        joined, why = (", and", "") if automatic else self._held_back(labels)
        differs = "" if label == near else f", but it lies nearest to the training items of {near}, though the model says {label}"
        return "Familiar (stranger than ", f" of the {self._compared} items){joined} the model is ", f" sure of {label}{differs}{why}."

    def _held_back(self, labels: tuple[str, ...]) -> tuple[str, str]:
        """Why a familiar item is not automatic: what joins both halves of the sentence, and what ends it."""
        if not self._reference.guarantee.auto:
            return " and", "; a person decides, because automatic labels are off"
        never = [name for name in labels if name in self._reference.settings.never_auto]
        if never:
            return " and", f"; a person decides, because {never[0]} is in never_auto"
        if " + ".join(labels) in self._reference.untested:
            return " and", f"; a person decides, because no automatic label of {_named(labels)} was tested"
        return ", but not sure enough for an automatic label:", ""


def _named(labels: tuple[str, ...]) -> str:
    return " + ".join(labels) or "none of the classes"

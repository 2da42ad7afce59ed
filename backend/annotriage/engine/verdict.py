"""The verdict: the judgement on one item, with its reason in a sentence for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from annotriage.advice.numbers import percent, probability
from annotriage.advice.strangeness_words import strangeness_sentence
from annotriage.advice.verdict_words import outlier_sentence
from annotriage.data import Item, Problem
from annotriage.engine.reference import Judged, Reference
from annotriage.states import Failure, Route


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement on one item.

    labels: what the model says (one, or several for multi-choice). confidence, p_value, outlier_score, trust in [0, 1].
    cluster: the nearest center. score: the deciding raw score, larger is stranger; members: raw score of each member.
    class_score, source_score: how rare it is as an item of no class and as one of another source, -ln of the share of held-out items that
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


def verdicts_of(reference: Reference, items: list[Item], judged: Judged, seconds: float) -> Iterator[Verdict]:
    """One verdict for each of N items from their judgement. seconds: what each of them took."""
    space, names = reference.space, reference.member_names
    clusters = reference.detector.clusters.names
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
        of_class, of_source = (None if np.isnan(value) else value for value in axes)
        texts, near = space.texts(labels), clusters[cluster]
        yield Verdict(
            id=item.id,
            path=item.path,
            labels=texts,
            confidence=confidence,
            cluster=near,
            score=score,
            class_score=of_class,
            source_score=of_source,
            members=dict(zip(names, members, strict=True)),
            p_value=None if np.isnan(p_value) else p_value,
            outlier_score=outlier_score,
            trust=trust,
            route=route,
            reason=_strange(reference, texts, near, outlier_score, of_class, of_source, unlike)
            if route == Route.OUTLIER
            else _reason(reference, route, texts, near, confidence, outlier_score),
            reference=reference.version,
            model=reference.model.hash,
            seconds=seconds,
            sureness=sureness,
        )


def _strange(
    reference: Reference,
    labels: tuple[str, ...],
    near: str,
    outlier_score: float,
    of_class: float | None,
    of_source: float | None,
    unlike: int,
) -> str:
    label = " + ".join(labels) or "none of the classes"
    compared = "held-out" if reference.calibrated else "training"
    differs = "" if label == near else f", though the model says {label}"
    sentence = outlier_sentence(outlier_score, compared, f"the center of {near}{differs}")
    why = strangeness_sentence(of_class, of_source, reference.detector.depth(unlike), pictures=reference.model.pictures)
    return f"{sentence} {why}".rstrip()


def _reason(reference: Reference, route: str, labels: tuple[str, ...], near: str, confidence: float, outlier_score: float) -> str:
    label = " + ".join(labels) or "none of the classes"
    compared = "held-out" if reference.calibrated else "training"
    place = "the training items" if label == near else f"the training items of {near}, though the model says {label}"
    sure = f"the model is {probability(confidence)} sure of {label}"
    familiar = f"familiar (stranger than {percent(outlier_score)} of the {compared} items)"
    differs = "" if label == near else f", but it lies nearest to {place}"
    if route == "auto":
        return f"{familiar.capitalize()}, and {sure}{differs}."
    if not reference.guarantee.auto:
        return f"{familiar.capitalize()} and {sure}{differs}; a person decides, because automatic labels are off."
    never = [name for name in labels if name in reference.settings.never_auto]
    if never:
        return f"{familiar.capitalize()} and {sure}{differs}; a person decides, because {never[0]} is in never_auto."
    if " + ".join(labels) in reference.untested:
        return f"{familiar.capitalize()} and {sure}{differs}; a person decides, because no automatic label of {label} was tested."
    return f"{familiar.capitalize()}, but not sure enough for an automatic label: {sure}{differs}."

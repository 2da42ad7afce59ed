"""The reference: everything fitted from the training set and calibrated on held-out items; judges, is saved and loaded.

Immutable. A directory holds `reference.json` (version, model, settings, counts, guarantee) and `arrays.npz`; no pickle.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.advice.guarantee_words import guarantee_sentence
from annotriage.advice.numbers import percent
from annotriage.engine.folders import whole_folder
from annotriage.engine.kept_items import HeldOut, Sample
from annotriage.engine.labels import LabelSet, LabelSpace
from annotriage.engine.model_facts import ModelFacts, refuse_other
from annotriage.engine.parts import in_parts
from annotriage.engine.storage import read_part, read_tree, tree_hash, write_tree
from annotriage.errors import MismatchError
from annotriage.guarantee import answered, gate
from annotriage.guarantee.answered import Answered
from annotriage.guarantee.conformal import conformal_p_values, empirical_cdf, flagged_rank
from annotriage.guarantee.gate import Guarantee
from annotriage.guarantee.routing import LEAST_SURENESS, route, trust
from annotriage.latent import clusters, compression, density_ratio, detector, scores, source, tails
from annotriage.latent.density_ratio import DensityRatio
from annotriage.latent.detector import SOURCE, Detector
from annotriage.model import Model, Outputs, load_model
from annotriage.model.spec import ModelSpec
from annotriage.settings import Settings

Array = NDArray[Any]

FORMAT = 4
DESCRIPTION, ARRAYS = "reference.json", "arrays.npz"


@dataclass(frozen=True)
class Judged:
    """The judgement on N items, column by column.

    labels: what the model says. confidence: (N,) probability. sureness, score, outlier_score, trust: (N,). p_value: (N,), NaN
    without held-out items. members: (N, k) raw scores. surprise: (N, 2) how rare an item is as one of no class and as one of another
    source, 3 = stranger than 95% of the held-out items, NaN where the rule has no such axis. cluster: (N,) index. compressed: (N, n).
    route: (N,) words. unlike: (N,) index of the layer in which an outlier differs most from the usual look; 0 of any other item.
    """

    labels: list[LabelSet]
    confidence: Array
    sureness: Array
    cluster: Array
    members: Array
    score: Array
    p_value: Array
    outlier_score: Array
    surprise: Array
    outlier: Array
    unlike: Array
    route: Array
    trust: Array
    compressed: Array

    @classmethod
    def joined(cls, parts: Sequence[Judged]) -> Judged:
        """The judgement on all items from those on parts of them, in their order."""
        labels = [label_set for part in parts for label_set in part.labels]
        columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0]) if name != "labels"}
        return cls(labels, **columns)


@dataclass(frozen=True)
class Reference:
    """Everything that judging needs; made by `annotriage.fit`, read by `Reference.load`.

    threshold: the score above which an item is an outlier. calibrated: it comes from held-out items and keeps alpha.
    training_confidence: ascending log-odds of training items' answers. sample, held_out_sample: kept items. answered: the labelled
    held-out items, for previews of other limits. ratio: what tells incoming items from held-out ones, if it was asked for.
    counts: items read, used, left out. training_notes, held_out_notes: warnings; the latter end with the next calibration.
    """

    name: str
    model: ModelFacts
    settings: Settings
    space: LabelSpace
    detector: Detector
    threshold: float
    calibrated: bool
    training_confidence: Array
    training_accuracy: float
    held_out: HeldOut
    guarantee: Guarantee
    sample: Sample
    held_out_sample: Sample | None
    counts: dict[str, int]
    training_notes: tuple[str, ...]
    held_out_notes: tuple[str, ...]
    answered: Answered | None = None
    ratio: DensityRatio | None = None
    version: str = ""
    spec_path: Path | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """All warnings."""
        return (*self.training_notes, *self.held_out_notes)

    # -- judging

    def judge(self, outputs: Outputs, threads: int = 1) -> Judged:
        """Judge N items by what the model made of them. Raises nothing: broken items never get this far.

        threads: on which many items may be shared out; it changes no digit.
        """
        if not self.detector.one_by_one:
            return self._judge(outputs)
        parts = in_parts(lambda rows: self._judge(outputs.rows(rows)), len(outputs.logits), threads)
        return parts[0] if len(parts) == 1 else Judged.joined(parts)

    def _judge(self, outputs: Outputs) -> Judged:
        measured = self.detector.measure(outputs.activations, outputs.logits)
        logit = confidence_logits(outputs.logits, self.space)
        labels = self.space.predicted(outputs.logits)
        penalty = None if self.ratio is None else self.ratio.penalty(measured.compressed)
        least = LEAST_SURENESS - (0.0 if self.ratio is None else self.ratio.most_penalty)
        sure = gate.sureness(logit, measured.axes[:, 0], self.training_confidence, self.detector.training_class, penalty)
        tau = gate.item_taus(self.guarantee, self.space.indices(labels)) if self.guarantee.auto else np.full(len(labels), np.inf)
        outlier = self.is_outlier(measured.score, measured.cluster)
        routes = route(outlier, sure, tau)
        unlike = np.zeros(len(labels), dtype=np.intp)
        if outlier.any():
            unlike[outlier] = self.detector.most_unlike(measured, outlier)
        p_value = conformal_p_values(measured.score, self._ordered_held_out) if self.calibrated else np.full(len(labels), np.nan)
        usual = 1 - p_value if self.calibrated else empirical_cdf(self.detector.training_scores, measured.score)
        return Judged(
            labels=labels,
            confidence=1 - gate.miss_probability(logit),
            sureness=sure,
            cluster=measured.cluster,
            members=measured.members,
            score=measured.score,
            p_value=p_value,
            outlier_score=usual,
            surprise=measured.surprise,
            outlier=outlier,
            unlike=unlike,
            route=routes,
            trust=trust(routes, sure, measured.score, tau, origin=self._usual_outlier, scale=self._usual_spread, least=least),
            compressed=measured.compressed,
        )

    @cached_property
    def _ordered_held_out(self) -> Array:
        return np.sort(self.held_out.scores)

    @cached_property
    def _usual_outlier(self) -> float:
        return self.threshold if np.isfinite(self.threshold) else float(self.detector.training_scores[-1])

    @cached_property
    def _usual_spread(self) -> float:
        return max(float(np.ptp(np.quantile(self.detector.training_scores, [0.25, 0.75]))), 1e-9)

    def is_outlier(self, scores: Array, cluster: Array) -> Array:
        """Which of N items are outliers, by the rule that the settings name: (N,) bool."""
        limit = self.detector.sigma_limits[cluster] if self.settings.threshold == "mean-sigma" else self.threshold
        return np.asarray(scores > limit)

    @cached_property
    def held_out_outliers(self) -> Array:
        """Which held-out items count as flagged: (n,) bool, the one that is the threshold included."""
        if self.settings.threshold == "mean-sigma":
            return self.is_outlier(self.held_out.scores, self.held_out.clusters)
        return np.asarray(self.held_out.scores >= self.threshold)

    @property
    def expected_rank(self) -> int:
        """j of the held-out outliers that normal data is compared with; 0 without calibration."""
        if not self.calibrated:
            return 0
        if self.settings.threshold == "mean-sigma":
            return min(int(self.held_out_outliers.sum()) + 1, len(self.held_out.scores))
        return flagged_rank(len(self.held_out.scores), self.settings.alpha)

    @cached_property
    def untested(self) -> frozenset[str]:
        """The classes that are never automatic because no held-out item showed how often they are right."""
        return frozenset(row.name for row in self.guarantee.classes if row.side == "predicted" and row.tau == np.inf)

    @cached_property
    def member_names(self) -> tuple[str, ...]:
        """The names of the scores in `Judged.members`; those of further layers carry the layer's name."""
        added = tuple(
            member.name if member.layer == 0 else f"{member.name}@{self.model.layers[member.layer]}" for member in self.detector.members
        )
        return added if self.detector.source is None else (*added, SOURCE)

    def accuracies(self) -> str:
        """How often the model is right, in words."""
        parts = [f"{percent(self.training_accuracy)} of the training items"]
        if self.held_out.labelled:
            parts.append(f"{percent(self.held_out.correct / self.held_out.labelled)} of the labelled held-out items")
        return " and ".join(parts)

    def facts(self) -> dict[str, Any]:
        """What is in it, as plain values."""
        return {
            "name": self.name,
            "version": self.version,
            "model": asdict(self.model) | {"spec": json.loads(self.model.spec)},
            "settings": self.settings.as_dict(),
            "counts": self.counts,
            "accuracy": {
                "training": self.training_accuracy,
                "held_out": self.held_out.correct / self.held_out.labelled if self.held_out.labelled else None,
            },
            "clusters": list(self.detector.clusters.names),
            "scores": list(self.member_names),
            "threshold": self.threshold,
            "calibrated": self.calibrated,
            "guarantee": guarantee_facts(self.guarantee),
            "notes": list(self.notes),
        }

    @property
    def prediction_version(self) -> str:
        """The version under which predictions are stored in a labeling tool."""
        return f"annotriage {self.name} {self.version[:8]}"

    # -- the model

    def open_model(self, model: Model | ModelSpec | Path | str | None = None, settings: Settings | None = None, threads: int = 0) -> Model:
        """Load the model that this reference was fitted with, from its own place or from the spec given; one that is loaded is checked.

        threads: cores that it may use, 0 = all.

        Raises MismatchError if it is another model, another layer or a changed spec, naming both.
        """
        if model is not None and not isinstance(model, ModelSpec | Path | str):
            self.check(model)
            return model
        spec = model
        if spec is None:
            if self.spec_path is None or not self.spec_path.is_file():
                raise MismatchError(
                    f"reference {self.name!r}: its model spec {self.spec_path or self.model.name} is not there any more;"
                    " name the place with --model (or model=)"
                )
            spec = self.spec_path
        spec = spec if isinstance(spec, ModelSpec) else ModelSpec.load(spec)
        loaded = load_model(spec, (settings or self.settings).device, threads)
        self.check(loaded)
        return loaded

    def check(self, model: Model) -> None:
        """Raise MismatchError unless `model` is the one that this reference was fitted with."""
        refuse_other(self.model, model, f"reference {self.name!r} ({self.version[:8]})")

    # -- files

    def save(self, folder: Path | str, *, replace_existing: bool = False) -> None:
        """Write the reference into `folder`, whole or not at all.

        Raises OutputError if the folder exists already (unless it is a reference that may be replaced) or cannot be written.
        """
        folder = Path(folder)
        with whole_folder(folder, what="reference", mark=DESCRIPTION, replaceable=replace_existing) as partial:
            place = None if self.spec_path is None else os.path.relpath(self.spec_path, folder)
            head = {"format": FORMAT, "version": self.version, "model_spec": place}
            write_tree(replace(self, version="", spec_path=None), partial / DESCRIPTION, partial / ARRAYS, head)

    @classmethod
    def load(cls, folder: Path | str) -> Reference:
        """Read a reference. Raises MismatchError if it is none, is damaged, or comes from another version of the format."""
        folder = Path(folder)
        head, read = read_tree(folder / DESCRIPTION, folder / ARRAYS, FORMAT, _CLASSES)
        try:
            place = None if head["model_spec"] is None else Path(os.path.normpath(folder / head["model_spec"]))
            loaded: Reference = replace(read, version=head["version"], spec_path=place)
        except (KeyError, TypeError) as error:
            raise MismatchError(f"{folder}: {DESCRIPTION} was changed ({error!r}); fit it again or copy it again") from error
        if loaded.content_hash() != loaded.version:
            raise MismatchError(
                f"{folder}: {DESCRIPTION} was changed after it was written (its hash differs); fit it again or copy it again"
            )
        return loaded

    @staticmethod
    def held_out_in(folder: Path | str) -> HeldOut:
        """The held-out items of a reference that is to be replaced, also of one in an earlier format: how often they were looked at.

        Raises MismatchError if it is none or is damaged.
        """
        folder = Path(folder)
        held_out = read_part(folder / DESCRIPTION, folder / ARRAYS, "held_out", {"HeldOut": HeldOut})
        if not isinstance(held_out, HeldOut):
            raise MismatchError(f"{folder}: {DESCRIPTION} says nothing of held-out items; give another --previous, or leave it out")
        return held_out

    def content_hash(self) -> str:
        """The version: a hash over everything but the place of the model's file."""
        return tree_hash(replace(self, version="", spec_path=None))


def confidence_logits(logits: Array, space: LabelSpace) -> Array:
    """log(p / (1 - p)) of the model's answer for N items, float64: (N,)."""
    return gate.multi_choice_confidence_logit(logits) if space.multiple else gate.confidence_logit(logits)


def guarantee_facts(guarantee: Guarantee) -> dict[str, Any]:
    """A guarantee as plain values, without its curve, and what it says in a sentence."""
    figures = {name: value for name, value in asdict(guarantee).items() if not name.startswith("curve_")}
    return {**figures, "sentence": guarantee_sentence(guarantee)}


def _dataclasses_of(modules: Sequence[Any]) -> dict[str, type]:
    return {
        name: kind
        for module in modules
        for name, kind in vars(module).items()
        if isinstance(kind, type) and hasattr(kind, "__dataclass_fields__")
    }


_CLASSES: dict[str, type] = {
    **_dataclasses_of([answered, clusters, compression, density_ratio, detector, gate, scores, source, tails]),
    **{kind.__name__: kind for kind in (Reference, ModelFacts, HeldOut, Sample, LabelSpace, Settings)},
}

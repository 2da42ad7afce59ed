"""Every score and both threshold rules side by side on the project's own data, to choose by looking instead of believing.

All are fitted on the activations that the reference keeps (at most 4,000 training and 4,000 held-out items) and tried on a
seeded sample of the data, so that a large dataset takes no longer than one pass of the model.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.advice.numbers import percent
from annotriage.data import Item, Source, open_dataset
from annotriage.engine.labels import LabelSpace
from annotriage.engine.reference import Reference
from annotriage.engine.sampling import SeededSample
from annotriage.errors import DataError, FitError
from annotriage.guarantee.conformal import flagged_rank, outlier_threshold
from annotriage.latent.compression import COMPRESSIONS
from annotriage.latent.detector import Detector, fit_detector
from annotriage.latent.scores import SCORES
from annotriage.model import Model, Outputs
from annotriage.model.spec import ModelSpec
from annotriage.model.stream import stream
from annotriage.progress import Progress, silent
from annotriage.settings import ServiceSettings, Settings

Array = NDArray[Any]

RESAMPLES = 500  # of the items, to say how sure it is which score is best
COMPARED = 4_000  # items of the data that are tried
BY_DISTANCE = ("knn", "mean-sigma")  # scores for which the compression matters


@dataclass(frozen=True)
class Row:
    """One score in one compression ("" where none applies).

    auroc: that a foreign item scores higher than a known one (None unless labels tell both kinds). The flag rates are shares in
    [0, 1] of known items (should be alpha) and of foreign ones (should be 1), of all items where labels do not tell; first
    by the conformal threshold (None without held-out items), then by mean + k_sigma deviations. seconds: to fit and score.
    """

    score: str
    compression: str
    auroc: float | None
    known_flagged: float | None
    foreign_flagged: float | None
    known_beyond_sigma: float | None
    foreign_beyond_sigma: float | None
    seconds: float
    decides: bool


@dataclass(frozen=True)
class Comparison:
    """All rows, best first where AUROC is known, and how many items they rest on. known, foreign: labelled so.

    sure: in which share of bootstrap resamples of those items the first row is the best; None where AUROC is not known.
    """

    rows: tuple[Row, ...]
    sure: float | None
    training: int
    held_out: int
    items: int
    known: int
    foreign: int
    alpha: float


def compare(
    reference: Reference,
    data: Source,
    *,
    model: Model | ModelSpec | Path | str | None = None,
    compressions: Sequence[str] = COMPRESSIONS,
    settings: Settings | None = None,
    labeling_config: Path | None = None,
    server: ServiceSettings | None = None,
    progress: Progress = silent,
) -> Comparison:
    """Try every score, and `mean-sigma` and `knn` in every compression, on a dataset.

    data: an item whose label is none of the model's classes is foreign, one with a known label is known; without labels only
    flag rates are given. labeling_config, server: as of `fit`. compressions: leave "umap" and "tsne" out to save their minutes.
    Raises DataError if no item can be scored, FitError if the reference keeps no training activations.
    """
    settings = settings or reference.settings
    model = reference.open_model(model, settings)
    dataset = open_dataset(data, labeling_config=labeling_config, classes=reference.space.classes, server=server)
    dataset = dataset.renamed(dict(model.spec.aliases))
    kept, foreign, known = _sampled_outputs(model, dataset, reference.space, settings, progress)
    training = reference.sample
    usable = np.flatnonzero(training.label_index >= 0)
    if len(usable) < 3:
        raise FitError(f"reference {reference.name!r} keeps no training activations; fit it again")
    present, labels = np.unique(training.label_index[usable], return_inverse=True)
    names = tuple(reference.space.names[index] for index in present)
    fitted = Outputs(training.logits[usable], tuple(layer[usable] for layer in training.full_activations()))

    tried_rows: list[tuple[Row, Array]] = []
    tries = [("two-axes", ""), ("combined", "")] + [
        (score, compression) for score in SCORES for compression in (compressions if score in BY_DISTANCE else ("",))
    ]
    with progress("comparing scores", len(tries)) as advance:
        for score, compression in tries:
            started = time.perf_counter()
            tried = replace(reference.settings, score=score, compression=compression or "pca")
            detector = fit_detector(fitted.activations, fitted.logits, labels, names, tried, multiple=reference.space.multiple)
            decides = score == reference.settings.score and compression in ("", reference.settings.compression)
            tried_rows.append(_row(detector, reference, kept, known, foreign, score, compression, decides, started))
            advance(1)
    tried_rows.sort(key=lambda tried: -(tried[0].auroc or 0.0))
    held_out = reference.held_out_sample
    return Comparison(
        tuple(row for row, _ in tried_rows),
        _sure_of_first([scores for _, scores in tried_rows], known, foreign, settings.seed),
        len(usable),
        0 if held_out is None else len(held_out.logits),
        len(kept.logits),
        int(known.sum()),
        int(foreign.sum()),
        reference.settings.alpha,
    )


def _row(
    detector: Detector,
    reference: Reference,
    kept: Outputs,
    known: Array,
    foreign: Array,
    score: str,
    compression: str,
    decides: bool,
    started: float,
) -> tuple[Row, Array]:
    """One row, and the (N,) scores that it rests on."""
    threshold = None
    held_out = reference.held_out_sample
    if held_out is not None and flagged_rank(len(held_out.logits), reference.settings.alpha):
        detector, usually = detector.calibrated(held_out.full_activations(), held_out.logits)
        threshold = outlier_threshold(usually.score, reference.settings.alpha)
    measured = detector.measure(kept.activations, kept.logits)
    beyond = measured.score > detector.sigma_limits[measured.cluster]
    flagged = None if threshold is None else measured.score > threshold
    auroc = None
    if known.any() and foreign.any():
        from sklearn.metrics import roc_auc_score

        told = known | foreign
        auroc = float(roc_auc_score(foreign[told], measured.score[told]))
    usual = known if known.any() or foreign.any() else np.ones(len(known), dtype=bool)
    row = Row(
        score,
        compression,
        auroc,
        _share(flagged, usual),
        _share(flagged, foreign),
        _share(beyond, usual),
        _share(beyond, foreign),
        time.perf_counter() - started,
        decides,
    )
    return row, measured.score


def _sure_of_first(scores: Sequence[Array], known: Array, foreign: Array, seed: int) -> float | None:
    """The share of bootstrap resamples in which the first of the scores tells known from foreign items best; ties count half."""
    if not (known.any() and foreign.any()):
        return None
    rng = np.random.default_rng(seed)
    usual, strange = np.flatnonzero(known), np.flatnonzero(foreign)
    beaten = [_beaten(score[usual], score[strange]) for score in scores]
    wins = 0.0
    for _ in range(RESAMPLES):
        drawn = rng.choice(len(strange), len(strange))
        weights = rng.multinomial(len(usual), np.full(len(usual), 1 / len(usual)))
        aurocs = [auroc(weights, drawn) for auroc in beaten]
        rivals = max(aurocs[1:], default=-1.0)
        wins += 1.0 if aurocs[0] > rivals else 0.5 if aurocs[0] == rivals else 0.0
    return wins / RESAMPLES


def _beaten(known: Array, foreign: Array) -> Callable[[Array, Array], float]:
    """AUROC of resamples: how often each known item is drawn, and which foreign items are -> a number."""
    order = np.argsort(known)
    below, up_to = (np.searchsorted(known[order], foreign, side) for side in ("left", "right"))

    def auroc(weights: Array, drawn: Array) -> float:
        counted = np.append(0, np.cumsum(weights[order]))
        return float((counted[below[drawn]] + counted[up_to[drawn]]).mean() / (2 * counted[-1]))

    return auroc


def _share(flags: Array | None, which: Array) -> float | None:
    return None if flags is None or not which.any() else float(flags[which].mean())


def _sampled_outputs(model: Model, dataset: Any, space: LabelSpace, settings: Settings, progress: Progress) -> tuple[Outputs, Array, Array]:
    """The outputs of a seeded sample of the dataset, and which of it are foreign and which known."""
    kept: SeededSample[tuple[Item, Array, tuple[Array, ...]]] = SeededSample(COMPARED, settings.seed, "compare")
    with progress(f"items of {dataset.name}", dataset.count) as advance:
        for batch in stream(model, dataset, settings):
            if batch.outputs is not None:
                for place, row in enumerate(batch.rows):
                    kept.offer(batch.items[row].id, partial(_taken, batch.items[row], batch.outputs, place))
            advance(len(batch.items))
    rows = kept.values()
    if not rows:
        raise DataError(f"{dataset.name}: no item could be scored, so that there is nothing to compare")
    layers = range(len(model.layers))
    outputs = Outputs(
        np.stack([logits for _, logits, _ in rows]), tuple(np.stack([parts[layer] for _, _, parts in rows]) for layer in layers)
    )
    foreign = np.array([_is_foreign(item, space) for item, _, _ in rows])
    labelled = np.array([item.labels is not None for item, _, _ in rows])
    return outputs, foreign, labelled & ~foreign


def _taken(item: Item, outputs: Outputs, place: int) -> tuple[Item, Array, tuple[Array, ...]]:
    bare = Item(item.id, None, item.labels, item.group, item.path)
    return bare, outputs.logits[place].copy(), tuple(layer[place].copy() for layer in outputs.activations)


def _is_foreign(item: Item, space: LabelSpace) -> bool:
    try:
        space.known(item)
    except DataError:
        return True
    return False


def comparison_text(comparison: Comparison) -> str:
    """The table for the terminal, with a line on how to read it and one on how to act on it."""
    usual = "known" if comparison.known or comparison.foreign else "all"
    told = f"{comparison.known:,} known, {comparison.foreign:,} foreign by their labels"
    lines = [
        f"Fitted on {comparison.training:,} training items, thresholds from {comparison.held_out:,} held-out ones, tried on"
        f" {comparison.items:,} ({told if comparison.known or comparison.foreign else 'no labels: flag rates only'}).",
        f"Flagged: share above the conformal threshold (known items should be near {comparison.alpha:.0%}, foreign ones near 100%),",
        "then above mean + k sigma. * = the score that decides in this reference.",
        "",
        f"{'score':<22}{'compression':<13}{'AUROC':>7}{f'flagged: {usual}':>17}{'foreign':>9}"
        f"{f'sigma: {usual}':>15}{'foreign':>9}{'seconds':>9}",
    ]
    for row in comparison.rows:
        auroc = "" if row.auroc is None else f"{row.auroc:.4f}"
        name = f"{'*' if row.decides else ' '} {row.score}"
        rates = [row.known_flagged, row.foreign_flagged, row.known_beyond_sigma, row.foreign_beyond_sigma]
        texts = ["" if rate is None else f"{rate:.1%}" for rate in rates]
        lines.append(f"{name:<22}{row.compression:<13}{auroc:>7}{texts[0]:>17}{texts[1]:>9}{texts[2]:>15}{texts[3]:>9}{row.seconds:>9.2f}")
    best = comparison.rows[0]
    if comparison.sure is not None:
        which = f"{best.score} {best.compression}".rstrip()
        lines += ["", f"Best here: {which}, in {percent(comparison.sure)} of {RESAMPLES} random resamples of these items."]
    if best.auroc is not None and not best.decides:
        compression = f" --compression {best.compression}" if best.compression else ""
        lines += [f"To decide by it: annotriage fit --score {best.score}{compression} (confirm it on data not chosen by)."]
    return "\n".join(lines)

"""Every score and both threshold rules side by side on the project's own data, to choose by looking instead of believing.

All are fitted on the activations that the reference keeps (at most 4,000 training and 4,000 held-out items) and tried on a
seeded sample of the data, so that a large dataset takes no longer than one pass of the model. The published method
(`latent/published.py`) embeds each set anew together with the training items: it is tried here, and decides nowhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.advice.published_advice import THRESHOLD
from annotriage.data import Source, open_dataset
from annotriage.engine.compared_sets import ComparedSet, read_set
from annotriage.engine.opinions import Opinion, own_opinion, published_on, published_opinion
from annotriage.engine.reference import Reference
from annotriage.errors import DataError, FitError
from annotriage.guarantee.best_rule import Best, Scored, auroc, best_rules
from annotriage.guarantee.conformal import flagged_rank, outlier_threshold
from annotriage.latent.compression import COMPRESSIONS
from annotriage.latent.detector import Detector, fit_detector
from annotriage.latent.published import JOINT
from annotriage.latent.scores import SCORES
from annotriage.model import Model, Outputs
from annotriage.model.spec import ModelSpec
from annotriage.progress import Progress, silent
from annotriage.settings import ServiceSettings, Settings

Array = NDArray[Any]

COMPARED = 4_000  # items of the data that are tried, and of all foreign sets together
BY_DISTANCE = ("knn", "mean-sigma")  # scores for which the compression matters
SPACES = (*COMPRESSIONS, *JOINT)  # the latter for the published method alone
BY_LABEL = "foreign by label"  # the set of the data's own foreign items


@dataclass(frozen=True)
class OnSet:
    """A rule on one foreign set. flagged, beyond_sigma: as in `Row`."""

    set: str
    auroc: float | None
    flagged: float | None
    beyond_sigma: float | None


@dataclass(frozen=True)
class Row:
    """One score in one compression ("" where none applies).

    auroc: that a foreign item scores higher than a known one, the mean over the foreign sets (None unless both kinds are known). The
    flag rates are shares in [0, 1] of known items (should be alpha) and of foreign ones (should be 1; the mean over sets), of all items
    where nothing tells; first by the conformal threshold (None without held-out items, and for the published method, which has none),
    then by mean + k_sigma deviations. seconds: to fit and score. sets: the same of each foreign set.
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
    sets: tuple[OnSet, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """All rows, best first where AUROC is known, and how many items they rest on.

    best: over all foreign sets, then for each if there are several; `Best.rule` counts the rows. opinions: of each set as a whole, by
    each embedding of the published method and by the rule that decides. sets: the foreign sets with their numbers of items.
    known, foreign: items that are. assumed_known: no label says so; the data is what is usual, beside foreign sets.
    """

    rows: tuple[Row, ...]
    best: tuple[Best, ...]
    opinions: tuple[Opinion, ...]
    training: int
    held_out: int
    items: int
    known: int
    foreign: int
    sets: dict[str, int]
    assumed_known: bool
    alpha: float

    @property
    def sure(self) -> float | None:
        """In which share of bootstrap resamples the first row is the best; None where AUROC is not known."""
        return self.best[0].sure if self.best else None


@dataclass(frozen=True)
class _Told:
    """Which items of which set are known, and which are foreign: (set, mask) each, the foreign ones by name."""

    sets: Sequence[ComparedSet]
    known: Array
    foreign: Mapping[str, tuple[int, Array]]

    def of(self, scores: Sequence[Array]) -> Scored:
        """By foreign set: known scores and its own, of the scores of all items of each set."""
        return {name: (scores[0][self.known], scores[place][mask]) for name, (place, mask) in self.foreign.items()}


def compare(
    reference: Reference,
    data: Source,
    *,
    foreign: Mapping[str, Source] | None = None,
    model: Model | ModelSpec | Path | str | None = None,
    compressions: Sequence[str] = SPACES,
    published_above: float = THRESHOLD,
    settings: Settings | None = None,
    labeling_config: Path | None = None,
    server: ServiceSettings | None = None,
    progress: Progress = silent,
) -> Comparison:
    """Try every score, `mean-sigma` and `knn` in every compression, and the published method in its embeddings, on a dataset.

    data: an item whose label is none of the model's classes is foreign, one with a known label is known; without labels only
    flag rates are given. foreign: further sets by name, all of whose items are foreign; beside them data without labels is what is usual.
    labeling_config, server: as of `fit`. compressions: leave "umap", "tsne" and the "-joint" ones out to save their minutes.
    published_above: diversity score above which the published method's advice turns.
    Raises DataError if a set cannot be scored or two have one name, FitError if the reference keeps no training activations.
    """
    settings = settings or reference.settings
    model = reference.open_model(model, settings)

    def read(source: Source, size: int, name: str = "") -> ComparedSet:
        dataset = open_dataset(source, labeling_config=labeling_config, classes=reference.space.classes, server=server)
        renamed = dataset.renamed(dict(model.spec.aliases))
        return read_set(model, renamed, reference.space, settings, size, progress, name=name)

    given = dict(foreign or {})
    if BY_LABEL in given or "" in given:
        raise DataError(f"a foreign set cannot be named {next(name for name in ('', BY_LABEL) if name in given)!r}; name it otherwise")
    sets = [read(data, COMPARED)]
    sets += [read(source, max(1, COMPARED // len(given)), name) for name, source in given.items()]
    told, assumed = _told(sets)
    training = reference.sample
    usable = np.flatnonzero(training.label_index >= 0)
    if len(usable) < 3:
        raise FitError(f"reference {reference.name!r} keeps no training activations; fit it again")
    present, labels = np.unique(training.label_index[usable], return_inverse=True)
    names = tuple(reference.space.names[index] for index in present)
    fitted = Outputs(training.logits[usable], tuple(layer[usable] for layer in training.full_activations()))

    tried: list[tuple[Row, Scored]] = []
    opinions = [own_opinion(reference, part.name, part.outputs, settings) for part in sets]
    spaces = [space for space in compressions if space in COMPRESSIONS]
    joint = [space for space in compressions if space in JOINT]
    tries = [("two-axes", ""), ("combined", "")] + [
        (score, compression) for score in SCORES for compression in (spaces if score in BY_DISTANCE else ("",))
    ]
    with progress("comparing scores", len(tries) + len(joint)) as advance:
        for score, compression in tries:
            started = time.perf_counter()
            wanted = replace(reference.settings, score=score, compression=compression or "pca")
            detector = fit_detector(fitted.activations, fitted.logits, labels, names, wanted, multiple=reference.space.multiple)
            decides = score == reference.settings.score and compression in ("", reference.settings.compression)
            scores, flagged, beyond = _measured(detector, reference, sets)
            row = _row(told, scores, flagged, beyond, (score, compression), decides, started)
            tried.append((row, told.of(scores)))
            advance(1)
        for space in joint:
            started = time.perf_counter()
            published = [published_on(fitted, labels, names, part.outputs, space, settings.seed) for part in sets]
            opinions += [published_opinion(part.name, found, published_above) for part, found in zip(sets, published, strict=True)]
            scores = [found.score for found in published]
            row = _row(told, scores, None, [found.outlier for found in published], ("mean-sigma", space), False, started)
            tried.append((row, told.of(scores)))
            advance(1)
    tried.sort(key=lambda row_and_scores: -(row_and_scores[0].auroc or 0.0))
    rows = tuple(row for row, _ in tried)
    best: tuple[Best, ...] = ()
    if rows[0].auroc is not None:
        deciding = next((place for place, row in enumerate(rows) if row.decides), None)
        best = best_rules([scored for _, scored in tried], deciding, np.random.default_rng(settings.seed))
    held_out = reference.held_out_sample
    order = {part.name: place for place, part in enumerate(sets)}
    return Comparison(
        rows,
        best,
        tuple(sorted(opinions, key=lambda opinion: order[opinion.set])),
        len(usable),
        0 if held_out is None else len(held_out.logits),
        sum(map(len, sets)),
        int(told.known.sum()),
        int(sum(mask.sum() for _, mask in told.foreign.values())),
        {name: int(mask.sum()) for name, (_, mask) in told.foreign.items()},
        assumed,
        reference.settings.alpha,
    )


def _told(sets: Sequence[ComparedSet]) -> tuple[_Told, bool]:
    """What is known and what is foreign, and whether the former is taken for granted. Raises DataError if two sets have one name."""
    names = [part.name for part in sets]
    if twice := next((name for place, name in enumerate(names) if name in names[:place]), None):
        raise DataError(f"two sets have the name {twice!r}; name the foreign ones: --foreign NAME=DATA")
    first = sets[0]
    foreign = {BY_LABEL: (0, first.foreign)} if first.foreign.any() else {}
    foreign |= {part.name: (place, np.ones(len(part), dtype=bool)) for place, part in enumerate(sets) if place}
    assumed = len(sets) > 1 and not first.known.any() and not first.foreign.all()
    return _Told(sets, ~first.foreign if assumed else first.known, foreign), assumed


def _measured(detector: Detector, reference: Reference, sets: Sequence[ComparedSet]) -> tuple[list[Array], list[Array] | None, list[Array]]:
    """Of each set the scores, the items beyond the conformal threshold (None where there is none) and those beyond mean + k sigma."""
    threshold = None
    held_out = reference.held_out_sample
    if held_out is not None and flagged_rank(len(held_out.logits), reference.settings.alpha):
        detector, usually = detector.calibrated(held_out.full_activations(), held_out.logits)
        threshold = outlier_threshold(usually.score, reference.settings.alpha)
    scores, beyond = list[Array](), list[Array]()
    for part in sets:  # one after the other: what is measured of a set is as large as all feature maps of its items
        found = detector.measure(part.outputs.activations, part.outputs.logits)
        scores.append(found.score)
        beyond.append(found.score > detector.sigma_limits[found.cluster])
    return scores, None if threshold is None else [of_set > threshold for of_set in scores], beyond


def _row(
    told: _Told,
    scores: Sequence[Array],
    flagged: Sequence[Array] | None,
    beyond: Sequence[Array],
    name: tuple[str, str],
    decides: bool,
    started: float,
) -> Row:
    usual = told.known if told.known.any() or told.foreign else np.ones(len(told.known), dtype=bool)
    compared = told.of(scores) if told.known.any() else {}
    sets = tuple(
        OnSet(
            of,
            auroc(*compared[of]) if of in compared else None,
            None if flagged is None else _share(flagged[place], mask),
            _share(beyond[place], mask),
        )
        for of, (place, mask) in told.foreign.items()
    )
    return Row(
        *name,
        _mean(sets, lambda on: on.auroc),
        None if flagged is None else _share(flagged[0], usual),
        _mean(sets, lambda on: on.flagged),
        _share(beyond[0], usual),
        _mean(sets, lambda on: on.beyond_sigma),
        time.perf_counter() - started,
        decides,
        sets,
    )


def _share(flags: Array, which: Array) -> float | None:
    return float(flags[which].mean()) if which.any() else None


def _mean(sets: Sequence[OnSet], of: Callable[[OnSet], float | None]) -> float | None:
    values = [value for on in sets if (value := of(on)) is not None]
    return sum(values) / len(values) if values else None

"""The detector: everything fitted from training activations that turns an item's activations into its outlier score.

It holds the compressions, the clusters and the chosen scores. `two-axes` asks two questions: is the item like no class (the deciding
layer's scores, added up after bringing each to one scale within each cluster), and is its look unusual (the feature
maps)? Held-out items say how rare each answer is. `combined` is one sum of all scores and layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.errors import FitError, SettingError
from annotriage.latent.clusters import Clusters, Moments, fit_clusters
from annotriage.latent.compression import Compression, Pca, Uncompressed, fit_compression, fit_pca, l2_normalise
from annotriage.latent.products import least_rows
from annotriage.latent.scores import SCORES, Energy, Knn, Mahalanobis, MeanSigma, RelativeMahalanobis, Score, View, Vim, squared_lengths
from annotriage.latent.source import Source, fit_source
from annotriage.latent.tails import Tails
from annotriage.settings import Settings

Array = NDArray[Any]
Labels = NDArray[np.intp]

FIT_SAMPLE = 10_000  # items that covariances are fitted on, or 20 per dimension if that is more; beyond it they hardly change
BANK = 3_000  # training items that standardise the scores and are the neighbours of `knn`
SHRINK_COUNT = 50  # a cluster's own median and quantile weigh n / (n + this) against the pooled ones
LEAST_SCALE = 1e-4  # of directions, whose length is 1: identical training items have no spread to measure by
FAR = 2.0  # a far-sighted score counts only beyond twice the normal range
TWO_AXES = "two-axes"
CLASS_MEMBERS = ("relative-mahalanobis", "knn", "energy")  # of the axis "like no class", all of the deciding layer
SOURCE = "source"


@dataclass(frozen=True)
class Member:
    """One score of the sum. layer: which of the model's layers it reads.

    far: it sees what is far from everything (sensor, texture, noise) but is noisy near the clusters, so that it is
    counted only where it exceeds FAR: this keeps its strength on foreign sources and costs nothing on unseen classes.
    """

    name: str
    layer: int
    far: bool
    score: Score


@dataclass(frozen=True)
class Measured:
    """What the detector says of N items.

    cluster: (N,) index of the nearest cluster. members: (N, k) raw scores, in the order of `Detector.members`, the source's last.
    axes: (N, a) raw values of the axis "like no class" and, where the model has feature maps, of an unusual look; of any other
    rule its one score. score: (N,) the deciding score. surprise: (N, 2) how rare each axis's value is among held-out items, 3 = stranger
    than 95% of them; NaN where there is no such axis. compressed: (N, n) points of all layers side by side, for groups, MMD, the map.
    vectors, offsets: (N, d), what `Detector.most_unlike` wants; None where there are no feature maps.
    """

    cluster: Labels
    members: Array
    axes: Array
    score: Array
    surprise: Array
    compressed: Array
    vectors: Array | None
    offsets: Array | None


@dataclass(frozen=True)
class Detector:
    """A fitted detector; made by `fit_detector`, measured against held-out items by `calibrated`.

    directions: PCA on L2-normalised activations, of each layer that a score reads. raw: PCA of the deciding layer's raw activations,
    where a score needs it. near: the compression that knn and mean-sigma use if it is not PCA. nearest: the cluster assignment.
    members: the scores that are added up. two_axes: they are the first of two axes; source: the second, None without feature maps.
    medians, spans: (k, m) of each member in each cluster, on training items; spans reach to the 95% quantile.
    training, training_clusters: (b, a), (b,) axes and nearest cluster of training items, none of which vouches for itself.
    tails: the held-out items' axes; None before there are any, and then the training items stand in.
    k_sigma: deviations at which `sigma_limits` lie. scales: typical length of each part of the compressed points, which brings the
    parts to one scale.
    """

    clusters: Clusters
    directions: tuple[Compression, ...]
    raw: Compression | None
    near: Compression | None
    nearest: Mahalanobis
    members: tuple[Member, ...]
    two_axes: bool
    source: Source | None
    medians: Array
    spans: Array
    training: Array
    training_clusters: Labels
    tails: Tails | None
    k_sigma: float
    scales: tuple[float, ...]
    dimensions: int

    def measure(self, activations: Sequence[Array], logits: Array) -> Measured:
        """Score N items. activations: one (N, d) array per layer. logits: (N, m)."""
        if 0 < len(logits) < least_rows():
            many = self.measure([_repeated(layer) for layer in activations], _repeated(logits))
            parts: dict[str, Any] = {name: part[: len(logits)] for name, part in vars(many).items() if part is not None}
            return replace(many, **parts)
        views = self._views(activations, logits)
        cluster = self.nearest.nearest(views[0].directions)
        members = np.column_stack([member.score.score(views[member.layer]) for member in self.members])
        axes = combine(members, cluster, self.members, self.medians, self.spans)[:, None]
        vectors = offsets = None
        if self.source is not None:
            vectors = self.source.vectors(activations)
            offsets = self.source.offsets(vectors)
            strange = squared_lengths(offsets)
            axes = np.column_stack([axes, strange])
            members = np.column_stack([members, strange])
        surprise, score = np.full((len(axes), 2), np.nan), axes[:, 0]
        if self.two_axes:
            surprise[:, : axes.shape[1]], score = self._tails.judge(axes)
        compressed = self._side_by_side([view.directions for view in views], vectors)
        return Measured(cluster, members, axes, score, surprise, compressed, vectors, offsets)

    @property
    def one_by_one(self) -> bool:
        """Whether what is said of an item depends on no other: UMAP and t-SNE place items together."""
        return self.near is None or isinstance(self.near, Pca | Uncompressed)

    def placed(self, activations: Sequence[Array]) -> Array:
        """Where N items lie, (N, n), as `Measured.compressed`, without scoring them: activations as of `measure`."""
        if 0 < (count := len(activations[0])) < least_rows():
            return self.placed([_repeated(layer) for layer in activations])[:count]
        layers = zip(activations, self.directions, strict=False)  # the source reads its own layers
        directions = [pca.transform_directions(activation) for activation, pca in layers]
        return self._side_by_side(directions, None if self.source is None else self.source.vectors(activations))

    def calibrated(self, activations: Sequence[Array], logits: Array) -> tuple[Detector, Measured]:
        """The detector that measures against these held-out items, and what it says of themselves, each at its place among them.

        `vectors` and `offsets` are left out: they are as large as all feature maps of the items.
        """
        measured = replace(self.measure(activations, logits), vectors=None, offsets=None)
        if not self.two_axes:
            return self, measured
        detector = replace(self, tails=Tails(measured.axes))
        tails = detector._tails
        surprise = measured.surprise.copy()
        surprise[:, : measured.axes.shape[1]] = tails.surprise(measured.axes)
        return detector, replace(measured, score=tails.own, surprise=surprise)

    def most_unlike(self, measured: Measured, which: Array) -> Labels:
        """The layer in which some items differ most from the usual look: (N,) bool of which k are True -> (k,) index of the layer."""
        if self.source is None or measured.vectors is None or measured.offsets is None:
            return np.zeros(int(which.sum()), dtype=np.intp)
        most = self.source.excess(measured.vectors[which], measured.offsets[which]).argmax(axis=1)
        return np.asarray(np.array(self.source.layers)[most], dtype=np.intp)

    def depth(self, layer: int) -> float:
        """Where a layer of `most_unlike` lies among those that the source is read from, from 0 = first to 1 = last."""
        layers = () if self.source is None else self.source.layers
        return layers.index(layer) / max(1, len(layers) - 1) if layer in layers else 0.0

    @cached_property
    def ranges(self) -> tuple[Array, Array]:
        """The normal range of each of `Measured.members` in each cluster: median and 95% quantile of training items, (k, m) each."""
        medians, edges = self.medians, self.medians + self.spans
        if self.source is not None:  # one distribution for all clusters
            middle, edge = np.quantile(self.training[:, 1], [0.5, 0.95])
            medians, edges = (np.vstack([of, np.full(of.shape[1], value)]) for of, value in ((medians, middle), (edges, edge)))
        return medians, edges

    @cached_property
    def training_class(self) -> Array:
        """(b,) ascending, the first axis of training items."""
        return np.sort(self.training[:, 0])

    @cached_property
    def training_scores(self) -> Array:
        """(b,) ascending, the deciding score of training items."""
        return np.sort(self._of_training)

    @cached_property
    def sigma_limits(self) -> Array:
        """(m,) mean + k_sigma deviations of the deciding score in each cluster, on training items."""
        if self.members[0].name == "mean-sigma" and len(self.members) == 1:  # it is in each cluster's own deviations already
            return np.full(len(self.clusters.names), self.k_sigma)
        scores = self._of_training
        limits = np.full(len(self.clusters.names), scores.mean() + self.k_sigma * scores.std())
        for index in range(len(limits)):
            own = scores[self.training_clusters == index]
            if len(own) > 1:
                limits[index] = own.mean() + self.k_sigma * own.std()
        return limits

    @cached_property
    def _tails(self) -> Tails:
        return self.tails or Tails(self.training)

    @cached_property
    def _of_training(self) -> Array:
        if not self.two_axes:
            return self.training[:, 0]
        return self._tails.own if self.tails is None else self._tails.scores(self.training)

    def _side_by_side(self, directions: Sequence[Array], vectors: Array | None) -> Array:
        """The compressed points. directions: of each layer. vectors: the source's, None where there is none."""
        parts = [part[:, : self.dimensions] for part in directions]
        if self.source is not None and vectors is not None:
            parts.append(self.source.along(vectors))
        return np.hstack([part / scale for part, scale in zip(parts, self.scales, strict=True)])

    def _views(self, activations: Sequence[Array], logits: Array) -> list[View]:
        views = []
        for layer, (activation, pca) in enumerate(zip(activations, self.directions, strict=False)):  # the source reads its own layers
            directions = pca.transform_directions(activation)
            raw = self.raw.transform(activation) if self.raw is not None and layer == 0 else directions
            near = directions[:, : self.dimensions] if self.near is None or layer else self.near.transform_directions(activation)
            views.append(View(directions, raw, near, logits))
        return views


def combine(members: Array, cluster: Labels, which: Sequence[Member], medians: Array, spans: Array) -> Array:
    """The sum of the standardised members, (N, k), (N,) -> (N,); 1 per member is the edge of the normal range."""
    standardised = (members - medians[:, cluster].T) / spans[:, cluster].T
    far = np.array([member.far for member in which])
    far &= not far.all()  # with nothing near-sighted beside them, the far-sighted must see everything
    return np.asarray(np.where(far, np.maximum(standardised - FAR, 0), standardised).sum(axis=1))


def fit_detector(
    activations: Sequence[Array], logits: Array, labels: Labels, names: tuple[str, ...], settings: Settings, *, multiple: bool = False
) -> Detector:
    """Fit everything on the training set.

    activations: one (N, d) array per layer, the first one decides. logits: (N, m). labels: (N,) index into names, every
    name occurring. multiple: the model answers several classes at once.
    Raises FitError on fewer than 3 items, SettingError on an unknown member.
    """
    two_axes = settings.score == TWO_AXES
    wanted = CLASS_MEMBERS if two_axes else settings.members if settings.score == "combined" else (settings.score,)
    unknown = [name for name in wanted if name not in SCORES]
    if unknown or not wanted:
        raise SettingError(f"setting members: {unknown[0] if unknown else ''!r} is none of {', '.join(SCORES)}")
    if len(labels) < 3:
        raise FitError(f"{len(labels)} training items are too few to compare anything with; give at least 3")
    rows = _sample(labels, max(FIT_SAMPLE, 20 * activations[0].shape[1]), settings.seed)
    labels, logits, activations = labels[rows], logits[rows], [layer[rows] for layer in activations]
    bank = np.arange(min(BANK, len(labels)))  # the rows come in random order

    normalised = [l2_normalise(layer) for layer in (activations[:1] if two_axes else activations)]
    fitted = [fit_pca(layer, labels, settings.score_dimensions, settings.seed) for layer in normalised]
    directions, moments = [pca for pca, _ in fitted], [of for _, of in fitted]
    dimensions = min(settings.neighbour_dimensions, len(directions[0].components))
    scales = tuple(max(_typical_length(of, dimensions), LEAST_SCALE) for of in moments)
    points = [pca.transform(layer[bank]) for pca, layer in zip(directions, normalised, strict=True)]
    clusters = fit_clusters(directions[0].first(dimensions).transform(normalised[0]), labels, names, settings.alpha)

    raw: Pca | None = None
    raw_moments, raw_points = moments[0], points[0]
    if {"relative-mahalanobis", "vim"} & set(wanted) and not two_axes:
        raw, raw_moments = fit_pca(activations[0], labels, settings.score_dimensions, settings.seed)
        raw_points = raw.transform(activations[0][bank])
    near: Compression | None = None
    near_points, near_clusters = points[0][:, :dimensions], clusters
    if settings.compression != "pca" and {"knn", "mean-sigma"} & set(wanted):
        near, near_points = fit_compression(normalised[0][bank], settings.compression, dimensions, settings.seed)
        near_clusters = fit_clusters(near_points, *_renumbered(labels[bank], names), settings.alpha)

    nearest = Mahalanobis.fit(moments[0])
    fits: dict[str, Callable[[], Score]] = {
        "mahalanobis": lambda: nearest,
        "relative-mahalanobis": lambda: RelativeMahalanobis.fit(raw_moments),
        "energy": lambda: Energy.fit(logits[bank], multiple),
        "knn": lambda: Knn.fit(near_points, settings.neighbours),
        "vim": lambda: Vim.fit((raw or directions[0]).transform(activations[0]), logits),
        "mean-sigma": lambda: MeanSigma(near_clusters),
    }
    members = [Member(name, 0, name == "mahalanobis", fits[name]()) for name in wanted]
    if settings.score == "combined":
        members += [Member("mahalanobis", layer, True, Mahalanobis.fit(moments[layer])) for layer in range(1, len(moments))]

    views = [View(part, raw_points, near_points, logits[bank]) for part in points]
    values = np.column_stack([member.score.score_training(views[member.layer]) for member in members])
    cluster = nearest.nearest(points[0])
    medians, spans = _standards(values, cluster, len(names))
    if settings.score == "mean-sigma":  # it is in each cluster's own deviations already
        medians, spans = np.zeros_like(medians), np.ones_like(spans)
    training = combine(values, cluster, members, medians, spans)[:, None]
    found = fit_source(activations, dimensions, len(bank), settings.seed) if two_axes else None
    source: Source | None = None
    if found is not None:
        source, distances = found
        training = np.column_stack([training, distances])
        spread = source.along(source.vectors([layer[bank] for layer in activations]))
        scales += (max(float(np.sqrt(np.einsum("ij,ij->i", spread, spread).mean())), LEAST_SCALE),)
    return Detector(
        clusters,
        tuple(directions),
        raw,
        near,
        nearest,
        tuple(members),
        two_axes,
        source,
        medians,
        spans,
        training,
        cluster,
        None,
        settings.k_sigma,
        scales,
        dimensions,
    )


def _typical_length(moments: Moments, dimensions: int) -> float:
    """Root mean square length of centred points in their first dimensions."""
    return float(np.sqrt(np.trace(moments.as_one_class().scatter[:dimensions, :dimensions]) / moments.counts.sum()))


def _sample(labels: Labels, size: int, seed: int) -> Labels:
    """At most `size` rows in random order, with at least 20 of every cluster that has them."""
    order = np.random.default_rng(seed).permutation(len(labels))
    if len(order) <= size:
        return order
    kept, rest = order[:size], order[size:]
    short = np.flatnonzero(np.bincount(labels[kept], minlength=labels.max() + 1) < 20)
    extra = [rest[labels[rest] == index][: 20 - int((labels[kept] == index).sum())] for index in short]
    return np.concatenate([kept, *extra])


def _renumbered(labels: Labels, names: tuple[str, ...]) -> tuple[Labels, tuple[str, ...]]:
    """Labels counted among those that occur, with their names: a small bank may lack a rare cluster."""
    present, numbered = np.unique(labels, return_inverse=True)
    return numbered, tuple(names[index] for index in present)


def _standards(values: Array, cluster: Labels, count: int) -> tuple[Array, Array]:
    """Median, and span from it to the 95% quantile, per member and cluster; small clusters lean on the pooled ones."""
    pooled_median, pooled_edge = np.median(values, axis=0), np.quantile(values, 0.95, axis=0)
    medians, edges = np.tile(pooled_median[:, None], count), np.tile(pooled_edge[:, None], count)
    for index in range(count):
        own = values[cluster == index]
        if len(own):
            weight = len(own) / (len(own) + SHRINK_COUNT)
            medians[:, index] += weight * (np.median(own, axis=0) - pooled_median)
            edges[:, index] += weight * (np.quantile(own, 0.95, axis=0) - pooled_edge)
    smallest = 1e-6 * np.maximum(np.abs(edges), np.abs(medians)) + 1e-12
    return medians, np.maximum(edges - medians, smallest)


def _repeated(rows: Array) -> Array:
    """(N, d) -> (M, d): the rows again and again, `least_rows` of them."""
    return np.asarray(rows[np.arange(least_rows()) % len(rows)])

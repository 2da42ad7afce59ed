"""Compression: activations -> compressed points, in which distances are measured or which are drawn.

`pca` and `none` keep distances meaningful and decide by default. `umap` and `tsne` place new points by the libraries'
own transforms; that pulls strangers onto the nearest known cluster, so they are for comparison and for maps.
Every fit is seeded; a fitted compression is plain arrays and can be stored without pickle.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from annotriage.errors import FitError
from annotriage.latent.clusters import Moments
from annotriage.latent.products import Factor

Array = NDArray[Any]
Labels = NDArray[np.intp]

LARGEST_EXACT_WIDTH = 4096  # beyond it the d x d covariance costs more than a randomised decomposition


class Compression(Protocol):
    """A fitted map from (N, d) activations to (N, n) compressed points."""

    def transform(self, activations: Array) -> Array:
        """(N, d) -> (N, n) float32; rows are treated independently of each other by `pca` and `none`."""
        ...

    def transform_directions(self, activations: Array) -> Array:
        """`transform` of the rows scaled to length 1, `l2_normalise`."""
        ...


def l2_normalise(activations: Array) -> Array:
    """Rows scaled to length 1, (N, d) -> (N, d) float32; a row of zeros stays zero.

    The length of an activation mostly says how confident the model is, its direction what it saw; without this step
    Mahalanobis distances mix the two (Mahalanobis++, arXiv 2505.18032).
    """
    rows = np.asarray(activations, dtype=np.float32)
    return np.asarray(rows / _lengths(rows)[:, None])


def _lengths(rows: Array) -> Array:
    """(N, d) float32 -> (N,), never 0."""
    return np.asarray(np.maximum(np.sqrt(np.einsum("ij,ij->i", rows, rows)), np.float32(1e-12)))


def fit_compression(activations: Array, method: str, dimensions: int, seed: int) -> tuple[Compression, Array]:
    """Fit `method` ("pca", "none", "umap", "tsne") on (N, d) activations: the compression and their own compressed points.

    dimensions: values kept, at most min(d, N - 1); umap and tsne go through `pca` with it and end in 2 values.
    seed: makes every random step repeatable. Raises FitError on fewer than 3 rows.
    """
    if len(activations) < 3:
        raise FitError(f"{len(activations)} training items are too few to compare anything with; give at least 3")
    if method == "none":
        return Uncompressed(), np.asarray(activations, dtype=np.float32)
    pca, _ = fit_pca(activations, np.zeros(len(activations), dtype=np.intp), dimensions, seed)
    points = pca.transform(activations)
    if method == "pca":
        return pca, points
    if method == "umap":
        embedding = umap_embedding(points, seed)
        return Umap(pca, points, embedding, seed), embedding
    embedding = tsne_embedding(points, seed)
    return Tsne(pca, points, embedding, seed), embedding


@dataclass(frozen=True)
class Uncompressed:
    """The activations as they are."""

    def transform(self, activations: Array) -> Array:
        """(N, d) -> (N, d) float32."""
        return np.asarray(activations, dtype=np.float32)

    def transform_directions(self, activations: Array) -> Array:
        """(N, d) -> (N, d) float32."""
        return l2_normalise(activations)


@dataclass(frozen=True)
class Pca:
    """Principal components, not whitened. mean: (d,). components: (n, d), by falling variance."""

    mean: Array
    components: Array

    def transform(self, activations: Array) -> Array:
        """(N, d) -> (N, n) float32."""
        # one product and a shift of n values instead of centring the N x d activations
        return self._factor.times(np.asarray(activations, dtype=np.float32)) - self._shift

    def transform_directions(self, activations: Array) -> Array:
        """(N, d) -> (N, n) float32."""
        rows = np.asarray(activations, dtype=np.float32)
        lengths = _lengths(rows)
        if not np.isfinite(lengths).all():  # beyond float32; then the product may be, too
            return self.transform(rows / lengths[:, None])
        placed = self._factor.times(rows)  # the scale follows the product: it has fewer values
        placed /= lengths[:, None]
        placed -= self._shift
        return np.asarray(placed)

    def first(self, dimensions: int) -> Pca:
        """The leading components alone."""
        return Pca(self.mean, self.components[:dimensions])

    @cached_property
    def _factor(self) -> Factor:
        return Factor.of(self.components.T)

    @cached_property
    def _shift(self) -> Array:
        return np.asarray(self.components @ self.mean, dtype=np.float32)


def fit_pca(activations: Array, labels: Labels, dimensions: int, seed: int) -> tuple[Pca, Moments]:
    """Principal components of (N, d) activations, and the moments of their compressed points by class, labels: (N,).

    Where the activations' covariance is worth making, everything follows from it, and not one item need be compressed.
    """
    count, width = activations.shape
    dimensions = min(dimensions, width, count - 1)
    if width <= min(count, LARGEST_EXACT_WIDTH):
        moments = Moments.of(np.asarray(activations, dtype=np.float32), labels)
        whole = moments.as_one_class()
        _, vectors = np.linalg.eigh(whole.scatter)
        pca = Pca(np.asarray(whole.means[0], dtype=np.float32), np.asarray(vectors.T[: -dimensions - 1 : -1], dtype=np.float32))
        return pca, moments.along(pca.mean, pca.components)
    from sklearn.decomposition import PCA

    solver = "full" if width <= LARGEST_EXACT_WIDTH else "randomized"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # constant columns: zero variance is fine here
        fitted = PCA(dimensions, svd_solver=solver, random_state=seed).fit(activations)
    pca = Pca(np.asarray(fitted.mean_, dtype=np.float32), np.asarray(fitted.components_, dtype=np.float32))
    return pca, Moments.of(pca.transform(activations), labels)


@dataclass(frozen=True)
class Umap:
    """UMAP to 2 values, on top of `pca`. points: (N, n) training points; embedding: (N, 2), where UMAP put them."""

    pca: Pca
    points: Array
    embedding: Array
    seed: int

    def transform(self, activations: Array) -> Array:
        """(N, d) -> (N, 2) float32, by umap-learn's own transform; the same input gives the same output."""
        if not len(activations):
            return np.empty((0, 2), dtype=np.float32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.asarray(self._model.transform(self.pca.transform(activations)), dtype=np.float32)

    def transform_directions(self, activations: Array) -> Array:
        """(N, d) -> (N, 2) float32."""
        return self.transform(l2_normalise(activations))

    @cached_property
    def _model(self) -> Any:
        # Zero epochs rebuild the neighbour graph alone; the stored embedding then takes its place.
        model = _umap_model(self.seed, len(self.points), n_epochs=0, init=self.embedding)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(self.points)
        model.embedding_, model.n_epochs = self.embedding, None
        return model


def umap_embedding(points: Array, seed: int, start: Array | None = None, dimensions: int = 2) -> Array:
    """Fit UMAP on (N, n) points: (N, 2) float32, or as many values as `dimensions` says. Repeatable for a seed.

    start: (N, 2), where the points lie at first.
    """
    options: dict[str, Any] = {} if start is None else {"init": np.asarray(start, dtype=np.float32)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = _umap_model(seed, len(points), n_components=dimensions, **options)
        return np.asarray(model.fit_transform(points), dtype=np.float32)


def _umap_model(seed: int, count: int, **options: Any) -> Any:
    import umap

    options = {"n_components": 2, **options}
    return umap.UMAP(n_neighbors=min(15, count - 1), random_state=seed, n_jobs=1, transform_seed=seed, **options)


@dataclass(frozen=True)
class Tsne:
    """t-SNE to 2 values (openTSNE), on top of `pca`. points: (N, n) training points; embedding: (N, 2), centred."""

    pca: Pca
    points: Array
    embedding: Array
    seed: int

    def transform(self, activations: Array) -> Array:
        """(N, d) -> (N, 2) float32, by openTSNE's transform; the same input gives the same output."""
        if not len(activations):
            return np.empty((0, 2), dtype=np.float32)
        placed = self._model.transform(np.asarray(self.pca.transform(activations), dtype=np.float64))
        return np.asarray(placed, dtype=np.float32)

    def transform_directions(self, activations: Array) -> Array:
        """(N, d) -> (N, 2) float32."""
        return self.transform(l2_normalise(activations))

    @cached_property
    def _model(self) -> Any:
        from openTSNE import TSNEEmbedding

        # openTSNE's transform re-centres the embedding in place: it gets a copy of its own
        return TSNEEmbedding(self.embedding.astype(np.float64), _tsne_affinities(self.points, self.seed), random_state=self.seed)


def tsne_embedding(points: Array, seed: int, start: Array | None = None, dimensions: int = 2) -> Array:
    """Fit t-SNE on (N, n) points: (N, 2) float32, centred at the origin. Repeatable for a seed.

    start, dimensions: as of `umap_embedding`.
    """
    from openTSNE import TSNEEmbedding, initialization

    if not np.ptp(points, axis=0).any():  # identical points have no scale to start from
        return np.zeros((len(points), dimensions), dtype=np.float32)
    if start is None:
        begin = initialization.pca(points, n_components=dimensions, random_state=seed)
    else:
        begin = initialization.rescale(start.astype(np.float64))
    ways = {"negative_gradient_method": "bh"} if dimensions == 3 else {}  # the faster way is there for up to 2 values alone
    embedding = TSNEEmbedding(begin, _tsne_affinities(points, seed), random_state=seed, **ways)
    embedding = embedding.optimize(n_iter=250, exaggeration=12, momentum=0.5).optimize(n_iter=500, momentum=0.8)
    placed = np.asarray(embedding, dtype=np.float32)
    return np.asarray(placed - placed.mean(axis=0))


def _tsne_affinities(points: Array, seed: int) -> Any:
    from openTSNE.affinity import PerplexityBasedNN

    perplexity = min(30.0, max(1.0, (len(points) - 1) / 3))
    return PerplexityBasedNN(np.asarray(points, dtype=np.float64), perplexity=perplexity, random_state=seed)


COMPRESSIONS = ("none", "pca", "umap", "tsne")

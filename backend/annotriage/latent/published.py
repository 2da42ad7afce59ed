"""The published method, true to its source: how many of an incoming set lie beyond mean + 2 sigma of the training clusters.

Both sets' raw activations are embedded together, so that no incoming item can be placed without fitting everything anew: it is for
whole sets, offline. `MeanSigma` in `scores.py` is the variant that places items one by one, on L2-normalised activations.
Source: US 2025/0259083. Clusters by true label, Euclidean distances, the nearest center; the source leaves the embedding's own
parameters open, and they are umap-learn's and openTSNE's defaults here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.errors import SettingError
from annotriage.latent.clusters import Clusters, fit_clusters
from annotriage.latent.compression import fit_pca, tsne_embedding, umap_embedding

Array = NDArray[Any]
Labels = NDArray[np.intp]

JOINT = {"tsne-joint": 2, "umap-joint": 2, "pca-joint": 50}  # the embeddings, and how many values each usually leaves
SIGMAS = 2.0


@dataclass(frozen=True)
class Published:
    """What the published method says of M incoming items beside N training items.

    training, incoming: (N, n), (M, n) compressed points, from one embedding. cluster: (M,) index of the nearest center.
    score: (M,) deviations above the mean distance of that cluster; an outlier exceeds k. outlier: (M,) bool.
    """

    embedding: str
    training: Array
    incoming: Array
    clusters: Clusters
    cluster: Labels
    score: Array
    outlier: Array

    @property
    def diversity(self) -> float:
        """The share of incoming items that are outliers."""
        return float(self.outlier.mean())

    @property
    def similarity(self) -> float:
        """1 - diversity."""
        return 1 - self.diversity


def published_diversity(
    training: Array,
    labels: Labels,
    names: tuple[str, ...],
    incoming: Array,
    *,
    embedding: str = "tsne-joint",
    dimensions: int | None = None,
    k_sigma: float = SIGMAS,
    seed: int = 0,
) -> Published:
    """Embed (N, d) training and (M, d) incoming activations together, and count the incoming points that fit no cluster.

    labels: (N,) true class of the training items, index into names, every name occurring. embedding: one of `JOINT`.
    dimensions: n, 2 or 3 for t-SNE and UMAP, at most d for PCA; None: 2, or 50 (all that there are, if fewer).
    k_sigma: raise it to flag less. Raises SettingError on an embedding or a number of dimensions that is not possible.
    """
    together = np.vstack([training, incoming]).astype(np.float32)
    kept = _dimensions(embedding, dimensions, together.shape)
    if embedding == "pca-joint":
        pca, _ = fit_pca(together, np.zeros(len(together), dtype=np.intp), kept, seed)
        points = pca.transform(together)
    else:
        embed = tsne_embedding if embedding == "tsne-joint" else umap_embedding
        points = embed(together, seed, dimensions=kept)
    known, new = points[: len(training)], points[len(training) :]
    clusters = fit_clusters(known, labels, names, 0.05)
    cluster, distance = clusters.nearest(new)
    score = np.asarray((distance - clusters.mu[cluster]) / clusters.sigma[cluster], dtype=np.float64)
    return Published(embedding, known, new, clusters, cluster, score, score > k_sigma)


def _dimensions(embedding: str, asked: int | None, shape: tuple[int, ...]) -> int:
    if embedding not in JOINT:
        raise SettingError(f"{embedding!r} is none of {', '.join(JOINT)}")
    most = min(shape[1], shape[0] - 1)
    if embedding == "pca-joint":
        if asked is not None and not 1 <= asked <= most:
            raise SettingError(f"{embedding} leaves 1 to {most} values of these activations, not {asked}")
        return asked or min(JOINT[embedding], most)
    if asked not in (None, 2, 3):
        raise SettingError(f"{embedding} leaves 2 or 3 values, not {asked}")
    return asked or JOINT[embedding]

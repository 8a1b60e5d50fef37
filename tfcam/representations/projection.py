"""Features projected to two dimensions, and how far they tell classes apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

By = Literal["pca", "tsne"]


class Projection(NamedTuple):
    """Points (N, 2), and the shares of variance that the axes explain; none of t-SNE."""

    points: np.ndarray
    shares: tuple[float, ...]


def project(features: np.ndarray, by: By, seed: int) -> Projection:
    """Project features (N, K) to two dimensions.

    Args:
        features: Of each picture.
        by: How.
        seed: Of t-SNE.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    if not np.ptp(features, axis=0).any():  # as of a layer that gives all pictures the same
        return Projection(np.zeros((len(features), 2), np.float32), (0.0, 0.0)[: 2 * (by == "pca")])
    if features.shape[1] == 1:  # as of a layer of one channel: points on a line
        features = np.pad(features, [(0, 0), (0, 1)])
    if by == "tsne":
        perplexity = min(30.0, (len(features) - 1) / 3)
        method = TSNE(2, perplexity=perplexity, init="pca", random_state=seed)
        return Projection(method.fit_transform(features), ())
    method = PCA(2, svd_solver="full")
    points = method.fit_transform(features.astype(np.float64)).astype(np.float32)
    return Projection(points, tuple(method.explained_variance_ratio_.tolist()))


def share_of_neighbours(features: np.ndarray, classes: Sequence[str]) -> float:
    """The share of pictures whose nearest other one is of their class."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    unit = features / np.where(lengths > 0, lengths, 1)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    nearest = cosines.argmax(axis=1)
    return float(np.mean([classes[n] == classes[other] for n, other in enumerate(nearest)]))

"""How far the metrics of other packages are from tfcam's, of one small network and equal maps.

In an environment with tfcam::

    pip install quantus xplique

``python -m tests.benchmarks.metric_differences`` prints what each package measures of two maps of
four pictures, and the largest difference. What draws its own sets of pixels differs by chance.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import quantus
import tensorflow as tf
import xplique.metrics

from tfcam import metrics

SIDE, CLASSES, COUNT = 16, 4, 4
MANY = 4000


class Pair(NamedTuple):
    """What a peer measures of each map, and what tfcam does."""

    name: str
    peer: Any
    own: Any


def build() -> Any:
    """Two convolutions, a pooling and a softmax, of pictures with one channel."""
    keras.utils.set_random_seed(1)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 1)),
            layers.Conv2D(8, 3, padding="same", activation="relu"),
            layers.Conv2D(8, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(CLASSES, activation="softmax", kernel_initializer=_wide),
        ]
    )


def _wide(shape: Any, dtype: Any = None) -> Any:
    return keras.random.normal(shape, stddev=6.0, dtype=dtype, seed=2)


def of_maps(maps: np.ndarray, masks: np.ndarray) -> Iterator[Pair]:
    """Localisation and complexity, of maps (B, H, W) in [0, 1] and masks."""
    plain = {"normalise": False, "disable_warnings": True}
    given = {"model": None, "x_batch": maps[:, np.newaxis], "y_batch": np.zeros(len(maps), int)}
    given |= {"a_batch": maps[:, np.newaxis], "channel_first": True}

    def ask(kind: Any, **options: Any) -> Any:
        truth = {"s_batch": masks[:, np.newaxis]} if "localisation" in kind.__module__ else {}
        return kind(**plain, **options)(
            **{key: _copy(each) for key, each in given.items()}, **truth
        )

    def own(function: Any, **options: Any) -> list[float]:
        return [function(each, mask, **options) for each, mask in zip(maps, masks, strict=True)]

    yield Pair("Quantus Sparseness, gini", ask(quantus.Sparseness), metrics.gini(maps))
    yield Pair("Quantus Complexity, entropy", ask(quantus.Complexity), metrics.entropy(maps))
    pointing = own(metrics.pointing_game, tolerance=0)
    yield Pair("Quantus PointingGame, pointing_game", ask(quantus.PointingGame), pointing)
    mass = ask(quantus.RelevanceMassAccuracy)
    yield Pair("Quantus RelevanceMassAccuracy, energy", mass, own(metrics.energy))
    rank = ask(quantus.RelevanceRankAccuracy)
    yield Pair("Quantus RelevanceRankAccuracy", rank, own(metrics.relevance_rank_accuracy))
    yield Pair("Quantus AUC, localisation_auc", ask(quantus.AUC), own(metrics.localisation_auc))


def _copy(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else value  # Quantus changes what it gets


def of_quantus(model: Any, images: np.ndarray, maps: np.ndarray) -> Iterator[Pair]:
    """What asks the network, of signed maps (B, H, W)."""
    probe = metrics.Probe(model, images, preprocess=None)
    classes = np.asarray(probe.targets)
    plain = {"normalise": False, "disable_warnings": True, "return_aggregate": False}
    given = {"x_batch": images, "y_batch": classes, "a_batch": maps[:, np.newaxis]}

    def ask(kind: Any, **options: Any) -> Any:
        copies = {key: _copy(each) for key, each in given.items()}
        return kind(**plain, **options)(model=model, channel_first=False, softmax=True, **copies)

    flipped = ask(quantus.PixelFlipping, features_in_step=SIDE)
    curve = metrics.deletion(probe, _ranked(maps), steps=SIDE)
    yield Pair("Quantus PixelFlipping, deletion", flipped, curve.probabilities[:, 1:])
    own = metrics.faithfulness_correlation(probe, maps, subsets=MANY, size=32)
    peer = ask(quantus.FaithfulnessCorrelation, nr_runs=MANY, subset_size=32)
    yield Pair(f"Quantus FaithfulnessCorrelation, {MANY} sets", peer, own)


def _ranked(maps: np.ndarray) -> np.ndarray:
    """The same order in [0, 1], as deletion takes it."""
    low, high = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
    return (maps - low) / (high - low)


def of_xplique(model: Any, images: np.ndarray, maps: np.ndarray) -> Iterator[Pair]:
    """The same by xplique."""
    probe = metrics.Probe(model, images, preprocess=None)
    targets = tf.one_hot(np.asarray(probe.targets), CLASSES)
    shown = _ranked(maps)
    kinds = xplique.metrics
    deletion = [
        kinds.Deletion(model, images[[i]], targets[i : i + 1], steps=SIDE) for i in range(COUNT)
    ]
    areas = [each(shown[[i]]) for i, each in enumerate(deletion)]
    own = metrics.deletion(probe, shown, steps=SIDE).area
    yield Pair("xplique Deletion", areas, own)
    options = {"grid_size": 8, "nb_samples": MANY}
    fidelity = [
        kinds.MuFidelity(model, images[[i]], targets[i : i + 1], **options)(maps[[i]])
        for i in range(COUNT)
    ]
    own = metrics.mu_fidelity(probe, maps, subsets=MANY, grid=8)
    yield Pair(f"xplique MuFidelity, {MANY} sets", fidelity, own)


def main() -> None:
    """Print all pairs."""
    warnings.simplefilter("ignore")
    draw = np.random.default_rng(0)
    images = draw.random((COUNT, SIDE, SIDE, 1)).astype(np.float32)
    images[:, 0, 0] = 0  # what Quantus calls black is the least value
    model = build()
    signed = draw.normal(size=(COUNT, SIDE, SIDE)).astype(np.float32)
    signed += 4 * (images[..., 0] - 0.5)
    masks = np.zeros((COUNT, SIDE, SIDE), bool)
    masks[:, 3:9, 4:12] = True
    pairs = [
        *of_maps(_ranked(signed), masks),
        *of_quantus(model, images, signed),
        *of_xplique(model, images, signed),
    ]
    for name, peer, own in pairs:
        theirs, ours = np.asarray(peer, float), np.asarray(own, float)
        print(f"{name}: {np.abs(theirs - ours).max():.1e}", theirs.ravel()[:4], ours.ravel()[:4])


if __name__ == "__main__":
    main()

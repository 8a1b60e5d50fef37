"""How far the maps of other packages are from tfcam's, of one small network with equal weights.

In an environment with tfcam::

    pip install shap lime xplique

``python -m tests.benchmarks.differences --torch PYTHON`` prints the largest difference of each
map, as a share of the largest value of the peer's map; ``PYTHON`` is that of the environment that
``differences_torch`` describes, and can be left out.
"""

from __future__ import annotations

import argparse
import functools
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

import tfcam
from tests.benchmarks import peers_work

SIDE, TARGET, CELLS = 16, 3, 3
# The number of the part that each pixel is of.
parts = functools.partial(peers_work.parts, SIDE, CELLS)
MANY, FEW = 16000, 1000


class Pair(NamedTuple):
    """A map of a peer, and that of tfcam."""

    name: str
    peer: np.ndarray
    own: np.ndarray


def build() -> Any:
    """Two convolutions, of which one has a batch normalisation, a pooling and two dense layers."""
    keras.utils.set_random_seed(1)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            layers.Conv2D(8, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(12, 3),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(16, activation="relu"),
            layers.Dense(5),
        ]
    )
    draw = np.random.default_rng(0)
    for weight in model.weights:
        if len(weight.shape) == 1:
            away = 1.0 if "gamma" in weight.name or "variance" in weight.name else 0.0
            weight.assign(away + draw.uniform(-0.2, 0.2, weight.shape))
    return model


def own(model: Any, image: np.ndarray, method: str, **options: Any) -> np.ndarray:
    """tfcam's map."""
    return tfcam.explain(model, image, target=TARGET, method=method, preprocess=None, **options).raw


def of_torch(model: Any, image: np.ndarray, python: str) -> Iterator[Pair]:
    """The maps of captum and zennit."""
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder, "given.npz"), Path(folder, "maps.npz")
        weights = {f"w{number}": value for number, value in enumerate(model.get_weights())}
        np.savez(given, image=image, target=TARGET, parts=parts(), **weights)
        script = [python, "-m", "tests.benchmarks.differences_torch", str(given), str(made)]
        subprocess.run(script, check=True, env={"PYTHONPATH": "."})
        maps = dict(np.load(made))
    score = model(image[np.newaxis])[:, TARGET].numpy()
    yield Pair("score", maps.pop("score"), score)
    shapley = own(model, image, "kernel_shap", segments=parts(), fill="zero")
    for name, peer in maps.items():
        package, _, what = name.partition(" ")
        if package == "zennit":
            ours = own(model, image, "lrp", composite=what)
        elif what == "LRP":
            ours = own(model, image, "lrp", composite="epsilon", epsilon=1e-9)
        elif what == "DeepLift":
            ours = own(model, image, "deep_lift")
        elif what == "Occlusion":
            ours, peer = (
                own(model, image, "occlusion", window=4, stride=2, fill="zero"),
                peer[..., 0],
            )
        else:
            ours, peer = shapley, peer[..., 0]
        yield Pair(name, peer, ours)


def of_shap(model: Any, image: np.ndarray) -> Iterator[Pair]:
    """KernelExplainer with all choices of the parts, and GradientExplainer."""
    import shap

    numbers = parts()

    def scores(chosen: np.ndarray) -> np.ndarray:
        return model(chosen[:, numbers][..., np.newaxis] * image)[:, TARGET].numpy()

    count = CELLS**2
    explainer = shap.KernelExplainer(scores, np.zeros((1, count)))
    values = explainer.shap_values(np.ones((1, count)), nsamples=2**count - 2, l1_reg=0)
    ours = own(model, image, "kernel_shap", segments=numbers, fill="zero")
    yield Pair("shap KernelExplainer", values[0][numbers], ours)

    baselines = np.random.default_rng(1).normal(size=(10, SIDE, SIDE, 3)).astype(np.float32)
    gradients = shap.GradientExplainer(model, baselines)
    for samples in (FEW, MANY):
        values = gradients.shap_values(image[np.newaxis], nsamples=samples, rseed=0)
        ours = own(model, image, "expected_gradients", baselines=baselines, samples=samples)
        yield Pair(f"shap GradientExplainer, {samples}", values[0][..., TARGET], ours)


def of_lime(model: Any, image: np.ndarray) -> Iterator[Pair]:
    """LimeImageExplainer on the same parts."""
    from lime.lime_image import LimeImageExplainer

    for samples in (FEW, MANY):
        found = LimeImageExplainer(random_state=0, verbose=False).explain_instance(
            image.astype(np.float64),
            lambda batch: model(np.stack(batch).astype(np.float32)).numpy(),
            labels=(TARGET,),
            top_labels=None,
            hide_color=0,
            num_features=CELLS**2,
            num_samples=samples,
            batch_size=500,
            segmentation_fn=lambda _: parts(),
        )
        weights = dict(found.local_exp[TARGET])
        peer = np.vectorize(weights.get)(parts())
        ours = own(model, image, "lime", segments=parts(), samples=samples, fill="zero")
        yield Pair(f"lime, {samples}", peer, ours)


def of_xplique(model: Any, image: np.ndarray) -> Iterator[Pair]:
    """Occlusion with windows that touch and that overlap, Rise, Lime and KernelShap."""
    from sklearn.linear_model import Ridge
    from xplique import attributions

    images = image[np.newaxis]
    wanted = np.eye(5, dtype=np.float32)[[TARGET]]

    def peer(kind: str, **options: Any) -> np.ndarray:
        tf.random.set_seed(0)
        made = getattr(attributions, kind)(model, batch_size=100, **options)
        return np.asarray(made.explain(images, wanted))[0].reshape(SIDE, SIDE, -1)[..., 0]

    for stride in (4, 2):
        occlusion = peer("Occlusion", patch_size=4, patch_stride=stride)
        ours = own(model, image, "occlusion", window=4, stride=stride, fill="zero")
        yield Pair(f"xplique Occlusion, stride {stride}", occlusion, ours)
    covers = np.array([min(2, 1 + min(place // 2, (SIDE - 1 - place) // 2)) for place in range(16)])
    yield Pair("xplique Occlusion, stride 2, by covers", occlusion / np.outer(covers, covers), ours)

    space = {"map_to_interpret_space": lambda _: tf.constant(parts(), tf.int32)}
    space["ref_value"] = np.zeros(3, np.float32)

    def near(original: Any, chosen: tf.Tensor, seen: Any) -> tf.Tensor:
        shares = tf.reduce_mean(tf.cast(chosen, tf.float32), 1)
        return tf.exp(-0.5 * ((1 - tf.sqrt(shares)) / 0.25) ** 2)

    exact = own(model, image, "kernel_shap", segments=parts(), fill="zero")
    for samples in (FEW, MANY):
        rise = peer("Rise", nb_samples=samples, grid_size=4)
        ours = own(model, image, "rise", masks=samples, cells=4, fill="zero")
        yield Pair(f"xplique Rise, {samples}", rise - rise.mean(), ours - ours.mean())
        fitted = {"interpretable_model": Ridge(alpha=1), "similarity_kernel": near}
        lime = peer("Lime", nb_samples=samples, **fitted, **space)
        ours = own(model, image, "lime", segments=parts(), samples=samples, fill="zero")
        yield Pair(f"xplique Lime, {samples}", lime, ours)
        yield Pair(
            f"xplique KernelShap, {samples}", peer("KernelShap", nb_samples=samples, **space), exact
        )


def main() -> None:
    """Print the differences."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--torch", metavar="PYTHON")
    python = parser.parse_args().torch
    model = build()
    image = np.random.default_rng(2).normal(size=(SIDE, SIDE, 3)).astype(np.float32)
    peers = [of_shap(model, image), of_lime(model, image), of_xplique(model, image)]
    if python:
        peers.insert(0, of_torch(model, image, python))
    for peer in peers:
        try:
            for name, theirs, ours in peer:
                off = np.abs(theirs - ours).max() / np.abs(theirs).max()
                print(f"{name:45} {off:.1e}", flush=True)
        except Exception as error:
            print(f"stopped: {type(error).__name__}: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()

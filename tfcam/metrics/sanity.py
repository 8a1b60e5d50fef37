"""Does a map depend on what it claims to explain? On the weights, the class, the image.

A method whose maps stay the same when the network has forgotten everything shows the image, not
the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, get_args

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from tfcam.engine.opened_model import open_model
from tfcam.explainer.explainer import Explainer
from tfcam.methods.selection import MethodChoice
from tfcam.metrics.random_weights import kept_weights, reinitialise, stages
from tfcam.metrics.sanity_result import Mode, Randomisation
from tfcam.metrics.similarity import spearman
from tfcam.metrics.similarity_table import (
    SIMILARITIES,
    absolute_map,
    means_and_deviations,
    similarities,
)
from tfcam.model.graph import graph_of
from tfcam.model.hooks import LOCK
from tfcam.model.inputs import split_batch
from tfcam.model.taps import Layers
from tfcam.preprocessing.modes import Preprocess
from tfcam.results.explanation import Explanation

CHECKED_METHODS = ("saliency", "grad_cam", "guided_backprop")


def randomisation(
    model: keras.Model,
    images: Any,
    layer: Layers = None,
    *,
    methods: Sequence[MethodChoice] | None = None,
    mode: Mode = "cascading",
    explained: Literal["original", "randomised"] = "original",
    steps: int = 10,
    preprocess: Preprocess = "auto",
    batch_size: int = 32,
    seed: int = 0,
) -> Randomisation:
    """The model parameter randomisation test: do maps change when the weights are drawn anew?

    From the logits downwards, the weights of a few layers at a time are drawn by each layer's own
    initialiser; the maps are made again and compared with the original ones. The model gets its
    weights back, bit for bit, however this ends; until then other threads must not use it.

    Args:
        model: Any model that ``explain`` takes.
        images: A batch or one image, as ``tfcam.explain`` takes them. One picture tells little.
        layer: The layer: a path ("resnet50/conv5_block3_out"), a bare name where it is unique, or
            an index of ``tfcam.layers``; by default the map that feeds the last global pooling, or
            else the last map. Several, or "all_convolutions", are fused into one map. Several are a
            list; layer objects are taken, too.
        methods: The methods, by their names in ``tfcam.METHODS``; by default saliency, grad_cam and
            guided_backprop. Functions Reading -> (B, h, w) and names with options, as in
            ("score_cam", {"channels": 32}), are taken, too.
        mode: "cascading" keeps what was randomised before; "independent" randomises one group of
            layers at a time.
        explained: "original" explains the class that the original model predicts; "randomised" what
            the randomised one does, as the authors' notebook.
        steps: Number of groups into which the layers are split; the logits' layer is one of its
            own.
        preprocess: How pixels of 0..255 become the model's input: "auto" finds out, "raw" leaves
            them, "unit", "tf", "torch" and "caffe" scale them, and the name of a keras.applications
            family, such as "resnet_v2", does what that needs. Or a callable on (B, H, W, 3) float32
            pixels, or None for images that are already prepared.
        batch_size: Number of images that are computed at once; fewer take less memory.
        seed: Random seed, at least 0: the same seed gives the same result.

    Returns:
        A ``Randomisation``: its ``table``, ``verdicts``, ``plot()`` and ``show()``.

    Raises:
        ValueError: If an argument does not fit, or a layer can't be made anew.

    Source: Adebayo et al. 2018, "Sanity checks for saliency maps", section 3.

    Example:
        >>> import tfcam
        >>> scenes = [tfcam.scenes.draw_scene(seed).image for seed in (1, 2)]
        >>> found = randomisation(tfcam.demo_model(), scenes, methods=["eigen_cam"], steps=3)
        >>> found.table[["step", "layer", "spearman"]].round(2).values.tolist()[:2]
        [[0, 'nothing', 1.0], [1, 'kinds', 1.0]]
    """
    if mode not in get_args(Mode):
        raise ValueError(f"mode must be 'cascading' or 'independent'; got {mode!r}.")
    if explained not in ("original", "randomised"):
        raise ValueError(f"explained must be 'original' or 'randomised'; got {explained!r}.")
    explainers = _explainers(model, layer, methods, preprocess, batch_size)
    rows: list[dict[str, Any]] = []
    with LOCK, kept_weights(model):
        originals = {name: _explained(each, images) for name, each in explainers.items()}
        heatmaps: dict[str, list[np.ndarray]] = {name: [] for name in explainers}
        for step, lowest in _randomised(model, mode, steps, seed):
            for name, explainer in explainers.items():
                before = originals[name]
                targets = [each.target for each in before] if explained == "original" else None
                after = _explained(explainer, images, targets)
                heatmaps[name].append(after[0].heatmap)
                rows += [
                    {"method": name, "step": step, "layer": lowest, "image": number, **alike}
                    for number, alike in enumerate(map(similarities, before, after))
                ]
    first = next(iter(originals.values()))[0].image
    unrelated = {name: _unrelated(each) for name, each in originals.items()}
    return Randomisation(pd.DataFrame(rows), mode, explained, first, heatmaps, unrelated)


def class_sensitivity(
    model: keras.Model,
    images: Any,
    layer: Layers = None,
    *,
    methods: Sequence[MethodChoice] | None = None,
    preprocess: Preprocess = "auto",
    batch_size: int = 32,
) -> pd.DataFrame:
    """How alike the maps of the most and the least likely class are: low where they tell classes.

    Args:
        model: Any model with one output of classes.
        images: A batch or one image, as ``tfcam.explain`` takes them.
        layer: The layer: a path ("resnet50/conv5_block3_out"), a bare name where it is unique, or
            an index of ``tfcam.layers``; by default the map that feeds the last global pooling, or
            else the last map. Several, or "all_convolutions", are fused into one map. Several are a
            list; layer objects are taken, too.
        methods: The methods, by their names in ``tfcam.METHODS``; by default saliency, grad_cam and
            guided_backprop. Functions Reading -> (B, h, w) and names with options, as in
            ("score_cam", {"channels": 32}), are taken, too.
        preprocess: How pixels of 0..255 become the model's input: "auto" finds out, "raw" leaves
            them, "unit", "tf", "torch" and "caffe" scale them, and the name of a keras.applications
            family, such as "resnet_v2", does what that needs. Or a callable on (B, H, W, 3) float32
            pixels, or None for images that are already prepared.
        batch_size: Number of images that are computed at once; fewer take less memory.

    Returns:
        One row for each method: mean and deviation of each similarity, as in ``Randomisation``.

    Raises:
        ValueError: If an argument does not fit.

    Source: the similarities are those of Adebayo et al. 2018; the pair of classes is our choice.

    Example:
        >>> import tfcam
        >>> scene = tfcam.scenes.draw_scene(3, shapes=2).image
        >>> found = class_sensitivity(
        ...     tfcam.demo_model(), [scene], methods=["grad_cam", "eigen_cam"])
        >>> found[["method", "spearman"]].round(2).values.tolist()[1]
        ['eigen_cam', 1.0]
    """
    scores = _outputs(model, images, preprocess)
    likely, unlikely = scores.argmax(axis=-1).tolist(), scores.argmin(axis=-1).tolist()
    rows = []
    for name, explainer in _explainers(model, layer, methods, preprocess, batch_size).items():
        pair = (_explained(explainer, images, each) for each in (likely, unlikely))
        rows += [{"method": name, **alike} for alike in map(similarities, *pair)]
    return means_and_deviations(pd.DataFrame(rows), ["method"], SIMILARITIES)


def input_sensitivity(
    model: keras.Model,
    images: Any,
    layer: Layers = None,
    *,
    methods: Sequence[MethodChoice] | None = None,
    radius: float = 0.05,
    samples: int = 20,
    preprocess: Preprocess = "auto",
    batch_size: int = 32,
    seed: int = 0,
) -> pd.DataFrame:
    """How much maps change with small changes of the image: ``max_sensitivity`` of each method.

    Args:
        model: Any model that ``explain`` takes.
        images: A batch or one image, as ``tfcam.explain`` takes them.
        layer: The layer: a path ("resnet50/conv5_block3_out"), a bare name where it is unique, or
            an index of ``tfcam.layers``; by default the map that feeds the last global pooling, or
            else the last map. Several, or "all_convolutions", are fused into one map. Several are a
            list; layer objects are taken, too.
        methods: The methods, by their names in ``tfcam.METHODS``; by default saliency, grad_cam and
            guided_backprop. Functions Reading -> (B, h, w) and names with options, as in
            ("score_cam", {"channels": 32}), are taken, too.
        radius: Largest change of a value, as a fraction of the range of the image's values.
        samples: Number of changed images that are tried for each one.
        preprocess: How pixels of 0..255 become the model's input: "auto" finds out, "raw" leaves
            them, "unit", "tf", "torch" and "caffe" scale them, and the name of a keras.applications
            family, such as "resnet_v2", does what that needs. Or a callable on (B, H, W, 3) float32
            pixels, or None for images that are already prepared.
        batch_size: Number of images that are computed at once; fewer take less memory.
        seed: Random seed, at least 0: the same seed gives the same result.

    Returns:
        One row for each method: ``max_sensitivity``, the mean over the images, and its deviation.
        The raw maps are compared, of the class predicted for the unchanged image.

    Raises:
        ValueError: If an argument does not fit.

    Source: Yeh et al. 2019, "On the (in)fidelity and sensitivity of explanations", section 4.

    Example:
        >>> import tfcam
        >>> scene = tfcam.scenes.draw_scene(1).image
        >>> found = input_sensitivity(
        ...     tfcam.demo_model(), [scene], methods=["grad_cam", "saliency"], samples=4)
        >>> bool(found["max_sensitivity"][0] < found["max_sensitivity"][1])
        True
    """
    values = _prepared(model, images, preprocess)
    if graph_of(model).inputs[0].channels_first:  # prepared ones have the channels last
        values = [np.moveaxis(each, -1, 1) for each in values]
    rows = []
    for name, explainer in _explainers(model, layer, methods, None, batch_size).items():
        for image in values:
            target = _explained(explainer, image)[0].target

            def maps(batch: np.ndarray, explainer: Explainer = explainer, of: Any = target) -> Any:
                return np.stack([each.raw for each in _explained(explainer, batch, of)])

            found = max_sensitivity(
                maps, image[0], radius=radius * float(np.ptp(image)), samples=samples, seed=seed
            )
            rows.append({"method": name, "max_sensitivity": found})
    return means_and_deviations(pd.DataFrame(rows), ["method"], ["max_sensitivity"])


def max_sensitivity(
    explain: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    *,
    radius: float,
    samples: int = 20,
    seed: int = 0,
) -> float:
    """The largest relative change of a map over random small changes of the image.

    max over d, |d|_inf <= r, of ||Phi(x + d) - Phi(x)||_F / ||Phi(x)||_F, over d drawn uniformly:
    with finitely many a lower bound of the maximum, which grows with their number.

    Args:
        explain: Images (B, ...) -> maps (B, ...).
        image: One image, as ``explain`` takes it.
        radius: r, in the units of the image's values.
        samples: Number of changes d that are drawn.
        seed: Random seed, at least 0: the same seed gives the same result.

    Returns:
        At least 0; infinite where the map was all zero and is no longer.

    Raises:
        ValueError: If the radius is negative, there are no samples, or a map is not finite.

    Source: Yeh et al. 2019, definition of SENS_MAX, divided by the norm of the map.

    Example:
        >>> max_sensitivity(lambda images: images**2, np.array([[2.0]]), radius=0.0)
        0.0
        >>> 0.09 < max_sensitivity(lambda images: 3 * images, np.array([[2.0]]), radius=0.2) <= 0.1
        True
    """
    if not radius >= 0 or samples < 1:
        raise ValueError(
            f"The radius must be at least 0 and samples at least 1; got {radius} and {samples}."
        )
    rng = np.random.default_rng(seed)
    changes = rng.uniform(-radius, radius, (samples, *image.shape)).astype(image.dtype)
    first = np.asarray(explain(image[np.newaxis]), np.float64)
    others = np.asarray(explain(image + changes), np.float64)
    if not np.isfinite(first).all() or not np.isfinite(others).all():
        raise ValueError(
            "Maps must be finite to be compared; here they hold NaN or infinite values. "
            "tfcam.diagnose says in which layer they start."
        )
    changed = np.sqrt(((others - first) ** 2).reshape(samples, -1).sum(axis=1).max())
    if changed == 0:
        return 0.0
    norm = np.sqrt((first**2).sum())
    return float(changed / norm) if norm > 0 else float("inf")


def _explainers(
    model: Any,
    layer: Layers,
    methods: Sequence[MethodChoice] | None,
    preprocess: Preprocess,
    batch_size: int,
) -> dict[str, Explainer]:
    """An explainer for each method, by its name."""
    methods = CHECKED_METHODS if methods is None else methods
    if isinstance(methods, str) or not methods:
        raise ValueError(f"methods must be a list that holds at least one; got {methods!r}.")
    found: dict[str, Explainer] = {}
    for choice in methods:
        method, options = choice if isinstance(choice, tuple) else (choice, {})
        shared: dict[str, Any] = {"preprocess": preprocess, "batch_size": batch_size}
        explainer = Explainer(model, layer, method=method, progress=False, **shared, **options)
        stated = ", ".join(f"{key}={value}" for key, value in options.items())
        name = method if isinstance(method, str) else getattr(method, "__name__", "method")
        found[f"{name}({stated})" if stated else name] = explainer
    return found


def _explained(explainer: Explainer, images: Any, targets: Any = None) -> list[Explanation]:
    """The explanations of a batch; of one image a list of one."""
    found = explainer(images, targets)
    results = [found] if isinstance(found, Explanation) else list(found)
    if results[0].heatmap.ndim != 2:
        raise ValueError(f"Sanity checks compare maps of images; this one has {results[0].extent}.")
    return results


def _prepared(model: Any, images: Any, preprocess: Preprocess) -> list[np.ndarray]:
    """Each image as the model takes it, (1, H, W, C)."""
    opened = open_model(model)
    if len(opened.graph.inputs) > 1:
        raise ValueError(
            f"Sensitivity is measured on models with one input; {model.name!r} has several. Use "
            "max_sensitivity with a function of your own."
        )
    batch = split_batch(images, opened.axes)
    batch = [images] if batch is None else batch
    return [opened.prepare_one(each, preprocess, "sanity").inputs for each in batch]


def _outputs(model: Any, images: Any, preprocess: Preprocess) -> np.ndarray:
    """(B, classes): what the model says of each image."""
    graph, prepared = graph_of(model), _prepared(model, images, preprocess)
    outputs = [graph.run([tf.constant(image)]) for image in prepared]
    if not all(tf.is_tensor(each) and each.shape.rank == 2 for each in outputs):
        raise ValueError("class_sensitivity needs a model with one output of classes, (B, C).")
    return np.concatenate([each.numpy() for each in outputs])


def _randomised(model: Any, mode: Mode, steps: int, seed: int) -> Iterator[tuple[int, str]]:
    """Draw weights step by step; at each yield the model is as that step wants it."""
    chosen = stages(model, steps)
    yield 0, "nothing"
    for step, stage in enumerate(chosen, 1):
        if mode == "cascading":
            reinitialise(stage, seed)
            yield step, stage.name
            continue
        with kept_weights(model):
            reinitialise(stage, seed)
            yield step, stage.name


def _unrelated(maps: Sequence[Explanation]) -> float | None:
    """The mean rank correlation of each picture's absolute map with that of the next one."""
    ranked = [absolute_map(each.raw, each.heatmap.ndim) for each in maps]
    if len(ranked) < 2 or len({each.shape for each in ranked}) > 1:
        return None
    following = [*ranked[1:], ranked[0]]
    return float(np.mean([spearman(*pair) for pair in zip(ranked, following, strict=True)]))

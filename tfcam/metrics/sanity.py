"""Sanity checks: does a map depend on the weights, the class and the image?

A method whose maps stay the same when the network has forgotten everything shows the image, not
the network.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, get_args

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from tfcam.engine.opened_model import open_model
from tfcam.engine.options import OUTPUT, SEED, Score
from tfcam.explainer.explainer import Explainer
from tfcam.methods.selection import MethodChoice
from tfcam.metrics.map_changes import change_maps
from tfcam.metrics.random_weights import Stage, kept_weights, reinitialise, stages
from tfcam.metrics.sanity_result import Mode, Randomisation
from tfcam.metrics.similarity import spearman
from tfcam.metrics.similarity_table import (
    SIMILARITIES,
    absolute_map,
    means_and_deviations,
    similarities,
)
from tfcam.model.given import split_batch
from tfcam.model.graph import graph_of
from tfcam.model.hooks import LOCK
from tfcam.model.taps import Layers
from tfcam.preprocessing.modes import Preprocess
from tfcam.results.explanation import Explanation
from tfcam.utils.progress import progress_bar

_SENSITIVITIES = ("max_sensitivity", "local_lipschitz")
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
    score: Score = "logit",
    input: str | int | None = None,
    output: str | int | None = None,
    grid: tuple[int, ...] | None = None,
    batch_size: int = 32,
    seed: int = 0,
    progress: bool | None = None,
) -> Randomisation:
    """Test whether maps change when the weights are drawn anew: model parameter randomisation.

    From the logits downwards, the weights of a few layers at a time are drawn by each layer's own
    initialiser; the maps are made again and compared with the original ones. The model gets its
    weights back, bit for bit, however this ends; until then other threads must not use it.

    Args:
        model: Any model that ``explain`` takes.
        images: A batch or one image, as ``tfcam.explain`` takes them. One picture tells little.
        layer: The layer: a path ("resnet50/conv5_block3_out"), a bare name where it is unique, or
            an index of ``tfcam.layers``; by default the last map that the output is computed from,
            before pooling, a softmax over positions or a mixing of axes. Several, or
            "all_convolutions", are fused into one map. Several are a list; layer objects are taken,
            too.
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
            pixels, ``tfcam.images.Window``, or None if prepared.
        score: The number that is explained: "logit", the score before the final softmax or sigmoid,
            or "probability", the one after it.
        input: Which input is explained of a model that has several, by name or index; by default
            the first of those with most axes.
        output: Which output is explained of a model that has several, by name or index.
        grid: Height and width of a transformer's grid of patches, of videos and volumes (frames,
            height, width) of its tubes; needed only where it can't be found.
        batch_size: Number of images that are computed at once; fewer take less memory.
        seed: Random seed, at least 0: the same seed gives the same result.
        progress: Show a progress bar on the error stream; by default in a terminal or a notebook,
            where it takes more than a second.

    Returns:
        A ``Randomisation``: its ``table``, ``verdicts``, ``plot()`` and ``show()``.

    Raises:
        ValueError: If an argument does not fit, or a layer can't be made anew.

    Source: Adebayo et al. 2018, "Sanity checks for saliency maps", section 3.

    Example:
        >>> import tfcam
        >>> scenes = [tfcam.scenes.draw_scene(seed).image for seed in (1, 2)]
        >>> result = randomisation(tfcam.demo_model(), scenes, methods=["eigen_cam"], steps=3)
        >>> result.table[["step", "layer", "spearman"]].round(2).values.tolist()[:2]
        [[0, 'nothing', 1.0], [1, 'kinds', 1.0]]
    """
    if mode not in get_args(Mode):
        raise ValueError(f"mode must be 'cascading' or 'independent'; got {mode!r}.")
    if explained not in ("original", "randomised"):
        raise ValueError(f"explained must be 'original' or 'randomised'; got {explained!r}.")
    shared = {"preprocess": preprocess, "score": score, "input": input, "output": output}
    explainers = _explainers(methods, model, layer, **shared, grid=grid, batch_size=batch_size)
    groups, rows = stages(model, steps), []
    total = len(explainers) * (len(groups) + 2)
    with LOCK, kept_weights(model), progress_bar(total, "randomising", progress) as advance:
        originals = {}
        for name, explainer in explainers.items():
            originals[name] = _explain_batch(explainer, images)
            advance()
        heatmaps: dict[str, list[np.ndarray]] = {name: [] for name in explainers}
        for step, lowest in _randomise(model, mode, groups, SEED.check(seed)):
            for name, explainer in explainers.items():
                before = originals[name]
                targets = [e.target for e in before] if explained == "original" else None
                after = _explain_batch(explainer, images, targets)
                heatmaps[name].append(after[0].heatmap)
                rows += [
                    {"method": name, "step": step, "layer": lowest, "image": number, **row}
                    for number, row in enumerate(map(similarities, before, after))
                ]
                advance()
    first = next(iter(originals.values()))[0].image
    unrelated = {name: _unrelated(explanations) for name, explanations in originals.items()}
    return Randomisation(pd.DataFrame(rows), mode, explained, first, heatmaps, unrelated)


def class_sensitivity(
    model: keras.Model,
    images: Any,
    layer: Layers = None,
    *,
    methods: Sequence[MethodChoice] | None = None,
    preprocess: Preprocess = "auto",
    score: Score = "logit",
    output: str | int | None = None,
    grid: tuple[int, ...] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
) -> pd.DataFrame:
    """Measure how similar the maps of the most and the least likely class are.

    Low where maps tell classes apart.

    Args:
        model: Any model with one output of classes.
        images: A batch or one image, as ``tfcam.explain`` takes them.
        layer: The layer: a path ("resnet50/conv5_block3_out"), a bare name where it is unique, or
            an index of ``tfcam.layers``; by default the last map that the output is computed from,
            before pooling, a softmax over positions or a mixing of axes. Several, or
            "all_convolutions", are fused into one map. Several are a list; layer objects are taken,
            too.
        methods: The methods, by their names in ``tfcam.METHODS``; by default saliency, grad_cam and
            guided_backprop. Functions Reading -> (B, h, w) and names with options, as in
            ("score_cam", {"channels": 32}), are taken, too.
        preprocess: How pixels of 0..255 become the model's input: "auto" finds out, "raw" leaves
            them, "unit", "tf", "torch" and "caffe" scale them, and the name of a keras.applications
            family, such as "resnet_v2", does what that needs. Or a callable on (B, H, W, 3) float32
            pixels, ``tfcam.images.Window``, or None if prepared.
        score: The number that is explained: "logit", the score before the final softmax or sigmoid,
            or "probability", the one after it.
        output: Which output is explained of a model that has several, by name or index.
        grid: Height and width of a transformer's grid of patches, of videos and volumes (frames,
            height, width) of its tubes; needed only where it can't be found.
        batch_size: Number of images that are computed at once; fewer take less memory.
        progress: Show a progress bar on the error stream; by default in a terminal or a notebook,
            where it takes more than a second.

    Returns:
        One row for each method: mean and deviation of each similarity, as in ``Randomisation``.

    Raises:
        ValueError: If an argument does not fit.

    Source: the similarities are those of Adebayo et al. 2018; the pair of classes is our choice.

    Example:
        >>> import tfcam
        >>> scene = tfcam.scenes.draw_scene(3, shapes=2).image
        >>> table = class_sensitivity(
        ...     tfcam.demo_model(), [scene], methods=["grad_cam", "eigen_cam"])
        >>> table[["method", "spearman"]].round(2).values.tolist()[1]
        ['eigen_cam', 1.0]
    """
    shared = {"preprocess": preprocess, "score": score, "output": output, "grid": grid}
    explainers = _explainers(methods, model, layer, **shared, batch_size=batch_size)
    scores = _outputs(model, images, preprocess, output)
    likely, unlikely = scores.argmax(axis=-1).tolist(), scores.argmin(axis=-1).tolist()
    rows = []
    with progress_bar(len(explainers), "comparing classes", progress) as advance:
        for name, explainer in explainers.items():
            pair = (_explain_batch(explainer, images, classes) for classes in (likely, unlikely))
            rows += [{"method": name, **row} for row in map(similarities, *pair)]
            advance()
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
    score: Score = "logit",
    output: str | int | None = None,
    grid: tuple[int, ...] | None = None,
    batch_size: int = 32,
    seed: int = 0,
    progress: bool | None = None,
) -> pd.DataFrame:
    """Measure how much maps change with small changes of the image.

    Args:
        model: Any model that ``explain`` takes.
        images: A batch or one image, as ``tfcam.explain`` takes them.
        layer: The layer: a path ("resnet50/conv5_block3_out"), a bare name where it is unique, or
            an index of ``tfcam.layers``; by default the last map that the output is computed from,
            before pooling, a softmax over positions or a mixing of axes. Several, or
            "all_convolutions", are fused into one map. Several are a list; layer objects are taken,
            too.
        methods: The methods, by their names in ``tfcam.METHODS``; by default saliency, grad_cam and
            guided_backprop. Functions Reading -> (B, h, w) and names with options, as in
            ("score_cam", {"channels": 32}), are taken, too.
        radius: Largest change of a value, as a fraction of the range of the image's values.
        samples: Number of changed images that are tried for each one.
        preprocess: How pixels of 0..255 become the model's input: "auto" finds out, "raw" leaves
            them, "unit", "tf", "torch" and "caffe" scale them, and the name of a keras.applications
            family, such as "resnet_v2", does what that needs. Or a callable on (B, H, W, 3) float32
            pixels, ``tfcam.images.Window``, or None if prepared.
        score: The number that is explained: "logit", the score before the final softmax or sigmoid,
            or "probability", the one after it.
        output: Which output is explained of a model that has several, by name or index.
        grid: Height and width of a transformer's grid of patches, of videos and volumes (frames,
            height, width) of its tubes; needed only where it can't be found.
        batch_size: Number of images that are computed at once; fewer take less memory.
        seed: Random seed, at least 0: the same seed gives the same result.
        progress: Show a progress bar on the error stream; by default in a terminal or a notebook,
            where it takes more than a second.

    Returns:
        One row for each method: ``max_sensitivity`` and ``local_lipschitz``, the mean over the
        images and its deviation. The raw maps are compared, of the class predicted for the
        unchanged image.

    Raises:
        ValueError: If an argument does not fit.

    Source: Yeh et al. 2019, "On the (in)fidelity and sensitivity of explanations", section 4.

    Example:
        >>> import tfcam
        >>> scene = tfcam.scenes.draw_scene(1).image
        >>> table = input_sensitivity(
        ...     tfcam.demo_model(), [scene], methods=["grad_cam", "saliency"], samples=4)
        >>> bool(table["max_sensitivity"][0] < table["max_sensitivity"][1])
        True
    """
    inputs = _prepare_each(model, images, preprocess)
    if graph_of(model).inputs[0].channels_first:  # prepared ones have the channels last
        inputs = [np.moveaxis(image, -1, 1) for image in inputs]
    shared = {"preprocess": None, "score": score, "output": output, "grid": grid}
    explainers = _explainers(methods, model, layer, **shared, batch_size=batch_size)
    rows = []
    pairs = list(itertools.product(explainers.items(), inputs))
    with progress_bar(len(pairs), "changing images", progress) as advance:
        for (name, explainer), image in pairs:
            target = _explain_batch(explainer, image)[0].target
            changes = change_maps(
                functools.partial(_raw_maps, explainer, target),
                image[0],
                radius * float(np.ptp(image)),
                samples,
                seed,
            )
            numbers = (changes.max_sensitivity, changes.lipschitz)
            rows.append({"method": name, **dict(zip(_SENSITIVITIES, numbers, strict=True))})
            advance()
    return means_and_deviations(pd.DataFrame(rows), ["method"], _SENSITIVITIES)


def max_sensitivity(
    explain: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    *,
    radius: float,
    samples: int = 20,
    seed: int = 0,
) -> float:
    """Measure the largest relative change of a map over random small changes of the image.

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
    return change_maps(explain, image, radius, samples, seed).max_sensitivity


def local_lipschitz(
    explain: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    *,
    radius: float,
    samples: int = 20,
    seed: int = 0,
) -> float:
    """Measure how fast a map changes with the image: a local Lipschitz estimate.

    max over d, |d|_inf <= r, of ||Phi(x + d) - Phi(x)||_F / ||d||_F, over the same d as
    ``max_sensitivity``: with finitely many a lower bound of the maximum. It is in units of the map
    for one of the image: of methods whose maps differ in scale it can't be compared.

    Args:
        explain: Images (B, ...) -> maps (B, ...).
        image: One image, as ``explain`` takes it.
        radius: r, in the units of the image's values.
        samples: Number of changes d that are drawn.
        seed: Random seed, at least 0: the same seed gives the same result.

    Returns:
        At least 0; 0 where the radius is.

    Raises:
        ValueError: If the radius is negative, there are no samples, or a map is not finite.

    Source: Alvarez-Melis and Jaakkola 2018, "On the robustness of interpretability methods".

    Departs from the paper: the largest of changes drawn at random, which it searches for.

    Example:
        >>> round(local_lipschitz(lambda images: 3 * images, np.array([[2.0]]), radius=0.2), 6)
        3.0
    """
    return change_maps(explain, image, radius, samples, seed).lipschitz


def _explainers(
    methods: Sequence[MethodChoice] | None, model: keras.Model, layer: Layers, **shared: Any
) -> dict[str, Explainer]:
    """Make an explainer for each method, by its name; ``shared`` is what they have in common."""
    methods = CHECKED_METHODS if methods is None else methods
    if isinstance(methods, str) or not methods:
        raise ValueError(f"methods must be a list that holds at least one; got {methods!r}.")
    explainers: dict[str, Explainer] = {}
    for choice in methods:
        method, options = choice if isinstance(choice, tuple) else (choice, {})
        explainer = Explainer(model, layer, method=method, progress=False, **shared, **options)
        settings = ", ".join(f"{key}={value}" for key, value in options.items())
        name = method if isinstance(method, str) else getattr(method, "__name__", "method")
        explainers[f"{name}({settings})" if settings else name] = explainer
    return explainers


def _explain_batch(explainer: Explainer, images: Any, targets: Any = None) -> list[Explanation]:
    """Explain a batch, or one image as a batch of one."""
    result = explainer(images, targets)
    explanations = [result] if isinstance(result, Explanation) else list(result)
    if explanations[0].heatmap.ndim not in (2, 3):
        extent = explanations[0].extent
        raise ValueError(
            f"Sanity checks compare maps of images, videos or volumes; this one has {extent}."
        )
    return explanations


def _raw_maps(explainer: Explainer, target: Any, images: np.ndarray) -> np.ndarray:
    """Explain one target of a batch: the raw maps."""
    return np.stack([e.raw for e in _explain_batch(explainer, images, target)])


def _prepare_each(model: keras.Model, images: Any, preprocess: Preprocess) -> list[np.ndarray]:
    """Prepare each image as the model takes it, (1, H, W, C)."""
    opened = open_model(model)
    if len(opened.graph.inputs) > 1:
        raise ValueError(
            f"Sensitivity is measured on models with one input; {model.name!r} has several. Use "
            "max_sensitivity with a function of your own."
        )
    batch = split_batch(opened.split(images)[0], opened.input)
    batch = [images] if batch is None else batch
    return [opened.prepare_one(image, preprocess, "sanity").inputs for image in batch]


def _outputs(
    model: keras.Model, images: Any, preprocess: Preprocess, output: str | int | None
) -> np.ndarray:
    """Run the model on each image, (B, classes)."""
    submodel = open_model(model).bare(OUTPUT.check(output))

    def ask(image: tf.Tensor) -> tf.Tensor:
        outputs = submodel.forward(image).outputs
        if not tf.is_tensor(outputs.values) or outputs.values.shape.rank != 2:
            raise ValueError(
                "class_sensitivity needs one output of classes, (B, C); of a model with several "
                "say which with output=."
            )
        return outputs.class_values

    function = tf.function(ask, autograph=False)
    tensors = map(tf.constant, _prepare_each(model, images, preprocess))
    asked = [submodel.traced("values", function, [image])(image) for image in tensors]
    return np.concatenate(asked)


def _randomise(
    model: keras.Model, mode: Mode, groups: Sequence[Stage], seed: int
) -> Iterator[tuple[int, str]]:
    """Draw weights group by group; at each yield the model is as that step wants it."""
    yield 0, "nothing"
    for step, stage in enumerate(groups, 1):
        if mode == "cascading":
            reinitialise(stage, seed)
            yield step, stage.name
            continue
        with kept_weights(model):
            reinitialise(stage, seed)
            yield step, stage.name


def _unrelated(explanations: Sequence[Explanation]) -> float | None:
    """Average the rank correlation of each picture's absolute map with that of the next one."""
    maps = [absolute_map(e.raw, e.heatmap.ndim) for e in explanations]
    if len(maps) < 2 or len({absolute.shape for absolute in maps}) > 1:
        return None
    following = [*maps[1:], maps[0]]
    return float(np.mean([spearman(*pair) for pair in zip(maps, following, strict=True)]))

"""Activation maximisation: a picture that makes a class, a channel or a neuron respond most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfcam.engine.opened_model import OpenedModel, open_model
from tfcam.feature_visualization.objectives import Layer, Objective, Seen, class_logit
from tfcam.feature_visualization.parametrisations import Shape
from tfcam.feature_visualization.recipes import Recipe, State, choose_recipe
from tfcam.feature_visualization.result import Dream
from tfcam.feature_visualization.transforms import apply_transforms
from tfcam.images.loading import load_image, resize_image, to_channels
from tfcam.model.graph import ModelGraph
from tfcam.model.inputs import Input
from tfcam.model.labels import Labels
from tfcam.model.taps import Tap, resolve
from tfcam.passes.outputs import are_probabilities, probabilities
from tfcam.passes.submodel import SubModel
from tfcam.preprocessing.modes import Preprocess, Preprocessing, choose_preprocessing
from tfcam.utils.progress import progress_bar
from tfcam.utils.validation import check_count, check_output, kind_of, shown
from tfcam.utils.versions import versions

_SIZE = 224


_SMALLEST = 2


def dream(
    model: keras.Model,
    objective: Objective | int | str,
    *,
    preset: str | Recipe = "fourier",
    image: Any = None,
    count: int = 1,
    size: tuple[int, int] | None = None,
    preprocess: Preprocess = "auto",
    labels: Labels | None = None,
    output: str | int | None = None,
    seed: int = 0,
    progress: bool | None = None,
    **options: Any,
) -> Dream:
    """Make a picture that raises an objective as far as it goes: activation maximisation.

    x* = argmax_x f(x): the picture that makes a class, a channel or a neuron respond most, found
    by gradient ascent from faint noise or from a picture. It shows what the network answers to,
    which need not be what a photograph of the class shows.

    Args:
        model: Any built Keras model with one image input; it is left as it was.
        objective: A class index, a label, or a sum of ``tfcam.objectives``, such as
            ``objectives.channel("conv", 5) - 0.1 * objectives.layer("conv")``.
        preset: How it is made: "fourier" (Olah et al. 2017: waves, colours as in photographs, and
            what survives small changes), "plain" (pixels, and nothing against noise), "yosinski"
            (Yosinski et al. 2015: decay and blur), "deep_dream" (from a picture), or a ``Recipe``
            of ``tfcam.recipes``.
        image: A picture to start from: path, URL, bytes, PIL image or uint8 array (H, W, C); by
            default it starts from faint noise.
        count: Number of pictures that are made, each from other noise.
        size: Height and width of the picture in pixels, where the model leaves them open; by
            default those of ``image``, or else the usual ones of the network's family.
        preprocess: How pixels of 0..255 become the model's input: "auto" finds out, "raw" leaves
            them, "unit", "tf", "torch" and "caffe" scale them, and the name of a keras.applications
            family, such as "resnet_v2", does what that needs. Or a callable on (B, H, W, 3) float32
            pixels, ``Window`` (one picture), or None if prepared.
        labels: The label of each class, in the order of the classes, or a file with a label on each
            line or of JSON; by default known of ImageNet networks. Or a dict of names and indices,
            such as ``class_indices``, or "imagenet".
        output: Which output is explained of a model that has several, by name or index.
        seed: Random seed, at least 0: the same seed gives the same result.
        progress: Show a progress bar on the error stream; by default in a terminal or a notebook,
            where it takes more than a second.
        options: What is changed in the preset, by name: ``parametrisation``, ``transforms``,
            ``steps``, ``rate``, ``ascent``, ``decay``, ``blur``, ``blur_every``,
            ``norm_percentile``, ``contribution_percentile``; see ``tfcam.recipes.Recipe``.

    Returns:
        A ``Dream``: the pictures, the objective at the start, in between and at the end, and how
        they were made.

    Raises:
        ValueError: If an argument does not fit the model, or the objective does not stay finite.
        TypeError: If the objective is none, or there is no such option.

    Source: Erhan et al. 2009, "Visualizing Higher-Layer Features of a Deep Network"; Simonyan et
        al. 2013; Yosinski et al. 2015; Olah et al. 2017, "Feature Visualization".

    Departs from Yosinski et al.: "yosinski" divides the gradient by its mean absolute value, so
        that one rate serves any network, and starts from grey, not from ImageNet's mean.

    Example:
        >>> import tfcam
        >>> dream = tfcam.dream(tfcam.demo_model(), 1, steps=30)
        >>> bool(dream.scores[0] > 10 * dream.start[0]), bool(dream.probabilities[0] > 0.9)
        (True, True)
    """
    recipe, objective = choose_recipe(preset, options), _objective(objective)
    count, seed = check_count("count", count), check_count("seed", seed, least=0)
    opened, taken = _open(model)
    picture = _picture(image, preset, count)
    prepared = _preprocessing(opened, preprocess)
    shape = (count, *_sides(opened.graph, taken, size, picture), taken.shape[2] or 3)
    taps = [_tap(opened, layer) for layer in objective.layers]
    submodel = SubModel(
        opened.graph, taps, output=check_output(output), which=opened.which, heads=True
    )
    known, _ = opened.graph.labels(labels, submodel.output)
    studio = _Studio(submodel, objective, prepared, known, taken.dtype)

    def step(number: tf.Tensor, *state: tf.Tensor) -> tuple[tf.Tensor, State]:
        def value(parameters: tf.Tensor) -> tf.Tensor:
            images = recipe.parametrisation.images(parameters, shape)
            changed = apply_transforms(images, recipe.transforms, seed, number)
            return objective(studio.see(images, changed))

        values, slope = submodel.ascent(value, state[0])
        return values, recipe.climb(state, slope, number)

    state = recipe.start(_beginning(recipe, picture, shape, seed))
    first = _as_bytes(recipe.parametrisation.images(state[0], shape))
    climb = tf.function(step, autograph=False).get_concrete_function(tf.constant(0), *state)
    curve = np.empty((recipe.steps, count), np.float32)
    with progress_bar(recipe.steps, "dreaming", progress, "steps") as advance:
        for number in range(recipe.steps):
            values, state = climb(tf.constant(number), *state)
            curve[number] = _finite(values.numpy(), number, recipe.rate)
            advance()
    last = _as_bytes(recipe.parametrisation.images(state[0], shape))
    measured = studio.measure(first, last)
    return Dream(
        images=last,
        objective=repr(objective),
        start=measured.start,
        scores=measured.scores,
        curve=curve,
        probabilities=measured.probabilities,
        score_kind=measured.kind,
        preprocessing=prepared.description,
        settings={
            "model": model.name,
            "preset": preset if isinstance(preset, str) else "own",
            "seed": seed,
            "from_image": picture is not None,
            **recipe.settings(),
        },
        versions=versions(),
    )


class _Measured(NamedTuple):
    """What pictures score before and after the ascent, (n,) each, and what kind of score it is."""

    start: np.ndarray
    scores: np.ndarray
    probabilities: np.ndarray | None
    kind: str


class _Opened(NamedTuple):
    """A model and its one input."""

    model: OpenedModel
    input: Input


@dataclass(frozen=True)
class _Studio:
    """A model opened for an objective."""

    submodel: SubModel
    objective: Objective
    preprocessing: Preprocessing
    labels: Sequence[str] | None
    dtype: str

    def see(self, images: tf.Tensor, changed: tf.Tensor) -> Seen:
        """Run the model once on pictures in [0, 1], as they are and as it gets them."""
        outputs, tapped = self.submodel.forward(self._inputs(changed))
        maps = map(self.submodel.channels_last, tapped)
        layers = dict(zip(self.objective.layers, maps, strict=True))
        return Seen(images, layers, outputs, self.labels)

    def _inputs(self, images: tf.Tensor) -> tf.Tensor:
        try:
            inputs = tf.convert_to_tensor(self.preprocessing.function(255.0 * images))
        except (NotImplementedError, TypeError, AttributeError) as error:
            raise ValueError(
                "preprocess must compute with TensorFlow or keras.ops, as gradients go through it; "
                f"it failed on a tensor: {error}"
            ) from None
        if inputs.shape != images.shape:
            raise ValueError(
                f"preprocess must keep the shape of the batch {tuple(images.shape)}; it gave "
                f"{tuple(inputs.shape)}."
            )
        return tf.cast(inputs, self.dtype)

    def measure(self, before: np.ndarray, after: np.ndarray) -> _Measured:
        """Measure pictures, (n, H, W, C) uint8, before and after the ascent."""
        kinds: list[str] = []

        def measured(images: tf.Tensor) -> Any:
            seen = self.see(images, images)
            values = self.objective(seen)
            classes = any(term.target is not None for _, term in self.objective.terms)
            kinds.append(
                ("logit" if seen.outputs.has_logits else "output") if classes else "activation"
            )
            if self.objective.target is None:
                return values, None, False
            chances = probabilities(seen.outputs)[:, seen.class_index(self.objective.target)]
            known = seen.outputs.has_logits or seen.outputs.is_unit
            known = known or tf.reduce_all(are_probabilities(seen.outputs))
            return values, chances, known

        first, last = (tf.constant(each, tf.float32) / 255 for each in (before, after))
        ask = tf.function(measured, autograph=False).get_concrete_function(first)
        start, *_ = ask(first)
        scores, chances, known = ask(last)
        of_class = chances.numpy() if known else None
        return _Measured(start.numpy(), scores.numpy(), of_class, kinds[0])


def _objective(objective: Any) -> Objective:
    if isinstance(objective, Objective):
        return objective
    if isinstance(objective, bool) or not isinstance(objective, Integral | str):
        raise TypeError(
            "objective must be a class index, a label, or one of tfcam.objectives, such as "
            f"objectives.channel('conv', 5); got {kind_of(objective)}."
        )
    return class_logit(objective if isinstance(objective, str) else int(objective))


def _open(model: Any) -> _Opened:
    if not tf.executing_eagerly():
        raise ValueError("A dream needs values, which there are none inside a tf.function.")
    opened = open_model(model)
    taken = opened.graph.inputs
    if len(taken) > 1 or not taken[0].is_image or "int" in taken[0].dtype:
        shapes = " and ".join(f"{input.shape} {input.dtype}" for input in taken)
        raise ValueError(
            "A dream is a picture: the model must have one input, of (height, width, channels) "
            f"floats; {model.name!r} takes {shapes}."
        )
    return _Opened(opened, taken[0])


def _preprocessing(opened: OpenedModel, preprocess: Preprocess) -> Preprocessing:
    if preprocess is None:
        raise ValueError(
            "preprocess must say how pixels of 0..255 become the model's input, as a dream is made "
            "of such: 'auto', 'raw' (as they are), 'unit', 'tf', 'torch', 'caffe', a family's "
            "name or a callable; got None."
        )
    return choose_preprocessing(opened.graph, preprocess, opened.which)


def _picture(image: Any, preset: str | Recipe, count: int) -> np.ndarray | None:
    if image is None:
        if preset == "deep_dream":
            raise ValueError("preset='deep_dream' starts from a picture: pass image=...")
        return None
    if count > 1:
        raise ValueError(f"From one picture comes one dream: leave out count; got {count}.")
    return load_image(image)


def _tap(opened: OpenedModel, layer: Layer) -> Tap:
    if isinstance(layer, int):
        return opened.graph.open_layer(layer, opened.which).tap
    return resolve(opened.graph, layer)


def _sides(
    graph: ModelGraph, taken: Input, size: Any, picture: np.ndarray | None
) -> tuple[int, int]:
    """Height and width of the picture: the model's, those of ``size``, or usual ones."""
    fixed, family = taken.shape[:2], graph.family
    usual = (family.size if family else _SIZE,) * 2 if picture is None else picture.shape[:2]
    if size is not None:
        if not isinstance(size, list | tuple) or len(size) != 2:
            raise ValueError(f"size must be (height, width) in pixels; got {shown(size)}.")
        usual = tuple(check_count("size", side, least=_SMALLEST) for side in size)
        if any(own not in (None, wanted) for own, wanted in zip(fixed, usual, strict=True)):
            raise ValueError(
                f"size must be what the model takes, {fixed}; got {shown(size)}. Leave it out."
            )
    height, width = (own or side for own, side in zip(fixed, usual, strict=True))
    return height, width


def _beginning(recipe: Recipe, picture: np.ndarray | None, shape: Shape, seed: int) -> tf.Tensor:
    if picture is None:
        return recipe.parametrisation.noise(shape, seed)
    fitting = to_channels(resize_image(picture, (shape[1], shape[2])), shape[3])
    pixels = fitting[np.newaxis].astype(np.float32) / 255
    return recipe.parametrisation.parameters(tf.constant(pixels))


def _as_bytes(images: tf.Tensor) -> np.ndarray:
    return np.round(255 * np.asarray(images)).astype(np.uint8)


def _finite(values: np.ndarray, number: int, rate: float) -> np.ndarray:
    if np.isfinite(values).all():
        return values
    raise ValueError(
        f"The objective must stay finite; before step {number} it is {values.tolist()}. Lower "
        f"the rate, which is {rate:g}, or bound what the objective measures."
    )

"""Activation maximisation: a picture that makes a class, a channel or a neuron respond most."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.progress import track

from tfcam.applications import family_of
from tfcam.asking import find_labels
from tfcam.demands import check_count, check_output, kind_of, shown
from tfcam.dreams import Dream
from tfcam.images import load_image, resize_image, to_channels
from tfcam.inspection import Tap, open_layer, resolve
from tfcam.intake import Input, inputs_of
from tfcam.objectives import Layer, Objective, Seen, class_logit
from tfcam.opening import OpenedModel, open_model
from tfcam.preparation import Preprocess, choose_preprocessing
from tfcam.recipes import Recipe, State, chosen_recipe
from tfcam.scoring import Outputs, are_probabilities, class_outputs, probabilities
from tfcam.submodel import SubModel
from tfcam.targets import class_index
from tfcam.transforms import transformed

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
    labels: Sequence[str] | None = None,
    output: str | int | None = None,
    seed: int = 0,
    progress: bool | None = None,
    **options: Any,
) -> Dream:
    """Make a picture that raises an objective as far as it goes: activation maximisation."""
    recipe = chosen_recipe(preset, options)
    count, seed = check_count("count", count), check_count("seed", seed, least=0)
    objective = _objective(objective)
    opened, taken = _opened(model)
    known, _ = find_labels(model, labels)
    output = check_output(output)
    prepared = choose_preprocessing(model, _checked(preprocess), lambda: opened.record)
    sides = _sides(model, taken, size, image)
    shape = (count, *sides, taken.shape[2] or 3)
    taps = [_tap(model, layer, lambda: opened.record) for layer in objective.layers]
    submodel = SubModel(model, taps, output=output, which=opened.which, heads=True)

    def seen(images: tf.Tensor, changed: tf.Tensor) -> tuple[Seen, Outputs]:
        inputs = _inputs(prepared.function, changed, taken)
        outputs, tapped = submodel.forward(inputs)
        layers = dict(zip(objective.layers, map(submodel.channels_last, tapped), strict=True))

        def index(target: int | str) -> int:
            return class_index(target, class_outputs(outputs.scores).shape[-1], known)

        return Seen(images, layers, outputs.scores, index), outputs

    @tf.function(autograph=False)
    def step(number: tf.Tensor, *state: tf.Tensor) -> tuple[tf.Tensor, State]:
        def value(parameters: tf.Tensor) -> tf.Tensor:
            images = recipe.parametrisation.images(parameters, shape)
            changed = transformed(images, recipe.transforms, seed, number)
            return objective(seen(images, changed)[0])

        values, slope = submodel.ascent(value, state[0])
        return values, recipe.climb(state, slope, number)

    @tf.function(autograph=False)
    def measure(images: tf.Tensor) -> Any:
        looked, outputs = seen(images, images)
        chances = _chances(outputs, objective, looked)
        return objective(looked), tf.zeros([0]) if chances is None else chances

    state = recipe.start(_beginning(recipe, image, shape, seed))
    first = _as_bytes(recipe.parametrisation.images(state[0], shape))
    curve = np.empty((recipe.steps, count), np.float32)
    for number in _counted(recipe.steps, progress):
        values, state = step(tf.constant(number), *state)
        curve[number] = _finite(values.numpy(), number)
    images = _as_bytes(recipe.parametrisation.images(state[0], shape))
    (start, _), (scores, chances) = (
        tf.nest.map_structure(np.asarray, measure(tf.constant(each, tf.float32) / 255))
        for each in (first, images)
    )
    return Dream(images, repr(objective), start, scores, chances, curve, seed, recipe.settings())


def _objective(given: Any) -> Objective:
    if isinstance(given, Objective):
        return given
    if isinstance(given, bool) or not isinstance(given, Integral | str):
        raise TypeError(
            "objective must be a class index, a label, or one of tfcam.objectives, such as "
            f"objectives.channel('conv', 5); got {kind_of(given)}."
        )
    return class_logit(given)


def _opened(model: Any) -> tuple[OpenedModel, Input]:
    opened = open_model(model)
    taken = inputs_of(model)
    shapes = " and ".join(str(each.shape) for each in taken)
    if len(taken) > 1 or not taken[0].is_image or "int" in taken[0].dtype:
        raise ValueError(
            f"A dream is a picture: the model must have one image input (height, width, channels); "
            f"{model.name!r} takes {shapes}, {taken[0].dtype}."
        )
    return opened, taken[0]


def _checked(preprocess: Preprocess) -> Preprocess:
    if preprocess is None:
        raise ValueError(
            "A dream is made as pixels of 0..255, so preprocess must say how they become the "
            "model's input: 'auto', 'raw' (as they are), 'unit', 'tf', 'torch', 'caffe', a family's name "
            "or a callable; got None."
        )
    return preprocess


def _tap(model: Any, layer: Layer, calls: Callable[[], Any]) -> Tap:
    return open_layer(model, layer, calls)[0] if isinstance(layer, int) else resolve(model, layer)


def _sides(model: Any, taken: Input, size: Any, image: Any) -> tuple[int, int]:
    """Height and width of the picture: the model's, those asked for, or usual ones."""
    fixed = taken.shape[:2]
    if size is not None:
        height, width = (check_count("size", each, least=_SMALLEST) for each in size)
        if any(own not in (None, asked) for own, asked in zip(fixed, (height, width), strict=True)):
            raise ValueError(
                f"size must be what the model takes, {fixed}; got {shown(size)}. Leave it out."
            )
        return height, width
    if image is not None and None in fixed:
        usual = load_image(image).shape[:2]
    else:
        family = family_of(model)
        usual = (family.size if family else _SIZE,) * 2
    height, width = (own or each for own, each in zip(fixed, usual, strict=True))
    return height, width


def _inputs(function: Callable[..., Any], images: tf.Tensor, taken: Input) -> tf.Tensor:
    return tf.cast(function(255.0 * images), taken.dtype)


def _beginning(recipe: Recipe, image: Any, shape: Any, seed: int) -> tf.Tensor:
    if image is None:
        return recipe.parametrisation.noise(shape, seed)
    picture = to_channels(resize_image(load_image(image), shape[1:3]), shape[3])
    pixels = np.repeat(picture[np.newaxis].astype(np.float32) / 255, shape[0], axis=0)
    return recipe.parametrisation.parameters(tf.constant(pixels))


def _chances(outputs: Outputs, objective: Objective, looked: Seen) -> tf.Tensor | None:
    if objective.target is None:
        return None
    return probabilities(outputs)[:, looked.class_index(objective.target)]


def _as_bytes(images: tf.Tensor) -> np.ndarray:
    return np.round(255 * np.asarray(images)).astype(np.uint8)


def _counted(steps: int, progress: bool | None) -> Any:
    console = Console(stderr=True)
    shown = console.is_terminal if progress is None else progress
    return track(range(steps), "dreaming", console=console, transient=True, disable=not shown)


def _finite(values: np.ndarray, number: int) -> np.ndarray:
    if not np.isfinite(values).all():
        raise ValueError(f"The objective must be finite; after {number} steps it is {values}.")
    return values

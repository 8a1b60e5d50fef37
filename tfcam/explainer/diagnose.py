"""The checks alone: what a model is, what applies to it, and what to mind about an image."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import tensorflow as tf

from tfcam.engine.engine import Engine
from tfcam.engine.opened_model import OpenedModel, open_model
from tfcam.engine.options import Score
from tfcam.engine.picture_options import TILE
from tfcam.engine.settings import Computed, Explained, Settings
from tfcam.explainer import checks, numeric_checks
from tfcam.explainer.references import outputs_of, with_embeddings, with_words
from tfcam.explainer.tiling import (
    check_tiles,
    following_pieces,
    of_all,
    prepare_tiles,
    read_whole,
)
from tfcam.findings import Finding, finding
from tfcam.images.kinds import ImageLike
from tfcam.methods.contract import MethodMap
from tfcam.methods.registry import METHODS, Method, Request
from tfcam.model.graph import Asked, ModelGraph
from tfcam.model.heads import HeadError
from tfcam.model.labels import Labels
from tfcam.model.taps import Layer, Place
from tfcam.model.tokens import known_grid
from tfcam.model.tracing import trace
from tfcam.passes.guided_relu import count_gates
from tfcam.passes.reading import Need, Reading
from tfcam.passes.submodel import NoGradientError
from tfcam.preprocessing.modes import Preprocess
from tfcam.preprocessing.prepare import Prepared
from tfcam.results.diagnosis import Diagnosis
from tfcam.targets.callables import label
from tfcam.targets.classes import Target, Top, pair_name
from tfcam.targets.resolve import ResolvedTarget, chosen_targets
from tfcam.utils.validation import shown

_KINDS = {
    "logit": "logits, found before the final softmax or sigmoid",
    "probability": "probabilities",
    "output": "its own, that no softmax or sigmoid ends",
}


def diagnose(
    model: keras.Model,
    image: ImageLike,
    layer: Layer = None,
    *,
    target: Target = None,
    preprocess: Preprocess = "auto",
    labels: Labels | None = None,
    score: Score = "logit",
    input: str | int | None = None,
    output: str | int | None = None,
    grid: tuple[int, ...] | None = None,
    tile: tuple[int, int] | None = None,
) -> Diagnosis:
    """Check a model and an image without making a map: what applies, and what may be wrong.

    Of tiles the findings are those that all have, as those of their map are.

    Args:
        model: Any built Keras 3 model; it is left as it is.
        image: One image, as ``tfcam.explain`` takes it.
        layer: The layer: a path ("resnet50/conv5_block3_out"), a bare name where it is unique, or
            an index of ``tfcam.layers``; by default the last map that the output is computed from,
            before pooling, a softmax over positions or a mixing of axes. Layer objects are taken,
            too.
        target: The class that is explained: an index, or a label where labels are known; by default
            the one that the model predicts. Also a ``tfcam.Difference``, or a callable outputs ->
            (B,) on the outputs before the final softmax or sigmoid, such as ``tfcam.Segmentation``.
        preprocess: How pixels of 0..255 become the model's input: "auto" finds out, "raw" leaves
            them, "unit", "tf", "torch" and "caffe" scale them, and the name of a keras.applications
            family, such as "resnet_v2", does what that needs. Or a callable on (B, H, W, 3) float32
            pixels, ``tfcam.images.Window``, or None if prepared.
        labels: The label of each class, in the order of the classes, or a file with a label on each
            line or of JSON; by default known of ImageNet networks. Or a dict of names and indices,
            such as ``class_indices``, or "imagenet".
        score: The number that is explained: "logit", the score before the final softmax or sigmoid,
            or "probability", the one after it.
        input: Which input is explained of a model that has several, by name or index; by default
            the first of those with most axes.
        output: Which output is explained of a model that has several, by name or index.
        grid: Height and width of a transformer's grid of patches, of videos and volumes (frames,
            height, width) of its tubes; needed only where it can't be found.
        tile: Height and width in pixels of the tiles in which a picture is explained that is larger
            than the network takes at once: they overlap by half or more, and their maps become one.
            One class is explained in all, which the target must name.

    Returns:
        A ``Diagnosis``: ``facts`` about the model, and the ``findings``. It prints as a table. That
        no gradient reaches the layer, an error elsewhere, is a finding here.

    Raises:
        ValueError: If an argument does not fit the model; the message says what does.
        TypeError: If an argument is of the wrong kind.

    Example:
        >>> import tfcam
        >>> scene = tfcam.scenes.draw_scene(1, kinds=["star"])
        >>> diagnosis = tfcam.diagnose(tfcam.demo_model(), scene.image)
        >>> diagnosis.facts["layer"], list(diagnosis)
        ('features (feeds pooling, the last global pooling)', [])
    """
    opened = open_model(model, input)
    if isinstance(target, Top | list | tuple):
        raise ValueError(f"diagnose takes one target; got {shown(target)}.")
    if isinstance(layer, list | tuple):
        raise ValueError(f"diagnose takes one layer; got {shown(layer)}.")
    settings = Settings(score=score, output=output, grid=grid)
    known, missing = opened.graph.labels(labels, settings.output)
    whole = None
    if (tile := TILE.check(tile)) is None:
        prepared = opened.prepare_one(image, preprocess, "diagnose")
    else:
        check_tiles(opened, [target])
        whole = read_whole(opened, opened.split_one(image, preprocess, "diagnose")[0], preprocess)
        prepared = prepare_tiles(opened, [whole.cut((0, 0), tile)], preprocess, whole.as_pixels)
    target = with_embeddings(target, opened, preprocess, output)
    if opened.is_text:
        read = prepared.texts or prepared.images
        target = with_words(target, read, lambda _: outputs_of(opened, prepared, output))

    def targets_of(count: int) -> list[ResolvedTarget]:
        return chosen_targets(target, count, False, known, lambda: opened.classes(output, known))

    targets = targets_of(1)
    asked = opened.graph.asked(output, targets, opened.which)
    place, default = _places(opened, layer, grid, asked)
    engine, computed, absent = _look(opened, layer, place, settings, prepared, targets)
    pair, chosen = computed.pairs[0], targets[0]
    name = label(chosen, pair, known) or pair_name(pair)
    explained = Explained(chosen, computed.pairs, 0, name, known)
    gates, ungated = _gates(opened)
    seen, scores = [_findings(engine, prepared, computed, explained)], list(computed.scores)
    if whole is not None and tile is not None:
        shape = computed.raws[0][0].shape[1:3]
        for pieces in following_pieces(whole, tile, shape, settings.at_once):
            ready = prepare_tiles(opened, pieces, preprocess, whole.as_pixels)
            (of_each,) = each = targets_of(len(pieces))
            (answer,) = engine(ready.inputs, each)
            for number in range(len(pieces)):
                about = replace(explained, target=of_each, pairs=answer.pairs, image=number)
                seen.append(_findings(engine, ready, answer, about))
            scores += list(answer.scores)
    shared = of_all([{one.code: one for one in own} for own in seen])
    findings = [*missing, *absent, *shared, *ungated]
    kind = "a callable's own" if callable(chosen) else _KINDS[computed.kind]
    facts = {
        "layer": default if place is None else f"{place[0].name} ({place[1]})",
        "default layer": default,
        "CAM": _cam(opened, grid),
        "guided backprop": gates,
        "preprocessing": prepared.description,
        "output": kind,
        "explained": f"{name}, {np.mean(scores):.6g}",
        "dtype policy": ", ".join(_policies(opened.graph)),
    }
    if layer is None:
        del facts["default layer"]
    if tile is not None:
        facts["tiles"] = f"{len(seen)} of {tile[0]} x {tile[1]} pixels"
    return Diagnosis(model.name, facts, tuple(findings))


def _places(
    opened: OpenedModel, layer: Layer, grid: tuple[int, ...] | None, asked: Asked
) -> tuple[Place | None, str]:
    """Find the layer to look at and why, if there is one, and name the one by default."""
    graph, which = opened.graph, opened.which
    try:
        path, reason, *_ = graph.default_layer(which, grid, asked)
    except ValueError:
        default = "none: no layer has a map, and only methods on the input apply"
        return None if layer is None else graph.open_layer(layer, which, grid), default
    return graph.open_layer(layer, which, grid, asked), f"{path} ({reason})"


def _read_gradients(reading: Reading) -> MethodMap:
    activations, gradients = reading.activations, reading.gradients
    raw = tf.reduce_sum(tf.abs(activations * gradients), axis=-1)
    broken = _broken(activations) + _broken(gradients)
    cancelled = numeric_checks.cancelled(METHODS["grad_cam"], reading)
    return MethodMap(raw, {"broken": broken, "cancelled": cancelled})


def _read_activations(reading: Reading) -> MethodMap:
    raw = tf.reduce_max(tf.abs(reading.activations), axis=-1)
    return MethodMap(raw, {"broken": _broken(reading.activations)})


def _read_outputs(reading: Reading) -> MethodMap:
    images = tf.cast(reading.network.images, tf.float32)
    return MethodMap(images, {"broken": tf.zeros(images.shape[0])})


def _broken(values: tf.Tensor) -> tf.Tensor:
    """Count the values of each image that are NaN or infinite, (B,)."""
    axes = list(range(1, values.shape.rank))
    return tf.reduce_sum(tf.cast(~tf.math.is_finite(values), tf.float32), axes)


# What is looked at, and why no gradient can be had where that fails; the last one needs no layer.
_LOOKS = {
    Method("gradients", _read_gradients): (
        "it is not on the way to the explained output, or an argmax, a rounding, a stop_gradient "
        "or NumPy code stands between"
    ),
    Method("activations", _read_activations, Need.NOTHING): (
        "it is part of the model, but was not called for this input"
    ),
    Method("outputs", _read_outputs, Need.NOTHING, pixels=True, hides_words=True): "",
}


def _look(
    opened: OpenedModel,
    layer: Layer,
    place: Place | None,
    settings: Settings,
    prepared: Prepared,
    targets: list[ResolvedTarget],
) -> tuple[Engine, Computed, list[Finding]]:
    """Read the layer's activations and gradients, or as much of this as there is."""
    absent: list[Finding] = []
    *layered, last = _LOOKS
    for look in layered if place is not None else ():
        engine = opened.engine(layer, [Request(look)], settings, shared=False, targets=targets)
        try:
            return (
                engine,
                engine(prepared.inputs, targets, prepared.others, *prepared.words)[0],
                absent,
            )
        except NoGradientError:
            assert place is not None
            absent = [finding("gradient_absent", layer=place[0].name, why=_LOOKS[look])]
    engine = opened.engine(None, [Request(last)], settings, shared=False)
    return engine, engine(prepared.inputs, targets, prepared.others, *prepared.words)[0], absent


def _findings(
    engine: Engine, prepared: Prepared, computed: Computed, explained: Explained
) -> list[Finding]:
    """Find what to mind of what was looked at."""
    (request,), (raws,), (measured,) = engine.requests, computed.raws, computed.measured
    findings, image = [], explained.image
    broken = int(measured[0]["broken"][image]) + (not np.isfinite(computed.scores[image]))
    if broken:
        start = numeric_checks.start_of_nan(engine.submodel, prepared, image)
        holder = "The activations, their gradients and the score"
        findings.append(finding("not_finite", holder=holder, count=broken, start=start))
    cancelled = measured[0].get("cancelled")
    size = 0.0 if cancelled is None else float(cancelled[image])
    if size:
        layer = engine.layers[0]
        findings.append(finding("rounding_alone", layer=layer, method="grad_cam", size=size))
    if engine.layers and raws[0][image].size == 1:
        findings.append(finding("one_position", layer=engine.layers[0]))
    kind = "callable" if callable(explained.target) else computed.kind
    findings += checks.of_probability(
        kind,
        engine.settings.score,
        computed.probability(image, int(computed.pairs[image, 0])),
    )
    raw = [raw[image] for raw in raws]
    return findings + checks.of_result(engine, prepared, explained, request.method, [0], raw)


def _cam(opened: OpenedModel, grid: tuple[int, ...] | None) -> str:
    """Say whether and where CAM applies."""
    if opened.graph.is_black_box:
        return "does not apply: a black box only gives scores"
    calls, head = opened.calls, opened.graph.head(opened.which)
    if isinstance(head, HeadError):
        return f"does not apply: {head.reason}"
    source = calls.producer(head.tensor)
    if source is None:
        return "applies at the map that is pooled"
    tokens = known_grid(calls, source, grid)
    if tokens is not None and tokens.extra:
        return f"does not apply: {tokens.extra} tokens of no patch are pooled with the others"
    return f"applies at {calls.call_name(source)}"


def _gates(opened: OpenedModel) -> tuple[str, list[Finding]]:
    """Say whether guided backpropagation applies, with a finding where there is no ReLU."""
    if opened.graph.is_black_box:
        return "does not apply: a black box only gives scores", []
    graph, count = opened.graph, len(opened.calls.calls)
    function, _ = trace(graph, graph.structure, lambda operation, number, side, value: value)
    gates = count_gates(function.graph)
    if gates.unreached:
        return f"does not apply: {gates.unreached} ReLUs are inside a tf.function of their own", []
    if not gates.gated:
        nothing = finding("nothing_to_gate", model=graph.name, count=count)
        return "does not apply: there is no ReLU", [nothing]
    return f"applies: {gates.gated} ReLU{'s' * (gates.gated > 1)}", []


def _policies(graph: ModelGraph) -> list[str]:
    """List the dtype policies of a model and what is inside, each once."""
    inside = [graph.model, *graph.operations]
    policies = (getattr(operation, "dtype_policy", None) for operation in inside)
    return list(dict.fromkeys(policy.name for policy in policies if policy is not None))

"""``report``: all that can be said of one picture, or of one text, as a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from tfcam.engine.candidate_layers import candidate_layers
from tfcam.engine.opened_model import OpenedModel, open_model
from tfcam.engine.options import GRID, Score
from tfcam.engine.refusals import WORD_HIDING
from tfcam.explainer.compare import compare
from tfcam.explainer.explainer import Explainer
from tfcam.images.kinds import ImageLike
from tfcam.methods.selection import MethodChoice, as_request
from tfcam.model.labels import Labels
from tfcam.model.taps import Layer
from tfcam.preprocessing.modes import Preprocess
from tfcam.results.comparison import Comparison
from tfcam.results.explanation import Explanation
from tfcam.results.report import Answer, Report
from tfcam.targets.classes import Target, Top
from tfcam.verification.attach import verified
from tfcam.verification.of_words import explains_class

# Of texts, of three ways to find words: along a path, by leaving out, and by a slope.
TEXT_METHODS = ["integrated_gradients", "occlusion", "gradient_input"]
# The most likely classes that are named and drawn.
_CLASSES = 4


def report(
    model: keras.Model,
    image: ImageLike,
    *,
    layers: Sequence[Layer] | None = None,
    methods: Sequence[MethodChoice] | None = None,
    target: Target = None,
    preprocess: Preprocess = "auto",
    labels: Labels | None = None,
    score: Score = "logit",
    input: str | int | None = None,
    output: str | int | None = None,
    grid: tuple[int, ...] | None = None,
    batch_size: int = 32,
    tile: tuple[int, int] | None = None,
    progress: bool | None = None,
) -> Report:
    """Say of one picture or text what the model answers, where it looked, and how far to trust it.

    The page has the most likely classes, the map of the first method at the first layer with all
    its findings, its ``tfcam.verify``, the maps of the other methods and layers and of the other
    classes, and what none of them says. It takes about 300 forward passes and some ten maps. Of a
    text the words are coloured, at their embeddings where no layer is named. With ``tile=`` it has
    the maps of the one class, and neither the likely classes nor a verification, which ask about
    the picture as a whole.

    Args:
        model: Any built Keras 3 model; it is left as it is.
        image: One image, or one text, as ``tfcam.explain`` takes it.
        layers: The layers, each a path ("resnet50/conv5_block3_out"), a bare name where it is
            unique, or an index of ``tfcam.layers``; by default the one that ``tfcam.explain`` takes
            and, of each of the two map sizes before it, the last. Layer objects are taken, too.
        methods: The methods, by their names in ``tfcam.METHODS``, of which the first is verified;
            by default grad_cam, layer_cam and integrated_gradients, of a text integrated_gradients,
            occlusion and gradient_input, of a black box occlusion. Functions Reading -> (B, h, w)
            and names with options, as in ("score_cam", {"channels": 32}), are taken, too.
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
        batch_size: Number of images that are computed at once; fewer take less memory.
        tile: Height and width in pixels of the tiles in which a picture is explained that is larger
            than the network takes at once: they overlap by half or more, and their maps become one.
            One class is explained in all, which the target must name.
        progress: Show a progress bar on the error stream; by default in a terminal or a notebook,
            where it takes more than a second.

    Returns:
        A ``Report``: ``save("report.html")`` writes the page, which needs no other file; a notebook
        shows it.

    Raises:
        ValueError: If an argument does not fit the model, or there are several images or targets.
        TypeError: If an argument is of the wrong kind.

    Example:
        >>> import tfcam
        >>> scene = tfcam.scenes.draw_scene(1, kinds=["star"])
        >>> result = tfcam.report(
        ...     tfcam.demo_model(), scene.image, labels=tfcam.scenes.KINDS, layers=["features"])
        >>> result.answers[0].name, result.explanation.verification.verdict
        ('star', 'supported')
    """
    opened, known = open_model(model, input), GRID.check(grid)
    chosen: list[MethodChoice] = list(_usual(opened) if methods is None else methods)
    if not chosen:
        raise ValueError("methods must be a list that holds at least one; got an empty one.")
    placed = [choice for choice in chosen if as_request(choice).method.placed]
    shared: dict[str, Any] = {
        "preprocess": preprocess,
        "labels": labels,
        "score": score,
        "input": input,
        "output": output,
        "grid": grid,
        "batch_size": batch_size,
        "tile": tile,
        "progress": progress,
    }
    first, options = chosen[0] if isinstance(chosen[0], tuple) else (chosen[0], {})
    own = list(layers)[:1] if layers and chosen[0] in placed else None
    if layers is None and placed and not opened.is_text:
        layers = candidate_layers(opened, known, output)
    explainer: Any = Explainer(model, own, method=first, **shared, **options)
    explanation = explainer(image, target)
    if not isinstance(explanation, Explanation) and len(explanation) == 1:
        (explanation,) = explanation  # a batch of one
    if not isinstance(explanation, Explanation):
        raise ValueError(
            "A report is of one image or text and one target; got "
            f"{len(explanation)}. Make one of each."
        )
    found: Any = explanation
    if tile is None and (not explanation.text or explains_class(explanation)):
        found = verified(
            explanation, explainer, image, target, batch_size=batch_size, progress=progress
        )
    comparisons: dict[str, Comparison] = {}
    answers: tuple[Answer, ...] = ()
    count = None if callable(target) or tile is not None else explainer.pipeline.classes
    if count is not None and count > 1:
        top = Top(min(count, _CLASSES))
        likely = compare(model, image, layers=own, methods=chosen[:1], targets=top, **shared)
        answers = tuple(map(_answer, likely))
        comparisons["What speaks for each of the most likely classes"] = likely
    if opened.is_text:
        if len(chosen) * len(layers or [None]) > 1:
            comparisons["The same by several methods"] = compare(
                model, image, layers=layers, methods=chosen, targets=[target], **shared
            )
        return Report(opened.graph.name, answers, found, comparisons)
    if len(placed) * len(layers or ()) > 1:
        title = "The same by several methods and at several layers"
        comparisons[title] = compare(
            model, image, layers=layers, methods=placed, targets=[target], **shared
        )
    pixels = [choice for choice in chosen if choice not in placed]
    if pixels and pixels != chosen[:1]:
        comparisons["Maps of pixels, that need no layer"] = compare(
            model, image, methods=pixels, targets=[target], **shared
        )
    return Report(opened.graph.name, answers, found, comparisons)


def _usual(opened: OpenedModel) -> list[str]:
    """The methods where none are named."""
    if opened.graph.is_black_box:
        return ["occlusion"]
    if opened.is_text:
        return TEXT_METHODS if opened.has_embeddings else list(WORD_HIDING)
    of_pixels = "occlusion" if opened.input.is_rounded else "integrated_gradients"
    return ["grad_cam", "layer_cam", of_pixels]


def _answer(explanation: Explanation) -> Answer:
    probability = explanation.probability
    if probability is None:
        return Answer(explanation.name, explanation.score, False)
    return Answer(explanation.name, probability, True)

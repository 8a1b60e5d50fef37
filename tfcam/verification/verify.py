"""``verify``: how far one map can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfcam.engine.opened_model import open_model
from tfcam.engine.options import BATCH_SIZE, SEED
from tfcam.engine.settings import Settings
from tfcam.explainer.explainer import Explainer
from tfcam.images.window import AppliedWindow, Window
from tfcam.metrics.checks import Heatmap, checked_fraction
from tfcam.metrics.imputation import Fill
from tfcam.metrics.probing import Probe
from tfcam.metrics.word_probe import word_probes
from tfcam.model.labels import Labels
from tfcam.preprocessing.modes import Preprocess
from tfcam.preprocessing.text_readers import strings_in
from tfcam.results.explanation import Explanation
from tfcam.results.verification import Verification
from tfcam.targets.classes import Target
from tfcam.utils.validation import check_count, shown
from tfcam.verification.again import explainer_of
from tfcam.verification.inquiry import Inquiry, Subject, check_whole
from tfcam.verification.of_words import check_class, verify_words


def verify(
    model: keras.Model,
    explanation: Explanation | Heatmap,
    *,
    image: Any = None,
    target: Target = None,
    explainer: Explainer | None = None,
    draws: int = 99,
    fraction: float = 0.25,
    fills: Sequence[Fill] | None = None,
    preprocess: Preprocess = "auto",
    labels: Labels | None = None,
    input: str | int | None = None,
    output: str | int | None = None,
    batch_size: int = 32,
    seed: int = 0,
    progress: bool | None = None,
) -> Verification:
    """Ask how far one map can be trusted: five questions, each with a number and a verdict.

    *Does the model use what is marked?* What the map marks is hidden, and the fall of the explained
    number held against that of the same map at other places: shifted around, mirrored and turned,
    with the same values beside each other. *Is it about this class?* The same of the log odds
    against the most likely other class. *Is it stable? Does it come from what was learnt? Does it
    tell more than that things are in the middle?* The default takes about 260 forward passes, and
    13 maps more.

    Of a text the strongest quarter of its words is hidden one after the other behind the mask, or
    the padding, and the mean fall held against other orders of the words; what it is about and what
    was learnt are asked, too. Where one word of W decides, chance finds it first in 1 of W orders:
    of fewer than 20 words that stays undecided.

    Args:
        model: Any built Keras 3 model; it is left as it is.
        explanation: What ``tfcam.explain`` gave for one picture, series or text; or a heatmap
            (H, W) from elsewhere, of which only the order of its positive values counts.
        image: One image, as ``tfcam.explain`` takes it; by default the explanation's picture, where
            that was given as pixels and the model has one input.
        target: The class that is explained: an index, or a label where labels are known; by default
            the one that the model predicts. Also a ``tfcam.Difference``, or a callable outputs ->
            (B,) on the outputs before the final softmax or sigmoid, such as ``tfcam.Segmentation``.
        explainer: What made the map; by default made of what the explanation says, unless its
            method asks the network again and again. Without it two questions stay undecided.
        draws: Number of moved maps.
        fraction: Which part of the picture the map marks: the highest, above 0.
        fills: What replaces what is hidden: "blur", "mean" or "zero", on the mean over all; by
            default "blur" and "mean" of pictures, else "mean" and "zero".
        preprocess: How pixels of 0..255 become the model's input: "auto" finds out, "raw" leaves
            them, "unit", "tf", "torch" and "caffe" scale them, and the name of a keras.applications
            family, such as "resnet_v2", does what that needs. Or a callable on (B, H, W, 3) float32
            pixels, ``tfcam.images.Window``, or None if prepared.
        labels: The label of each class, in the order of the classes, or a file with a label on each
            line or of JSON; by default known of ImageNet networks. Or a dict of names and indices,
            such as ``class_indices``, or "imagenet".
        input: Which input is explained of a model that has several, by name or index; by default
            the first of those with most axes.
        output: Which output is explained of a model that has several, by name or index.
        batch_size: Number of images that are computed at once; fewer take less memory.
        seed: Random seed, at least 0: the same seed gives the same result.
        progress: Show a progress bar on the error stream; by default in a terminal or a notebook,
            where it takes more than a second.

    Returns:
        A ``Verification``: its ``verdict``, ``p_value``, ``sentence``, ``table``, ``plot()`` and
        ``to_html()``.

    Raises:
        ValueError: If an argument does not fit, or the model gives another number for the picture
            than the explanation says.
        TypeError: If an argument is of the wrong kind.

    Source: permutation tests after Phipson and Smyth 2010, "Permutation P-values should never be
        zero"; hidden pixels after Samek et al. 2017, "Evaluating the visualization of what a deep
        neural network has learned"; random weights after Adebayo et al. 2018, "Sanity checks for
        saliency maps". The moves as the null, the five questions and the rules are ours.

    Example:
        >>> import tfcam
        >>> model, scene = tfcam.demo_model(), tfcam.scenes.draw_scene(1, kinds=["star"])
        >>> result = tfcam.verify(model, tfcam.explain(model, scene.image), draws=19)
        >>> result.verdict, result.p_value
        ('supported', 0.05)
    """
    check_count("draws", draws), checked_fraction(fraction)
    check_whole(explanation)
    seed, batch_size = SEED.check(seed), BATCH_SIZE.check(batch_size)
    if isinstance(explanation, Explanation):
        input = explanation.options.get("input") if input is None else input
        output = explanation.options.get("output") if output is None else output
    known, _ = open_model(model, input).graph.labels(labels, output)
    shared = {"preprocess": preprocess, "labels": labels, "input": input, "output": output}
    if strings_in(explanation, pairs=True) is not None:
        raise TypeError(
            f"verify takes what explain gave of a text; got {shown(explanation)}. Explain it "
            "first: tfcam.verify(model, tfcam.explain(model, text))."
        )
    inquiry = Inquiry(known, draws, fraction, fills, seed, progress)
    if isinstance(explanation, Explanation) and explanation.text:
        check_class(explanation, target)
        maker = explainer or explainer_of(explanation, model, **shared)
        if image is None and "\n" in explanation.text:
            raise ValueError(
                "The explanation's text has several lines, and may be of several segments. Give "
                "verify image=, the text or the tuple of texts that explain had."
            )
        text = explanation.text if image is None else image
        settings = Settings(output=output, at_once=batch_size)
        preprocess = preprocess if explainer is None else explainer.pipeline.preprocess
        probes = word_probes(model, text, preprocess, input, settings)
        return verify_words(inquiry, probes, text, explanation, maker, explainer is not None)
    if isinstance(explanation, Explanation) and target is None:
        target = _target(explanation)
    own = preprocess if explainer is None else explainer.pipeline.preprocess
    if image is None and isinstance(own, Window) and not isinstance(own, AppliedWindow):
        raise ValueError(
            "verify needs the values that the tfcam.images.Window is of: an explanation keeps its "
            "picture as 0..255. Give image=, or leave the window out."
        )
    if image is None and len(open_model(model, input).graph.inputs) > 1:
        raise ValueError(
            "The model has several inputs, of which an explanation keeps one. Give verify the same "
            "image= that explain had."
        )
    given = _image(explanation) if image is None else image
    probe = Probe(
        model,
        given,
        target,
        preprocess=preprocess,
        labels=labels,
        input=input,
        output=output,
        batch_size=batch_size,
    )
    if len(probe) != 1:
        raise ValueError(f"verify takes one image; got {len(probe)}. Verify them one by one.")
    maker = explainer or explainer_of(explanation, model, **shared)
    return inquiry(Subject(probe, 0, explanation, target), maker, explainer is not None)


def _target(explanation: Explanation) -> int | None:
    """The explained class of an explanation; None for a model's one number.

    Raises:
        ValueError: If it explains something else.
    """
    # A difference is known by its name alone.
    if explanation.score_kind == "callable" or " and not " in (explanation.label or ""):
        raise ValueError(
            f"The explanation is of {explanation.name!r}, which is no class. Give verify the same "
            "target= that explain had."
        )
    return explanation.target


def _image(explanation: Explanation | Heatmap) -> np.ndarray:
    """The picture of an explanation.

    Raises:
        ValueError: If it has none as it was given.
    """
    if not isinstance(explanation, Explanation):
        raise ValueError(
            "A heatmap alone has no picture: give verify image= and target=, or what explain "
            "returned."
        )
    if explanation.heatmap.ndim == 2 and explanation.preprocessing.startswith("none: given as"):
        raise ValueError(
            "The explained image was given prepared, and an explanation keeps it only to look at. "
            "Give verify the same image=, and preprocess=None."
        )
    return explanation.image

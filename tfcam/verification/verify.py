"""``verify``: how far one map can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfcam import maps
from tfcam.engine.opened_model import open_model
from tfcam.engine.options import BATCH_SIZE, SEED
from tfcam.explainer.explainer import Explainer
from tfcam.metrics.checks import Heatmap, checked_fraction, heatmap_of
from tfcam.metrics.imputation import Fill
from tfcam.metrics.probing import Probe
from tfcam.metrics.similarity import spearman
from tfcam.model.labels import Labels
from tfcam.preprocessing.modes import Preprocess
from tfcam.results.explanation import Explanation
from tfcam.targets.classes import NOTHING, Difference, Target, pair_name
from tfcam.utils.progress import progress_bar
from tfcam.utils.validation import check_choice, check_count
from tfcam.utils.versions import versions
from tfcam.verification.again import (
    SAME,
    STAGES,
    Again,
    changes,
    explainer_of,
    of_stability,
    of_training,
    random_maps,
)
from tfcam.verification.hiding import Hiding
from tfcam.verification.questions import (
    Marks,
    hill_marked,
    of_class,
    of_place,
    of_use,
)
from tfcam.verification.result import Verification

# Those that leave a picture of which nothing is left.
_WHOLE_FILLS = ("zero", "mean", "blur")
# The explained number is the same as when the map was made, but for rounding.
_CLOSE = 0.01


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

    Args:
        model: Any built Keras 3 model; it is left as it is.
        explanation: What ``tfcam.explain`` gave for one picture or series; or a heatmap (H, W) from
            elsewhere, of which only the order of its positive values counts.
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
            pixels, or None for images that are already prepared.
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
    seed, batch_size = SEED.check(seed), BATCH_SIZE.check(batch_size)
    if isinstance(explanation, Explanation):
        input = explanation.options.get("input") if input is None else input
        output = explanation.options.get("output") if output is None else output
        target = _target(explanation) if target is None else target
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
    plain = bool(probe.targets[0] >= 0) and not isinstance(target, Difference)
    _check(probe, explanation, plain)
    sides = probe.inputs.shape[1:-1]
    fills = fills or (("blur", "mean") if len(sides) == 2 else ("mean", "zero"))
    for fill in fills:
        check_choice("fills", fill, _WHOLE_FILLS)
    heatmap = _heatmap(explanation, len(sides))
    values = _moved_values(explanation, heatmap)
    hiding = Hiding.of(probe, fills, plain)
    marks = Marks.of(hiding, values, fraction, draws, seed)
    explained = int(probe.targets[0]) if plain else target
    known, _ = open_model(model, input).graph.labels(labels, output)
    name, rival = _names(explanation, explained, hiding.rival, known)
    shared = {"preprocess": preprocess, "labels": labels, "input": input, "output": output}
    found = explainer or explainer_of(explanation, model, **shared)
    moved, kept = len(marks.marked), 1 + (len(marks.marked) - 1) // 2
    total = (moved + 1 + STAGES) * len(fills) + kept + changes(hiding) + STAGES
    with progress_bar(total, "verifying", progress) as advance:
        falls = marks.falls(marks.marked, advance)
        alone = [~places for places in marks.marked[:kept]]
        again = _again(found, explainer is not None, explanation, hiding, explained)
        alike = None if again is None else again.likeness(hiding.rival)
        random = random_maps(again, model, hiding, seed, advance)
        others = [] if isinstance(random, str) else random
        marked = [hiding.marked(each, marks.count) for each in others]
        least = marks.falls([hill_marked(marks), *marked], advance).number
        checks = (
            of_use(marks, name, falls.number, hiding.ask(alone, advance, 1)[:, 0, 0]),
            of_class(falls.contrast, name, rival, alike, SAME),
            of_stability(again, hiding, seed, advance),
            of_training(again, random, falls.number[0], least[1:]),
            of_place(marks, falls.number, least[0]),
        )
    return Verification(
        name,
        hiding.number,
        checks,
        falls.number,
        probe.images[0],
        maps.scale(maps.resize(heatmap, probe.images[0].shape[: len(sides)])),
        fraction,
        tuple(fills),
        seed,
        (moved + 1 + len(others)) * len(fills) + kept,
        0 if again is None else again.count,
        versions(),
    )


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
        raise ValueError("A heatmap alone has no picture: give verify image=, and target=.")
    if explanation.heatmap.ndim == 2 and explanation.preprocessing.startswith("none: given as"):
        raise ValueError(
            "The explained image was given prepared, and an explanation keeps it only to look at. "
            "Give verify the same image=, and preprocess=None."
        )
    return explanation.image


def _check(probe: Probe, explanation: Explanation | Heatmap, plain: bool) -> None:
    """Refuse several images, and a model, picture or preprocessing that is another.

    Raises:
        ValueError: If the model gives another number than the explanation says.
    """
    if len(probe) != 1:
        raise ValueError(f"verify takes one image; got {len(probe)}. Verify them one by one.")
    if not isinstance(explanation, Explanation):
        return
    said = explanation.probability if plain else explanation.score
    same = probe.targets[0] == explanation.target if plain else explanation.target is None
    if said is None or not same:
        return
    now = float(probe.probabilities[0])
    if abs(said - now) > _CLOSE * max(1, abs(said)):
        raise ValueError(
            f"The explanation says {said:.3g} for {explanation.name!r}, and the model gives "
            f"{now:.3g}: its weights, the image or the preprocessing are not those of the map. "
            "Give verify the same image=, target= and preprocess=."
        )


def _heatmap(explanation: Explanation | Heatmap, axes: int) -> np.ndarray:
    """The positive part of a heatmap.

    Raises:
        ValueError: If it does not fit the model's input.
    """
    heatmap = heatmap_of(explanation).astype(np.float32)
    if heatmap.ndim != axes or not heatmap.size or not np.isfinite(heatmap).all():
        raise ValueError(
            f"The heatmap must be finite and have {axes} axes, as the model's input has sides; got "
            f"an array of shape {heatmap.shape}."
        )
    return np.maximum(heatmap, 0)


def _moved_values(explanation: Explanation | Heatmap, heatmap: np.ndarray) -> np.ndarray:
    """What is moved: the layer's positions where they alone make the heatmap, else its pixels."""
    if isinstance(explanation, Explanation) and explanation.raw.ndim == heatmap.ndim:
        raw = np.maximum(explanation.raw, 0).astype(np.float32)
        if np.allclose(maps.heatmap(raw, heatmap.shape), heatmap, atol=1e-4):
            return raw
    return heatmap


def _names(
    explanation: Explanation | Heatmap, target: Any, rival: int | None, labels: Any
) -> tuple[str, str]:
    """What the explained target and its rival are called."""
    name, other = (
        pair_name((index, NOTHING), labels) if isinstance(index, int) else "the target"
        for index in (target, rival)
    )
    if isinstance(explanation, Explanation):
        same = not isinstance(target, int) or target == explanation.target
        name = explanation.name if same else name
    return name, other


def _again(
    explainer: Explainer | None,
    is_given: bool,
    explanation: Explanation | Heatmap,
    hiding: Hiding,
    target: Any,
) -> Again | None:
    """What makes the map again; None where there is nothing, or it makes another map.

    Raises:
        ValueError: If an explainer that was given makes another map.
    """
    if explainer is None:
        return None
    again = Again(explainer, hiding, target)
    before = maps.resize(heatmap_of(explanation).astype(np.float32), hiding.sides)
    similarity = spearman(again.own, before)
    if similarity >= SAME:
        return again
    if is_given:
        raise ValueError(
            f"explainer must make the map that is verified; its own has a rank correlation of "
            f"{similarity:.2f} with it."
        )
    return None

"""Faithfulness: whether the model decides by what a map shows.

The model is asked about images with less in them. Each function takes a ``Probe`` and heatmaps
(B, H, W) in [0, 1], or a list of ``Explanation``, one for each of its images, and gives one number
for each image, (B,) float32. Heatmaps are resized linearly to the model's input.

Images are changed as the model takes them, after preprocessing, as in the literature: where a
heatmap is 0 the input is 0, which is the mean grey where preprocessing centres the values ("tf",
"torch", "caffe"), and black where the model takes 0..1 or 0..255 ("unit", "raw"). Numbers of the
two kinds of networks can't be compared.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from tfcam.explainer.explainer import Explainer
from tfcam.metrics.checks import Heatmaps, Maps, checked_fraction
from tfcam.metrics.complexity import mean_value
from tfcam.metrics.confidence import confidence_increased, relative_drop
from tfcam.metrics.imputation import FILLS, Fill
from tfcam.metrics.pixel_sets import correlation, measure_falls, random_sets, without
from tfcam.metrics.probing import Probe
from tfcam.metrics.ranking import check_probe, evidence_on_input, on_input, top_pixels
from tfcam.metrics.removal_test import SUPPORTED, removal_tests
from tfcam.results.explanation import Explanation
from tfcam.utils.validation import check_choice, kind_of


def masked_images(probe: Probe, heatmaps: Heatmaps) -> np.ndarray:
    """Multiply each image by its map: x L.

    Args:
        probe: The model and its images.
        heatmaps: (B, H, W) in [0, 1].

    Returns:
        (B, H, W, C) float32.

    Raises:
        ValueError: If they are no heatmaps, or not one for each image.

    Example:
        >>> import tfcam
        >>> probe = Probe(tfcam.demo_model(), tfcam.scenes.draw_scene(1).image)
        >>> bool((masked_images(probe, np.ones((1, 128, 128))) == probe.inputs).all())
        True
    """
    masks = on_input(probe, heatmaps)[..., np.newaxis]
    return probe.inputs * masks


def average_drop(probe: Probe, heatmaps: Heatmaps) -> np.ndarray:
    """Measure the average drop: by which fraction the probability falls under the map as a mask.

    AD = max(0, Y - O) / Y, with Y = p(x) and O = p(x L). Lower is better, but a map of ones is best
    of all: read it together with how much the map lets through.

    Args:
        probe: The model and its images.
        heatmaps: (B, H, W) in [0, 1].

    Returns:
        (B,) float32 in [0, 1]; the papers print the mean in percent.

    Raises:
        ValueError: If heatmaps do not fit, or the target's number is negative: no probability.

    Source: Chattopadhay et al. 2018, "Grad-CAM++", section 4.1.1.

    Example:
        >>> import tfcam
        >>> probe = Probe(tfcam.demo_model(), tfcam.scenes.draw_scene(1).image)
        >>> average_drop(probe, np.ones((1, 128, 128)))
        array([0.], dtype=float32)
    """
    check_probe(probe)
    if (probe.probabilities < 0).any():
        raise ValueError(
            "A drop is a fraction of a probability, which is not negative; the target's number is "
            f"{probe.probabilities.min():g}. Use confidence_change, or ask for a class."
        )
    return np.asarray(relative_drop(probe.probabilities, _let_through(probe, heatmaps)))


def increase_in_confidence(probe: Probe, heatmaps: Heatmaps) -> np.ndarray:
    """Measure the increase in confidence: 1 where the probability rises under the map as a mask.

    1 where Y < O, else 0, with Y = p(x) and O = p(x L).

    Args:
        probe: The model and its images.
        heatmaps: (B, H, W) in [0, 1].

    Returns:
        (B,) float32, 0 or 1; higher is better.

    Raises:
        ValueError: If they are no heatmaps, or not one for each image.

    Source: Chattopadhay et al. 2018, "Grad-CAM++", section 4.1.2.

    Example:
        >>> import tfcam
        >>> probe = Probe(tfcam.demo_model(), tfcam.scenes.draw_scene(1).image)
        >>> increase_in_confidence(probe, np.ones((1, 128, 128)))
        array([0.], dtype=float32)
    """
    check_probe(probe)
    return np.asarray(confidence_increased(probe.probabilities, _let_through(probe, heatmaps)))


def confidence_change(probe: Probe, heatmaps: Heatmaps) -> np.ndarray:
    """Measure the change of the probability under the map as a mask: p(x L) - p(x).

    Args:
        probe: The model and its images.
        heatmaps: (B, H, W) in [0, 1].

    Returns:
        (B,) float32 in [-1, 1]; higher is better.

    Raises:
        ValueError: If they are no heatmaps, or not one for each image.

    Example:
        >>> import tfcam
        >>> probe = Probe(tfcam.demo_model(), tfcam.scenes.draw_scene(1).image)
        >>> confidence_change(probe, np.ones((1, 128, 128)))
        array([0.], dtype=float32)
    """
    return _let_through(probe, heatmaps) - probe.probabilities


class Win(NamedTuple):
    """The share of images that each of two methods wins, and that none does; they sum to 1."""

    a: float
    b: float
    ties: float


def win(drops_a: np.ndarray, drops_b: np.ndarray) -> Win:
    """Count the images on which one method's drop is lower than the other's.

    Args:
        drops_a: (B,) the drops of method a, such as of ``average_drop``.
        drops_b: (B,) those of method b, of the same images.

    Returns:
        The shares of the images; ties count for nobody.

    Raises:
        ValueError: If they are not as many, or none.

    Source: Chattopadhay et al. 2018, "Grad-CAM++", section 4.1.3.

    Example:
        >>> win(np.array([0.0, 0.1, 0.2, 0.9]), np.array([0.0, 0.2, 0.3, 0.1]))
        Win(a=0.5, b=0.25, ties=0.25)
    """
    a, b = np.asarray(drops_a), np.asarray(drops_b)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise ValueError(f"Drops must be of the same images, (B,); got {a.shape} and {b.shape}.")
    return Win(float((a < b).mean()), float((b < a).mean()), float((a == b).mean()))


def removal(
    probe: Probe,
    heatmaps: Heatmaps,
    *,
    fraction: float = 0.25,
    fill: Fill = "zero",
    keep: bool = False,
    seed: int = 0,
) -> np.ndarray:
    """Measure the change of the probability when the pixels of highest rank are removed.

    p(x without the round(fraction H W) highest) - p(x). That many are removed exactly: of equal
    values the first in reading order, where a threshold at a percentile would take all or none.

    Args:
        probe: The model and its images.
        heatmaps: (B, H, W) in [0, 1].
        fraction: The fraction of the pixels, in [0, 1].
        fill: What replaces them: "zero", "mean", "blur" or "noisy_linear".
        keep: True removes all others instead.
        seed: The seed of the noise.

    Returns:
        (B,) float32 in [-1, 1]; lower is better, with ``keep`` higher.

    Raises:
        ValueError: If the fraction is not in [0, 1], there is no such fill, or maps do not fit.

    Example:
        >>> import tfcam
        >>> probe = Probe(tfcam.demo_model(), tfcam.scenes.draw_scene(1).image)
        >>> removal(probe, np.ones((1, 128, 128)), fraction=0.0)
        array([0.], dtype=float32)
    """
    check_choice("fill", fill, FILLS)
    checked_fraction(fraction)
    removed = (top_pixels(heatmap, fraction) != keep for heatmap in on_input(probe, heatmaps))
    changed = without(probe, removed, fill, [seed])
    return probe(changed, np.arange(len(probe))) - probe.probabilities


def supported(
    probe: Probe,
    heatmaps: Heatmaps,
    *,
    fraction: float = 0.25,
    draws: int = 99,
    fills: Sequence[Fill] | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Tell which maps the removal test of ``tfcam.verify`` supports: p is at most 0.05.

    Args:
        probe: The model and its images.
        heatmaps: (B, H, W) in [0, 1], or a list of any sizes, such as a layer has them; or of
            ``Explanation``, of which the layer's positions are moved.
        fraction: Which part of the pixels a map marks, at most.
        draws: Number of moved maps: each asks the model once for each fill.
        fills: What replaces what is hidden, as in ``tfcam.verify``.
        seed: The seed of the moves, which all maps of one size share.

    Returns:
        (B,) float32: 1 where it is supported, 0 where it is not or undecided.

    Raises:
        ValueError: If an argument is none of these, or maps do not fit.

    Source: as ``tfcam.verify``.

    Example:
        >>> import tfcam
        >>> model, scene = tfcam.demo_model(), tfcam.scenes.draw_scene(1, kinds=["star"])
        >>> supported(Probe(model, scene.image), [tfcam.explain(model, scene.image)], draws=19)
        array([1.], dtype=float32)
    """
    tests = removal_tests(probe, heatmaps, fraction=fraction, draws=draws, fills=fills, seed=seed)
    return np.array([test.verdict == SUPPORTED for test in tests], np.float32)


def faithfulness_correlation(
    probe: Probe,
    maps: Maps,
    *,
    subsets: int = 100,
    size: int = 224,
    fill: Fill = "zero",
    seed: int = 0,
) -> np.ndarray:
    """Measure whether the probability falls as the map says, for random sets of pixels.

    The correlation of sum_{i in S} M_i with p(x) - p(x without S) over random sets S.

    Args:
        probe: The model and its images.
        maps: (B, H, W) or (B, H, W, C), signed or not, or explanations, whose raw maps count.
        subsets: The number of sets, at least 2.
        size: The number of pixels of a set.
        fill: What replaces them: "zero", "mean", "blur" or "noisy_linear".
        seed: The seed of the sets, which are the same for each image.

    Returns:
        (B,) float32 in [-1, 1]; higher is better. 0 where a side does not vary, which says nothing.

    Raises:
        ValueError: If an option is out of range, or maps do not fit.

    Source: Bhatt et al. 2020, "Evaluating and Aggregating Feature-based Model Explanations",
        section 3.1.

    Example:
        >>> import tfcam
        >>> probe = Probe(tfcam.demo_model(), tfcam.scenes.draw_scene(1).image)
        >>> faithfulness_correlation(probe, np.ones((1, 128, 128)), subsets=3)
        array([0.], dtype=float32)
    """
    resized = evidence_on_input(probe, maps)
    pixels = resized[0].size
    if subsets < 2 or not 1 <= size < pixels:
        raise ValueError(
            f"There must be at least 2 subsets, of 1 to {pixels - 1} pixels; got {subsets} of "
            f"{size}."
        )
    sets = functools.partial(random_sets, resized.shape[1:], size, subsets, seed)
    sums, falls = measure_falls(probe, resized, sets, fill, seed)
    return np.array(list(map(correlation, sums, falls)), np.float32)


def completeness_residual(
    results: Sequence[Explanation], *, without: float | np.ndarray = 0.0
) -> np.ndarray:
    """Measure by how much the sum of a map misses the score that it should sum to.

    |s - s0 - sum_i M_i|. It should be 0 for HiResCAM on a linear head and for integrated gradients;
    other methods promise no such sum.

    Args:
        results: Explanations; where a method measured its ``completeness_error``, that counts.
        without: s0, the score without any evidence, (B,) or one for all: such as the bias of the
            class in a linear head.

    Returns:
        (B,) float32, in units of the score; lower is better.

    Raises:
        TypeError: If they are no explanations.

    Example:
        >>> import tfcam
        >>> model, scene = tfcam.demo_model(), tfcam.scenes.draw_scene(1)
        >>> results = tfcam.explain(model, [scene.image], "features", method="hires_cam")
        >>> bias = model.layers[-1].get_weights()[1][results[0].target]
        >>> bool(completeness_residual(results, without=bias)[0] < 1e-4)
        True
    """
    if not isinstance(results, Sequence) or not all(hasattr(one, "measured") for one in results):
        raise TypeError(f"results must be a list of explanations; got {kind_of(results)}.")
    errors = [
        result.measured.get(
            "completeness_error", result.score - start - result.raw.sum(dtype=np.float64)
        )
        for result, start in zip(results, np.broadcast_to(without, len(results)), strict=True)
    ]
    return np.abs(np.array(errors)).astype(np.float32)


class Adcc(NamedTuple):
    """The ADCC of each image, (B,) float32, and the three parts that it is the mean of."""

    adcc: np.ndarray
    average_drop: np.ndarray
    coherency: np.ndarray
    complexity: np.ndarray


def adcc(
    probe: Probe,
    heatmaps: Heatmaps,
    explain_again: Explainer | Callable[[np.ndarray], Heatmaps],
) -> Adcc:
    """Measure ADCC: average drop, coherency and complexity in one number.

    ADCC = 3 / (1 / Coh + 1 / (1 - Com) + 1 / (1 - AD)), with the coherency
    Coh = (1 + corr(L(x), L(x L(x)))) / 2, the complexity Com = mean(L) and the average drop AD. A
    map of ones does not win it.

    Args:
        probe: The model and its images.
        heatmaps: (B, H, W) in [0, 1].
        explain_again: How the heatmaps were made: the ``Explainer``, or a function from images
            (B, h, w, C) as the model takes them to heatmaps. It must explain the class that the
            model predicts for the unchanged image, ``probe.targets``, as an Explainer is told to.

    Returns:
        ADCC and its three parts; 0 where a part is at its worst. Coherency is 0 where a map does
        not vary.

    Raises:
        ValueError: If maps do not fit, or an Explainer is given for a callable target.

    Source: Poppi et al. 2021, "Revisiting The Evaluation of Class Activation Mapping for
        Explainability", section 3.

    Example:
        >>> import tfcam
        >>> model, scene = tfcam.demo_model(), tfcam.scenes.draw_scene(1)
        >>> explainer = tfcam.Explainer(model)
        >>> result = adcc(Probe(model, scene.image), [explainer(scene.image)], explainer)
        >>> bool(0 < result.adcc[0] < 1)
        True
    """
    drop, first = average_drop(probe, heatmaps), on_input(probe, heatmaps)
    again = on_input(probe, _again(probe, masked_images(probe, heatmaps), explain_again))
    pairs = zip(first.astype(np.float64), again.astype(np.float64), strict=True)
    correlations = [correlation(*pair, undefined=-1.0) for pair in pairs]
    coherency = ((1 + np.array(correlations)) / 2).astype(np.float32)
    complexity = mean_value(first)
    return Adcc(harmonic_adcc(drop, coherency, complexity), drop, coherency, complexity)


def harmonic_adcc(drop: np.ndarray, coherency: np.ndarray, complexity: np.ndarray) -> np.ndarray:
    """Compute ADCC of its three parts: 3 / (1 / Coh + 1 / (1 - Com) + 1 / (1 - AD)).

    Args:
        drop: (B,) average drop in [0, 1].
        coherency: (B,) in [0, 1].
        complexity: (B,) in [0, 1].

    Returns:
        (B,) float32 in [0, 1].

    Example:
        >>> harmonic_adcc(np.array([0.2]), np.array([0.9]), np.array([0.3]))
        array([0.791623...], dtype=float32)
    """
    parts = np.clip(np.stack([coherency, 1 - complexity, 1 - drop]).astype(np.float64), 0, 1)
    whole = parts.min(axis=0) > 0
    inverse = (1 / np.where(whole, parts, 1.0)).sum(axis=0)
    return np.where(whole, 3 / inverse, 0.0).astype(np.float32)


def _let_through(probe: Probe, heatmaps: Heatmaps) -> np.ndarray:
    """Ask for the probabilities (B,) of the masked images, which are made one at a time."""
    masks = on_input(probe, heatmaps)[..., np.newaxis]
    changed = (x[np.newaxis] * L for x, L in zip(probe.inputs, masks, strict=True))
    return probe(changed, np.arange(len(probe)))


def _again(
    probe: Probe,
    images: np.ndarray,
    explain_again: Explainer | Callable[[np.ndarray], Heatmaps],
) -> Heatmaps:
    """Explain other images, as the first were explained."""
    if not isinstance(explain_again, Explainer):
        return explain_again(images)
    if (probe.targets < 0).any():
        raise ValueError(
            "An Explainer is told to explain classes, and the target is a callable. Give a "
            "function from images to heatmaps instead."
        )
    return explain_again.prepared()(probe.as_given(images), probe.targets.tolist())

"""Curves: how the probability follows the removal of pixels in the order of a map.

All take a ``Probe`` and heatmaps as ``tfcam.metrics.faithfulness`` does. Only the order of the
pixels counts; of equal values the first in reading order comes first. A variant is made when it is
asked for: memory does not grow with the number of steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tfcam.metrics.checks import Heatmaps, check_fractions, checked_fraction
from tfcam.metrics.imputation import FILLS, Fill
from tfcam.metrics.pixel_sets import without
from tfcam.metrics.probing import Probe
from tfcam.metrics.ranking import on_input, ranks
from tfcam.utils.validation import check_choice

FRACTIONS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
RATIONALES = (0.01, 0.05, 0.1, 0.2, 0.5)


@dataclass(frozen=True, eq=False)
class Curve:
    """Probabilities by the fraction of pixels that is changed.

    Attributes:
        fractions: (S,) float64, rising: the exact fractions of the pixels.
        probabilities: (B, S) float32, of each image at each fraction.

    Example:
        >>> Curve(np.array([0.0, 0.5, 1.0]), np.array([[1.0, 0.5, 0.0]])).area
        array([0.5], dtype=float32)
    """

    fractions: np.ndarray
    probabilities: np.ndarray

    @property
    def area(self) -> np.ndarray:
        """The area under each curve, as a share of the width that it spans, (B,) float32."""
        widths = np.diff(self.fractions)
        heights = (self.probabilities[:, 1:] + self.probabilities[:, :-1]) / 2
        return (heights @ widths / widths.sum()).astype(np.float32)

    @property
    def mean(self) -> np.ndarray:
        """The mean of each curve's points, (B,) float32."""
        return self.probabilities.mean(axis=1, dtype=np.float64).astype(np.float32)

    @property
    def aopc(self) -> np.ndarray:
        """The area over the perturbation curve: its first point less the mean of all, (B,) float32.

        1 / (L + 1) sum_k (p(x) - p(x_k)) over the L steps of a deletion: higher is better.

        Raises:
            ValueError: If the curve does not begin where nothing is changed, at 0.

        Source: Samek et al. 2017, "Evaluating the visualization of what a deep neural network has
            learned".

        Example:
            >>> Curve(np.linspace(0, 1, 4), np.array([[0.8, 0.5, 0.2, 0.1]])).aopc
            array([0.4], dtype=float32)
        """
        if self.fractions[0] != 0:
            raise ValueError(
                "AOPC counts from the unchanged image, so the curve must begin at the fraction 0; "
                f"it begins at {self.fractions[0]:g}."
            )
        return self.probabilities[:, 0].astype(np.float32) - self.mean


def deletion(
    probe: Probe, heatmaps: Heatmaps, *, steps: int = 28, fill: Fill = "zero", seed: int = 0
) -> Curve:
    """Compute the deletion curve: the probability as pixels are removed, the strongest first.

    From p(x) to p of an image in which nothing is left; a small area is good.

    Args:
        probe: The model and its images.
        heatmaps: (B, H, W) in [0, 1].
        steps: The number of steps, each of as equal a number of pixels as can be; RISE takes 28 for
            many images, 224 for one.
        fill: What replaces removed pixels: "zero", "mean" or "blur".
        seed: Not used by these fills.

    Returns:
        A curve of steps + 1 points.

    Raises:
        ValueError: If an option is out of range, or maps do not fit.

    Source: Petsiuk et al. 2018, "RISE", section 4.1.

    Departs from its code: equal values are in reading order, and the area is taken over the true
    fractions, which matters where the last step is shorter.

    Example:
        >>> import tfcam
        >>> probe = Probe(tfcam.demo_model(), tfcam.scenes.draw_scene(1).image)
        >>> curve = deletion(probe, np.ones((1, 128, 128)), steps=4)
        >>> curve.fractions
        array([0.  , 0.25, 0.5 , 0.75, 1.  ])
        >>> bool(np.isclose(curve.probabilities[0, 0], probe.probabilities[0]))
        True
    """
    return _steps(probe, heatmaps, steps, fill, inserted=False)


def insertion(
    probe: Probe, heatmaps: Heatmaps, *, steps: int = 28, fill: Fill = "blur", seed: int = 0
) -> Curve:
    """Compute the insertion curve: the probability as pixels are put in, the strongest first.

    The image is blurred at first. From its p to p(x); a large area is good.

    Args:
        probe: The model and its images.
        heatmaps: (B, H, W) in [0, 1].
        steps: The number of steps, each of as equal a number of pixels as can be; RISE takes 28 for
            many images, 224 for one.
        fill: What is there at first: "zero", "mean" or "blur" (as in RISE).
        seed: Not used by these fills.

    Returns:
        A curve of steps + 1 points.

    Raises:
        ValueError: If an option is out of range, or maps do not fit.

    Source: Petsiuk et al. 2018, "RISE", section 4.1.

    Departs from its code: as ``deletion``.

    Example:
        >>> import tfcam
        >>> probe = Probe(tfcam.demo_model(), tfcam.scenes.draw_scene(1).image)
        >>> curve = insertion(probe, np.ones((1, 128, 128)), steps=4)
        >>> bool(np.isclose(curve.probabilities[0, -1], probe.probabilities[0]))
        True
    """
    return _steps(probe, heatmaps, steps, fill, inserted=True)


def road_morf(
    probe: Probe,
    heatmaps: Heatmaps,
    *,
    fractions: Sequence[float] = FRACTIONS,
    fill: Fill = "noisy_linear",
    seed: int = 0,
) -> Curve:
    """Compute ROAD's curve, most relevant first: without a fraction of the strongest pixels.

    Args:
        probe: The model and its images.
        heatmaps: (B, H, W) in [0, 1].
        fractions: The fractions of the pixels that are removed, rising.
        fill: What replaces them: "zero", "mean", "blur" or "noisy_linear" (as in ROAD).
        seed: The seed of the noise.

    Returns:
        A curve; low is good.

    Raises:
        ValueError: If an option is out of range, or maps do not fit.

    Source: Rong et al. 2022, "A Consistent and Efficient Evaluation Strategy for Attribution
        Methods" (ROAD).

    Departs from its code: equal values are in reading order instead of a random one, and
    ``fractions`` are those removed in both orders, where the code counts the kept ones for LeRF.

    Example:
        >>> import tfcam
        >>> probe = Probe(tfcam.demo_model(), tfcam.scenes.draw_scene(1).image)
        >>> road_morf(probe, np.ones((1, 128, 128)), fractions=[0.25]).probabilities.shape
        (1, 1)
    """
    (curve,) = _road(probe, heatmaps, fractions, fill, seed, (True,))
    return curve


def road_lerf(
    probe: Probe,
    heatmaps: Heatmaps,
    *,
    fractions: Sequence[float] = FRACTIONS,
    fill: Fill = "noisy_linear",
    seed: int = 0,
) -> Curve:
    """Compute ROAD's curve, least relevant first: without a fraction of the weakest pixels.

    Args:
        probe: The model and its images.
        heatmaps: (B, H, W) in [0, 1].
        fractions: The fractions of the pixels that are removed, rising.
        fill: What replaces them: "zero", "mean", "blur" or "noisy_linear" (as in ROAD).
        seed: The seed of the noise.

    Returns:
        A curve; high is good.

    Raises:
        ValueError: If an option is out of range, or maps do not fit.

    Source: Rong et al. 2022 (ROAD); departs from its code as ``road_morf`` does.

    Example:
        >>> import tfcam
        >>> probe = Probe(tfcam.demo_model(), tfcam.scenes.draw_scene(1).image)
        >>> road_lerf(probe, np.ones((1, 128, 128)), fractions=[0.25]).probabilities.shape
        (1, 1)
    """
    (curve,) = _road(probe, heatmaps, fractions, fill, seed, (False,))
    return curve


def road(
    probe: Probe,
    heatmaps: Heatmaps,
    *,
    fractions: Sequence[float] = FRACTIONS,
    fill: Fill = "noisy_linear",
    seed: int = 0,
) -> np.ndarray:
    """Compute ROAD's combined score: half the difference of its two curves.

    mean over r of (p_LeRF(r) - p_MoRF(r)) / 2.

    Args:
        probe: The model and its images.
        heatmaps: (B, H, W) in [0, 1].
        fractions: The fractions r of the pixels that are removed, rising.
        fill: What replaces them: "zero", "mean", "blur" or "noisy_linear" (as in ROAD).
        seed: The seed of the noise.

    Returns:
        (B,) float32 in [-0.5, 0.5]; higher is better.

    Raises:
        ValueError: If an option is out of range, or maps do not fit.

    Source: Rong et al. 2022 (ROAD), put together as pytorch-grad-cam does.

    Example:
        >>> import tfcam
        >>> scene = tfcam.scenes.draw_scene(1)
        >>> probe = Probe(tfcam.demo_model(), scene.image)
        >>> road(probe, scene.masks[:1].astype(float), fractions=[0.25])[0] > 0
        np.True_
    """
    least, most = _road(probe, heatmaps, fractions, fill, seed, (False, True))
    return (least.mean - most.mean) / 2


def comprehensiveness(
    probe: Probe,
    heatmaps: Heatmaps,
    *,
    fractions: Sequence[float] = RATIONALES,
    fill: Fill = "zero",
    seed: int = 0,
) -> np.ndarray:
    """Measure comprehensiveness: how far the probability falls without what a map marks.

    The mean over r of p(x) - p(x without the fraction r of its strongest pixels).

    Args:
        probe: The model and its images.
        heatmaps: (B, H, W) in [0, 1].
        fractions: The fractions r of the pixels, rising.
        fill: What replaces those removed: "zero", "mean", "blur" or "noisy_linear".
        seed: The seed of the noise.

    Returns:
        (B,) float32 in [-1, 1]; higher is better.

    Raises:
        ValueError: If an option is out of range, or maps do not fit.

    Source: DeYoung et al. 2020, "ERASER: a benchmark to evaluate rationalized NLP models".

    Departs from the paper: the sum over fractions is divided by their number, not by one more.

    Example:
        >>> import tfcam
        >>> scene = tfcam.scenes.draw_scene(1)
        >>> probe = Probe(tfcam.demo_model(), scene.image)
        >>> comprehensiveness(probe, scene.masks[:1].astype(float), fractions=[0.5])[0] > 0
        np.True_
    """
    without = road_morf(probe, heatmaps, fractions=fractions, fill=fill, seed=seed)
    return probe.probabilities - without.mean


def sufficiency(
    probe: Probe,
    heatmaps: Heatmaps,
    *,
    fractions: Sequence[float] = RATIONALES,
    fill: Fill = "zero",
    seed: int = 0,
) -> np.ndarray:
    """Measure sufficiency: how far the probability falls with only what a map marks.

    The mean over r of p(x) - p(of the fraction r of its strongest pixels alone).

    Args:
        probe: The model and its images.
        heatmaps: (B, H, W) in [0, 1].
        fractions: The fractions r of the pixels, rising.
        fill: What replaces those removed: "zero", "mean", "blur" or "noisy_linear".
        seed: The seed of the noise.

    Returns:
        (B,) float32 in [-1, 1]; lower is better.

    Raises:
        ValueError: If an option is out of range, or maps do not fit.

    Source: DeYoung et al. 2020, "ERASER: a benchmark to evaluate rationalized NLP models".

    Departs from the paper: the sum over fractions is divided by their number, not by one more.

    Example:
        >>> import tfcam
        >>> scene = tfcam.scenes.draw_scene(1)
        >>> probe = Probe(tfcam.demo_model(), scene.image)
        >>> sufficiency(probe, scene.masks[:1].astype(float), fractions=[1.0])
        array([0.], dtype=float32)
    """
    left_out = [1 - checked_fraction(fraction) for fraction in reversed(fractions)]
    alone = road_lerf(probe, heatmaps, fractions=left_out, fill=fill, seed=seed)
    return probe.probabilities - alone.mean


def _steps(probe: Probe, heatmaps: Heatmaps, steps: int, fill: Fill, inserted: bool) -> Curve:
    check_choice("fill", fill, FILLS)
    if fill == "noisy_linear":
        raise ValueError(
            "The curve goes to where no pixel is left to fill the others from; choose zero, mean "
            "or blur, or road_morf."
        )
    places = [ranks(heatmap) for heatmap in on_input(probe, heatmaps)]
    pixels = places[0].size
    if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= pixels:
        raise ValueError(
            f"steps must be a whole number in 1..{pixels}, the number of pixels; got {steps!r}."
        )
    counts = np.round(np.linspace(0, pixels, steps + 1)).astype(int)

    hidden = (place >= count if inserted else place < count for place in places for count in counts)
    seeds = [0] * len(counts)  # not used by these fills
    index = np.repeat(np.arange(len(probe)), len(counts))
    asked = probe(without(probe, hidden, fill, seeds), index)
    return Curve(counts / pixels, asked.reshape(len(probe), -1))


def _road(
    probe: Probe,
    heatmaps: Heatmaps,
    fractions: Sequence[float],
    fill: Fill,
    seed: int,
    orders: Sequence[bool],
) -> list[Curve]:
    """Compute the curves of each order in full batches: True for the highest pixels first."""
    check_choice("fill", fill, FILLS)
    check_fractions(fractions)
    places = [ranks(heatmap) for heatmap in on_input(probe, heatmaps)]
    pixels = places[0].size
    counts = np.array([round(fraction * pixels) for fraction in fractions])

    removed = (
        place < count if highest else place >= pixels - count
        for place in places
        for highest in orders
        for count in counts
    )
    seeds = [*range(seed, seed + len(counts))] * len(orders)
    index = np.repeat(np.arange(len(probe)), len(seeds))
    asked = probe(without(probe, removed, fill, seeds), index)
    parts = np.split(asked.reshape(len(probe), -1), len(orders), axis=1)
    return [Curve(counts / pixels, part) for part in parts]

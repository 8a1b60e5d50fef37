"""The removal test: does the model use what a map marks, more than chance would have it?

What the map marks is hidden, and the fall of the explained number held against that of the same map
at other places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from tfcam import maps
from tfcam.findings import finding
from tfcam.metrics.checks import Heatmap, Heatmaps, checked_fraction, heatmap_of
from tfcam.metrics.hiding import Hiding
from tfcam.metrics.imputation import Fill
from tfcam.metrics.moves import moved_maps, permutation_p
from tfcam.metrics.probing import Probe
from tfcam.metrics.ranking import check_probe, on_input
from tfcam.results.explanation import Explanation
from tfcam.utils.validation import check_choice, check_count

SUPPORTED, NOT_SUPPORTED, UNDECIDED = "supported", "not supported", "undecided"
# A p-value of at most the first supports, of more than the second does not.
SURE, UNSURE = 0.05, 0.2
# With fewer moved maps no p-value reaches SURE.
FEWEST = 19
# Probabilities below are taken for it, so that their logarithm is finite.
LEAST = 1e-30
# Fills that leave a picture of which nothing is left.
_WHOLE_FILLS = ("zero", "mean", "blur")


class Falls(NamedTuple):
    """What hiding what maps mark does, on the mean over the fills: of the map, then the others.

    Attributes:
        number: (N,) by how much the explained number falls.
        contrast: (N,) by how much its logarithm falls more than the rival's; None without a rival.
    """

    number: np.ndarray
    contrast: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Marks:
    """What a map marks, and what the same map marks at other places.

    Attributes:
        hiding: What asks the model.
        marked: (1 + N, H, W) bool at the model's input: of the map, then of the moved maps.
        values: The map that is moved: that of the layer, or of the pixels.
        count: The number of pixels that each marks.
    """

    hiding: Hiding
    marked: list[np.ndarray] = field(repr=False)
    values: np.ndarray
    count: int

    @classmethod
    def of(
        cls, hiding: Hiding, values: np.ndarray, fraction: float, draws: int, seed: int
    ) -> Marks:
        """Find what a map marks, and move it.

        Args:
            hiding: What asks the model.
            values: (h, w), the positive part of the map.
            fraction: Which part of the pixels is marked, at most; no pixel where the map is 0.
            draws: The number of moved maps.
            seed: The seed of the moves.
        """
        pixels = int(np.prod(hiding.sides))
        count = min(round(fraction * pixels), hiding.positive(values))
        maps = [values, *moved_maps(values, draws, seed)]
        return cls(hiding, [hiding.marked(each, count) for each in maps], values, count)

    def falls(
        self, marked: list[np.ndarray], advance: Callable[[int], object] = lambda count: None
    ) -> Falls:
        """Hide what maps mark.

        Args:
            marked: (H, W) bool each.
            advance: Is told of each variant.
        """
        asked = self.hiding.ask(marked, advance)
        number = self.hiding.number - asked[..., 0].mean(axis=1)
        whole, rival = self.hiding.whole, self.hiding.rival
        if whole is None or rival is None:
            return Falls(number, None)
        whole = whole[[self.hiding.target, rival]].astype(np.float64)
        lower = np.log(np.maximum(whole, LEAST)) - np.log(np.maximum(asked, LEAST)).mean(axis=1)
        return Falls(number, lower[:, 0] - lower[:, 1])


class Removal(NamedTuple):
    """What the removal test says of a map: "supported", "not supported" or "undecided", and p."""

    verdict: str
    p_value: float


def judged(value: float, others: np.ndarray) -> Removal:
    """Judge a value by those of the moved maps.

    Supported where p is at most 0.05 and the value above 0; not supported where p is above 0.2, or
    the value not above 0; else undecided, as with fewer than 19 others.

    Args:
        value: Of the map.
        others: (n,) of the moved maps.

    Example:
        >>> judged(1.0, np.zeros(19)), judged(1.0, np.zeros(9)).verdict
        (Removal(verdict='supported', p_value=0.05), 'undecided')
    """
    p_value = permutation_p(value, others)
    if value <= 0 or (p_value > UNSURE and len(others) >= FEWEST):
        return Removal(NOT_SUPPORTED, p_value)
    return Removal(SUPPORTED if p_value <= SURE else UNDECIDED, p_value)


def removal_tests(
    probe: Probe,
    heatmaps: Heatmaps,
    *,
    fraction: float = 0.25,
    draws: int = 99,
    fills: Sequence[Fill] | None = None,
    seed: int = 0,
) -> list[Removal]:
    """Test of each map whether the model uses what it marks, as ``tfcam.verify`` does.

    Args:
        probe: The model and its images.
        heatmaps: (B, H, W) in [0, 1], or a list of any sizes, such as a layer has them; or of
            ``Explanation``, of which the layer's positions are moved.
        fraction: Which part of the pixels a map marks, at most.
        draws: Number of moved maps.
        fills: What replaces what is hidden, as in ``tfcam.verify``.
        seed: The seed of the moves, which all maps of one size share.

    Raises:
        ValueError: If an argument is none of these, or maps do not fit.

    Example:
        >>> import tfcam
        >>> model, scene = tfcam.demo_model(), tfcam.scenes.draw_scene(1, kinds=["star"])
        >>> probe = Probe(model, scene.image)
        >>> removal_tests(probe, [tfcam.explain(model, scene.image)], draws=19)
        [Removal(verdict='supported', p_value=0.05)]
    """
    check_probe(probe)
    check_count("draws", draws), checked_fraction(fraction)
    listed = list(heatmaps) if isinstance(heatmaps, Iterable) else [heatmaps]
    on_input(probe, listed)  # refuses what does not fit
    fills = chosen_fills(fills, probe.inputs.ndim - 2)
    tests = []
    for place, heatmap in enumerate(listed):
        hiding = Hiding.of(probe, fills, plain=False, place=place)
        marks = Marks.of(hiding, moved_values(heatmap), fraction, draws, seed)
        falls = marks.falls(marks.marked).number
        tests.append(judged(falls[0], falls[1:]))
    return tests


def mark_unsupported(explanation: Explanation, removal: Removal) -> Explanation:
    """Add a finding to an explanation, unless the removal test supports it.

    Args:
        explanation: The explanation.
        removal: What the test says of it.
    """
    if removal.verdict == SUPPORTED:
        return explanation
    others = "other orders of its words do" if explanation.text else "the same map does elsewhere"
    told = removal._asdict()
    found = finding("unsupported", target=explanation.name, others=others, **told)
    return replace(explanation, findings=(*explanation.findings, found))


def chosen_fills(fills: Sequence[Fill] | None, sides: int) -> tuple[Fill, ...]:
    """Check what replaces what is hidden; None is blur and mean of pictures, else mean and zero.

    Args:
        fills: "blur", "mean" or "zero" each.
        sides: The number of sides of the model's input.

    Raises:
        ValueError: If there is no such fill.
    """
    usual: tuple[Fill, ...] = ("blur", "mean") if sides == 2 else ("mean", "zero")
    for fill in fills or usual:
        check_choice("fills", fill, _WHOLE_FILLS)
    return tuple(fills or usual)


def moved_values(heatmap: Heatmap) -> np.ndarray:
    """What of a map is moved: the layer's positions where they alone make it, else its pixels.

    Args:
        heatmap: An explanation, or a heatmap.

    Returns:
        The positive part, float32.
    """
    values: np.ndarray = np.maximum(heatmap_of(heatmap), 0).astype(np.float32)
    if isinstance(heatmap, Explanation) and heatmap.raw.ndim == values.ndim:
        raw = np.maximum(heatmap.raw, 0).astype(np.float32)
        if np.allclose(maps.heatmap(raw, values.shape), values, atol=1e-4):
            return raw
    return values

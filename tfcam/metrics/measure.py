"""What is known of a metric: what it needs, which way is better, and what it means in a line."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tfcam.metrics.counting import Counting

# The least and the largest value of a share or probability, of what it changes by, and of anything.
UNIT, SIGNED, ANY = (0.0, 1.0), (-1.0, 1.0), (-math.inf, math.inf)
# The kinds of metrics that ask the model about changed pictures.
ASKING = ("probe", "layer", "signed")


@dataclass(frozen=True, eq=False)
class Measure:
    """A metric with its options.

    Attributes:
        name: The name that ``metrics=`` takes; with options, these in brackets.
        function: Of the kind "probe": (probe, heatmaps (B, H, W)) -> (B,) or a ``Curve``; of
            "layer": the same, of maps as small as the layer has them; of "signed": the same, of raw
            maps; of "map": heatmaps (B, H, W) -> (B,); of "truth": (heatmap (H, W), truth) -> a
            number; of "set": a ``Counting`` metric of heatmaps and truths.
        kind: "probe", "layer", "signed", "map", "truth" or "set".
        better: Whether a "higher" or a "lower" value is better.
        needs: The truth that a picture must have: "" for none, "boxes", or "region" for boxes or
            a mask.
        meaning: What it measures, in a sentence.
        usual: Whether it is measured by default.
        of_curve: The number of a ``Curve`` that counts: "area", "mean" or "aopc".
        options: The options of the function.
        within: The least and the largest value that it may have, of a class as the target.

    Example:
        >>> from tfcam.metrics.registry import METRICS
        >>> METRICS["box_iou"].refusal(3), METRICS["insertion"].refusal(3)
        ('boxes are for pictures; a mask (D, H, W) says where an object of a volume is', '')
    """

    name: str
    function: Callable[..., Any]
    kind: Literal["probe", "layer", "signed", "map", "truth", "set"]
    better: Literal["higher", "lower"]
    needs: Literal["", "boxes", "region"]
    meaning: str
    usual: bool = True
    of_curve: Literal["area", "mean", "aopc"] = "area"
    options: Mapping[str, Any] = field(default_factory=dict)
    within: tuple[float, float] = ANY

    @property
    def described(self) -> str:
        """The name and the options."""
        options = ", ".join(f"{name}={value}" for name, value in self.options.items())
        return f"{self.name.split('(')[0]}({options})" if options else self.name

    def refusal(self, sides: int) -> str:
        """Say why it can't measure maps of so many sides, 2 or 3; "" where it can."""
        if sides == 2:
            return ""
        if self.needs == "boxes":
            return "boxes are for pictures; a mask (D, H, W) says where an object of a volume is"
        usual = inspect.signature(self.function).parameters.get("fill")
        fill = self.options.get("fill", None if usual is None else usual.default)
        if fill == "noisy_linear":
            return (
                "it fills in pixels from the eight neighbours that they have in a picture; with "
                "fill='mean', 'zero' or 'blur' it takes videos and volumes"
            )
        return ""

    def make(self) -> Counting:
        """Make a set-level metric that has seen nothing yet."""
        return self.function(**self.options)

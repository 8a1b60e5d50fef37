"""The result of the randomisation test: table, verdicts, figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tfcam.figures.contact_sheet import Cell, ContactSheet, Heading
from tfcam.figures.letters import write_names, write_plainly
from tfcam.figures.overlays import LINE_COLOURS, STROKES, draw_pixels
from tfcam.figures.palette import PLAIN
from tfcam.metrics.similarity_table import SIMILARITIES, means_and_deviations

Mode = Literal["cascading", "independent"]


# At most so much of the ranks of absolute values may stay, on the mean over the steps.
REACTS = 0.5


_MARKERS, _SHOWN = "os^Dv", 5
# How layers are randomised, in the words of a figure.
_ORDERS = {"cascading": "randomised down to", "independent": "randomised, one at a time"}


@dataclass(frozen=True)
class Verdict:
    """Whether a method's maps react to random weights.

    Attributes:
        method: The method's name.
        similarity: Mean rank correlation of absolute values over all steps and images.
        reacts: Whether the similarity is below 0.5.
        unrelated: The same correlation between the original maps of different pictures, which all
            may have a centre or a border in common; None of one picture.
    """

    method: str
    similarity: float
    reacts: bool
    unrelated: float | None

    def __str__(self) -> str:
        word, sign = ("reacts", "<") if self.reacts else ("hardly reacts", ">=")
        known = self.unrelated is not None
        beside = f"; {self.unrelated:.2f} between different pictures" if known else ""
        return (
            f"{self.method} {word}: mean rank correlation of absolute values over the randomised "
            f"steps {self.similarity:.2f} {sign} {REACTS}{beside}"
        )


@dataclass(frozen=True, eq=False)
class Randomisation:
    """How maps changed while a network's weights were drawn anew.

    Attributes:
        frame: One row for each method, step and image: ``method``, ``step`` (0: the network as it
            is), ``layer`` (the lowest that is randomised in this step), ``image``, the
            similarities with the original map (``ssim`` of heatmaps, ``spearman`` of raw values,
            ``spearman_absolute`` of their absolute values, ``hog`` of oriented gradients), and
            ``empty``: whether the new heatmap is all zero.
        mode: "cascading" or "independent".
        explained: "original" or "randomised": whose prediction is explained.
        image: (H, W, 3) uint8, the first picture.
        heatmaps: Of each method, the first picture's heatmap at each step.
        unrelated: Of each method, the mean rank correlation of absolute values between the original
            maps of different pictures; None of one picture, or where their maps differ in size.
    """

    frame: pd.DataFrame
    mode: Mode
    explained: str
    image: np.ndarray
    heatmaps: dict[str, list[np.ndarray]]
    unrelated: dict[str, float | None]

    @property
    def table(self) -> pd.DataFrame:
        """One row for each method and step: mean and deviation of each similarity over the images.

        Columns such as ``ssim`` and ``ssim_std``; ``images``; ``empty``, the number of empty maps.
        """
        keys = ["method", "step", "layer"]
        by = self.frame.groupby(keys, sort=False)
        table = means_and_deviations(self.frame, keys, SIMILARITIES).set_index(keys)
        return table.assign(images=by.size(), empty=by["empty"].sum()).reset_index()

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """Whether each method reacts, by the mean rank correlation of absolute values.

        The rule, 0.5 on the mean over all randomised steps, is ours: the paper shows curves and
        draws no line. A similarity near ``unrelated`` is what any two maps of the method have in
        common, not what is left of this one. Where in doubt, look at ``show()``.
        """
        changed = self.frame[self.frame["step"] > 0]
        means = changed.groupby("method", sort=False)["spearman_absolute"].mean()
        return {
            name: Verdict(name, float(means[name]), bool(means[name] < REACTS), unrelated)
            for name, unrelated in self.unrelated.items()
        }

    def __repr__(self) -> str:
        return "\n".join(map(str, self.verdicts.values()))

    def plot(self, ax: Axes | None = None, similarity: str = "spearman_absolute") -> Axes:
        """Draw one line for each method: a similarity over the steps, with its deviation.

        Args:
            ax: The axes to draw on; None makes a new figure.
            similarity: "ssim", "spearman", "spearman_absolute" or "hog".

        Raises:
            ValueError: If there is no such similarity.
        """
        if similarity not in SIMILARITIES:
            raise ValueError(
                f"similarity must be one of {', '.join(SIMILARITIES)}; got {similarity!r}."
            )
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.figure(figsize=(8, 5), layout="constrained").subplots()
        names = self._steps()
        for number, (method, rows) in enumerate(self.table.groupby("method", sort=False)):
            at = rows["step"] + 0.05 * number  # beside each other, so that bars can be told apart
            std = rows[f"{similarity}_std"]
            ax.errorbar(
                at,
                rows[similarity],
                std,
                color=LINE_COLOURS[number % len(LINE_COLOURS)],
                linestyle=STROKES[number % len(STROKES)],
                marker=_MARKERS[number % len(_MARKERS)],
                capsize=2,
                label=str(method),
            )
        ax.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize="small")
        ax.set_ylabel(f"{similarity}\nwith the original map")
        ax.set_xlabel(_ORDERS[self.mode])
        ax.axhline(0, color="grey", linewidth=0.5)
        write_plainly(ax.legend(loc="upper left", bbox_to_anchor=(1, 1)))
        write_names(ax.xaxis)
        return ax

    def show(self) -> Figure:
        """Draw the first picture's heatmaps: a row for each method, a column for each step.

        Of more than five steps five are shown, evenly spaced, with the first and the last. The full
        range is each map's 99th percentile, as a few pixels would else darken all others.
        """
        names = self._steps()
        places = np.linspace(0, len(names) - 1, min(len(names), _SHOWN))
        steps = places.round().astype(int)
        figure = Figure()
        sheet = ContactSheet(
            [
                [Cell(self.image), *(Cell(draw_pixels(heatmaps[step], PLAIN)) for step in steps)]
                for heatmaps in self.heatmaps.values()
            ],
            [Heading("", "the picture"), *(Heading(names[step]) for step in steps)],
            list(map(Heading, self.heatmaps)),
            f"{_ORDERS[self.mode]}:",
            [],
            "of each map's 99th percentile",
            faded=False,
        )
        sheet.draw(figure)
        return figure

    def _steps(self) -> list[str]:
        steps = self.frame.drop_duplicates("step").sort_values("step")
        return list(map(str, steps["layer"]))

"""The result of a dream: pictures, how far they raised the objective, and how they were made."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tfcam.figures.letters import write_plainly
from tfcam.figures.overlays import embed_png
from tfcam.figures.rendering import render
from tfcam.utils.archive import Archived, Form, save_archive, save_picture
from tfcam.utils.files import check_target
from tfcam.utils.terminal_text import printable_lines

_GAP = 4  # pixels between pictures


_WIDE = 4  # pictures in a row


@dataclass(frozen=True, eq=False, repr=False)
class Dream(Archived):
    """Pictures that were made to raise an objective.

    Attributes:
        images: (n, H, W, C) uint8, RGB where there are three channels.
        objective: What they raise, in words.
        start: (n,), the objective of what they began as.
        scores: (n,), the objective of ``images``, as uint8 and not transformed.
        curve: (steps, n), the objective before each step, of the transformed pictures.
        probabilities: (n,), the model's probability of the class in ``images``; None where the
            objective does not raise one class, or the model gives no probabilities.
        score_kind: "logit" (before the softmax or sigmoid), or "output" (as the model gives it).
        preprocessing: What was done to the pictures before the model saw them.
        settings: The preset and the fields of its recipe, the seed, and the model's name.
        versions: The versions of what made them.
    """

    images: np.ndarray
    objective: str
    start: np.ndarray
    scores: np.ndarray
    curve: np.ndarray
    probabilities: np.ndarray | None
    score_kind: str
    preprocessing: str
    settings: dict[str, Any]
    versions: dict[str, str]

    forms: ClassVar[Mapping[str, Form]] = {
        "images": Form("u", (4,)),
        "start": Form("f", (1,)),
        "scores": Form("f", (1,)),
        "curve": Form("f", (2,)),
        "probabilities": Form("f", (1,)),
    }

    def misfit(self) -> str:
        """What of this does not fit together, in words; "" where all does."""
        counts = {len(self.images), len(self.start), len(self.scores), self.curve.shape[1]}
        if self.probabilities is not None:
            counts.add(len(self.probabilities))
        if len(counts) > 1 or 0 in self.images.shape:
            return f"it is of {self.images.shape} pictures with {len(self.scores)} scores"
        known = type(self.settings.get("seed")) is int and "preset" in self.settings
        return "" if known else "its settings name no preset and seed"

    @property
    def image(self) -> np.ndarray:
        """The picture of the highest objective, (H, W, C) uint8."""
        return self.images[int(self.scores.argmax())]

    @property
    def seed(self) -> int:
        """Which noise it began with, and which transforms were drawn."""
        return self.settings["seed"]

    @property
    def picture(self) -> np.ndarray:
        """All pictures side by side, (h, w, 3) uint8."""
        shown = _coloured(self.images)
        count, height, width, _ = shown.shape
        columns = min(count, _WIDE)
        rows = math.ceil(count / columns)
        size = (rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, 3)
        sheet = np.full(size, 255, np.uint8)
        for number, picture in enumerate(shown):
            top, left = (number // columns) * (height + _GAP), (number % columns) * (width + _GAP)
            sheet[top : top + height, left : left + width] = picture
        return sheet

    @property
    def title(self) -> str:
        """What the pictures raise, and how far, in two lines."""
        best = int(self.scores.argmax())
        text = f"{self.objective}\n{self.start[best]:.3g} to {self.scores[best]:.3g}"
        if self.probabilities is not None:
            text += f", probability {self.probabilities[best]:.3g}"
        return text

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the pictures with their title; with the curve of the objective, without ``ax``.

        Args:
            ax: Where to draw; None makes a new figure.

        Returns:
            The axes with the pictures.
        """
        if ax is None:
            import matplotlib.pyplot as plt

            return self._draw(plt.figure(figsize=(8, 3.6)))
        ax.imshow(self.picture)
        ax.set_axis_off()
        write_plainly(ax.set_title(self.title, fontsize="medium"))
        return ax

    def _draw(self, figure: Figure) -> Axes:
        figure.set_layout_engine("constrained")
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        right.plot(self.curve, linewidth=1)
        right.set_xlabel("step")
        right.xaxis.get_major_locator().set_params(integer=True)
        right.set_title("the objective", fontsize="medium")
        right.grid(alpha=0.3)
        return self.plot(left)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the pictures side by side (``.png``), or everything (``.npz``).

        Args:
            path: Where to; the ending decides. A file that is there is replaced.

        Returns:
            The path.

        Raises:
            ValueError: If it ends in neither ``.png`` nor ``.npz``.
            FileNotFoundError: If its folder does not exist.
        """
        path = check_path(path)
        if path.suffix == ".npz":
            save_archive(path, self)
        else:
            save_picture(path, self.picture, self)
        return path

    def __repr__(self) -> str:
        count, height, width = self.images.shape[:3]
        lines = [
            f"Dream of {self.objective}, {_counted(count)} of {width} x {height} pixels",
            f"  objective      {_numbers(self.start)} to {_numbers(self.scores)} "
            f"({self.score_kind}), in {len(self.curve)} steps",
        ]
        if self.probabilities is not None:
            lines.append(f"  probability    {_numbers(self.probabilities)}")
        lines.append(f"  preset         {self.settings['preset']}, seed {self.seed}")
        return printable_lines([*lines, f"  preprocessing  {self.preprocessing}"])

    def _repr_html_(self) -> str:
        figure = Figure(figsize=(8, 3.6))
        self._draw(figure)
        return embed_png(render(figure, "png", 100), self.title.replace("\n", ": "))


def check_path(path: str | os.PathLike[str]) -> Path:
    """Refuse, before the work, a file that a dream can't be saved as.

    Raises:
        ValueError: If it ends in neither ``.png`` nor ``.npz``.
        FileNotFoundError: If its folder does not exist.
    """
    return check_target(path, "A dream", (".png", ".npz"))


def _coloured(images: np.ndarray) -> np.ndarray:
    """The first three channels as colours; one channel as grey."""
    return images[..., :3] if images.shape[-1] >= 3 else np.repeat(images[..., :1], 3, axis=-1)


def _counted(count: int) -> str:
    return "1 picture" if count == 1 else f"{count} pictures"


def _numbers(values: np.ndarray) -> str:
    return ", ".join(f"{value:.4g}" for value in values)

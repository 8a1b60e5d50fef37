"""What a verification says: five answers, the test behind them, a figure and a page."""

from __future__ import annotations

import html
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tfcam.figures.letters import write_plainly
from tfcam.figures.overlays import embed_png, overlay
from tfcam.figures.page import page
from tfcam.figures.rendering import new_figure, render
from tfcam.utils.archive import Archived, Form, in_unit_range, save_archive
from tfcam.utils.files import check_target, utf8, write_whole
from tfcam.utils.terminal_text import printable_lines

_SIZE = (7, 3)
_VERDICTS = ("supported", "not supported", "undecided")
# What replaces the words of texts.
WORD_FILLS = ("mask or padding",)


@dataclass(frozen=True)
class Check:
    """The answer to one question.

    Attributes:
        question: The question.
        verdict: "supported", "not supported" or "undecided".
        sentence: What was found, in words that can be quoted.
        quantity: What ``value`` is, in words.
        value: The number; None where it could not be had.
        p_value: Of a permutation test; None where there is none.
        low: Where the middle 95 % of the moved maps' numbers begin; None without a test.
        high: Where they end.
    """

    question: str
    verdict: str
    sentence: str
    quantity: str = ""
    value: float | None = None
    p_value: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Verification(Archived):
    """How far one map can be trusted.

    Attributes:
        name: What is explained.
        number: The explained number of the whole picture: a probability, or a callable's number.
        checks: The answers to the five questions; of a text to three.
        falls: (1 + N,) by how much the number falls where what the map marks is hidden, then where
            what each of the moved maps marks is.
        image: The picture as given.
        heatmap: (H, W) in [0, 1], the map.
        fraction: Which part of the input was marked, at most.
        fills: What replaced what was hidden.
        seed: The seed of the moves, the noise and the weights.
        forwards: The number of changed pictures that the model was asked about.
        explanations: The number of times that the map was made again.
    """

    name: str
    number: float
    checks: tuple[Check, ...]
    falls: np.ndarray
    image: np.ndarray
    heatmap: np.ndarray
    fraction: float
    fills: tuple[str, ...]
    seed: int
    forwards: int
    explanations: int
    versions: dict[str, str] = field(default_factory=dict)

    forms: ClassVar[Mapping[str, Form]] = {
        "falls": Form("f", (1,)),
        "image": Form("uif", (1, 2, 3, 4)),
        "heatmap": Form("f", (1, 2, 3)),
    }

    def misfit(self) -> str:
        """What of this does not fit together, in words; "" where all does."""
        if not self.checks or not len(self.falls):
            return "it holds no answers"
        if odd := [check.verdict for check in self.checks if check.verdict not in _VERDICTS]:
            return f"{odd[0]!r:.50} is no verdict"
        size, shape = self.heatmap.shape, self.image.shape
        if shape[: len(size)] != size:
            return f"a heatmap {size} is of no image {shape}"
        return "" if in_unit_range(self.heatmap) else "a heatmap is not in 0..1"

    @property
    def p_value(self) -> float:
        """The p-value of the removal test: how often chance does as much."""
        value = self.checks[0].p_value
        return 1.0 if value is None else value

    @property
    def _of_words(self) -> bool:
        return self.fills == WORD_FILLS

    @property
    def verdict(self) -> str:
        """That of the removal test: "supported", "not supported" or "undecided"."""
        return self.checks[0].verdict

    @property
    def sentence(self) -> str:
        """What was found of the first question, and which of the others are supported."""
        said = [f"{check.question} {check.verdict.capitalize()}." for check in self.checks[1:]]
        return " ".join([self.checks[0].sentence, *said])

    @property
    def table(self) -> pd.DataFrame:
        """One row for each question: its verdict, number, p-value, range by chance, sentence."""
        return pd.DataFrame([asdict(check) for check in self.checks])

    @property
    def verdict_in_words(self) -> str:
        """The verdict with its p-value."""
        return f"{self.verdict} (p = {self.p_value:.2g})"

    def __repr__(self) -> str:
        lines = [f"Verification of a map of {self.name}: {self.verdict_in_words}"]
        for check in self.checks:
            lines += [f"  {check.question} {check.verdict}", f"    {check.sentence}"]
        return printable_lines(lines)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw by how much the number falls: for this map, and for the same map at other places.

        Args:
            ax: Where to draw; None makes a new figure.
        """
        if ax is None:
            ax = new_figure(figsize=_SIZE, layout="constrained").subplots()
        return self._draw(ax)

    def _draw(self, ax: Axes) -> Axes:
        others = "the words in other orders" if self._of_words else "the same map at other places"
        ax.hist(self.falls[1:], bins=20, color="0.7", label=others)
        ax.axvline(float(self.falls[0]), color="black", label="this map")
        write_plainly(
            ax.set_xlabel(f"fall of the number for {self.name} when the marked part is hidden")
        )
        ax.set_ylabel("number of maps")
        ax.set_title(f"p = {self.p_value:.2g}, {self.verdict}", fontsize="medium")
        ax.legend(fontsize="small")
        return ax

    def _png(self) -> bytes:
        pictured = self.heatmap.ndim == 2 and self.image.ndim == 3
        figure = Figure(figsize=(_SIZE[0] + 3 * pictured, _SIZE[1]), layout="constrained")
        if pictured:
            left, right = figure.subplots(1, 2, width_ratios=[2, 3])
            left.imshow(overlay(self.image, self.heatmap))
            left.set_axis_off()
        else:
            right = figure.subplots()
        self._draw(right)
        return render(figure, "png", 110)

    def to_html(self) -> str:
        """Write a page that needs no other file: the map, the test, and a row for each question."""
        return page(f"How far the map of {self.name} can be trusted", self.html)

    def _repr_html_(self) -> str:
        return self.html

    @property
    def html(self) -> str:
        """The map, the test, and a row for each question, to be put into a page."""
        kind = "texts" if self._of_words else "pictures"
        asked = (
            f"The model was asked about {self.forwards} changed {kind}; the map was made "
            f"{self.explanations} times. What is hidden is replaced by: {', '.join(self.fills)}. "
            f"Seed {self.seed}."
        )
        picture = embed_png(self._png(), f"The map, and the falls by chance: {self.sentence}")
        return f'<div class="wide">{picture}</div>{self.rows_to_html()}<p>{html.escape(asked)}</p>'

    def rows_to_html(self) -> str:
        """Write a table as HTML: each question, its verdict, and what was found."""
        rows = "".join(
            f"<tr><th>{html.escape(check.question)}</th><td><b>{check.verdict}</b></td>"
            f"<td>{html.escape(check.sentence)}</td></tr>"
            for check in self.checks
        )
        return f"<table>{rows}</table>"

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the page (``.html``), the figure (``.png``) or everything (``.npz``), whole.

        Args:
            path: Where to; the ending decides. A file that is there is replaced.

        Returns:
            The path.

        Raises:
            ValueError: If it ends in none of these.
            FileNotFoundError: If its folder does not exist.
        """
        path = check_target(path, "A verification", (".html", ".npz", ".png"))
        if path.suffix == ".npz":
            save_archive(path, self)
        else:
            page = path.suffix == ".html"
            write_whole(path, utf8(self.to_html()) if page else self._png())
        return path

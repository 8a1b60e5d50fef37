"""What numbers look like: means with their intervals, and curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tfcam.figures.letters import write_names, write_plainly
from tfcam.figures.overlays import LINE_COLOURS, STROKES

# What is grey is told apart by its stroke alone.
_QUIET: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (1, 4)))


_GREY = "#8a8a8a"


# Inches: what is wider is shown smaller in a notebook, and its small letters can't be read.
_WIDEST = 9.4


# More curves than these are drawn without bands, which would hide each other.
BANDS = 6


@dataclass(frozen=True, eq=False)
class Means:
    """A panel: a mean with its interval for each of several things.

    Attributes:
        title: What is measured.
        names: Of the things.
        numbers: (n, 3): mean, low, high.
        quiet: Which are drawn in grey.
    """

    title: str
    names: Sequence[str]
    numbers: np.ndarray
    quiet: Sequence[bool]


@dataclass(frozen=True, eq=False)
class Line:
    """A line with a band around it.

    Attributes:
        name: What it is of.
        x: (S,).
        numbers: (S, 3): value, low, high.
        quiet: Whether it is drawn in grey.
    """

    name: str
    x: np.ndarray
    numbers: np.ndarray
    quiet: bool


def draw_means(panels: Sequence[Means]) -> Figure:
    """Draw panels of means with their intervals, at most three beside each other.

    Args:
        panels: At least one.
    """
    longest = max(len(name) for panel in panels for name in panel.names)
    width = 2.4 + 0.075 * longest
    columns = max(1, min(3, len(panels), int(_WIDEST / width)))
    rows = math.ceil(len(panels) / columns)
    height = 0.7 + 0.19 * max(len(panel.names) for panel in panels)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    places = figure.subplots(rows, columns, squeeze=False).flat
    for axes in list(places)[len(panels) :]:
        axes.set_axis_off()
    for axes, panel in zip(figure.axes, panels, strict=False):
        for place, (numbers, quiet) in enumerate(zip(panel.numbers, panel.quiet, strict=True)):
            mean, low, high = numbers
            colour = _GREY if quiet else LINE_COLOURS[0]
            axes.plot([low, high], [place, place], color=colour, linewidth=1.5)
            inside = "white" if quiet else colour  # told apart in black and white too
            axes.plot([mean], [place], "o", color=colour, markerfacecolor=inside, markersize=4)
        axes.set_yticks(range(len(panel.names)), panel.names, fontsize="small")
        write_names(axes.yaxis)
        axes.set_ylim(len(panel.names) - 0.4, -0.6)
        axes.set_title(panel.title, fontsize="medium")
        axes.grid(axis="x", color="#e0e0e0", linewidth=0.6)
        axes.tick_params(axis="x", labelsize="small")
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.tick_params(axis="y", length=0)
    write_plainly(figure)
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.set(h_pad=0.15, w_pad=0.08)  # type: ignore[call-arg]
    return figure


def draw_curves(panels: Mapping[str, Sequence[Line]]) -> Figure:
    """Draw panels of curves, two beside each other, under one legend; few have their bands.

    Args:
        panels: The curves by the panel's title; at least one.
    """
    columns = min(2, len(panels))
    rows = math.ceil(len(panels) / columns)
    drawn = {line.name: line.quiet for curves in panels.values() for line in curves}
    loud = [name for name, is_quiet in drawn.items() if not is_quiet]
    quiet = [name for name, is_quiet in drawn.items() if is_quiet]
    size = (_WIDEST / 2 * columns, 3.4 * rows + 0.24 * math.ceil(len(drawn) / (2 * columns)) + 0.2)
    figure = Figure(figsize=size, layout="constrained")
    places = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in places[len(panels) :]:
        axes.set_axis_off()
    for axes, (title, curves) in zip(places, panels.items(), strict=False):
        for line in curves:
            value, low, high = line.numbers.T
            if line.quiet:
                colour, width = _GREY, 1.0
                stroke = _QUIET[quiet.index(line.name) % len(_QUIET)]
            else:
                number = loud.index(line.name)
                colour, width = LINE_COLOURS[number % len(LINE_COLOURS)], 1.6
                stroke = STROKES[number % len(STROKES)]
            axes.plot(line.x, value, ls=stroke, color=colour, linewidth=width, label=line.name)
            if len(curves) <= BANDS:
                axes.fill_between(line.x, low, high, color=colour, alpha=0.12, linewidth=0)
        axes.set_title(title, fontsize="medium")
        axes.set_xlabel("share of the pixels", fontsize="small")
        axes.set_ylabel("probability of the class", fontsize="small")
        axes.set_xlim(0, 1)
        axes.grid(color="#e8e8e8", linewidth=0.6)
        axes.tick_params(labelsize="small")
    lines = {line.get_label(): line for axes in places for line in axes.get_lines()}
    figure.legend(
        list(lines.values()),
        [str(name) for name in lines],
        loc="outside lower center",
        ncols=2 * columns,
        fontsize="small",
        frameon=False,
    )
    write_plainly(figure)
    return figure

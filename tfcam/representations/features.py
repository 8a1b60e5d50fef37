"""What a layer holds of one picture: its strongest channels, as a labelled grid."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, get_args

import keras
import numpy as np
from matplotlib.figure import Figure

from tfcam import maps
from tfcam.engine.opened_model import open_model
from tfcam.figures.contact_sheet import Cell, ContactSheet, Heading
from tfcam.figures.overlays import embed_png
from tfcam.figures.palette import COLORMAP, Palette
from tfcam.figures.rendering import new_figure
from tfcam.images.kinds import ImageLike
from tfcam.model.taps import Layer
from tfcam.passes.submodel import SubModel
from tfcam.preprocessing.modes import Preprocess
from tfcam.representations.activations import compute_activations
from tfcam.utils.archive import Archived, Form, save_archive
from tfcam.utils.files import check_target, write_whole
from tfcam.utils.terminal_text import printable_lines
from tfcam.utils.validation import check_choice, check_count

By = Literal["mean", "max"]


_COLUMNS = 5


_SIDE = 160  # pixels of a channel in the figure


@dataclass(frozen=True, eq=False, repr=False)
class Features(Archived):
    """The strongest channels of a layer for one picture; in a notebook it shows itself.

    Attributes:
        image: (H, W, 3) uint8, the picture.
        layer: The path of the layer.
        channels: Which channels, the strongest first.
        maps: (n, h, w) float32, what these channels give, as the layer gives it.
        strengths: (n,) float32, by which they are the strongest.
        by: "mean" or "max", what a strength is.
        count: Number of channels of the layer.
    """

    image: np.ndarray
    layer: str
    channels: tuple[int, ...]
    maps: np.ndarray
    strengths: np.ndarray
    by: str
    count: int

    forms: ClassVar[Mapping[str, Form]] = {
        "image": Form("u", (3,)),
        "maps": Form("f", (3,)),
        "strengths": Form("f", (1,)),
    }

    def misfit(self) -> str:
        """What of this does not fit together, in words; "" where all does."""
        counts = len(self.channels), len(self.maps), len(self.strengths)
        return "" if len({*counts}) == 1 else f"it is of {counts} channels, maps and strengths"

    def plot(self, colormap: str = COLORMAP) -> Figure:
        """Draw the picture and the channels on one colour scale, each with its number and strength.

        Args:
            colormap: The name of a matplotlib colormap.

        Returns:
            The figure; a notebook shows it, else ``matplotlib.pyplot.show()``.

        Raises:
            ValueError: If there is no such colormap.
        """
        figure = new_figure()
        self._sheet(Palette(colormap)).draw(figure)
        return figure

    def save(self, path: str | os.PathLike[str], colormap: str = COLORMAP) -> Path:
        """Write the figure that ``plot`` draws, or everything (``.npz``); whole or not at all.

        Args:
            path: Where to; ``.png``, ``.pdf``, ``.svg`` or ``.npz``.
                A file that is there is replaced.
            colormap: As in ``plot``.

        Returns:
            The path.

        Raises:
            ValueError: If it ends in none of these.
            FileNotFoundError: If its folder does not exist.
        """
        path = check_target(path, "A grid of channels", (".png", ".pdf", ".svg", ".npz"))
        if path.suffix == ".npz":
            save_archive(path, self)
        else:
            write_whole(path, self._sheet(Palette(colormap)).render(path.suffix[1:], 150))
        return path

    def __repr__(self) -> str:
        rows = (
            f"  channel {channel:<6} {self.by} {strength:.4g}"
            for channel, strength in zip(self.channels, self.strengths, strict=True)
        )
        return printable_lines([self._headline, *rows])

    def _repr_png_(self) -> bytes:
        return self._sheet(Palette()).render("png", 100)

    def _repr_html_(self) -> str:
        return embed_png(self._repr_png_(), repr(self))

    @property
    def _headline(self) -> str:
        height, width = self.maps.shape[1:]
        return (
            f"The strongest {len(self.channels)} of {self.count} channels of {self.layer} by their "
            f"{self.by}, {height} x {width}"
        )

    def _sheet(self, palette: Palette) -> ContactSheet:
        # One scale for all, so that a weak channel looks weak.
        shared = np.maximum(self.maps, 0) / (max(float(self.maps.max()), 0) or 1.0)
        size = _size(self.image)
        small = maps.resize(self.image, size).round().clip(0, 255).astype(np.uint8)
        cells = [Cell(small, "the picture")]
        for channel, strength, heatmap in zip(self.channels, self.strengths, shared, strict=True):
            colour = palette.colours(np.clip(maps.resize(heatmap, size), 0, 1))
            drawn = np.round(255 * colour).astype(np.uint8)
            cells.append(Cell(drawn, f"channel {channel}\n{self.by} {strength:.3g}"))
        blank = Cell(np.full((*size, 3), 255, np.uint8))
        columns = min(_COLUMNS, len(cells))
        cells += [blank] * (-len(cells) % columns)
        rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
        nothing = [Heading("")] * columns
        bar = "of the largest value of these channels"
        titles = [Heading("")] * len(rows)
        return ContactSheet(rows, nothing, titles, self._headline, [], bar, palette, faded=False)


def features(
    model: keras.Model,
    image: ImageLike,
    layer: Layer = None,
    *,
    count: int = 19,
    by: By = "mean",
    preprocess: Preprocess = "auto",
    input: str | int | None = None,
    grid: tuple[int, ...] | None = None,
) -> Features:
    """Show the strongest channels of a layer for one picture.

    The strength of channel k is the mean of its map A_k over all positions, or its maximum.

    Args:
        model: Any built Keras 3 model.
        image: One image, as ``tfcam.explain`` takes it.
        layer: The layer: a path ("resnet50/conv5_block3_out"), a bare name where it is unique, or
            an index of ``tfcam.layers``; by default the last map that the output is computed from,
            before pooling, a softmax over positions or a mixing of axes. Layer objects are taken,
            too.
        count: Number of channels that are shown, if there are so many.
        by: What the strength of a channel is: its "mean" or its "max" over all positions.
        preprocess: How pixels of 0..255 become the model's input: "auto" finds out, "raw" leaves
            them, "unit", "tf", "torch" and "caffe" scale them, and the name of a keras.applications
            family, such as "resnet_v2", does what that needs. Or a callable on (B, H, W, 3) float32
            pixels, ``tfcam.images.Window``, or None if prepared.
        input: Which input is explained of a model that has several, by name or index; by default
            the first of those with most axes.
        grid: Height and width of a transformer's grid of patches, of videos and volumes (frames,
            height, width) of its tubes; needed only where it can't be found.

    Returns:
        ``Features``: the channels, their maps and their strengths, which draw themselves.

    Raises:
        ValueError: If an argument does not fit the model; the message says what does.

    Example:
        >>> import tfcam
        >>> scene = tfcam.scenes.draw_scene(1, kinds=["star"])
        >>> features = tfcam.features(tfcam.demo_model(), scene.image, count=3)
        >>> features.layer, features.maps.shape, features.count
        ('features', (3, 16, 16), 64)
        >>> bool(features.strengths[0] >= features.strengths[2])
        True
    """
    check_choice("by", by, get_args(By))
    check_count("count", count)
    opened = open_model(model, input)
    prepared = opened.prepare_one(image, preprocess, "features")
    if prepared.axes != 2:
        raise ValueError("features draws the maps of images; this input is none.")
    tap, *_ = opened.graph.open_layer(layer, opened.which, grid)
    submodel = SubModel(opened.graph, [tap], which=opened.which)
    (values,) = compute_activations(submodel, prepared).maps
    flat = values.reshape(-1, values.shape[-1])
    strengths = flat.mean(axis=0) if by == "mean" else flat.max(axis=0)
    # Of equal ones the first.
    chosen = np.argsort(-strengths, kind="stable")[:count]
    return Features(
        prepared.images[0],
        tap.name,
        tuple(map(int, chosen)),
        values[0][..., chosen].transpose(2, 0, 1),
        strengths[chosen],
        by,
        values.shape[-1],
    )


def _size(image: np.ndarray) -> tuple[int, int]:
    """(height, width) of a channel in the figure, in the shape of the picture."""
    height, width = image.shape[:2]
    factor = _SIDE / math.sqrt(height * width)
    return max(1, round(factor * height)), max(1, round(factor * width))

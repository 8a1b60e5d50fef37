"""The result: a heatmap that knows what it shows, how it was made, and what to mind about it."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from rich.text import Text

from tfcam import maps
from tfcam.figures import overlays as drawing
from tfcam.figures import text as lettering
from tfcam.figures.letters import write_plainly
from tfcam.figures.palette import ALPHA, COLORMAP, OF_MAXIMUM, OF_PERCENTILE, PLAIN, Palette
from tfcam.figures.rendering import new_figure, render
from tfcam.findings import FINDINGS, Finding
from tfcam.results.tile_cells import tile_cell
from tfcam.results.verification import Verification
from tfcam.utils.archive import Archived, Form, in_unit_range, save_archive, save_picture
from tfcam.utils.files import check_target
from tfcam.utils.terminal_text import printable_lines

Look = Literal["overlay", "pixels", "channels"]


@dataclass(frozen=True, eq=False, repr=False)
class Explanation(Archived):
    """Which parts of one image made a model decide as it did; or of a series, text or volume.

    Attributes:
        heatmap: (H, W) float32 in [0, 1], of the size of the picture as given: the ReLU of the
            raw map, resized, then scaled; (L,) of a series or text, (D, H, W) of a volume.
        raw: The signed map before scaling: (h, w) of the layer, or (h, w, C) of pixels (RGB);
            of several layers, the heatmap that they are fused to. (l,) or (d, h, w), or with
            channels, of others.
        image: (H, W, 3) uint8 RGB, a copy of the picture as given; of an array that was given
            already prepared, its values stretched to 0..255. A series, text or volume as given, but
            with channels last.
        target: The explained class, or None where a callable was explained.
        label: The class's label, or the callable's name; None where it is not known.
        score: The explained number.
        score_kind: "logit" (before the softmax or sigmoid), "probability", "output" (the model's
            own output, that has neither), "contrast" (with other classes) or "callable".
        probability: The model's probability of the class; None where it gives none.
        layer: The path of the explained layer, or of several; None for maps of pixels that need
            no layer.
        layer_reason: Why that layer.
        method: The method's name.
        options: What else was chosen.
        preprocessing: What was done to the picture before the model saw it.
        findings: What the checks found about this map: warnings, each with a remedy.
        versions: The versions of what made it.
        measured: What the method measured of itself, such as its completeness error.
        parts: Of several layers, the raw map of each by its path.
        words: Of a text, the word of each position: those given, else its numbers. Of a string,
            its own words, as they are written; the maps then have a value for each word, (W,).
        text: The string that was explained; "" where none was given.
        spans: Where each word is in it, (start, end); empty where that can't be told.
        words: Of a text, the word of each position: those given, else its numbers.
        verification: How far it can be trusted, where that was asked for.
    """

    heatmap: np.ndarray
    raw: np.ndarray
    image: np.ndarray
    target: int | None
    label: str | None
    score: float
    score_kind: str
    probability: float | None
    layer: str | None
    layer_reason: str
    method: str
    preprocessing: str
    options: dict[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    measured: dict[str, float] = field(default_factory=dict)
    parts: dict[str, np.ndarray] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    text: str = ""
    spans: tuple[tuple[int, int], ...] = ()
    verification: Verification | None = None

    forms: ClassVar[Mapping[str, Form]] = {
        "heatmap": Form("f", (1, 2, 3)),
        "raw": Form("f", (1, 2, 3, 4)),
        "image": Form("uif", (1, 2, 3, 4)),
    }

    def misfit(self) -> str:
        """What of this does not fit together, in words; "" where all does."""
        size, shape = self.heatmap.shape, self.image.shape
        if shape[: len(size)] != size:
            return f"a heatmap {size} is of no image {shape}"
        if 0 in self.raw.shape:
            return f"raw is an array {self.raw.shape}"
        if not in_unit_range(self.heatmap):
            return "a heatmap is not in 0..1"
        if len(size) == 2 and (self.image.dtype != np.uint8 or len(shape) != 3):
            return f"image is an array {shape} of {self.image.dtype}"
        odd = [name for name, part in self.parts.items() if part.dtype.kind != "f"]
        odd += [one.code for one in self.findings if one.code not in FINDINGS]
        return f"{odd[0]!r:.50} is no map and no finding" if odd else ""

    def __post_init__(self) -> None:
        if not self.words and self.image.ndim == 1 and self.image.dtype.kind in "iu":
            object.__setattr__(self, "words", tuple(map(str, self.image)))

    @property
    def signed_heatmap(self) -> np.ndarray:
        """(H, W) float32 in [-1, 1]: what speaks for it, and what against; see ``maps.signed``.

        Raises:
            ValueError: If it is of several layers, which are fused without their signs.
        """
        if self.parts:
            raise ValueError(
                f"A signed map is of one layer; this is fused of {len(self.parts)}, each without "
                "its negative values. Explain one of them."
            )
        if not np.isfinite(self.raw).all():
            return np.zeros_like(self.heatmap)
        cell = tile_cell(self.options, self.raw.shape, self.heatmap.shape)
        return maps.signed(self.raw, self.heatmap.shape, cell)

    @property
    def look(self) -> Look:
        """How ``picture`` draws it: over the picture, as pixels by themselves, or their channels.

        Maps of layers are laid over the picture. Of the pixels of a map the largest absolute value
        over the channels is drawn, as Simonyan et al. 2013 do; guided maps in their own colours,
        where grey is zero.
        """
        if self.raw.ndim == self.heatmap.ndim or not np.isfinite(self.raw).all():
            return "overlay"
        return "channels" if "gated_activations" in self.options else "pixels"

    def overlay(
        self, alpha: float = ALPHA, colormap: str = COLORMAP, signed: bool = False
    ) -> np.ndarray:
        """Lay the coloured heatmap over the picture, which stays as it is where the map is zero.

        Args:
            alpha: The largest weight of the colours, in [0, 1]: from half of the maximum on.
            colormap: The name of a matplotlib colormap.
            signed: Draw what speaks for it in red and what speaks against it in blue.

        Returns:
            (H, W, 3) uint8 RGB.

        Raises:
            ValueError: If alpha is not in [0, 1], there is no such colormap, it explains no image,
                or a signed map is asked for of several layers.
        """
        self._check_image("overlay")
        return drawing.overlay(self.image, self._values(signed), alpha, Palette(colormap, signed))

    def boxes(
        self,
        threshold: float = 0.2,
        components: maps.Components = "largest",
        by: maps.By = "maximum",
    ) -> np.ndarray:
        """Find boxes around what the heatmap marks, (n, 4) half-open [x0, y0, x1, y1) in pixels.

        See ``tfcam.maps.boxes``: connected parts above a fraction of the maximum, or, with
        ``by="quantile"``, of the pixels.

        Raises:
            ValueError: If an argument is none of these, it explains no image, or its map holds NaN.
        """
        self._check_image("boxes")
        return maps.boxes(self.heatmap, threshold, components, by)

    @property
    def title(self) -> str:
        """What is explained, how sure the model is, and how the map was made, in two lines."""
        number = f"{self.score_kind} {self.score:.3g}"
        if self.probability is not None:
            number = f"probability {self.probability:.3g}"
        where = f" at {self.layer}" if self.layer else ""
        return f"{self.name}, {number}\n{self.method}{where}"

    @property
    def name(self) -> str:
        """The label where there is one, else the class's number."""
        return self.label if self.label is not None else f"class {self.target}"

    @property
    def extent(self) -> str:
        """How large what is explained is, in words."""
        if self.heatmap.ndim == 2:
            height, width = self.heatmap.shape
            return f"{width} x {height} pixels"
        if self.heatmap.ndim == 1:
            return f"{len(self.heatmap)} {'words' if self.text else 'positions'}"
        return drawing.volume_extent(self.image)

    @property
    def _kind(self) -> str:
        if self.heatmap.ndim == 3:
            return "video" if drawing.slice_name(self.image) == "frame" else "volume"
        if self.heatmap.ndim == 2:
            return "image"
        return "text" if self.words else "series"

    def _check_image(self, name: str) -> None:
        if self._kind != "image":
            raise ValueError(
                f"{name} is for images; this explains a {self._kind} of {self.extent}. Use plot(), "
                "save() or the heatmap itself."
            )

    def _values(self, signed: bool) -> np.ndarray:
        return self.signed_heatmap if signed else self.heatmap

    def picture(
        self, alpha: float = ALPHA, colormap: str = COLORMAP, signed: bool = False
    ) -> np.ndarray:
        """Draw what ``plot`` and ``save`` show: the overlay, or a map of pixels by itself.

        ``look`` says which. The full range of a map of pixels is its 99th percentile.

        Args:
            alpha: As in ``overlay``.
            colormap: As in ``overlay``.
            signed: As in ``overlay``; of a map of pixels, the sum over the channels.

        Returns:
            (H, W, 3) uint8 RGB.

        Raises:
            ValueError: As ``overlay``.
        """
        self._check_image("picture")
        return draw_map(self, self._values(signed), alpha, Palette(colormap, signed))

    def plot(
        self,
        ax: Axes | None = None,
        alpha: float = ALPHA,
        colormap: str = COLORMAP,
        signed: bool = False,
    ) -> Axes:
        """Draw the map with its title; with a colour bar, and an image beside it, without ``ax``.

        A series is drawn as lines before the heatmap, a text as words on its colours, a volume
        as slices along its first axis, a video in colour as frames.

        Args:
            ax: Where to draw; None makes a new figure.
            alpha: The largest weight of the colours over an image or a volume, in [0, 1].
            colormap: The name of a matplotlib colormap.
            signed: Draw what speaks for it in red and what speaks against it in blue.

        Returns:
            The axes with the map.

        Raises:
            ValueError: If alpha is not in [0, 1], there is no such colormap, or a signed map is
                asked for of several layers.
        """
        palette, values = Palette(colormap, signed), self._values(signed)
        if ax is None:
            figure = new_figure(figsize=self._figure_size(palette))
            return self._draw(figure, values, alpha, palette)
        return self._draw_on(ax, values, alpha, palette)

    def _draw_on(self, ax: Axes, values: np.ndarray, alpha: float, palette: Palette) -> Axes:
        if self._kind == "image":
            ax.imshow(draw_map(self, values, alpha, palette))
            ax.set_axis_off()
        elif self.heatmap.ndim == 3:
            drawing.draw_volume(ax, self.image, values, alpha, palette)
        elif self._kind == "series":
            drawing.draw_series(ax, self.image, values, palette)
        else:
            lettering.draw_words(ax, self.words, values, palette)
        write_plainly(ax.set_title(self.title, fontsize="medium"))
        return ax

    def _has_bar(self, palette: Palette) -> bool:
        return self._kind != "image" or self.look != "channels" or palette.signed

    def _figure_size(self, palette: Palette) -> tuple[float, float]:
        if self._kind == "text":
            return lettering.figure_size(self.words)
        width, height = drawing.figure_size(self.heatmap.shape, self._has_bar(palette))
        # A line below the map.
        return width, height + (0.25 if self._kind == "image" and self._foot else 0.0)

    @property
    def _foot(self) -> str:
        grey = ["mid grey is zero"] if self._kind == "image" and self.look == "channels" else []
        return "; ".join(grey + [finding.code for finding in self.findings])

    def _draw(self, figure: Figure, values: np.ndarray, alpha: float, palette: Palette) -> Axes:
        if self._kind == "text":
            axes = lettering.add_axes(figure, self._foot, palette)
            return self._draw_on(axes, values, alpha, palette)
        figure.set_layout_engine("constrained")
        image = self._kind == "image"
        if image:
            left, axes = figure.subplots(1, 2)
            left.imshow(self.image)
            left.set_title("the picture as given", fontsize="medium")
            left.set_axis_off()
        else:
            axes = figure.subplots()
        self._draw_on(axes, values, alpha, palette)
        if self._has_bar(palette):
            over = self.heatmap.ndim == 3 or (image and self.look == "overlay")
            bar = figure.colorbar(palette.scale(over), ax=axes, shrink=0.8, ticks=palette.ticks)
            label = palette.label(OF_MAXIMUM if over or not image else OF_PERCENTILE)
            bar.set_label(label.replace(": ", ":\n"))  # it is not long
        if self._foot:
            figure.supxlabel(self._foot, fontsize="small")
        return axes

    def render(self, dpi: int, alpha: float = ALPHA, palette: Palette = PLAIN) -> bytes:
        """Draw the figure of ``plot`` as the content of a PNG file; no figure stays open.

        Args:
            dpi: Dots per inch.
            alpha: As in ``plot``.
            palette: The colours, and whether they are of a signed map.
        """
        figure = Figure(figsize=self._figure_size(palette))
        self._draw(figure, self._values(palette.signed), alpha, palette)
        return render(figure, "png", dpi)

    def _repr_png_(self) -> bytes:
        return self.render(100)

    @property
    def html(self) -> str:
        """A text's words; of anything else the picture, with its title for who can't see it."""
        verified = "" if self.verification is None else self.verification.rows_to_html()
        if self._kind != "text":
            png = self._repr_png_()
            return drawing.embed_png(png, f"Map of {self._kind}: {self.title}") + verified
        palette = Palette(COLORMAP, signed=bool(self.text) and not self.parts)
        values = self._values(palette.signed)
        return lettering.words_to_html(self.words, values, self.title, self._foot, palette)

    def _repr_html_(self) -> str:
        return self.html

    def colored(self, colormap: str = COLORMAP, signed: bool = False) -> Text:
        """Colour the words of a text, to print in a terminal with ``rich.print``.

        Args:
            colormap: The name of a matplotlib colormap.
            signed: As in ``plot``.

        Raises:
            ValueError: If it explains no text, or as ``plot``.
        """
        if self._kind != "text":
            raise ValueError(
                f"colored is for texts; this explains a {self._kind} of {self.extent}. Use plot() "
                "or save(); for a series that has a word for each position, pass words=."
            )
        return lettering.color_words(self.words, self._values(signed), Palette(colormap, signed))

    def __repr__(self) -> str:
        number = "" if self.target is None else f" (class {self.target})"
        probability = "not known" if self.probability is None else f"{self.probability:.6g}"
        lines = [
            f"Explanation of {self.name!r}{number} by {self.method}, {self.extent}",
            f"  score          {self.score:.6g} ({self.score_kind})",
            f"  probability    {probability}",
            f"  layer          {self.layer or 'none'} ({self.layer_reason})",
            f"  preprocessing  {self.preprocessing}",
        ]
        lines += [f"  {name:14} {value:.3g}" for name, value in self.measured.items()]
        if self.verification is not None:
            lines.append(f"  verification   {self.verification.verdict_in_words}")
        lines += [f"  finding        {finding}" for finding in self.findings]
        return printable_lines(lines)

    def save(self, path: str | os.PathLike[str], signed: bool = False) -> Path:
        """Write the picture (``.png``), or everything (``.npz``); whole or not at all.

        Of an image the picture is the map over it, in its size; of others the figure of ``plot``.

        Args:
            path: Where to; the ending decides. A file that is there is replaced.
            signed: As in ``plot``.

        Returns:
            The path.

        Raises:
            ValueError: If it ends in neither ``.png`` nor ``.npz``, or as ``plot``.
            FileNotFoundError: If its folder does not exist.
        """
        path = check_target(path, "An explanation", (".png", ".npz"))
        if path.suffix == ".npz":
            save_archive(path, self)
        elif self._kind == "image":
            save_picture(path, self.picture(signed=signed), self)
        else:
            figure = Image.open(io.BytesIO(self.render(150, palette=Palette(signed=signed))))
            save_picture(path, np.asarray(figure.convert("RGB")), self)
        return path


def draw_map(
    explanation: Explanation, values: np.ndarray, alpha: float, palette: Palette
) -> np.ndarray:
    """Draw values of an image's map as its ``look`` says: (H, W, 3) uint8.

    Args:
        explanation: Of an image.
        values: (H, W) in [0, 1], its heatmap or another scale of it; or signed in [-1, 1].
        alpha: The largest weight of the colours over the picture.
        palette: The colours.
    """
    if explanation.look == "overlay":
        return drawing.overlay(explanation.image, values, alpha, palette)
    if explanation.look == "channels" and not palette.signed:
        return drawing.draw_signed_pixels(explanation.raw, values.shape)
    return drawing.draw_pixels(values, palette)

"""The result: a heatmap that knows what it shows, how it was made, and what to mind about it."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, overload

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from rich.text import Text

from tfcam import maps
from tfcam.figures import overlays as drawing
from tfcam.figures import text as lettering
from tfcam.figures.overlays import COLORMAP
from tfcam.figures.rendering import render
from tfcam.findings import FINDINGS, Finding
from tfcam.utils.archive import Archived, Form, save_archive, save_picture
from tfcam.utils.files import check_target
from tfcam.utils.terminal_text import make_printable


@dataclass(frozen=True, eq=False, repr=False)
class Explanation(Archived):
    """Which parts of one image made a model decide as it did; or of a series, text or volume.

    Attributes:
        heatmap: (H, W) float32 in [0, 1], of the size of the picture as given: the ReLU of the
            raw map, resized, then scaled; (L,) of a series or text, (D, H, W) of a volume.
        raw: The signed map before scaling: (h, w) of the layer, or (h, w, C) of pixels (RGB);
            of several layers, the heatmap that they are fused to. (l,) or (d, h, w), or with
            channels, of others.
        image: (H, W, 3) uint8 RGB, the picture as given; of an array that was given already
            prepared, its values stretched to 0..255. A series, text or volume as given, but with
            channels last.
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
        findings: What to mind about this map.
        versions: The versions of what made it.
        measured: What the method measured of itself, such as its completeness error.
        parts: Of several layers, the raw map of each by its path.
        words: Of a text, the word of each position: those given, else its numbers.
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
        if len(size) == 2 and (self.image.dtype != np.uint8 or len(shape) != 3):
            return f"image is an array {shape} of {self.image.dtype}"
        odd = [name for name, part in self.parts.items() if part.dtype.kind != "f"]
        odd += [one.code for one in self.findings if one.code not in FINDINGS]
        return f"{odd[0]!r:.50} is no map and no finding" if odd else ""

    def __post_init__(self) -> None:
        if not self.words and self.image.ndim == 1 and self.image.dtype.kind in "iu":
            object.__setattr__(self, "words", tuple(map(str, self.image)))

    def overlay(self, alpha: float = 0.5, colormap: str = COLORMAP) -> np.ndarray:
        """Lay the coloured heatmap over the picture.

        Args:
            alpha: Weight of the colours, in [0, 1].
            colormap: The name of a matplotlib colormap.

        Returns:
            (H, W, 3) uint8 RGB.

        Raises:
            ValueError: If alpha is not in [0, 1], there is no such colormap, or it explains no
                image.
        """
        self._check_image("overlay")
        return drawing.overlay(self.image, self.heatmap, alpha, colormap)

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
            return f"{len(self.heatmap)} positions"
        return f"{' x '.join(map(str, self.heatmap.shape))} voxels"

    @property
    def _kind(self) -> str:
        if self.heatmap.ndim != 1:
            return "image" if self.heatmap.ndim == 2 else "volume"
        return "text" if self.words else "series"

    def _check_image(self, name: str) -> None:
        if self._kind != "image":
            raise ValueError(
                f"{name} is for images; this explains a {self._kind} of {self.extent}. Use plot(), "
                "save() or the heatmap itself."
            )

    def picture(self, alpha: float = 0.5, colormap: str = COLORMAP) -> np.ndarray:
        """Draw what ``plot`` and ``save`` show: the overlay, or a map of pixels by itself.

        A map of pixels is drawn in its own colours: grey is zero, and the full range is its
        99th percentile of absolute values.

        Returns:
            (H, W, 3) uint8 RGB.

        Raises:
            ValueError: As ``overlay``.
        """
        self._check_image("picture")
        if self.raw.ndim == 2 or not np.isfinite(self.raw).all():
            return self.overlay(alpha, colormap)
        return drawing.color_signed(self.raw, self.heatmap.shape)

    def plot(self, ax: Axes | None = None, alpha: float = 0.5, colormap: str = COLORMAP) -> Axes:
        """Draw the map with its title; with a colour bar, and an image beside it, without ``ax``.

        A series is drawn as lines before the heatmap, a text as words on its colours, a volume
        as slices along its first axis.

        Args:
            ax: Where to draw; None makes a new figure.
            alpha: Weight of the colours over an image or a volume, in [0, 1].
            colormap: The name of a matplotlib colormap.

        Returns:
            The axes with the map.

        Raises:
            ValueError: If alpha is not in [0, 1] or there is no such colormap.
        """
        if ax is None:
            import matplotlib.pyplot as plt

            return self._draw(plt.figure(figsize=self._figure_size()), alpha, colormap)
        if self._kind == "image":
            ax.imshow(self.picture(alpha, colormap))
            ax.set_axis_off()
        elif self._kind == "volume":
            drawing.draw_volume(ax, self.image, self.heatmap, alpha, colormap)
        elif self._kind == "series":
            drawing.draw_series(ax, self.image, self.heatmap, colormap)
        else:
            lettering.draw_words(ax, self.words, self.heatmap, colormap)
        ax.set_title(self.title, fontsize="medium", parse_math=False)  # a label may hold a $
        return ax

    def _figure_size(self) -> tuple[float, float]:
        if self._kind == "text":
            return lettering.figure_size(self.words)
        width, height = drawing.figure_size(self.heatmap.shape)
        noted = self._kind == "image" and self.findings
        return width, height + (0.25 if noted else 0.0)  # a line below the map

    def _draw(self, figure: Figure, alpha: float = 0.5, colormap: str = COLORMAP) -> Axes:
        noted = "; ".join(finding.code for finding in self.findings)
        if self._kind == "text":
            return self.plot(lettering.add_axes(figure, noted, colormap), alpha, colormap)
        figure.set_layout_engine("constrained")
        if self._kind == "image":
            left, axes = figure.subplots(1, 2)
            left.imshow(self.image)
            left.set_title("the picture as given", fontsize="medium")
            left.set_axis_off()
        else:
            axes = figure.subplots()
        self.plot(axes, alpha, colormap)
        if self._kind != "image" or self.raw.ndim == 2:
            colours = matplotlib.cm.ScalarMappable(cmap=colormap)
            figure.colorbar(colours, ax=axes, shrink=0.8).set_label("of the map's maximum")
        if self.findings:
            figure.supxlabel(noted, fontsize="small")
        return axes

    def _rendered(self, dpi: int) -> bytes:
        figure = Figure(figsize=self._figure_size())
        self._draw(figure)
        return render(figure, "png", dpi)

    def _repr_png_(self) -> bytes:
        return self._rendered(100)

    def _repr_html_(self) -> str:
        """A text's words; of anything else the picture, with its title for who can't see it."""
        if self._kind != "text":
            return drawing.embed_png(self._repr_png_(), f"Map of {self._kind}: {self.title}")
        findings = "; ".join(finding.code for finding in self.findings)
        return lettering.words_to_html(self.words, self.heatmap, self.title, findings, COLORMAP)

    def colored(self, colormap: str = COLORMAP) -> Text:
        """Colour the words of a text, to print in a terminal with ``rich.print``.

        Args:
            colormap: The name of a matplotlib colormap.

        Raises:
            ValueError: If it explains no text, or there is no such colormap.
        """
        if self._kind != "text":
            raise ValueError(
                f"colored is for texts; this explains a {self._kind} of {self.extent}. Use plot() "
                "or save(); for a series that has a word for each position, pass words=."
            )
        return lettering.color_words(self.words, self.heatmap, colormap)

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
        lines += [f"  finding        {finding}" for finding in self.findings]
        return make_printable("\n".join(lines))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture (``.png``), or everything (``.npz``); whole or not at all.

        Of an image the picture is the map over it, in its size; of others the figure of ``plot``.

        Args:
            path: Where to; the ending decides.

        Returns:
            The path.

        Raises:
            ValueError: If it ends in neither ``.png`` nor ``.npz``.
            FileNotFoundError: If its folder does not exist.
        """
        path = check_target(path, "An explanation", (".png", ".npz"))
        if path.suffix == ".npz":
            save_archive(path, self)
        elif self._kind == "image":
            save_picture(path, self.picture(), self)
        else:
            figure = Image.open(io.BytesIO(self._rendered(150)))
            save_picture(path, np.asarray(figure.convert("RGB")), self)
        return path


class Explanations(Sequence[Explanation]):
    """The explanations of a batch of images, in their order."""

    def __init__(self, explanations: Sequence[Explanation]) -> None:
        self._explanations = tuple(explanations)

    @overload
    def __getitem__(self, index: int) -> Explanation: ...
    @overload
    def __getitem__(self, index: slice) -> Explanations: ...
    def __getitem__(self, index: int | slice) -> Explanation | Explanations:
        if isinstance(index, slice):
            return Explanations(self._explanations[index])
        return self._explanations[index]

    def __len__(self) -> int:
        return len(self._explanations)

    def __iter__(self) -> Iterator[Explanation]:
        return iter(self._explanations)

    def __repr__(self) -> str:
        return "\n".join(map(repr, self))

    @property
    def raws(self) -> np.ndarray:
        """(B, h, w), or (B, h, w, C) of pixels: the raw signed maps."""
        return np.stack([explanation.raw for explanation in self])

    @property
    def heatmaps(self) -> np.ndarray:
        """(B, H, W) float32 in [0, 1]: the heatmaps, where all pictures have one size.

        Raises:
            ValueError: If the pictures have different sizes.
        """
        sizes = {explanation.heatmap.shape for explanation in self}
        if len(sizes) > 1:
            raise ValueError(
                f"Heatmaps stack only where all pictures have one size; here are {len(sizes)}. "
                "Take them one by one, or use `raws`, which all have the layer's size."
            )
        return np.stack([explanation.heatmap for explanation in self])

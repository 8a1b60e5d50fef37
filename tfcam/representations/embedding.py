"""How a layer arranges pictures: its pooled features, projected to two dimensions."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, get_args

import keras
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.transforms import ScaledTranslation

from tfcam.data.example import Example, Skipped
from tfcam.data.sources import open_data
from tfcam.engine.opened_model import open_model
from tfcam.engine.options import BATCH_SIZE, GRID, OUTPUT, SEED
from tfcam.figures.contact_sheet import Font, fit
from tfcam.figures.letters import write_plainly
from tfcam.figures.overlays import LINE_COLOURS, embed_png
from tfcam.figures.rendering import new_figure, render
from tfcam.images.loading import resize_image
from tfcam.model.labels import Labels
from tfcam.model.taps import Layers
from tfcam.passes.submodel import SubModel
from tfcam.preprocessing.modes import Preprocess
from tfcam.preprocessing.names import split_window
from tfcam.preprocessing.prepare import prepare
from tfcam.representations.activations import compute_activations
from tfcam.representations.projection import By, project, share_of_neighbours
from tfcam.targets.labels import read_label
from tfcam.utils.archive import Archived, Form, save_archive
from tfcam.utils.extras import import_extra
from tfcam.utils.files import check_target, write_whole
from tfcam.utils.progress import progress_bar
from tfcam.utils.terminal_text import printable_lines
from tfcam.utils.validation import check_choice

_THUMBNAIL = 40  # pixels


_FEWEST = 4


_WIDTH, _NAMED = 7.6, 40  # inches of the legend, and the classes that it names


_LEGEND, _TITLE = Font(8), Font(9)


# Told apart by the colour-blind (Okabe and Ito), and by their markers in black and white.
_MARKERS = "osD^vPX*<>"


@dataclass(frozen=True, eq=False, repr=False)
class Embedding(Archived):
    """Pictures as points, one panel for each layer; in a notebook it shows itself.

    Attributes:
        layers: The path of each layer.
        points: (layers, N, 2) float32, where each picture is.
        features: For each layer (N, K) float32, the mean of each channel over all positions.
        classes: The class of each picture, in words.
        thumbnails: (N, 40, 40, 3) uint8.
        ids: The name of each picture.
        by: "pca" or "tsne".
        explained: For each layer the shares of variance that both axes explain; empty for t-SNE.
        neighbours: For each layer the share of pictures whose nearest one, by the cosine of their
            features, is of their own class.
        skipped: Pictures that could not be read, and why.
    """

    layers: tuple[str, ...]
    points: np.ndarray
    features: tuple[np.ndarray, ...]
    classes: tuple[str, ...]
    thumbnails: np.ndarray
    ids: tuple[str, ...]
    by: str
    explained: tuple[tuple[float, ...], ...]
    neighbours: tuple[float, ...]
    skipped: tuple[Skipped, ...] = ()

    forms: ClassVar[Mapping[str, Form]] = {"points": Form("f", (3,)), "thumbnails": Form("u", (4,))}

    def misfit(self) -> str:
        """What of this does not fit together, in words; "" where all does."""
        counts = {len(self.classes), len(self.thumbnails), len(self.ids)}
        counts |= {*self.points.shape[1:2], *map(len, self.features)}
        layers = {len(self.layers), len(self.points), len(self.features), len(self.neighbours)}
        if len(counts) > 1 or len(layers) > 1 or self.points.shape[2] != 2:
            return f"it is of {counts} pictures in {layers} layers"
        odd = [each for each in self.features if each.ndim != 2 or each.dtype.kind != "f"]
        if odd:
            return f"features are an array {odd[0].shape} of {odd[0].dtype}"
        return "" if np.isfinite(self.points).all() else "a point is not finite"

    def plot(self, thumbnails: bool = True) -> Figure:
        """Draw the panels, each picture as a thumbnail framed in the colour of its class.

        Args:
            thumbnails: False draws markers only.

        Returns:
            The figure, 8 inches wide; a notebook shows it, else ``matplotlib.pyplot.show()``.
        """
        return self._draw(new_figure(), thumbnails)

    def save(self, path: str | os.PathLike[str], thumbnails: bool = True) -> Path:
        """Write the figure that ``plot`` draws, or everything (``.npz``); whole or not at all.

        Args:
            path: Where to; ``.png``, ``.pdf``, ``.svg`` or ``.npz``.
                A file that is there is replaced.
            thumbnails: As in ``plot``.

        Returns:
            The path.

        Raises:
            ValueError: If it ends in none of these.
            FileNotFoundError: If its folder does not exist.
        """
        path = check_target(path, "An embedding", (".png", ".pdf", ".svg", ".npz"))
        if path.suffix == ".npz":
            save_archive(path, self)
        else:
            write_whole(path, render(self._draw(Figure(), thumbnails), path.suffix[1:], 150))
        return path

    def __repr__(self) -> str:
        known = ", ".join(sorted(set(self.classes)))
        lines = [f"{len(self.ids)} pictures of {len(set(self.classes))} classes ({known})"]
        for layer, near in zip(self.layers, self.neighbours, strict=True):
            lines.append(f"  {layer}: the nearest picture is of the same class for {near:.0%}")
        lines += [f"  left out {skipped.id}: {skipped.reason}" for skipped in self.skipped]
        return printable_lines(lines)

    def _repr_png_(self) -> bytes:
        return render(self._draw(Figure(), True), "png", 100)

    def _repr_html_(self) -> str:
        return embed_png(self._repr_png_(), repr(self))

    def _draw(self, figure: Figure, thumbnails: bool) -> Figure:
        columns = min(2, len(self.layers))
        rows = -(-len(self.layers) // columns)
        named = [fit(kind, _WIDTH / 2, _LEGEND, 1) for kind in self._kinds[:_NAMED]]
        if len(self._kinds) > _NAMED:
            named.append(f"and {len(self._kinds) - _NAMED} more")
        widest = max(map(_LEGEND.width, named)) + 0.6  # inches, with the marker and a gap
        beside = max(1, min(4, len(named), int(_WIDTH / widest)))
        # In inches: above the axes a title, below them a label, at the foot the legend.
        bottom = 0.65 + 0.19 * -(-len(named) // beside)
        height = bottom + rows * (5.4 if columns == 1 else 3.6) + 0.45
        figure.set_size_inches(8.0, height)
        for number in range(len(self.layers)):
            self._draw_panel(figure.add_subplot(rows, columns, number + 1), number, thumbnails)
        handles = figure.axes[0].get_legend_handles_labels()[0][:_NAMED]
        handles += [Line2D([], [], linestyle="")] * (len(named) - len(handles))
        figure.legend(handles, named, loc="lower center", ncols=beside, fontsize=_LEGEND.size)
        write_plainly(figure)
        figure.subplots_adjust(0.08, bottom / height, 0.98, 1 - 0.45 / height, 0.2, 0.35)
        return figure

    @property
    def _kinds(self) -> list[str]:
        return sorted(set(self.classes))

    def _draw_panel(self, axes: Axes, number: int, thumbnails: bool) -> None:
        points = self.points[number]
        axes.update_datalim(points)  # what is moved aside has no part in the limits
        for place, kind in enumerate(self._kinds):
            mine = np.array([name == kind for name in self.classes])
            colour = LINE_COLOURS[place % len(LINE_COLOURS)]
            marker = _MARKERS[place % len(_MARKERS)]
            # On the corner of a picture, where classes are told apart without colours too.
            aside = ScaledTranslation(-11 / 72, 11 / 72, axes.figure.dpi_scale_trans)
            where = axes.transData + aside if thumbnails else axes.transData
            style: dict[str, Any] = {"c": colour, "marker": marker, "label": kind, "s": 36}
            style |= {"edgecolors": "white", "linewidths": 0.5, "zorder": 5, "transform": where}
            axes.scatter(*points[mine].T, **style)
            for which in np.flatnonzero(mine) if thumbnails else ():
                box = AnnotationBbox(
                    OffsetImage(self.thumbnails[which], zoom=0.6),
                    tuple(points[which]),
                    pad=0.12,
                    bboxprops={"edgecolor": colour, "linewidth": 1.8},
                )
                axes.add_artist(box)
        axes.margins(0.1)
        axes.autoscale_view()
        near = f"the nearest picture is of the same class for {self.neighbours[number]:.0%}"
        layer = fit(self.layers[number], 3.5, _TITLE, 1)
        axes.set_title(f"{layer}\n{near}", fontsize=_TITLE.size)
        names = ["t-SNE 1", "t-SNE 2"]
        if self.explained:
            shares = enumerate(self.explained[number], 1)
            names = [f"component {n} ({share:.0%} of the variance)" for n, share in shares]
        axes.set_xlabel(names[0], fontsize=8)
        axes.set_ylabel(names[1], fontsize=8)
        axes.tick_params(labelsize=7)


def embed(
    model: keras.Model,
    images: Any,
    layer: Layers = None,
    *,
    classes: Sequence[str] | None = None,
    by: By = "pca",
    preprocess: Preprocess = "auto",
    labels: Labels | None = None,
    output: str | int | None = None,
    grid: tuple[int, ...] | None = None,
    split: str = "test",
    data_dir: str | os.PathLike[str] | None = None,
    annotations: str | os.PathLike[str] | None = None,
    batch_size: int = 32,
    seed: int = 0,
    progress: bool | None = None,
) -> Embedding:
    """Show how layers arrange pictures: their pooled features, projected to two dimensions.

    The feature k of a picture is the mean of channel A_k over all positions.

    Args:
        model: Any built Keras 3 model with one image input.
        images: A folder, a list of pictures or a data set, as ``tfcam.evaluate`` takes its data.
        layer: The layer: a path ("resnet50/conv5_block3_out"), a bare name where it is unique, or
            an index of ``tfcam.layers``; by default the last map that the output is computed from,
            before pooling, a softmax over positions or a mixing of axes. Of several each is taken
            by itself. Several are a list; layer objects are taken, too.
        classes: The class of each picture, in words; by default those of the data, or else those
            that the model predicts.
        by: How points are found: "pca", the first two principal components, or "tsne", which
            keeps neighbours together and begins at random.
        preprocess: How pixels of 0..255 become the model's input: "auto" finds out, "raw" leaves
            them, "unit", "tf", "torch" and "caffe" scale them, and the name of a keras.applications
            family, such as "resnet_v2", does what that needs. Or a callable on (B, H, W, 3) float32
            pixels, ``tfcam.images.Window``, or None if prepared.
        labels: The label of each class, in the order of the classes, or a file with a label on each
            line or of JSON; by default known of ImageNet networks. Or a dict of names and indices,
            such as ``class_indices``, or "imagenet".
        output: Which output is explained of a model that has several, by name or index.
        grid: Height and width of a transformer's grid of patches, of videos and volumes (frames,
            height, width) of its tubes; needed only where it can't be found.
        split: Which part of a data set of tensorflow_datasets, such as "test[:100]".
        data_dir: The folder where tensorflow_datasets keeps a data set, if not its usual place.
        annotations: The folder of XML files, or the JSON file, that says what is in a folder of
            pictures, if not beside them.
        batch_size: Number of images that are computed at once; fewer take less memory.
        seed: Random seed, at least 0: the same seed gives the same result.
        progress: Show a progress bar on the error stream; by default in a terminal or a notebook,
            where it takes more than a second.

    Returns:
        An ``Embedding``, which draws itself.

    Raises:
        ImportError: If scikit-learn is not installed.
        ValueError: If there are fewer than four pictures, or an argument does not fit.

    Source: van der Maaten and Hinton 2008, "Visualizing Data using t-SNE".

    Example:
        >>> import tfcam
        >>> kinds = ["star", "square"] * 3
        >>> pictures = [tfcam.scenes.draw_scene(n, kinds=[k]).image for n, k in enumerate(kinds)]
        >>> embedding = tfcam.embed(
        ...     tfcam.demo_model(), pictures, ["stem_relu", "features"], classes=kinds)
        >>> embedding.points.shape, embedding.neighbours[1]
        ((2, 6, 2), 1.0)
    """
    import_extra("sklearn", extra="embed", user="embed")
    check_choice("by", by, get_args(By))
    batch_size, seed = BATCH_SIZE.check(batch_size), SEED.check(seed)
    opened = open_model(model)
    opened.graph.check_one_image("embed")
    window, preprocess = split_window(preprocess)
    where: dict[str, Any] = {"split": split, "data_dir": data_dir, "annotations": annotations}
    source = open_data(images, **where, window=window)
    read = list(source.read(0))
    examples = [item for item in read if isinstance(item, Example)]
    skipped = tuple(item for item in read if isinstance(item, Skipped))
    if len(examples) < _FEWEST:
        raise ValueError(
            f"At least {_FEWEST} pictures are needed; got {len(examples)} that can be read"
            + (f" ({skipped[0].reason})" if skipped else "")
            + "."
        )
    if classes is not None and len(classes) != len(examples):
        raise ValueError(
            f"classes must have one for each picture; got {len(classes)} for {len(examples)}."
        )
    asked = opened.graph.asked(OUTPUT.check(output), which=opened.which)
    places = opened.graph.open_layers(layer, opened.which, GRID.check(grid), asked)
    submodel = SubModel(opened.graph, taps := [place.tap for place in places], output=output)
    known, _ = opened.graph.labels(labels, submodel.output)
    told = opened.classes(submodel.output, known)
    pooled: list[list[np.ndarray]] = [[] for _ in taps]
    predicted: list[int] = []
    with progress_bar(len(examples), "embedding", progress, "pictures") as advance:
        for start in range(0, len(examples), batch_size):
            pictures = [example.image for example in examples[start : start + batch_size]]
            prepared = prepare(opened.graph, pictures, preprocess, opened.which)
            layer_maps, outputs = compute_activations(submodel, prepared)
            for means, values in zip(pooled, layer_maps, strict=True):
                means.append(values.mean(axis=(1, 2)))
            if isinstance(outputs, np.ndarray) and outputs.ndim == 2 and not told.number:
                predicted += outputs.argmax(axis=1).tolist()
            advance(len(pictures))
    features = tuple(map(np.concatenate, pooled))
    count = len(source.label_names or ()) or told.count
    names = _classes(examples, classes, source.label_names, predicted, known, count)
    if not names:
        raise ValueError(_no_classes(outputs, getattr(model, "output_names", None) or ()))
    projections = [project(values, by, seed) for values in features]
    return Embedding(
        tuple(tap.name for tap in taps),
        np.stack([projection.points for projection in projections]),
        features,
        names,
        np.stack([resize_image(example.image, (_THUMBNAIL, _THUMBNAIL)) for example in examples]),
        tuple(example.id for example in examples),
        by,
        tuple(projection.shares for projection in projections if projection.shares),
        tuple(share_of_neighbours(values, names) for values in features),
        skipped,
    )


def _classes(
    examples: Sequence[Example],
    classes: Sequence[str] | None,
    names: Sequence[str] | None,
    predicted: Sequence[int],
    labels: Sequence[str] | None,
    count: int | None,
) -> tuple[str, ...]:
    """The class of each picture, as the user, the data, or the model says; () where none does."""
    if classes is not None:
        return tuple(map(str, classes))
    if all(example.label is not None for example in examples):
        return tuple(_name(read_label(example.label, count), names) for example in examples)
    return tuple(_name(number, labels) for number in predicted)


def _no_classes(outputs: Any, names: Sequence[str]) -> str:
    """Say why the model tells no classes: it has several outputs, or one of another form."""
    told = "say the class of each with classes=."
    if not isinstance(outputs, list | tuple | Mapping) or len(outputs) < 2:
        return f"The model gives no classes (B, C): {told}"
    keys = outputs if isinstance(outputs, Mapping) else names or range(len(outputs))
    return (
        f"The model has {len(outputs)} outputs: name the one that tells the classes with output="
        f"{' or '.join(map(repr, keys))}, or {told}"
    )


def _name(label: Any, names: Sequence[str] | None) -> str:
    if isinstance(label, str):
        return label
    return f"class {label}" if names is None else names[label]

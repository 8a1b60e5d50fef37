"""Methods, layers, classes or models side by side, with as few passes as they need."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tfcam.engine.opened_model import OpenedModel, open_model
from tfcam.engine.options import Score
from tfcam.engine.picture_options import TILE
from tfcam.engine.refusals import WORD_HIDING
from tfcam.engine.settings import Settings
from tfcam.explainer.assemble import Cell, Run, explanation
from tfcam.explainer.references import outputs_of, with_embeddings, with_words
from tfcam.explainer.tiling import (
    Whole,
    check_tiles,
    explain_tiles,
    prepare_tiles,
    read_whole,
)
from tfcam.findings import Finding
from tfcam.images.kinds import ImageLike
from tfcam.methods.registry import Request
from tfcam.methods.selection import (
    MethodChoice,
    as_request,
    groups,
    numbered,
    one_pass_methods,
    request_name,
)
from tfcam.model.labels import Labels
from tfcam.model.taps import ALL_CONVOLUTIONS, Layer
from tfcam.preprocessing.modes import Preprocess
from tfcam.preprocessing.prepare import Prepared
from tfcam.results.comparison import Comparison
from tfcam.results.explanation import Explanation
from tfcam.targets.classes import Target, Top
from tfcam.targets.resolve import (
    ResolvedTarget,
    chosen_targets,
    is_by_value,
    spread_targets,
)
from tfcam.utils.progress import progress_bar
from tfcam.utils.validation import shown


def compare(
    model: keras.Model | Sequence[keras.Model],
    image: ImageLike,
    *,
    layers: Sequence[Layer] | None = None,
    methods: Sequence[MethodChoice] | None = None,
    targets: Sequence[Target] | Top | None = None,
    preprocess: Preprocess = "auto",
    labels: Labels | None = None,
    score: Score = "logit",
    input: str | int | None = None,
    output: str | int | None = None,
    grid: tuple[int, ...] | None = None,
    batch_size: int = 32,
    tile: tuple[int, int] | None = None,
    progress: bool | None = None,
) -> Comparison:
    """Explain one image by several methods, at several layers, for several classes or models.

    All methods that need one pass share one forward and, for each class, one backward pass; those
    that ask the network again and again run one after the other.

    Args:
        model: A model, or several: then the rows are models and the columns methods.
        image: One image, as ``tfcam.explain`` takes it.
        layers: The layers, each a path ("resnet50/conv5_block3_out"), a bare name where it is
            unique, or an index of ``tfcam.layers``, or "all_convolutions"; by default the last map
            that the output is computed from, before pooling, a softmax over positions or a mixing
            of axes. Layer objects are taken, too.
        methods: The methods, by their names in ``tfcam.METHODS``; by default those of one pass that
            weight the channels of any layer. Functions Reading -> (B, h, w) and names with options,
            as in ("score_cam", {"channels": 32}), are taken, too.
        targets: The classes that are explained, each an index, or a label where labels are known;
            by default the one that the model predicts. Also ``tfcam.Difference``, or a callable
            outputs -> (B,) on the outputs before the final softmax or sigmoid, such as
            ``tfcam.Segmentation``, and ``tfcam.Top(k)`` instead of the list.
        preprocess: How pixels of 0..255 become the model's input: "auto" finds out, "raw" leaves
            them, "unit", "tf", "torch" and "caffe" scale them, and the name of a keras.applications
            family, such as "resnet_v2", does what that needs. Or a callable on (B, H, W, 3) float32
            pixels, ``tfcam.images.Window``, or None if prepared.
        labels: The label of each class, in the order of the classes, or a file with a label on each
            line or of JSON; by default known of ImageNet networks. Or a dict of names and indices,
            such as ``class_indices``, or "imagenet".
        score: The number that is explained: "logit", the score before the final softmax or sigmoid,
            or "probability", the one after it.
        input: Which input is explained of a model that has several, by name or index; by default
            the first of those with most axes.
        output: Which output is explained of a model that has several, by name or index.
        grid: Height and width of a transformer's grid of patches, of videos and volumes (frames,
            height, width) of its tubes; needed only where it can't be found.
        batch_size: Number of images that are computed at once; fewer take less memory.
        tile: Height and width in pixels of the tiles in which a picture is explained that is larger
            than the network takes at once: they overlap by half or more, and their maps become one.
            One class is explained in all, which the target must name.
        progress: Show a progress bar on the error stream; by default in a terminal or a notebook,
            where it takes more than a second.

    Returns:
        A ``Comparison``: methods x layers, methods x classes, or models x methods. Layers and
        classes together give a column for each pair of them.

    Raises:
        ValueError: If an argument does not fit the model, or several models are compared at
            several layers or for several classes.

    Example:
        >>> import tfcam
        >>> scene = tfcam.scenes.draw_scene(1).image
        >>> found = tfcam.compare(
        ...     tfcam.demo_model(), scene, methods=["cam", "layer_cam"], targets=[0, 3])
        >>> found.rows, len(found.columns), found["cam", 1].target
        (('cam', 'layer_cam'), 2, 3)
    """
    if isinstance(layers, str) and layers == ALL_CONVOLUTIONS:
        layers = [layers]
    models: list[Any] = list(model) if isinstance(model, list | tuple) else [model]
    lists = {"models": models, "layers": layers, "methods": methods, "targets": targets}
    for name, values in lists.items():
        if not isinstance(values, list | tuple | Top | None) or values in ([], ()):
            raise ValueError(f"{name} must be a list that holds at least one; got {shown(values)}.")
    chosen = [targets] if isinstance(targets, Top) else list(targets or [None])
    places = _places(models, layers, input, grid)
    if len(models) > 1 and (len(places), len(chosen), isinstance(targets, Top)) != (1, 1, False):
        raise ValueError(
            "Several models are compared by their methods: give one layer and one target for all "
            "of them, or one model."
        )
    of_text = all(open_model(each, input).is_text for each in models)
    usual = one_pass_methods()
    if of_text and not all(open_model(each, input).has_embeddings for each in models):
        usual = list(WORD_HIDING)
    requests = [as_request(choice).at(places[0], of_text) for choice in methods or usual]
    if len(places) > 1 and not any(request.method.placed for request in requests):
        raise ValueError("None of these methods explains a layer: leave out the layers.")
    settings = Settings(score, output, False, batch_size, grid)
    asked = (image, preprocess, labels, input, settings.output)
    if (tile := TILE.check(tile)) is not None:
        named = [targets] if isinstance(targets, Top) else chosen
        for each_model in models:
            check_tiles(open_model(each_model, input), named, "targets")
    subjects = [_Subject.of(each_model, *asked, tile) for each_model in models]
    results: dict[tuple[int, int], list[Explanation]] = {}
    steps = list(itertools.product(range(len(models)), groups(requests)))
    with progress_bar(len(steps), "comparing", progress) as advance:
        for number, group in steps:
            rows_of_group = subjects[number].explain(
                [requests[row] for row in group], places, chosen, settings
            )
            results |= {
                (number, row): cells for row, cells in zip(group, rows_of_group, strict=True)
            }
            advance()
    names = numbered([request_name(request) for request in requests])
    if len(models) > 1:
        cells = [[results[m, r][0] for r in range(len(requests))] for m in range(len(models))]
        rows, columns = numbered([each_model.name for each_model in models]), names
    else:
        cells = [results[0, r] for r in range(len(requests))]
        rows, columns = names, _columns(cells, len(places))
    return Comparison(tuple(rows), tuple(columns), tuple(map(tuple, cells)))


@dataclass(frozen=True)
class _Subject:
    """A model and the image as it takes it: prepared, or whole, to be cut into tiles."""

    opened: OpenedModel
    image: Prepared | Whole
    labels: Sequence[str] | None
    findings: tuple[Finding, ...]
    preprocess: Preprocess
    tile: tuple[int, int] | None

    @classmethod
    def of(
        cls,
        model: keras.Model,
        image: Any,
        preprocess: Preprocess,
        labels: Labels | None,
        name: str | int | None,
        output: str | int | None,
        tile: tuple[int, int] | None,
    ) -> _Subject:
        opened, given = open_model(model, name), (image, preprocess, "compare")
        taken: Prepared | Whole
        if tile is None:
            taken = opened.prepare_one(*given)
        else:
            taken = read_whole(opened, opened.split_one(*given)[0], preprocess)
        return cls(opened, taken, *opened.graph.labels(labels, output), preprocess, tile)

    def explain(
        self,
        requests: Sequence[Request],
        layers: Sequence[Layer],
        targets: Sequence[Target | Top],
        settings: Settings,
    ) -> list[list[Explanation]]:
        """Explain by each method, layer by layer and target by target."""
        classes = functools.partial(self.opened.classes, settings.output, self.labels)
        targets = with_embeddings(targets, self.opened, self.preprocess, settings.output)
        if self.opened.is_text and isinstance(self.image, Prepared):
            prepared, output = self.image, settings.output
            read = prepared.texts or prepared.images
            targets = with_words(
                targets, read, lambda _: outputs_of(self.opened, prepared, output), several=True
            )
        resolved = chosen_targets(targets, 1, True, self.labels, classes)
        placed = any(request.method.placed for request in requests)
        layer = layers if len(layers) > 1 and placed else layers[0]
        shared = all(map(is_by_value, resolved))
        engine = self.opened.engine(layer, requests, settings, shared, targets=resolved)
        places = range(len(layers)) if placed else [0] * len(layers)

        def explained(prepared: Prepared, chosen: list[ResolvedTarget]) -> list[list[Explanation]]:
            answers = engine(prepared.inputs, chosen, prepared.others, *prepared.words)
            about = self.labels, self.findings
            run = Run(engine, prepared, spread_targets(chosen), answers, *about)
            return [
                [
                    explanation(Cell(run, target, image, request, place))
                    for request in range(len(requests))
                    for place in places
                    for target in range(len(answers))
                ]
                for image in range(len(prepared.images))
            ]

        def explain(pieces: list[np.ndarray], whole: Whole) -> list[list[Explanation]]:
            ready = prepare_tiles(self.opened, pieces, self.preprocess, whole.as_pixels)
            each = (chosen_targets(t, len(pieces), False, self.labels, classes) for t in targets)
            return explained(ready, [chosen for (chosen,) in each])

        if isinstance(self.image, Prepared):
            (cells,) = explained(self.image, resolved)
        else:
            assert self.tile is not None
            of_tiles = functools.partial(explain, whole=self.image)
            hows = [request.shown for request in requests for _ in places for _ in targets]
            cells = explain_tiles(of_tiles, self.image, self.tile, settings.at_once, hows)
        wide = len(cells) // len(requests)
        return [cells[start : start + wide] for start in range(0, len(cells), wide)]


def _places(
    models: Sequence[Any],
    layers: Sequence[Any] | None,
    name: Any,
    grid: tuple[int, ...] | None,
) -> list[Any]:
    """List the layers one by one; "all_convolutions" is as many as there are."""
    places: list[Any] = []
    for layer in layers or [None]:
        if isinstance(layer, list | tuple):
            raise ValueError(f"layers must be a list of single layers; got {shown(layer)} in it.")
        if isinstance(layer, str) and layer == ALL_CONVOLUTIONS:
            opened = open_model(models[0], name)
            listed = opened.graph.layers(opened.which, grid)
            places += [layer.index for layer in listed if layer.convolution]
        else:
            places.append(layer)
    return places


def _columns(cells: Sequence[Sequence[Explanation]], layers: int) -> list[str]:
    """Name the layer or the class of each column, whichever there are several of, or both."""
    nowhere = "words" if cells[0][0].text else "pixels"
    places = [
        next((str(row[n].layer) for row in cells if row[n].layer), nowhere)
        for n in range(len(cells[0]))
    ]
    names = [str(explanation.name) for explanation in cells[0]]
    if len(names) == layers:
        return numbered(places)
    if layers == 1:
        return numbered(names)
    return numbered([f"{place}, {name}" for place, name in zip(places, names, strict=True)])

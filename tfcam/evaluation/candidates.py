"""What is held against each other on the same pictures: methods, explainers, baselines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import keras
import numpy as np

from tfcam.engine.engine import Engine
from tfcam.engine.opened_model import OpenedModel, open_model
from tfcam.engine.runner import Compiled
from tfcam.engine.settings import Settings
from tfcam.evaluation.names import CandidateKey, candidate_name, seed_of
from tfcam.explainer.assemble import Cell, Run, explanation
from tfcam.explainer.checks import of_members, of_places, of_probability
from tfcam.explainer.tiling import explain_tiles, prepare_tiles, read_whole
from tfcam.findings import Finding
from tfcam.maps.scaling import Shown
from tfcam.methods.registry import Request
from tfcam.methods.selection import (
    groups,
    numbered,
    request_name,
)
from tfcam.metrics.baselines import BASELINES
from tfcam.metrics.checks import Heatmap, image_heatmap
from tfcam.model.taps import Layer
from tfcam.preprocessing.modes import Preprocess
from tfcam.preprocessing.sizes import keep_their_sizes
from tfcam.results.explanation import Explanation
from tfcam.targets.resolve import ResolvedTarget

# An explainer of one's own: (pictures (H, W, 3) uint8, classes) -> a heatmap (H, W) for each.
OwnExplainer = Callable[[list[np.ndarray], list[int]], Iterable[Heatmap]]


@dataclass(frozen=True)
class Candidate:
    """A maker of maps: a method at a layer, an explainer or a baseline.

    Attributes:
        method: The name.
        layer: The path of the layer that it explains; "" where it needs none.
        kind: "method", "explainer" or "baseline".
        shown: What its heatmaps show of its raw maps, as ``shown_values`` takes it.
    """

    method: str
    layer: str
    kind: str
    shown: Shown = field(default="positive", compare=False)

    @property
    def key(self) -> CandidateKey:
        """Method and layer."""
        return CandidateKey(self.method, self.layer)

    @property
    def name(self) -> str:
        """Method and layer in words."""
        return candidate_name(self.method, self.layer)


class Pictures(NamedTuple):
    """A batch of pictures.

    Attributes:
        names: The name of each.
        images: (H, W, 3) uint8 each, or (h, w, C) floats that were given prepared.
        shown: (H, W, 3) uint8 each, to look at.
        inputs: (B, h, w, C), the same as the model takes them; at most as many as a batch.
        pairs: (B, 2) int32, the explained class of each, and the one it is held against.
        others: (B, ...) each, the other inputs of a model that has several.
    """

    names: Sequence[str]
    images: list[np.ndarray]
    shown: list[np.ndarray]
    inputs: np.ndarray
    pairs: np.ndarray
    others: Sequence[np.ndarray] = ()


class Tiling(NamedTuple):
    """How pictures are cut into tiles.

    Attributes:
        tile: Height and width of a tile in pixels.
        preprocess: How pixels become the model's input.
    """

    tile: tuple[int, int]
    preprocess: Preprocess


class Candidates:
    """Makes the maps of all candidates for a batch; one-pass methods share one pass.

    Args:
        model: A built Keras model.
        requests: The methods.
        layers: The layers, each explained by itself.
        explainers: Explainers of the user's own, by name.
        baselines: Names of ``BASELINES``.
        settings: How scores are made.
        input: Which input is explained of a model that has several.
        seed: The seed of random maps.
        target: The callable that is explained of all pictures; None where it is a class.
        tiling: How pictures are cut into tiles; None where they are explained as a whole.

    Attributes:
        all: The candidates.
        described: The methods in words.
        makers: The functions and explainers that make the maps, with their options.
        tiling: How pictures are cut into tiles.

    Raises:
        ValueError: If something does not fit the model, or two have the same name.
    """

    def __init__(
        self,
        model: keras.Model,
        requests: Sequence[Request],
        layers: Sequence[Layer],
        explainers: Mapping[str, OwnExplainer],
        baselines: Sequence[str],
        settings: Settings,
        input: str | int | None,
        seed: int,
        target: ResolvedTarget | None = None,
        tiling: Tiling | None = None,
    ) -> None:
        opened = open_model(model, input)
        _check_input(opened)
        if unknown := [name for name in baselines if name not in BASELINES]:
            raise ValueError(f"Baselines are {', '.join(BASELINES)}; got {unknown[0]!r}.")
        names = numbered([request_name(request) for request in requests])
        self.described = [request_name(request) for request in requests]
        self.tiling = tiling
        functions = [(r.method.function, MappingProxyType(r.options)) for r in requests]
        self.makers: list[Any] = [functions, MappingProxyType(dict(explainers))]
        make = _Pass if tiling is None else _TiledPass
        passes = [
            make(
                opened,
                [requests[number] for number in group],
                [names[number] for number in group],
                layers,
                settings,
                target,
                tiling,
            )
            for group in groups(requests)
        ]
        self._makers: list[Callable[[Pictures], list[list[np.ndarray]]]] = [
            *passes,
            *(partial(_ask_explainer, name, explainer) for name, explainer in explainers.items()),
            *(partial(_draw_baseline, name, seed) for name in baselines),
        ]
        self.all = [candidate for shared in passes for candidate in shared.candidates]
        self.all += [Candidate(name, "", "explainer") for name in explainers]
        self.all += [Candidate(name, "", "baseline") for name in baselines]
        _check_names(self.all, names)
        self._passes = passes

    def __call__(self, pictures: Pictures) -> list[list[np.ndarray]]:
        """Make the raw maps of each candidate, of each picture.

        Args:
            pictures: At most as many as a batch.

        Returns:
            For each candidate, for each picture, (h, w), or (h, w, C) of pixels, signed.
        """
        return [raws for make in self._makers for raws in make(pictures)]

    def findings(self, sides: Sequence[int]) -> list[Finding]:
        """Find what to mind of the explained layers, each thing once.

        Args:
            sides: The sides of the model's input.
        """
        found = [one for shared in self._passes for one in shared.findings(sides)]
        return list(dict.fromkeys(found))


class _Pass:
    """Methods that share a pass, each at each layer that it explains."""

    def __init__(
        self,
        opened: OpenedModel,
        requests: Sequence[Request],
        names: Sequence[str],
        layers: Sequence[Layer],
        settings: Settings,
        target: ResolvedTarget | None,
        tiling: Tiling | None,
    ) -> None:
        placed = any(request.method.placed for request in requests)
        several = list(layers) if len(layers) > 1 and placed else layers[0]
        self._opened, self._tiling = opened, tiling
        self._target, targets = target, [] if target is None else [target]
        self._kind = ""  # of the explained numbers, once there are some
        # Of tiles compiled from the start, for each number of them.
        runner = None if tiling is None else Compiled()
        self._engine: Engine = opened.engine(several, requests, settings, False, runner, targets)
        # A black box is never compiled: it is asked about the pictures that there are, once.
        self._warm = opened.graph.is_black_box
        of_any_size = keep_their_sizes(opened.graph, opened.which)
        self._size = 0 if self._warm or of_any_size else settings.at_once
        self.candidates = [
            Candidate(name, path, "method", request.shown if tiling is None else "positive")
            for name, request in zip(names, requests, strict=True)
            for path in (self._engine.layers if request.method.placed else [""])
        ]

    def findings(self, sides: Sequence[int]) -> list[Finding]:
        """Find what to mind of the layers, of pictures of these sides."""
        engine, places = self._engine, range(len(self._engine.layers))
        methods = [request.method for request in engine.requests]
        submodel, score = engine.submodel, engine.settings.score
        found = of_places(engine, sides, places) if any(m.layered for m in methods) else []
        found += of_members(engine, places) if any(m.placed for m in methods) else []
        if submodel.graph.is_black_box and submodel.ending == "probability":  # so it was said
            return found
        return found + of_probability(self._kind, score, None)

    def __call__(self, pictures: Pictures) -> list[list[np.ndarray]]:
        count = len(pictures.inputs)
        # Always a full batch: another shape would be traced anew, and eager at first.
        rows = np.minimum(np.arange(self._size or count), count - 1)
        target = pictures.pairs[rows] if self._target is None else self._target
        others = [values[rows] for values in pictures.others]
        arguments = pictures.inputs[rows], [target], others
        if not self._warm:  # compiled from the start, so that a run in two parts ends equal
            self._engine(*arguments)
            self._warm = True
        (computed,) = self._engine(*arguments)
        self._kind = computed.kind if self._target is None else "callable"
        return [
            list(raw[:count])
            for request, raws in zip(self._engine.requests, computed.raws, strict=True)
            for raw in (raws if request.method.placed else raws[:1])
        ]


class _TiledPass(_Pass):
    """Methods that explain pictures tile by tile; their maps are heatmaps of whole pictures."""

    _tiling: Tiling

    def findings(self, sides: Sequence[int]) -> list[Finding]:
        return super().findings(self._tiling.tile)

    def __call__(self, pictures: Pictures) -> list[list[np.ndarray]]:
        pairs = zip(pictures.images, pictures.pairs, strict=True)
        each = [self._heatmaps(image, pair) for image, pair in pairs]
        return [*map(list, zip(*each, strict=True))]

    def _heatmaps(self, image: np.ndarray, pair: np.ndarray) -> list[np.ndarray]:
        """Make the heatmap of each candidate of a picture, NaN where its raw map is not finite."""
        engine, (tile, preprocess) = self._engine, self._tiling
        whole = read_whole(self._opened, image, preprocess)
        cells = [
            (number, place)
            for number, request in enumerate(engine.requests)
            for place in range(len(engine.layers) if request.method.placed else 1)
        ]

        def explain(pieces: list[np.ndarray]) -> list[list[Explanation]]:
            ready = prepare_tiles(self._opened, pieces, preprocess, whole.as_pixels)
            target = np.stack([pair] * len(pieces)) if self._target is None else self._target
            answers = engine(ready.inputs, [target])
            self._kind = answers[0].kind if self._target is None else "callable"
            run = Run(engine, ready, [target], answers)
            return [
                [explanation(Cell(run, 0, piece, request, place)) for request, place in cells]
                for piece in range(len(pieces))
            ]

        hows = [engine.requests[number].shown for number, _ in cells]
        found = explain_tiles(explain, whole, tile, engine.settings.at_once, hows)
        return [
            one.heatmap if np.isfinite(one.raw).all() else np.full_like(one.heatmap, np.nan)
            for one in found
        ]


def _ask_explainer(
    name: str, explainer: OwnExplainer, pictures: Pictures
) -> list[list[np.ndarray]]:
    """Ask an explainer of the user's, and check what it returns."""
    classes = [int(index) for index in pictures.pairs[:, 0]]
    returned = explainer(pictures.images, classes)
    try:
        volumes = pictures.inputs.ndim == 5
        heatmaps = [np.float32(image_heatmap(one, volumes)) for one in returned]
    except (TypeError, ValueError) as error:  # a TypeError where it is no list at all
        told = str(error)
    else:
        if len(heatmaps) == len(pictures.images):
            return [heatmaps]
        told = f"It returned {len(heatmaps)}."
    raise ValueError(
        f"The explainer {name!r} must return a heatmap (H, W) for each of "
        f"{len(pictures.images)} pictures. {told}"
    )


def _draw_baseline(name: str, seed: int, pictures: Pictures) -> list[list[np.ndarray]]:
    """Draw a baseline's maps."""
    pairs = zip(pictures.shown, pictures.names, strict=True)
    draw = BASELINES[name]
    return [[draw(image, seed_of(picture, seed)) for image, picture in pairs]]


def _check_input(opened: OpenedModel) -> None:
    """Refuse an explained input that is none of images, videos or volumes."""
    if not opened.input.is_visual:
        inputs = ", ".join(f"{taken.name!r} {taken.shape}" for taken in opened.graph.inputs)
        raise ValueError(
            f"The explained input must be of images, (height, width, channels), or of videos or "
            f"volumes, with frames or slices before; got {opened.input.name!r} of "
            f"{opened.graph.name!r}, which takes {inputs}."
        )


def _check_names(candidates: Sequence[Candidate], methods: Sequence[str]) -> None:
    """Refuse none at all, and two of the same name."""
    if not candidates:
        raise ValueError("At least one method, explainer or baseline is needed; got none.")
    others = [candidate.method for candidate in candidates if candidate.kind != "method"]
    distinct = len(set(candidates)) == len(candidates) and len(set(others)) == len(others)
    if not distinct or set(others) & set(methods):
        raise ValueError(
            "Methods, explainers and baselines must have different names; got "
            f"{', '.join(candidate.name for candidate in candidates)}."
        )

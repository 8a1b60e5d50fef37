"""What is held against each other on the same pictures: methods, explainers, baselines."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfcam.engine.engine import Engine
from tfcam.engine.opened_model import open_model
from tfcam.engine.settings import Settings
from tfcam.evaluation.names import candidate_name, seed_of
from tfcam.methods.registry import METHODS, Request
from tfcam.methods.selection import (
    MethodChoice,
    as_request,
    groups,
    numbered,
    one_pass_methods,
    request_name,
)
from tfcam.metrics.baselines import BASELINES
from tfcam.model.taps import Layer
from tfcam.targets.classes import NOTHING

# An explainer of one's own: (pictures (H, W, 3) uint8, classes) -> a heatmap (H, W) for each.
OwnExplainer = Callable[[list[np.ndarray], list[int]], Any]


@dataclass(frozen=True)
class Candidate:
    """What makes a map of each picture.

    Attributes:
        method: Its name.
        layer: The path of the layer that it explains; "" where it needs none.
        kind: "method", "explainer" or "baseline".
    """

    method: str
    layer: str
    kind: str

    @property
    def name(self) -> str:
        """Method and layer."""
        return candidate_name(self.method, self.layer)


class Candidates:
    """Makes the maps of all candidates for a batch; one-pass methods share one pass.

    Args:
        model: A built Keras model with one image input.
        methods: As ``tfcam.compare`` takes them; None for those of one pass.
        layers: Layers, each by itself.
        explainers: Others by name.
        baselines: Names of ``BASELINES``.
        settings: How scores are made.
        input: Which input of the model.
        seed: Of random maps.

    Raises:
        ValueError: If something does not fit the model, or two have the same name.
    """

    def __init__(
        self,
        model: Any,
        methods: Sequence[MethodChoice] | None,
        layers: Sequence[Layer],
        explainers: Mapping[str, OwnExplainer],
        baselines: Sequence[str],
        settings: Settings,
        input: str | int | None,
        seed: int,
    ) -> None:
        opened = open_model(model, input)
        taken = opened.graph.inputs
        if len(taken) > 1 or not taken[opened.which].is_image:
            raise ValueError(
                f"A model with one input, of images, is needed; {model.name!r} has "
                f"{len(taken)}: {', '.join(f'{each.name!r} {each.shape}' for each in taken)}."
            )
        if strange := [each for each in baselines if each not in BASELINES]:
            raise ValueError(f"Baselines are {', '.join(BASELINES)}; got {strange[0]!r}.")
        chosen = one_pass_methods() if methods is None else methods
        requests = [as_request(each) for each in chosen]
        names = numbered([request_name(each) for each in requests])
        self.described = [_described(each) for each in requests]
        self._size, self._seed = settings.at_once, seed
        self._engines: list[tuple[Engine, list[tuple[int, int]]]] = []
        self._warm = False
        self.all: list[Candidate] = []
        for group in groups(requests):
            asked = [requests[each] for each in group]
            placed = any(each.method.placed for each in asked)
            several = list(layers) if len(layers) > 1 and placed else layers[0]
            engine = opened.engine(several, asked, settings, shared=False)
            cells = []
            for number, request in enumerate(asked):
                here = engine.layers if request.method.placed else [""]
                for place, path in enumerate(here):
                    self.all.append(Candidate(names[group[number]], path, "method"))
                    cells.append((number, place))
            self._engines.append((engine, cells))
        self._explainers = dict(explainers)
        self._baselines = list(baselines)
        self.all += [Candidate(name, "", "explainer") for name in self._explainers]
        self.all += [Candidate(name, "", "baseline") for name in self._baselines]
        if not self.all:
            raise ValueError("At least one method, explainer or baseline is needed; got none.")
        twice = [each for place, each in enumerate(self.all) if each in self.all[:place]]
        called = [each.method for each in self.all if each.kind != "method"]
        if twice or set(called) & set(names) or len(set(called)) < len(called):
            raise ValueError(
                "Methods, explainers and baselines must have different names; got "
                f"{', '.join(each.name for each in self.all)}."
            )

    def __call__(
        self,
        ids: Sequence[str],
        pictures: list[np.ndarray],
        inputs: np.ndarray,
        classes: np.ndarray,
    ) -> list[list[np.ndarray]]:
        """The raw maps of each candidate, of each picture.

        Args:
            ids: The pictures' names.
            pictures: (H, W, 3) uint8 each.
            inputs: (B, h, w, C), the same as the model takes them; at most as many as a batch.
            classes: (B,), the explained class of each.

        Returns:
            For each candidate, for each picture, (h, w) not smaller than zero where it counts, or
            (h, w, C) signed of pixels: what ``tfcam.maps.heatmap`` takes.
        """
        raws: list[list[np.ndarray]] = []
        count = len(inputs)
        # Always a full batch: another shape would be traced anew, and eager at first.
        rows = np.minimum(np.arange(self._size), count - 1)
        pairs = np.stack([classes, np.full(count, NOTHING)], axis=-1).astype(np.int32)[rows]
        for engine, cells in self._engines:
            if not self._warm:  # compiled from the start, so that a run in two parts ends equal
                engine(inputs[rows], [pairs])
            (computed,) = engine(inputs[rows], [pairs])
            for number, place in cells:
                made = computed.raws[number][place][:count]
                pixels = engine.requests[number].method.pixels
                raws.append(list(np.abs(made) if pixels else made))
        self._warm = True
        for name, explainer in self._explainers.items():
            raws.append(_own(name, explainer, pictures, classes))
        for name in self._baselines:
            seeded = (seed_of(each, self._seed) for each in ids)
            drawn = zip(pictures, seeded, strict=True)
            raws.append([BASELINES[name](picture, own) for picture, own in drawn])
        return raws


def _described(request: Request) -> str:
    """A method's name and options, and of a function of the user's what tells it from others."""
    function = request.method.function
    stored = METHODS.get(request.method.name)
    if stored is not None and stored.function is function:
        return request_name(request)
    code = getattr(function, "__code__", None)
    plain = [each for each in code.co_consts if isinstance(each, int | float | str)] if code else []
    mark = zlib.crc32(code.co_code + repr((code.co_names, plain)).encode()) if code else ""
    return f"{request_name(request)} {mark}".strip()


def _own(
    name: str, explainer: OwnExplainer, pictures: list[np.ndarray], classes: np.ndarray
) -> list[np.ndarray]:
    """What an explainer of the user's makes, checked."""
    made = [
        np.asarray(getattr(each, "heatmap", each), np.float32)
        for each in explainer(pictures, [int(each) for each in classes])
    ]
    if len(made) != len(pictures) or any(each.ndim != 2 for each in made):
        raise ValueError(
            f"The explainer {name!r} must return a heatmap (H, W) for each of {len(pictures)} "
            f"pictures; it returned {[each.shape for each in made]}."
        )
    return made

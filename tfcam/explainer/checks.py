"""What is checked of a result: nothing that asks the network again unless something looks wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tfcam.engine.engine import Engine
from tfcam.engine.settings import Explained
from tfcam.explainer.numeric_checks import of_layers
from tfcam.findings import Finding, finding
from tfcam.methods.registry import Method
from tfcam.model.placement import UNKNOWN
from tfcam.model.taps import Tap
from tfcam.model.tokens import Grid
from tfcam.passes.reading import Need
from tfcam.passes.submodel import SubModel
from tfcam.preprocessing.prepare import Prepared
from tfcam.preprocessing.ranges import known_range
from tfcam.targets.two_classes import NUMBER

# What 12 bits fill of 16, in pixels of 0..255.
_NEARLY_BLACK = 16

# The error of a map, as a fraction of what it varies by, and the R^2 of a sum of parts.
_NOISY, _FAITHFUL = 0.5, 0.5

# What a map lacks of what it should sum to, as a fraction of its sum without signs.
_INCOMPLETE = 0.01

# What of a score may be rounding alone, as a fraction of it.
_ROUNDING = 1e-6


def of_result(
    engine: Engine,
    prepared: Prepared,
    explained: Explained,
    method: Method,
    places: Sequence[int],
    raws: Sequence[np.ndarray],
) -> list[Finding]:
    """Find what there is to know about the maps of one image.

    Args:
        engine: The engine that computed them.
        prepared: The pictures.
        explained: What was explained, of which image.
        method: By which method.
        places: At which of the engine's layers.
        raws: The raw map of each of these.
    """
    findings = []
    if explained.named and not method.class_specific:
        findings.append(finding("class_agnostic", method=method.name, target=explained.name))
    findings += of_unit(engine.submodel, explained)
    findings += of_given(engine.submodel, prepared, explained.image)
    shown = bool(np.isfinite(raws[0]).all() and raws[0].any())
    if Need.DECONVNET_GRADIENTS in method.needs and shown and explained.blind:
        findings.append(finding("image_ignored", model=engine.submodel.graph.name))
    if not method.layered:
        return findings
    findings += of_places(engine, prepared.inputs.shape[1:-1], places)
    if method.placed:
        findings += of_members(engine, places)
        findings += of_layers(engine.submodel, prepared, explained, method, places, raws)
    return findings


def of_given(submodel: SubModel, prepared: Prepared, image: int) -> list[Finding]:
    """Find what to mind of a picture, and of the input that was made of it."""
    misfit = of_input(submodel, prepared, image)
    seen = prepared.seen[image] if prepared.seen else of_picture(prepared.images[image])
    found = [*prepared.findings, *seen]
    return [*found, misfit] if misfit else found


def of_places(engine: Engine, sides: Sequence[int], places: Sequence[int]) -> list[Finding]:
    """Find what to mind of where layers look, of any input of these sides."""
    lost = [place for place in places if engine.placement(place, sides) == UNKNOWN]
    findings = [finding("place_unknown", layer=engine.layers[place]) for place in lost]
    taps = [engine.submodel.taps[place] for place in places]
    findings += of_tokens(taps)
    summed = [tap.name for tap in taps if tap.frames == 1 < sides[0]]
    return findings + [finding("no_time", layer=name, frames=sides[0]) for name in summed]


def of_members(engine: Engine, places: Sequence[int]) -> list[Finding]:
    """Find that the default layer shows one of several maps side by side, as of an ensemble."""
    return [
        finding(
            "one_of_several",
            layer=engine.layers[place],
            count=len(engine.others[place]) + 1,
            all=[engine.layers[place], *engine.others[place]],
        )
        for place in places
        if engine.others[place]
    ]


def of_unit(submodel: SubModel, explained: Explained) -> list[Finding]:
    """Find a single unit of which nothing says whether it tells two classes apart."""
    if explained.target is not None and callable(explained.target):
        return []
    known = submodel.graph.classes(submodel.output, submodel.which, explained.labels)
    if not known.number or known.count != 2:
        return []
    if explained.pairs[explained.image, 0] == NUMBER:
        return [finding("one_number")]
    return [finding("one_logit", target=explained.name)]


def of_probability(kind: str, score: str, probability: float | None) -> list[Finding]:
    """Find a probability explained where a logit was asked for, and one that is saturated."""
    if kind == "probability" and score == "logit":
        return [finding("probability_explained")]
    if kind == "probability" and probability is not None and not 1e-4 < probability < 1 - 1e-4:
        return [finding("saturated", probability=probability)]
    return []


def of_measured(
    measured: Mapping[str, float], method: str, raw: np.ndarray, score: float
) -> list[Finding]:
    """Find a map that is mostly chance, has parts missing, or explains little by its parts.

    Args:
        measured: What the method measured of it.
        method: By which method.
        raw: The raw map.
        score: What was explained.
    """
    error, fidelity = measured.get("standard_error", 0.0), measured.get("fidelity", 1.0)
    found = [finding("noisy_map", error=error)] if error > _NOISY else []
    if fidelity < _FAITHFUL:
        found.append(finding("not_additive", fidelity=fidelity, method=method))
    missing, size = measured.get("completeness_error", 0.0), float(np.abs(raw).sum())
    # Of an empty map all is missing, as is told.
    if size and abs(missing) > max(_INCOMPLETE * size, _ROUNDING * abs(score)):
        share = abs(missing) / size
        found.append(finding("incomplete", method=method, error=missing, share=share))
    return found


def of_tokens(taps: Sequence[Tap]) -> list[Finding]:
    """Count the tokens that are taken for no patch: once for each grid."""
    first: dict[Grid, str] = {}
    for tap in taps:
        if tap.grid is not None and tap.grid.extra:
            first.setdefault(tap.grid, tap.name)
    return [
        finding(
            "prefix_tokens",
            count=grid.count,
            layer=name,
            extra=grid.extra,
            where=_where(grid),
            patches=" x ".join(map(str, grid.sides[int(grid.apart) :])),
        )
        for grid, name in first.items()
    ]


def _where(grid: Grid) -> str:
    """Say where the tokens of no patch stand."""
    extra = grid.extra_places
    front = sum(place < min(grid.places, default=grid.extra) for place in extra)
    end = sum(place > max(grid.places, default=grid.count) for place in extra)
    numbers = {"in front": front, "at the end": end, "between them": len(extra) - front - end}
    there = [f"{number} {where}" for where, number in numbers.items() if number]
    return " and ".join(there) if len(there) > 1 else there[0].split(" ", 1)[1]


def of_picture(picture: np.ndarray) -> list[Finding]:
    """Find a picture of which hardly anything can be seen, as 12 bits in a file of 16 are."""
    if picture.dtype != np.uint8 or picture[::8, ::8].max(initial=0) > _NEARLY_BLACK:
        return []
    high = int(picture.max(initial=0))
    seen = high > _NEARLY_BLACK or high == picture.min(initial=high)
    return [] if seen else [finding("nearly_black", high=high)]


def of_input(submodel: SubModel, prepared: Prepared, image: int) -> Finding | None:
    """Find an input, prepared elsewhere or as the user said, that can't be what the model takes."""
    known = known_range(submodel.graph, submodel.which)
    if known is None or prepared.description.rsplit(", ", 1)[0].endswith(known.preparation):
        return None
    values = prepared.inputs[image] if isinstance(prepared.inputs, np.ndarray) else None
    if values is None or values.dtype.kind != "f" or not np.isfinite(values).all():
        return None
    if known.fits(values):
        return None
    return finding(
        "input_range",
        low=float(values.min()),
        high=float(values.max()),
        least=known.least,
        most=known.most,
        why=known.why,
    )

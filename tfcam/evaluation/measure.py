"""A batch of pictures measured: each candidate's maps by each metric."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from tfcam import maps
from tfcam.data.example import Example
from tfcam.evaluation.aggregate import LeftOut, Tally
from tfcam.evaluation.candidates import Candidate, Candidates, Pictures
from tfcam.evaluation.gallery import Shown, draw_thumbnail
from tfcam.evaluation.names import MetricKey
from tfcam.maps.scaling import shown_values
from tfcam.metrics.curves import Curve
from tfcam.metrics.localisation import truth_mask
from tfcam.metrics.measure import ASKING, Measure
from tfcam.metrics.probing import Probe
from tfcam.utils.progress import Advance

# Why a map is left out.
NOT_FINITE = "its map holds NaN or infinity."


class Row(NamedTuple):
    """A row of the table: a number, and what it is of."""

    image: str
    method: str
    layer: str
    metric: str
    value: float
    target: int
    label: str
    probability: float


@dataclass(frozen=True, eq=False)
class Batch:
    """Pictures that are measured together.

    Attributes:
        examples: The pictures.
        probe: Asks the model about them.
        labels: The explained class of each, in words.
        regions: Where the object of each is: a mask of its sides, bool, else boxes (n, 4); None
            where that is no pixel, or not known.
    """

    examples: Sequence[Example]
    probe: Probe
    labels: Sequence[str]
    regions: Sequence[np.ndarray | None]

    @property
    def size(self) -> tuple[int, ...]:
        """The sides of the model's input: height and width, of volumes the depth first."""
        return self.probe.inputs.shape[1:-1]

    def extent(self, place: int) -> tuple[int, ...]:
        """The sides of a picture."""
        return self.examples[place].image.shape[: len(self.size)]


class Value(NamedTuple):
    """The number that a metric gives for the picture at a place of the batch."""

    place: int
    measure: Measure
    number: float


@dataclass(frozen=True, eq=False)
class CandidateMaps:
    """The maps that a candidate makes of a batch.

    Attributes:
        candidate: The candidate.
        batch: The pictures.
        raws: The raw map of each; zeros where it is not finite.
        finite: Whether each was finite; else it is not measured.
    """

    candidate: Candidate
    batch: Batch
    raws: Sequence[np.ndarray]
    finite: Sequence[bool]

    @functools.cached_property
    def shown(self) -> list[np.ndarray]:
        """What the heatmap shows of each raw map."""
        return [shown_values(raw, self.candidate.shown) for raw in self.raws]

    @functools.cached_property
    def small(self) -> np.ndarray:
        """(B, h, w) heatmaps at the size of the model's input."""
        return np.stack([maps.heatmap(shown, self.batch.size) for shown in self.shown])

    @functools.cached_property
    def large(self) -> list[np.ndarray]:
        """The heatmap (H, W) of each picture, of its size."""
        extents = map(self.batch.extent, range(len(self.shown)))
        return [maps.heatmap(*pair) for pair in zip(self.shown, extents, strict=True)]

    @functools.cached_property
    def of_layer(self) -> list[np.ndarray]:
        """The map of each picture in [0, 1], as small as the layer has it; of pixels ``large``."""
        return [
            maps.scale(shown) if shown.ndim == len(self.batch.size) else large
            for shown, large in zip(self.shown, self.large, strict=True)
        ]

    def measure(self, measure: Measure, tally: Tally) -> list[Value]:
        """Measure each map that is finite; what counts over the whole set goes to the tally."""
        key = MetricKey(self.candidate.method, self.candidate.layer, measure.name)
        places = [place for place, good in enumerate(self.finite) if good]
        if measure.kind in (*ASKING, "map"):
            numbers = self._numbers(measure, key, tally)
            return [Value(place, measure, float(numbers[place])) for place in places]
        values = []
        for place in places:
            example = self.batch.examples[place]
            truth = example.boxes if measure.needs == "boxes" else self.batch.regions[place]
            if truth is None:
                continue
            if measure.kind == "truth":
                number = measure.function(self.large[place], truth, **measure.options)
                values.append(Value(place, measure, float(number)))
            else:
                size = self.batch.size
                scaled = _scale(truth, self.batch.extent(place), size)
                tally.add_to_set(key, example.id, self.small[place], scaled)
        return values

    def _numbers(self, measure: Measure, key: MetricKey, tally: Tally) -> np.ndarray:
        """Measure all maps at once, (B,); the tally keeps the curves that the numbers are of."""
        signed = measure.kind == "signed"
        heatmaps = self.of_layer if measure.kind == "layer" else self.raws if signed else self.small
        subject = (heatmaps,) if measure.kind == "map" else (self.batch.probe, heatmaps)
        numbers = measure.function(*subject, **measure.options)
        if not isinstance(numbers, Curve):
            return numbers
        for probabilities, good in zip(numbers.probabilities, self.finite, strict=True):
            if good:
                tally.add_curve(key, numbers.fractions, probabilities)
        return getattr(numbers, measure.of_curve)

    def show(self, values: Sequence[Value], tally: Tally) -> None:
        """Keep the pictures that are the best or worst so far by the leading metric."""
        if not tally.leading and values:
            tally.leading = values[0].measure.name
        for place, measure, number in values:
            if measure.name == tally.leading and np.isfinite(number):
                draw = functools.partial(self._draw, place, number)
                tally.galleries[self.candidate.key].add(number, measure.better == "higher", draw)

    def _draw(self, place: int, number: float) -> Shown:
        """Draw a picture under its heatmap."""
        example = self.batch.examples[place]
        heatmap = maps.heatmap(self.shown[place], self.batch.extent(place))
        jpeg = draw_thumbnail(example.image, heatmap, example.boxes)
        return Shown(number, example.id, self.batch.labels[place], jpeg)


def measure_batch(
    examples: Sequence[Example],
    probe: Probe,
    labels: Sequence[str],
    candidates: Candidates,
    measures: Sequence[Measure],
    tally: Tally,
    advance: Advance,
) -> list[Row]:
    """Measure the maps of all candidates.

    Args:
        examples: The pictures, at most as many as a batch.
        probe: Asks the model about the pictures.
        labels: The explained class of each, in words.
        candidates: The makers of the maps.
        measures: The metrics.
        tally: Keeps what is no row.
        advance: Called with the number of pictures that are done since.

    Returns:
        The rows, those of a picture together.
    """
    names, images = [e.id for e in examples], [e.image for e in examples]
    asked = (probe.inputs, probe.pairs, probe.others)
    all_raws = candidates(Pictures(names, images, probe.images, *asked))
    examples = [replace(e, image=image) for e, image in zip(examples, probe.images, strict=True)]
    tally.pictures += len(examples)
    tally.notes["preprocessing"] = probe.preprocessing
    regions = [_region(example, probe.inputs.shape[1:-1], tally) for example in examples]
    batch = Batch(examples, probe, labels, regions)
    rows: list[list[Row]] = [[] for _ in examples]
    for candidate, raws in zip(candidates.all, all_raws, strict=True):
        candidate_maps = _check(candidate, batch, raws, tally)
        values = [value for m in measures for value in candidate_maps.measure(m, tally)]
        for place, measure, number in values:
            about = (int(probe.targets[place]), labels[place], float(probe.probabilities[place]))
            key = MetricKey(candidate.method, candidate.layer, measure.name)
            rows[place].append(Row(names[place], *key, number, *about))
        if candidate.kind == "method":
            candidate_maps.show(values, tally)
        advance(len(examples) / len(all_raws))
    return [row for of_picture in rows for row in of_picture]


def _check(
    candidate: Candidate, batch: Batch, raws: Sequence[np.ndarray], tally: Tally
) -> CandidateMaps:
    """Note which maps are not finite, and which are empty."""
    finite = [bool(np.isfinite(raw).all()) for raw in raws]
    for example, good in zip(batch.examples, finite, strict=True):
        if not good:
            tally.skipped.append(LeftOut(example.id, f"{candidate.name}: {NOT_FINITE}"))
    zeroed = [raw if good else np.zeros_like(raw) for raw, good in zip(raws, finite, strict=True)]
    candidate_maps = CandidateMaps(candidate, batch, zeroed, finite)
    pairs = zip(finite, candidate_maps.small, strict=True)
    empty = sum(good and not small.any() for good, small in pairs)
    if empty:
        tally.empty[candidate.name] = tally.empty.get(candidate.name, 0) + empty
    return candidate_maps


def _region(example: Example, size: tuple[int, ...], tally: Tally) -> np.ndarray | None:
    """Find where the object is: its mask, else its boxes; None where that is no pixel."""
    extent = example.image.shape[: len(size)]
    truth = example.boxes if example.mask is None else example.mask
    if truth is None:
        return None
    try:
        truth_mask(truth, extent)
        truth_mask(_scale(truth, extent, size), size)
    except ValueError as error:
        reason = f"Only what needs no region was measured: {error}"
        tally.skipped.append(LeftOut(example.id, reason))
        return None
    return truth


def _scale(truth: np.ndarray, size: tuple[int, ...], target: tuple[int, ...]) -> np.ndarray:
    """Move boxes or a mask to the picture resized."""
    if truth.dtype == bool:
        return maps.resize(truth, target) > 0.5
    across, down = target[1] / size[1], target[0] / size[0]
    return truth * np.array([across, down, across, down], np.float32)

"""A batch of pictures measured: each candidate's maps by each metric."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tfcam import maps
from tfcam.data.example import Example
from tfcam.evaluation.aggregate import Tally
from tfcam.evaluation.candidates import Candidate, Candidates, Pictures
from tfcam.evaluation.gallery import Shown, thumbnail
from tfcam.evaluation.names import MetricKey
from tfcam.metrics.curves import Curve
from tfcam.metrics.localisation import truth_mask
from tfcam.metrics.probing import Probe
from tfcam.metrics.registry import Measure
from tfcam.utils.progress import Advance


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
        regions: Where the object of each is: a mask (H, W) bool, else boxes (n, 4); None where that
            is no pixel, or not known.
    """

    examples: Sequence[Example]
    probe: Probe
    labels: Sequence[str]
    regions: Sequence[np.ndarray | None]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the model's input."""
        height, width = self.probe.inputs.shape[1:3]
        return height, width


@dataclass(frozen=True, eq=False)
class CandidateMaps:
    """What a candidate makes of a batch.

    Attributes:
        candidate: What made them.
        batch: The pictures.
        raws: The raw map of each; zeros where it is not finite.
        finite: Whether each was finite: what is not is not measured.
    """

    candidate: Candidate
    batch: Batch
    raws: Sequence[np.ndarray]
    finite: Sequence[bool]

    @functools.cached_property
    def small(self) -> np.ndarray:
        """(B, h, w) heatmaps at the size of the model's input."""
        return np.stack([maps.heatmap(raw, self.batch.size) for raw in self.raws])

    @functools.cached_property
    def large(self) -> list[np.ndarray]:
        """The heatmap (H, W) of each picture, of its size."""
        pairs = zip(self.raws, self.batch.examples, strict=True)
        return [maps.heatmap(raw, example.image.shape[:2]) for raw, example in pairs]


class Value(NamedTuple):
    """What a metric gives for the picture at a place of the batch."""

    place: int
    measure: Measure
    number: float


def measured(
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
        probe: Asks the model about them.
        labels: The explained class of each, in words.
        candidates: What makes the maps.
        measures: What is measured.
        tally: Keeps what is no row.
        advance: Told by how many pictures the work has gone on.

    Returns:
        The rows, those of a picture together.
    """
    names, images = [each.id for each in examples], [each.image for each in examples]
    all_raws = candidates(Pictures(names, images, probe.inputs, probe.targets, probe.others))
    tally.pictures += len(examples)
    tally.notes["preprocessing"] = probe.preprocessing
    regions = [_region(example, probe.inputs.shape[1:3], tally) for example in examples]
    batch = Batch(examples, probe, labels, regions)
    rows: list[list[Row]] = [[] for _ in examples]
    for candidate, raws in zip(candidates.all, all_raws, strict=True):
        made = _checked(candidate, batch, raws, tally)
        values = [value for measure in measures for value in _values(measure, made, tally)]
        for place, measure, number in values:
            about = (int(probe.targets[place]), labels[place], float(probe.probabilities[place]))
            key = MetricKey(candidate.method, candidate.layer, measure.name)
            rows[place].append(Row(names[place], *key, number, *about))
        if candidate.kind == "method":
            _show(made, values, tally)
        advance(len(examples) / len(all_raws))
    return [row for of_picture in rows for row in of_picture]


def _checked(
    candidate: Candidate, batch: Batch, raws: Sequence[np.ndarray], tally: Tally
) -> CandidateMaps:
    """Note which maps are not finite, and which are empty."""
    finite = [bool(np.isfinite(raw).all()) for raw in raws]
    for example, good in zip(batch.examples, finite, strict=True):
        if not good:
            reason = f"{candidate.name}: its map holds NaN or infinity."
            tally.skipped.append((example.id, reason))
    kept = [raw if good else np.zeros_like(raw) for raw, good in zip(raws, finite, strict=True)]
    made = CandidateMaps(candidate, batch, kept, finite)
    empty = sum(good and not small.any() for good, small in zip(finite, made.small, strict=True))
    if empty:
        tally.empty[candidate.name] = tally.empty.get(candidate.name, 0) + empty
    return made


def _values(measure: Measure, made: CandidateMaps, tally: Tally) -> list[Value]:
    """Measure each map that is finite; what counts over the whole set goes to the tally."""
    key = MetricKey(made.candidate.method, made.candidate.layer, measure.name)
    places = [place for place, good in enumerate(made.finite) if good]
    if measure.kind in ("probe", "map"):
        numbers = _numbers(measure, made, key, tally)
        return [Value(place, measure, float(numbers[place])) for place in places]
    values = []
    for place in places:
        example = made.batch.examples[place]
        truth = example.boxes if measure.needs == "boxes" else made.batch.regions[place]
        if truth is None:
            continue
        if measure.kind == "truth":
            number = measure.function(made.large[place], truth, **measure.options)
            values.append(Value(place, measure, float(number)))
        else:
            size = made.batch.size
            scaled = _scaled(truth, example.image.shape[:2], size)
            tally.add_to_set(key, example.id, made.small[place], scaled)
    return values


def _numbers(measure: Measure, made: CandidateMaps, key: MetricKey, tally: Tally) -> np.ndarray:
    """Measure all maps at once, (B,); the tally keeps the curves that the numbers are of."""
    given = (made.batch.probe, made.small) if measure.kind == "probe" else (made.small,)
    result = measure.function(*given, **measure.options)
    if not isinstance(result, Curve):
        return result
    for probabilities, good in zip(result.probabilities, made.finite, strict=True):
        if good:
            tally.add_curve(key, result.fractions, probabilities)
    return result.area if measure.of_curve == "area" else result.mean


def _region(example: Example, size: tuple[int, int], tally: Tally) -> np.ndarray | None:
    """Where the object is: its mask, else its boxes; None where that is no pixel."""
    truth, own = example.boxes if example.mask is None else example.mask, example.image.shape[:2]
    if truth is None:
        return None
    try:
        truth_mask(truth, own)
        truth_mask(_scaled(truth, own, size), size)
    except ValueError as error:
        tally.skipped.append((example.id, f"Only what needs no region was measured: {error}"))
        return None
    return truth


def _scaled(truth: np.ndarray, size: tuple[int, int], wanted: tuple[int, int]) -> np.ndarray:
    """Boxes or a mask on the picture resized."""
    if truth.dtype == bool:
        return maps.resize(truth, wanted) > 0.5
    across, down = wanted[1] / size[1], wanted[0] / size[0]
    return truth * np.array([across, down, across, down], np.float32)


def _show(made: CandidateMaps, values: Sequence[Value], tally: Tally) -> None:
    """Keep the pictures that are the best or worst so far by the leading metric."""
    if not tally.leading and values:
        tally.leading = values[0].measure.name
    for place, measure, number in values:
        if measure.name == tally.leading:
            draw = functools.partial(_drawn, made, place, number)
            tally.galleries[made.candidate.key].add(number, measure.better == "higher", draw)


def _drawn(made: CandidateMaps, place: int, number: float) -> Shown:
    """A picture under its heatmap."""
    example = made.batch.examples[place]
    heatmap = maps.heatmap(made.raws[place], example.image.shape[:2])
    jpeg = thumbnail(example.image, heatmap, example.boxes)
    return Shown(number, example.id, made.batch.labels[place], jpeg)

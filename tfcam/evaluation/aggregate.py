"""What an evaluation keeps besides its rows, in memory that does not grow with the pictures.

Set-level metrics, mean curves, the best and worst pictures, and what was left out; as facts and
arrays, so that a run that was stopped can go on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from tfcam.evaluation.gallery import Gallery, Shown
from tfcam.evaluation.intervals import LEVEL, Interval, varying_share_interval
from tfcam.evaluation.names import CandidateKey, MetricKey, seed_of
from tfcam.findings import Finding
from tfcam.metrics.counting import Counting

# Curves are kept at these fractions of the pixels, whatever the metric's own steps.
FRACTIONS = np.linspace(0, 1, 101)


# The number of samples of a set-level metric; each holds all its counts once.
RESAMPLES = 200


# What is kept of a tally as it is.
_FACTS = ("position", "notes", "pictures", "empty", "leading")


class LeftOut(NamedTuple):
    """A picture, or a part of what was to be measured on it, that was left out, and why."""

    image: str
    reason: str


class Minded(NamedTuple):
    """What to mind of some of the pictures.

    Attributes:
        code: A key of ``tfcam.findings.FINDINGS``.
        message: What was found, of the first of these pictures.
        pictures: The number of pictures.
    """

    code: str
    message: str
    pictures: int


class MeanCurve(NamedTuple):
    """A mean curve at ``FRACTIONS``, and half its 95 % interval; NaN where they are not known."""

    mean: np.ndarray
    error: np.ndarray


@dataclass
class SetCount:
    """A set-level metric that counts, with what its counts would be in samples of the pictures.

    In each sample a picture counts a number of times that is drawn from a Poisson distribution of
    mean 1, the same for every method.

    Attributes:
        metric: Its variables are sums over pictures.
        images: The number of pictures that it has seen.
        samples: The samples of each of its variables, (RESAMPLES, ...).
    """

    metric: Counting
    images: int = 0
    samples: list[np.ndarray] = field(default_factory=list)

    def add(self, heatmap: np.ndarray, truth: np.ndarray, seed: int) -> None:
        """Add a picture.

        Args:
            heatmap: (H, W).
            truth: Boxes (n, 4), or a mask (H, W) bool.
            seed: The picture's own seed.
        """
        before = self._values()
        self.metric.update_state([heatmap], [truth])
        times = np.random.default_rng(seed).poisson(1, RESAMPLES)
        added = [now - then for now, then in zip(self._values(), before, strict=True)]
        grown = [times.reshape(-1, *[1] * count.ndim) * count for count in added]
        earlier = self.samples or [np.zeros_like(counts) for counts in grown]
        self.samples = [a + b for a, b in zip(earlier, grown, strict=True)]
        self.images += 1

    def interval(self) -> Interval:
        """Compute the metric of all pictures, in [0, 1], and its 95 % interval.

        Source: Chamandy et al. 2012, "Estimating uncertainty for massive data streams".
        """
        results = self.metric.value(*self.samples)
        return varying_share_interval(float(self.metric.result()), results, self.images)

    def state(self) -> list[np.ndarray]:
        return [np.array(self.images), *self._values(), *self.samples]

    def restore(self, arrays: list[np.ndarray]) -> None:
        count = len(self.metric.variables)
        self.images, self.samples = int(arrays[0]), arrays[1 + count :]
        self._assign(arrays[1 : 1 + count])

    def _values(self) -> list[np.ndarray]:
        return [np.array(variable) for variable in self.metric.variables]

    def _assign(self, values: list[np.ndarray]) -> None:
        for variable, value in zip(self.metric.variables, values, strict=True):
            variable.assign(value)


class Tally:
    """What is kept of all pictures so far.

    Args:
        makers: The functions that make each set-level metric, by name.
        seed: The seed of the samples of set-level metrics.

    Attributes:
        position: The number of pictures of the source that are done.
        skipped: What was left out.
        notes: Further settings by name, such as the preprocessing.
        pictures: The number of pictures that were measured.
        empty: The number of maps of each candidate that were zero everywhere.
        minded: What to mind, by what tells it from others.
        leading: The metric that chooses the best and worst pictures.
        sets: The set-level metrics of each candidate.
        galleries: The best and worst pictures of each candidate.
    """

    def __init__(self, makers: dict[str, Callable[[], Counting]], seed: int) -> None:
        self._makers, self._seed = makers, seed
        self.position = 0
        self.skipped: list[LeftOut] = []
        self.notes: dict[str, str] = {}
        self.pictures, self.leading = 0, ""
        self.empty: dict[str, int] = {}
        self.minded: dict[str, Minded] = {}
        self.sets: dict[MetricKey, SetCount] = {}
        self._curves: dict[MetricKey, np.ndarray] = {}  # (3, 101): count, sum, sum of squares
        self.galleries: dict[CandidateKey, Gallery] = defaultdict(Gallery)

    def mind(self, key: str, found: Finding, pictures: int = 1) -> None:
        """Count pictures of which something is to be minded.

        Args:
            key: What tells it from other things.
            found: What it is, of the first of them.
            pictures: Number of these pictures.
        """
        known = self.minded.get(key, Minded(found.code, found.message, 0))
        self.minded[key] = known._replace(pictures=known.pictures + pictures)

    def add_to_set(self, key: MetricKey, name: str, heatmap: np.ndarray, truth: np.ndarray) -> None:
        """Add a picture to a set-level metric.

        Args:
            key: Method, layer and metric.
            name: The picture's name.
            heatmap: (H, W).
            truth: Boxes (n, 4), or a mask (H, W) bool.
        """
        if key not in self.sets:
            self.sets[key] = SetCount(self._makers[key.metric]())
        self.sets[key].add(heatmap, truth, seed_of(name, self._seed))

    def add_curve(self, key: MetricKey, fractions: np.ndarray, values: np.ndarray) -> None:
        """Add a picture's curve, as far as it goes.

        Args:
            key: Method, layer and metric.
            fractions: (S,) fractions of the pixels, rising.
            values: (S,) the curve at them.
        """
        curve = np.interp(FRACTIONS, fractions, values, left=np.nan, right=np.nan)
        sums = self._curves.setdefault(key, np.zeros((3, len(FRACTIONS))))
        sums += [np.ones_like(curve), curve, curve**2]

    def curves(self) -> dict[MetricKey, MeanCurve]:
        """Average the curves of each method, layer and metric that has one."""
        means = {}
        for key, (count, total, squares) in self._curves.items():
            mean = total / count
            free = np.where(count > 1, count - 1, np.nan)
            deviation = np.sqrt(np.maximum(squares / count - mean**2, 0) / free)
            means[key] = MeanCurve(mean, stats.t.ppf((1 + LEVEL) / 2, free) * deviation)
        return means

    def state(self) -> dict[str, Any]:
        """Collect all of it, as facts and arrays that an archive keeps."""
        return {
            **{name: getattr(self, name) for name in _FACTS},
            "skipped": self.skipped,
            "minded": list(self.minded.items()),
            "sets": [(key, counted.state()) for key, counted in self.sets.items()],
            "curves": list(self._curves.items()),
            "galleries": list(self.galleries.items()),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state`` gave, as an archive gives it back."""
        for name in _FACTS:
            setattr(self, name, state[name])
        self.skipped = [LeftOut(*entry) for entry in state["skipped"]]
        self.minded = {key: Minded(*parts) for key, parts in state["minded"]}
        for parts, arrays in state["sets"]:
            key = MetricKey(*parts)
            self.sets[key] = SetCount(self._makers[key.metric]())
            self.sets[key].restore(arrays)
        self._curves = {MetricKey(*parts): sums for parts, sums in state["curves"]}
        for parts, gallery in state["galleries"]:
            best, worst = (list(map(_shown, gallery[name])) for name in ("best", "worst"))
            self.galleries[CandidateKey(*parts)] = Gallery(best, worst)


def _shown(facts: Mapping[str, Any]) -> Shown:
    return Shown(**{**facts, "jpeg": facts["jpeg"].tobytes()})

"""What hiding a part of the picture does to the explained number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tfcam import maps
from tfcam.metrics.imputation import Fill, impute
from tfcam.metrics.probing import Probe
from tfcam.metrics.ranking import ranks
from tfcam.utils.progress import Advance


@dataclass(frozen=True, eq=False)
class Hiding:
    """Hides parts of one picture, and asks the model.

    Attributes:
        probe: The model, and one image.
        filled: (H, W, C) each: images of which nothing is left, one for each fill.
        rival: The class that is most likely besides the explained one; None where no class is
            explained.
        answer: The most likely class; None as well.
    """

    probe: Probe
    filled: Sequence[np.ndarray]
    rival: int | None
    answer: int | None

    @classmethod
    def of(cls, probe: Probe, fills: Sequence[Fill], plain: bool) -> Hiding:
        """Prepare it for a probe of one image.

        Args:
            probe: The model, and one image.
            fills: What replaces what is hidden: "blur", "mean" or "zero".
            plain: Whether a class is explained, and nothing else.
        """
        image = probe.inputs[0]
        everything = np.ones(image.shape[:-1], bool)
        rival = answer = None
        if plain:
            values = probe.class_probabilities(probe.inputs, [0])[0]
            answer = int(values.argmax())
            values[probe.targets[0]] = -1
            rival = int(values.argmax())
        return cls(probe, [impute(image, everything, fill) for fill in fills], rival, answer)

    @property
    def sides(self) -> tuple[int, ...]:
        """The sides of the model's input."""
        return self.probe.inputs.shape[1:-1]

    @property
    def number(self) -> float:
        """The explained number of the whole picture."""
        return float(self.probe.probabilities[0])

    def marked(self, values: np.ndarray, count: int) -> np.ndarray:
        """Find the pixels of the model's input where a map is highest: so many, as bools."""
        return ranks(maps.resize(values.astype(np.float32), self.sides)) < count

    def positive(self, values: np.ndarray) -> int:
        """Count the pixels of the model's input where a map is above zero."""
        return int(np.count_nonzero(maps.resize(values.astype(np.float32), self.sides) > 0))

    def ask(
        self, hidden: Sequence[np.ndarray], advance: Advance, fills: int | None = None
    ) -> np.ndarray:
        """Ask about the picture with parts hidden.

        Args:
            hidden: (H, W) bool each, what is hidden.
            advance: Is told of each variant.
            fills: The number of fills that are taken, from the first on; None for all.

        Returns:
            (N, fills, 2) float64: the explained number, and the rival's; (N, fills, 1) where there
            is none.
        """
        image, filled = self.probe.inputs[0], self.filled[:fills]

        def variants() -> Iterator[np.ndarray]:
            for places in hidden:
                for other in filled:
                    advance(1)
                    yield np.where(places[..., np.newaxis], other, image)[np.newaxis]

        index = np.zeros(len(hidden) * len(filled), int)
        if self.rival is None:
            values = self.probe(variants(), index)[:, np.newaxis]
        else:
            classes = [int(self.probe.targets[0]), self.rival]
            values = self.probe.class_probabilities(variants(), index)[:, classes]
        return values.reshape(len(hidden), len(filled), -1).astype(np.float64)

"""What hiding a part of the picture does to the explained number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tfcam import maps
from tfcam.metrics.imputation import Fill, impute
from tfcam.metrics.probing import Probe, Replaced
from tfcam.metrics.ranking import ranks


@dataclass(frozen=True, eq=False)
class Hiding:
    """Hides parts of one picture, and asks the model.

    Attributes:
        probe: The model and its images.
        place: Which of the images it is.
        filled: (H, W, C) each: images of which nothing is left, one for each fill.
        whole: (C,) the probability of each class; None where no class is explained.
    """

    probe: Probe
    place: int
    filled: Sequence[np.ndarray]
    whole: np.ndarray | None

    @classmethod
    def of(cls, probe: Probe, fills: Sequence[Fill], plain: bool, place: int = 0) -> Hiding:
        """Prepare it for an image of a probe.

        Args:
            probe: The model and its images.
            fills: What replaces what is hidden: "blur", "mean" or "zero".
            plain: Whether the class is held against others: one is explained, and nothing else.
            place: Which of the images it is.
        """
        image = probe.inputs[place]
        everything = np.ones(image.shape[:-1], bool)
        filled = [impute(image, everything, fill) for fill in fills]
        whole = probe.unchanged[place] if plain else None
        return cls(probe, place, filled, whole)

    @property
    def answer(self) -> int | None:
        """The most likely class; None where no class is explained."""
        return None if self.whole is None else int(self.whole.argmax())

    @property
    def rival(self) -> int | None:
        """The class that is most likely besides the explained one; None where none is explained."""
        if self.whole is None:
            return None
        others = self.whole.copy()
        others[self.target] = -1
        return int(others.argmax())

    @property
    def image(self) -> np.ndarray:
        """(H, W, C) the picture as the model takes it."""
        return self.probe.inputs[self.place]

    @property
    def target(self) -> int:
        """The explained class; negative where none is."""
        return int(self.probe.targets[self.place])

    @property
    def sides(self) -> tuple[int, ...]:
        """The sides of the model's input."""
        return self.probe.inputs.shape[1:-1]

    @property
    def number(self) -> float:
        """The explained number of the whole picture."""
        return float(self.probe.probabilities[self.place])

    def marked(self, values: np.ndarray, count: int) -> np.ndarray:
        """Find the pixels of the model's input where a map is highest: so many, as bools."""
        return ranks(maps.resize(values.astype(np.float32), self.sides)) < count

    def positive(self, values: np.ndarray) -> int:
        """Count the pixels of the model's input where a map is above zero."""
        return int(np.count_nonzero(maps.resize(values.astype(np.float32), self.sides) > 0))

    def ask(
        self,
        hidden: Sequence[np.ndarray],
        advance: Callable[[int], object],
        fills: int | None = None,
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
        filled = np.stack(self.filled[:fills])

        def places() -> Iterator[np.ndarray]:
            for each in hidden:
                for _ in filled:
                    advance(1)
                    yield each

        sources = np.tile(np.arange(len(filled)), len(hidden))
        variants, index = Replaced(places(), filled, sources), np.full(len(sources), self.place)
        rival = self.rival
        if rival is None:
            values = self.probe(variants, index)[:, np.newaxis]
        else:
            classes = [self.target, rival]
            values = self.probe.class_probabilities(variants, index)[:, classes]
        return values.reshape(len(hidden), len(filled), -1).astype(np.float64)

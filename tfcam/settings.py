"""What an engine is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfcam.methods import Method, check_option


@dataclass(frozen=True)
class Request:
    """A method with its options."""

    method: Method
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[Any, ...]:
        return self.method.name, *sorted(self.options.items())


@dataclass(frozen=True)
class Settings:
    """How scores and maps are made, whatever the method.

    Attributes:
        score: "logit" or "probability".
        output: Which output of the model, by name or index.
        eigen: Whether channels are combined to their first principal component.
        at_once: How many images a looping method computes at once.
        grid: (height, width) of the patches of a transformer, where it can't be found.
    """

    score: str = "logit"
    output: str | int | None = None
    eigen: bool = False
    at_once: int = 32
    grid: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.score not in ("logit", "probability"):
            raise ValueError(f"score must be 'logit' or 'probability'; got {self.score!r}.")
        if not isinstance(self.output, str | int | None):
            raise TypeError(f"output must be a name or an index; got {self.output!r}.")
        check_option("eigen", self.eigen, "bool")
        check_option("batch_size", self.at_once, "int")
        if self.grid is not None:
            grid = tuple(self.grid) if isinstance(self.grid, list | tuple) else ()
            if len(grid) != 2 or not all(isinstance(n, int) and n > 0 for n in grid):
                raise ValueError(f"grid must be (height, width), in patches; got {self.grid!r}.")
            object.__setattr__(self, "grid", grid)


@dataclass(frozen=True)
class Computed:
    """What one run gives for one target, as NumPy arrays.

    Attributes:
        raws: For each method and each layer (one, where it explains pixels without a layer), the
            raw maps (B, h, w) or (B, H, W, C).
        measured: For each method and layer, what it measured: (B,) by name.
        scores: (B,), the explained numbers.
        pairs: (B, 2), the explained classes and those they are held against.
        weights: (B, C), what each logit counts for in a contrast; else None.
        values: The model's outputs, (B, C), or None where they are of another form.
        kind: "logit", "probability" or "output".
    """

    raws: list[list[np.ndarray]]
    measured: list[list[dict[str, np.ndarray]]]
    scores: np.ndarray
    pairs: np.ndarray
    weights: np.ndarray | None
    values: np.ndarray | None
    kind: str

    def probability(self, index: int, chosen: int | None) -> float | None:
        """The probability of an image's class, where the model gives one."""
        if self.values is None or self.kind == "output" or chosen is None or chosen < 0:
            return None
        return float(self.values[index, chosen])

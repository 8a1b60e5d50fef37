"""What an engine is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfcam.engine.options import BATCH_SIZE, EIGEN, FREEZE, GRID, OUTPUT, SCORE, Score
from tfcam.targets.classes import NOTHING, PREDICTED
from tfcam.targets.resolve import ResolvedTarget
from tfcam.targets.two_classes import NUMBER


@dataclass(frozen=True)
class Settings:
    """How scores and maps are made, whatever the method.

    Attributes:
        score: "logit" or "probability".
        output: Which output of the model, by name or index.
        eigen: Whether channels are combined to their first principal component.
        at_once: Number of images that a looping method computes at once.
        grid: (height, width) of the patches of a transformer, where it can't be found.
        freeze: Whether the weights are built into what is compiled.
    """

    score: Score = "logit"
    output: str | int | None = None
    eigen: bool = False
    at_once: int = 32
    grid: tuple[int, ...] | None = None
    freeze: bool = False

    def __post_init__(self) -> None:
        # Equal settings share an engine, and True equals 1: each is kept as its check gives it.
        for option in (SCORE, EIGEN, FREEZE, OUTPUT, GRID):
            object.__setattr__(self, option.name, option.check(getattr(self, option.name)))
        object.__setattr__(self, "at_once", BATCH_SIZE.check(self.at_once))


class TargetMaps(NamedTuple):
    """What is computed for one target, as tensors; ``Computed`` says what each is."""

    raws: list[list[tf.Tensor]]
    measured: list[list[dict[str, tf.Tensor]]]
    scores: tf.Tensor
    pairs: tf.Tensor
    weights: tf.Tensor | None
    blind: tf.Tensor


class PassMaps(NamedTuple):
    """What one pass is made into.

    Attributes:
        answers: For each target.
        values: The model's outputs, (B, C); None where they are of another form.
        hide_logits: Whether logits may be hidden in them.
        outputs: All that the model returned, where lengths of texts are left open.
    """

    answers: list[TargetMaps]
    values: tf.Tensor | None
    hide_logits: tf.Tensor
    outputs: Sequence[tf.Tensor] = ()


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
        blind: Whether deconvnet's map, where it is among them, is the same for all images.
        values: The model's outputs, (B, C), or None where they are of another form.
        kind: "logit", "probability" or "output".
    """

    raws: list[list[np.ndarray]]
    measured: list[list[dict[str, np.ndarray]]]
    scores: np.ndarray
    pairs: np.ndarray
    weights: np.ndarray | None
    blind: bool
    values: np.ndarray | None
    kind: str

    def probability(self, index: int, chosen: int | None) -> float | None:
        """Look up the probability of an image's class, where the model gives one."""
        if self.values is None or self.kind == "output" or chosen is None or chosen < 0:
            return None
        return float(self.values[index, chosen])


@dataclass(frozen=True)
class Explained:
    """What was explained, of which image.

    Attributes:
        target: As it was asked for: pairs of classes, a callable, None for ``Top``.
        pairs: (B, 2), the explained classes and those they are held against.
        image: Which of the images.
        name: What the target is called.
        labels: The label of each class, where they are known.
        blind: Whether deconvnet's map of it is the same for all images.
    """

    target: ResolvedTarget | None
    pairs: np.ndarray
    image: int
    name: str
    labels: Sequence[str] | None = None
    blind: bool = False

    @property
    def named(self) -> bool:
        """Whether somebody asked for a target, rather than for the predicted class."""
        if not isinstance(self.target, np.ndarray):
            return True
        return tuple(self.target[self.image]) not in ((PREDICTED, NOTHING), (NUMBER, NOTHING))

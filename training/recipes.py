"""How a network is trained: the course's way, and a better one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """One run of ``fit``.

    Attributes:
        name: What is learnt.
        epochs: Largest number of epochs.
        learning_rate: At the start.
        backbone: Whether the backbone learns too, or the head alone.
        optimizer: "sgd" or "adam".
        cosine: Whether the learning rate falls to zero along a cosine.
    """

    name: str
    epochs: int
    learning_rate: float
    backbone: bool
    optimizer: str = "sgd"
    cosine: bool = False


@dataclass(frozen=True)
class Recipe:
    """A whole training.

    Attributes:
        stages: One after the other.
        batch: Images in a batch.
        preprocessing: "unit", division by 255, or "own", what the backbone was trained with.
        validated_on: "validation", or "test" as the course did.
        flip: Whether half the pictures are mirrored.
        label_smoothing: In [0, 1).
        patience: Epochs without a better validation loss until a stage ends; 0 for none.
        normalization: Whether batch normalisation learns with the backbone; on few pictures its
            statistics get worse.
        dropout: Before the last layer.
        mixed_precision: Whether to compute in float16 where there is a GPU.
    """

    stages: tuple[Stage, ...]
    batch: int
    preprocessing: str = "own"
    validated_on: str = "validation"
    flip: bool = False
    label_smoothing: float = 0.0
    patience: int = 0
    normalization: bool = False
    dropout: float = 0.0
    mixed_precision: bool = False


RECIPES = {
    # As it was run: every layer learns, pictures divided by 255, watched on the test split.
    "paper": Recipe(
        stages=(Stage("all", epochs=2, learning_rate=0.01, backbone=True),),
        batch=16,
        preprocessing="unit",
        validated_on="test",
        normalization=True,
    ),
    "recommended": Recipe(
        stages=(
            Stage("head", 15, 1e-3, backbone=False, optimizer="adam", cosine=True),
            Stage("all", 10, 1e-5, backbone=True, optimizer="adam", cosine=True),
        ),
        batch=32,
        flip=True,
        label_smoothing=0.1,
        patience=4,
        dropout=0.2,
        mixed_precision=True,
    ),
}

"""Callable targets that are equal where their fields are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from tfcam.targets.classes import class_index, only_tensor


class ByValue:
    """Equal where all fields are, arrays too: what was compiled for one serves its equal."""

    # The field that may hold one array for each image, and its rank where it is one for all.
    _array: ClassVar[tuple[str, int]]

    def _key(self) -> tuple[Any, ...]:
        values = [getattr(self, field.name) for field in fields(self)]  # type: ignore[arg-type]
        return type(self), *(
            (v.shape, v.dtype.str, v.tobytes()) if isinstance(v, np.ndarray) else v for v in values
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ByValue) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    @property
    def _many(self) -> bool:
        """Whether there is an array for each image."""
        return np.ndim(getattr(self, self._array[0])) > self._array[1]

    def for_images(self, part: slice) -> Any:
        """The target of some of the images: those of its arrays that are theirs."""
        name, _ = self._array
        return replace(self, **{name: getattr(self, name)[part]}) if self._many else self  # type: ignore[type-var]

    def check_count(self, batch: int) -> None:
        """Refuse an array for each image where there are more or fewer images.

        Raises:
            ValueError: If there are.
        """
        name, _ = self._array
        if self._many and len(getattr(self, name)) != batch:
            raise ValueError(
                f"A {name} for each image must be as many as the images; "
                f"got {len(getattr(self, name))} for {batch} images."
            )

    def _keep(self, name: str, value: np.ndarray) -> None:
        """Hold a copy of an array that nobody can write to."""
        value = value.copy()
        value.flags.writeable = False
        object.__setattr__(self, name, value)


@dataclass(frozen=True, eq=False)
class OfClass(ByValue):
    target: int | str
    label: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.target is None:
            raise TypeError(
                f"The target of a {type(self).__name__} must be a class index or a label; got None."
            )
        if not isinstance(self.target, str):
            object.__setattr__(self, "target", class_index(self.target, None, None))

    @property
    def _called(self) -> str:
        return self.label or (
            self.target if isinstance(self.target, str) else f"class {self.target}"
        )

    def with_labels(self, labels: Sequence[str]) -> Any:
        """The same target with its label turned into an index, or its index named.

        Raises:
            ValueError: If a label is unknown or ambiguous, or the class out of range.
        """
        index = class_index(self.target, len(labels), labels)
        return replace(self, target=index, label=labels[index])


def single_tensor(
    outputs: Any, name: str, form: str, ranks: tuple[int, ...], hint: str = ""
) -> tf.Tensor:
    outputs = only_tensor(outputs)
    if not isinstance(outputs, tf.Tensor):
        raise ValueError(
            f"{name} needs one tensor {form}; the model returns a {type(outputs).__name__} of "
            f"{len(tf.nest.flatten(outputs))}. Choose one with output=."
        )
    if outputs.shape.rank not in ranks:
        raise ValueError(
            f"{name} needs outputs {form}; the model returns {tuple(outputs.shape)}. {hint}"
            "Pass a callable outputs -> (B,), which returns one number for each image."
        )
    return outputs

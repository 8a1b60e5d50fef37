"""Videos and volumes of a data set: arrays of the shape that a model takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfcam.images.arrays import as_arrays
from tfcam.images.kinds import ImageError
from tfcam.images.loading import as_numpy

# Red, green and blue: a volume of so many channels is a video, whose slices are its frames.
COLOURS = 3


@dataclass(frozen=True)
class VolumeForm:
    """The form in which a model takes a video or volume.

    Attributes:
        shapes: The shapes that one may have, unknown sizes None: (D, H, W, C) or (C, D, H, W), and
            (D, H, W) where the one channel may lack its axis.
        channels_first: Whether the channels are the first of the axes.

    Example:
        >>> form = VolumeForm(((None, 8, 8, 1), (None, 8, 8)))
        >>> form.fits((5, 8, 8)), form.is_batch((3, 5, 8, 8)), form.sides((5, 8, 8, 1))
        (True, True, (5, 8, 8))
    """

    shapes: tuple[tuple[int | None, ...], ...]
    channels_first: bool = False

    @property
    def is_video(self) -> bool:
        """Whether it is of videos in colour."""
        return self.shapes[0][0 if self.channels_first else -1] == COLOURS

    @property
    def kinds(self) -> str:
        """What several are called."""
        return "videos" if self.is_video else "volumes"

    @property
    def described(self) -> dict[str, Any]:
        """The form, as JSON can hold it."""
        return {
            "shapes": [[*shape] for shape in self.shapes],
            "channels_first": self.channels_first,
        }

    @classmethod
    def of_described(cls, told: Mapping[str, Any]) -> VolumeForm:
        """Read a form as ``described`` tells it."""
        return cls(tuple(map(tuple, told["shapes"])), told["channels_first"])

    def fits(self, shape: Sequence[int | None]) -> bool:
        """Tell whether an array of a shape is one video or volume."""
        return any(_fits(shape, form) for form in self.shapes)

    def is_batch(self, shape: Sequence[int | None]) -> bool:
        """Tell whether an array of a shape holds several, one after another."""
        whole = len(self.shapes[0])
        return len(shape) == whole + 1 or (not self.fits(shape) and self.fits(shape[1:]))

    def sides(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The axes of positions, (D, H, W), of the shape of one."""
        return tuple(shape[1:] if self.channels_first else shape[:3])

    def read(self, given: Any) -> np.ndarray:
        """Read one, an array of numbers that stays as it is.

        Raises:
            ImageError: If it is of another shape, or not of finite numbers.
        """
        given = as_arrays(given)
        array = as_numpy(given) if hasattr(given, "__array__") else None
        if array is None or (array.dtype.kind not in "iuf" and "float" not in array.dtype.name):
            raise ImageError(
                f"A video or volume must be an array of numbers {_words(self.shapes)}; got "
                f"{type(given).__name__}. Read files to arrays first."
            )
        if array.ndim == len(self.shapes[0]) + 1 and len(array) == 1:
            array = array[0]
        if not self.fits(array.shape):
            raise ImageError(
                f"A video or volume must have the shape {_words(self.shapes)}; got {array.shape}."
            )
        if "float" in array.dtype.name and not (finite := np.isfinite(array)).all():
            raise ImageError(
                "A video or volume must be finite; "
                f"{np.count_nonzero(~finite)} of its values are not."
            )
        return array

    def channels_last(self, volume: np.ndarray) -> np.ndarray:
        """One as it is shown, (D, H, W, C)."""
        if volume.ndim == 3:
            return volume[..., np.newaxis]
        return np.moveaxis(volume, 0, -1) if self.channels_first else volume


def _fits(shape: Sequence[int | None], form: Sequence[int | None]) -> bool:
    same_rank = len(shape) == len(form)
    return same_rank and all(b in (None, a) or a is None for a, b in zip(shape, form, strict=True))


def _words(shapes: Sequence[Sequence[int | None]]) -> str:
    return " or ".join(str(tuple(shape)) for shape in shapes)

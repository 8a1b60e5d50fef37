"""What tells a picture and its truth from others: a run that was stopped goes on with the same."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

import numpy as np

from tfcam.data.example import Example, Mark, Skipped, Source
from tfcam.utils.digest import digest_arrays
from tfcam.utils.digest_value import digest_value
from tfcam.utils.files import as_text
from tfcam.utils.prefetch import map_in_order

# Of more numbers than a model may well have classes, a label is digested.
_MOST = 4096

_THREADS = min(8, os.cpu_count() or 1)


def mark_at(source: Source, number: int, example: Example | Skipped) -> Mark:
    """Mark the picture at a place of the data.

    Args:
        source: The data.
        number: The place.
        example: What was read there.
    """
    known = source.mark(number) if source.mark else None
    return mark_of(example) if known is None else known


def mark_of(example: Example | Skipped) -> Mark:
    """Mark a picture by its pixels."""
    if isinstance(example, Skipped):
        return Mark("", None, "")
    truth = digest_value((example.boxes, example.box_labels, example.mask, example.others))
    return Mark(digest_arrays(example.image), example.label, truth)


def marks(source: Source, numbers: Iterable[int]) -> Iterator[Mark]:
    """Mark pictures, without decoding them where that can be; ends where the data end.

    Args:
        source: The data.
        numbers: Their places, rising.
    """
    item = source.item
    if item is None:
        return _marks_in_order(source, numbers)

    def mark(number: int) -> Mark:
        return (source.mark(number) if source.mark else None) or mark_of(item(number))

    known = (number for number in numbers if number < (source.count or 0))
    return map_in_order(mark, known, _THREADS, 4 * _THREADS)


def _marks_in_order(source: Source, numbers: Iterable[int]) -> Iterator[Mark]:
    """Mark pictures that can be read in their order only."""
    reader: Iterator[Example | Skipped] | None = None
    at = 0
    for number in numbers:
        if reader is None:
            reader, at = source.read(number), number
        while at < number and next(reader, None) is not None:
            at += 1
        example = next(reader, None)
        if example is None:
            return
        at += 1
        yield mark_of(example)


def check_same(
    number: int, name: str, kept: Mark, now: Mark | None, unit: str = "pictures"
) -> None:
    """Check that a picture or text that a run has done is still what it was.

    Args:
        number: Its place in the data.
        name: Its name.
        kept: What the run keeps of it; a part that is None is not compared.
        now: What the data give there; None where they end before.
        unit: What the data hold, in words.

    Raises:
        ValueError: If it is not.
    """
    if now is None:
        what = "is not there"
    elif kept.picture != now.picture:
        what = "is another"
    elif label_text(kept.label) != label_text(now.label) or kept.truth not in (None, now.truth):
        what = "has another label, boxes or mask"
    else:
        return
    raise ValueError(
        f"The data must give the same {unit} in the same order to go on with a run that was "
        f"stopped; number {number} {what} now ({name!r}). Do not shuffle, or begin anew in "
        "another folder."
    )


def label_text(label: object) -> str | None:
    """Write a label as a store keeps it: of one-hot numbers the class, of a whole float an integer.

    Example:
        >>> label_text(np.float32([1.0])), label_text([0, 0, 1]), label_text("cat")
        ('1', '2', 'cat')
    """
    if label is None:
        return None
    values = np.asarray(label)
    ones = np.flatnonzero(values if values.dtype.kind in "biuf" else [])
    if values.size > _MOST:  # such as a mask: a store is not to hold its pixels
        return f"{values.dtype} {values.shape}, {digest_arrays(values)}"
    if values.size != 1:
        one_hot = len(ones) == 1 and values.reshape(-1)[ones[0]] == 1
        return as_text(str(ones[0] if one_hot else values.tolist()))
    only = values.item()
    return as_text(str(int(only) if isinstance(only, float) and only.is_integer() else only))

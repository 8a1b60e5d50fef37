"""What was used last, of things that are dear to make and too many to keep."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

Value = TypeVar("Value")

# So many shapes of input, or ways to ask, are kept for a model.
KEPT = 16


class Recent(Generic[Value]):
    """Values by key, of which the ones used last are kept.

    Args:
        size: The number of them.

    Example:
        >>> squares = Recent(size=2)
        >>> [squares.get(number, lambda: number**2) for number in (2, 3, 2, 4)], list(squares)
        ([4, 9, 4, 16], [2, 4])
    """

    def __init__(self, size: int = KEPT) -> None:
        self._size = size
        self._values: OrderedDict[Hashable, Value] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value of a key; it is made where there is none."""
        if key in self._values:
            self._values.move_to_end(key)
            return self._values[key]
        value = self._values[key] = make()
        if len(self._values) > self._size:
            self._values.popitem(last=False)
        return value

    def __contains__(self, key: Hashable) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[Hashable]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

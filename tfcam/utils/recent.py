"""What was used last, of things that are dear to make and too many to keep."""

from __future__ import annotations

import functools
import itertools
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")

# So many shapes of input, or ways to ask, are kept for a model.
KEPT = 16
# So many functions are kept compiled in a process, whatever models and explainers they are of: each
# takes about 1 MB of memory, and some MB for a large network.
COMPILED = 128
# Not held while something is made: that may take long, and ask for others.
_LOCK = threading.RLock()


class _Slot(Generic[Value]):
    """Where a ``Recent`` keeps a value; it is empty once a ``Limit`` let the value go."""

    def __init__(self, value: Value) -> None:
        self.value: Value | None = value
        self.number: int | None = None


class Limit:
    """So many values in several ``Recent`` together: the one that was used longest ago is let go.

    Nothing is kept alive by this.

    Args:
        size: The number of them.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._slots: OrderedDict[int, weakref.ref[_Slot[Any]]] = OrderedDict()
        self._numbers = itertools.count()

    def used(self, slot: _Slot[Any]) -> None:
        """Note that a value was used, and let go of others where there are too many."""
        if slot.number is not None:
            self._slots.pop(slot.number, None)
        slot.number = next(self._numbers)
        forget = functools.partial(self._gone, slot.number)
        self._slots[slot.number] = weakref.ref(slot, forget)
        while len(self._slots) > self.size:
            _, reference = self._slots.popitem(last=False)
            oldest = reference()
            if oldest is not None:
                oldest.value = None

    def _gone(self, number: int, _: object) -> None:
        self._slots.pop(number, None)

    def __len__(self) -> int:
        return len(self._slots)


# Of all that is compiled.
LIMIT = Limit(COMPILED)


class Recent(Generic[Value]):
    """Values by key, of which the ones used last are kept.

    Args:
        size: The number of them.
        limit: Where they count together with those of others; None where they do not.

    Example:
        >>> squares = Recent(size=2)
        >>> [squares.get(number, lambda: number**2) for number in (2, 3, 2, 4)], list(squares)
        ([4, 9, 4, 16], [2, 4])
    """

    def __init__(self, size: int = KEPT, limit: Limit | None = None) -> None:
        self._size, self._limit = size, limit
        self._slots: OrderedDict[Hashable, _Slot[Value]] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value of a key; it is made where there is none."""
        with _LOCK:
            slot = self._slots.get(key)
            value = None if slot is None else slot.value
        if slot is None or value is None:
            value = make()
            slot = _Slot(value)
        with _LOCK:
            self._slots[key], slot.value = slot, value
            self._slots.move_to_end(key)
            if len(self._slots) > self._size:
                self._slots.popitem(last=False)
            if self._limit is not None:
                self._limit.used(slot)
        return value

    def _kept(self) -> list[Hashable]:
        return [key for key, slot in list(self._slots.items()) if slot.value is not None]

    def __contains__(self, key: Hashable) -> bool:
        return key in self._kept()

    def __iter__(self) -> Iterator[Hashable]:
        return iter(self._kept())

    def __len__(self) -> int:
        return len(self._kept())

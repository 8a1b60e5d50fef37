"""Work that overlaps: in a thread of its own ahead of its use, or in several threads at once.

What is waiting is bounded, so that memory does not grow with the data.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


S = TypeVar("S")


# How often a thread that waits looks whether it should stop, in seconds.
_PATIENCE = 0.1


def work_ahead(items: Iterable[T], depth: int = 2) -> Generator[T]:
    """Yield the same items in the same order, made by a thread while earlier ones are used.

    What the thread raises is raised here. When this is closed, the thread ends, and ``items`` are
    closed.

    Args:
        items: What is made in the thread.
        depth: The most items that wait to be used.

    Example:
        >>> list(work_ahead(range(3)))
        [0, 1, 2]
    """
    results: queue.Queue[tuple[str, Any]] = queue.Queue(depth)
    stop = threading.Event()

    def put(kind: str, value: Any) -> None:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                results.put((kind, value), timeout=_PATIENCE)
                return

    def work() -> None:
        iterator = iter(items)
        try:
            for item in iterator:
                put("item", item)
                if stop.is_set():
                    break
            put("end", None)
        except BaseException as error:
            put("error", error)
        finally:
            if hasattr(iterator, "close"):
                iterator.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            kind, value = results.get()
            if kind == "error":
                raise value
            if kind == "end":
                return
            yield value
    finally:
        stop.set()
        thread.join()


def map_in_order(
    function: Callable[[S], T], items: Iterable[S], threads: int, depth: int
) -> Iterator[T]:
    """Map a function by several threads at once; the results come in the order of the items.

    Args:
        function: What is called in the threads.
        items: Taken one by one, as there is room.
        threads: The number of threads.
        depth: The most results that wait to be used.

    Example:
        >>> list(map_in_order(abs, [-1, 2, -3], threads=2, depth=2))
        [1, 2, 3]
    """
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > depth:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

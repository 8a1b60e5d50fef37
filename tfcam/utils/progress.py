"""The progress bar of all that takes long."""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from importlib.util import find_spec
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from tfcam.utils.validation import check_progress

# Work that takes less has no bar where nobody asked for one, in seconds.
_PATIENCE = 1.0


# What loops may call what loops: the outermost alone has a bar, or has none.
_outermost = threading.Lock()


# The bar of a whole whose parts could not be told apart: loops inside of it count their steps.
_undivided: list[tuple[Progress, TaskID]] = []


# Is told how much of what is done, in place of a bar: (part in [0, 1], what is done).
_watcher: ContextVar[Callable[[float, str], object] | None] = ContextVar("watcher", default=None)


class Advance(Protocol):
    """Tells a bar how much more is done."""

    def __call__(self, count: float = 1, /) -> object: ...


@contextlib.contextmanager
def progress_bar(
    total: int | None, description: str, show: bool | None, unit: str = "", done: int = 0
) -> Iterator[Advance]:
    """Show a progress bar on the error stream, with the time taken and the time left.

    Inside the block of another bar nothing is shown, as that one is of the whole.

    Args:
        total: What there is to do; None where it is not known, or, without a unit, where its parts
            can't be told apart: such a bar counts the steps of the loops inside.
        description: What is done, such as "explaining".
        show: True shows the bar, False does not; None shows it in a terminal or a notebook, once
            the work has taken a second.
        unit: What is counted, such as "pictures"; "" where it is not worth saying how fast.
        done: What was done before.

    Yields:
        What to call with how much more is done.

    Raises:
        TypeError: If ``show`` is none of these.

    Example:
        >>> with progress_bar(3, "counting", show=False) as advance:
        ...     for _ in range(3):
        ...         advance()
    """
    check_progress(show)
    if (watcher := _watcher.get()) is not None:
        with watched(_ignore):  # what is inside is a part of this
            yield _Told(watcher, description, total, done)
        return
    console = Console(stderr=True)
    # Without ipywidgets rich can only warn in a notebook.
    is_live = console.is_interactive or (console.is_jupyter and bool(find_spec("ipywidgets")))
    is_outermost = _outermost.acquire(blocking=False)
    try:
        if is_outermost and (is_live if show is None else show):
            columns = [TextColumn("{task.description}"), BarColumn(bar_width=20)]
            columns += [_Count(unit, done), TimeElapsedColumn()]
            columns += [TimeRemainingColumn()] if total or not unit else []
            with _shown(columns, console, is_live, after=0.0 if show else _PATIENCE) as bar:
                task = bar.add_task(description, total=total, completed=min(done, total or done))
                if total is None and not unit:
                    _undivided.append((bar, task))
                    yield _ignore
                else:
                    yield functools.partial(bar.advance, task)
        else:
            yield _ignore
    finally:
        if is_outermost:
            _undivided.clear()
            _outermost.release()


def count_step(index: int, total: int) -> None:
    """Count a step of a loop that is done, in a bar that could not tell its parts apart before.

    Args:
        index: Which step, from 0.
        total: The number of steps; those of several loops add up.

    Example:
        >>> with progress_bar(None, "explaining", show=False):
        ...     for index in range(2):
        ...         count_step(index, 2)
    """
    for bar, task in _undivided:
        if index == 0:
            bar.update(task, total=(bar.tasks[0].total or 0) + total)
        bar.advance(task)


@contextlib.contextmanager
def watched(tell: Callable[[float, str], object]) -> Iterator[None]:
    """Tell a function how far the work of this thread is, and show no bars.

    Args:
        tell: Called with the part that is done, in [0, 1], and with what is done.

    Example:
        >>> with watched(print), progress_bar(2, "counting", show=None) as advance:
        ...     advance()
        ...     advance()
        0.5 counting
        1.0 counting
    """
    token = _watcher.set(tell)
    try:
        yield
    finally:
        _watcher.reset(token)


class _Told:
    """Counts what is done, and tells a watcher."""

    def __init__(
        self, tell: Callable[[float, str], object], what: str, total: int | None, done: float
    ) -> None:
        self._tell, self._what, self._total, self._done = tell, what, total, done

    def __call__(self, count: float = 1, /) -> None:
        self._done += count
        if self._total:
            self._tell(min(self._done / self._total, 1.0), self._what)


def _ignore(*_: object) -> None:
    pass


class _Count(ProgressColumn):
    """How much is done, of how much, and how fast."""

    def __init__(self, unit: str, before: int) -> None:
        super().__init__()
        self._unit, self._before = unit, before

    def render(self, task: Task) -> Text:
        counted = [f"{int(task.completed)}/{int(task.total)}"] if task.total else []
        seconds = task.finished_time or task.elapsed
        if self._unit and seconds:
            rate = (task.completed - self._before) / seconds
            counted.append(f"{rate:.{1 if rate >= 1 else 2}f} {self._unit}/s")
        return Text(", ".join(counted))


@contextlib.contextmanager
def _shown(
    columns: Sequence[ProgressColumn], console: Console, is_live: bool, after: float
) -> Iterator[Progress]:
    """A bar that is shown once some seconds have passed, until the block ends."""
    # What is printed meanwhile stands above the bar, unless it goes somewhere else.
    above = sys.stdout is not None and sys.stdout.isatty()
    # Where lines can't be drawn over, the last one stays.
    bar = Progress(*columns, console=console, transient=is_live, redirect_stdout=above)
    timer = threading.Timer(after, bar.start)
    if after:
        timer.start()
    else:
        bar.start()
    try:
        yield bar
    finally:
        timer.cancel()
        if after:
            timer.join()
        if bar.live.is_started:
            bar.stop()

"""Progress bars."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    track,
)


def counted_steps(steps: list[Any], progress: bool | None, slow: bool) -> Iterable[Any]:
    console = Console(stderr=True)
    shown = (slow and console.is_terminal) if progress is None else progress
    return track(steps, "comparing", console=console, disable=not shown, transient=True)


def counted(steps: int, progress: bool | None) -> Iterable[int]:
    console = Console(stderr=True)
    terminal = console.is_terminal or console.is_jupyter
    asked = terminal if progress is None else progress
    # Where lines can't be drawn over, the last one stays.
    return track(range(steps), "dreaming", console=console, transient=terminal, disable=not asked)


def progress_bar(progress: bool | None) -> Progress:
    console = Console(stderr=True)
    shown = console.is_terminal or console.is_jupyter if progress is None else progress
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not shown,
    )


@contextlib.contextmanager
def shown(total: int | None, done: int, progress: bool | None) -> Iterator[Callable[[int], None]]:
    """A bar with the rate and the time left; gives what it is told progress with."""
    console = Console(stderr=True)
    shown = console.is_terminal or console.is_jupyter if progress is None else progress
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.1f} pictures/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not shown) as bar:
        task = bar.add_task("explaining", total=total, completed=min(done, total or done), rate=0.0)
        started, explained = time.monotonic(), 0

        def advance(count: int) -> None:
            nonlocal explained
            explained += count
            rate = explained / max(time.monotonic() - started, 1e-9)
            bar.update(task, advance=count, rate=rate)

        yield advance

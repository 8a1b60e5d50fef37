"""Where the time of an Explainer's call goes: ``python -m tests.benchmarks.profile --batch 8``.

Prints what each step takes, beside the compiled forward pass in the same rounds. ``--functions 20``
adds the functions that take most by themselves, as cProfile sees them, which slows them down.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import pstats
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from tests.benchmarks.contestants import contestant
from tests.benchmarks.networks import NETWORKS, build, pictures
from tests.benchmarks.timing import timed
from tfcam import maps
from tfcam.engine.engine import Engine
from tfcam.explainer import checks
from tfcam.explainer.pipeline import Pipeline

# What is timed, where it is called from, and how deep it lies.
STEPS: tuple[tuple[str, Any, str], ...] = (
    ("looking for changes of the model", Pipeline, "refresh"),
    ("preparation", Pipeline, "prepare"),
    ("the pass: tensors in, graph, arrays out", Engine, "__call__"),
    ("results", Pipeline, "assemble"),
    ("  of these heatmaps", maps, "heatmap"),
    ("  of these findings", checks, "of_result"),
    ("  of these options", Engine, "options"),
)


def profile(network: str, batch: int, method: str, rounds: int) -> dict[str, list[float]]:
    """The seconds of each step in each round, of the whole call, and of the forward pass."""
    model, images = build(network), pictures(network, batch)
    explain = contestant(method, model, network, images)
    forward = contestant("forward", model, network, images)
    for _ in range(3):
        explain(), forward()
    seconds: dict[str, list[float]] = {}
    for _ in range(rounds):
        seconds.setdefault("the compiled forward pass alone", []).append(timed(forward))
        with _steps(seconds):
            seconds.setdefault("the whole call", []).append(timed(explain))
    return seconds


@contextlib.contextmanager
def _steps(seconds: dict[str, list[float]]) -> Iterator[None]:
    """Time each step while it is called, however often, and add what it took."""
    with contextlib.ExitStack() as stack:
        for name, owner, attribute in STEPS:
            took = seconds.setdefault(name, [])
            took.append(0.0)
            watched = _watched(getattr(owner, attribute), took)
            stack.enter_context(mock.patch.object(owner, attribute, watched))
        yield


def _watched(function: Callable[..., Any], took: list[float]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            took[-1] += time.perf_counter() - start

    return call


def functions(network: str, batch: int, method: str, rounds: int, count: int) -> None:
    """Print the functions that take most by themselves."""
    model, images = build(network), pictures(network, batch)
    explain = contestant(method, model, network, images)
    for _ in range(3):
        explain()
    with cProfile.Profile() as seen:
        for _ in range(rounds):
            explain()
    pstats.Stats(seen).strip_dirs().sort_stats("tottime").print_stats(count)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", choices=NETWORKS, default="resnet50")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--method", default="grad_cam")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--functions", type=int, default=0, help="how many functions to list")
    asked = vars(parser.parse_args())
    count = asked.pop("functions")
    seconds = profile(**asked)
    whole = statistics.median(seconds["the whole call"])
    print(f"{asked['method']}, {asked['network']}, batch {asked['batch']}, median of rounds")
    for name, took in seconds.items():
        median = statistics.median(took)
        print(f"{name:42}{1000 * median:9.2f} ms {median / whole:7.1%}")
    if count:
        functions(**asked, count=count)


if __name__ == "__main__":
    main()

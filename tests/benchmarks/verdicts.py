"""From what was measured to each bound with its number: met or not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.bounds import BOUNDS, FIRST_CALL, MEMORY, MEMORY_PAIRS
from tests.benchmarks.contestants import HIDING, VARIANTS
from tests.benchmarks.timing import ratio

Results = dict[str, Any]
TITLES = {
    "resnet50": "ResNet50",
    "mobilenet_v2": "MobileNetV2",
    "efficientnet_b0": "EfficientNetB0",
}


# What a bound is held against, in words, where its name says too little.
_TO = {
    "grad_cam": "one Grad-CAM",
    "forward, all channels": "1280 images forward",
    "input gradient": "the bare gradient by the input",
    "pixels, one by one": "the sum of their own",
    **{f"forwards of {name}": "its plain forward passes" for name in (*VARIANTS, *HIDING)},
}


@dataclass(frozen=True)
class Verdict:
    """A bound and what was measured.

    Attributes:
        what: What is bounded, in words.
        where: On which network, for how many images.
        limit: The largest ratio that is wanted; None where there is none.
        quartiles: Of the ratios; of a single one, three times that.
        reason: Why there is no number.
    """

    what: str
    where: str
    limit: float | None
    quartiles: tuple[float, float, float] | None
    reason: str = ""

    @property
    def word(self) -> str:
        if self.quartiles is None:
            return self.reason or "not measured"
        if self.limit is None:
            return "no bound"
        return "met" if self.quartiles[1] <= self.limit else "**not met**"


def find_ratio(
    results: Results, network: str, batch: int, name: str, to: str = "forward"
) -> tuple[float, float, float] | None:
    """The quartiles of a ratio; None where it was not measured."""
    for group in reversed(results.get("rounds", [])):
        if (group["network"], group.get("batch")) == (network, batch):
            seconds = group["seconds"]
            if name in seconds and to in seconds:
                return ratio(seconds[name], seconds[to])
    return None


def find_reason(results: Results, network: str, batch: int, name: str) -> str:
    """Why a contestant was not timed; empty where it was, or was not asked for."""
    for group in results.get("rounds", []):
        if group["network"] == network and "error" in group:
            return str(group["error"])
        here = (group["network"], group.get("batch")) == (network, batch)
        if here and name in group["refused"]:
            return str(group["refused"][name])
    return ""


def verdicts(results: Results) -> list[Verdict]:
    """All bounds, in the order of ``BOUNDS``, then first calls and memory."""
    return [*_of_rounds(results), *_of_first_calls(results), *_of_memory(results)]


def _of_rounds(results: Results) -> Iterator[Verdict]:
    for each in BOUNDS:
        found = find_ratio(results, each.network, each.batch, each.name, each.to)
        reason = find_reason(results, each.network, each.batch, each.name)
        to = "" if each.to == "forward" else f" / {_TO.get(each.to, each.to)}"
        where = f"{TITLES[each.network]}, batch {each.batch}"
        yield Verdict(each.what + to, where, each.limit, found, reason)


def _of_first_calls(results: Results) -> Iterator[Verdict]:
    for row in results.get("first", []):
        names = ("explain", "explain, layer named")
        for name in names:
            what = f"first call of `{name}` / eager `model(x)`, {row['where']}"
            found = None
            if "error" not in row:
                found = ratio(row["seconds"][name], row["seconds"]["forward"])
            yield Verdict(what, "ResNet50, batch 1", FIRST_CALL, found, row.get("error", ""))


def _of_memory(results: Results) -> Iterator[Verdict]:
    rows = {(row["network"], row["name"]): row for row in results.get("memory", [])}
    for network in dict.fromkeys(network for network, _ in rows):
        for name, to, part in MEMORY_PAIRS:
            ours, other = rows.get((network, name), {}), rows.get((network, to), {})
            words = "whole process" if part == "peak" else "above what was held before"
            found = (ours[part] / other[part],) * 3 if part in ours and part in other else None
            where = f"{TITLES[network]}, batch {ours.get('batch')}"
            reason = ours.get("error", other.get("error", ""))
            yield Verdict(f"memory, {name} / {to}: {words}", where, MEMORY, found, reason)

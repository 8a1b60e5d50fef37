"""The results as JSON and as Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import tfcam
from tests.benchmarks.contestants import LOOPING
from tests.benchmarks.verdicts import TITLES, Results, find_ratio, find_reason, verdicts

Quartiles = tuple[float, float, float]


def as_json(results: Results) -> str:
    """JSON with a line for each row."""
    parts = []
    for name, section in results.items():
        rows = section if isinstance(section, list) else [section]
        body = ",\n".join(json.dumps(row) for row in rows)
        parts.append(f"{json.dumps(name)}: " + (f"[\n{body}\n]" if rows is section else body))
    return "{\n" + ",\n".join(parts) + "\n}\n"


def everything(results: Results) -> str:
    """All tables, one after the other, with quartiles everywhere."""
    made = (bounds(results), one_pass(results, spread=True), looping(results))
    return "\n".join([machine(results), *made])


def machine(results: Results) -> str:
    """The machine in a sentence."""
    m = results["machine"]
    return (
        f"{m['processor']}, {m['cores']} cores, {m['memory_gib']} GiB, {m['system']}; "
        f"TensorFlow {m['tensorflow']}, Keras {m['keras']}, NumPy {m['numpy']}, "
        f"Python {m['python']}; load before: {m['load']}\n"
    )


def bounds(results: Results) -> str:
    """Each bound with its number."""
    rows = [
        (
            each.what,
            each.where,
            _with_spread(each.quartiles),
            "" if each.limit is None else f"{each.limit:.2f}",
            each.word,
        )
        for each in verdicts(results)
    ]
    return _table(("what", "where", "ratio [quartiles]", "at most", ""), rows)


def one_pass(results: Results, spread: bool = False) -> str:
    """The methods that do not loop, in forward passes; below, why some do not apply."""
    places = _places(results)
    head = ("method", "passes", *(f"{TITLES[network]}, {batch}" for network, batch in places))
    rows, reasons = [], []
    for name, method in tfcam.METHODS.items():
        if method.loops:
            continue
        cells = []
        for network, batch in places:
            found = find_ratio(results, network, batch, name)
            if reason := find_reason(results, network, batch, name):
                reasons.append(f"`{name}`, {TITLES[network]}: {reason.split('. ')[0].rstrip('.')}.")
            cells.append("n/a" if reason else _with_spread(found) if spread else _median(found))
        if any(cells):
            rows.append((f"`{name}`", method.passes, *cells))
    notes = "\n".join(f"- {each}" for each in dict.fromkeys(reasons))
    return _table(head, rows) + (f"\n{notes}\n" if notes else "")


def looping(results: Results) -> str:
    """The methods that ask again and again, in forward passes, and for each pass they need."""
    places = [
        place
        for place in _places(results)
        if any(find_ratio(results, *place, name) for name in LOOPING)
    ]
    head = ["method", "options", "passes"]
    head += [f"{TITLES[n]}, {batch}: {what}" for n, batch in places for what in ("all", "each")]
    rows = []
    for name, (options, passes) in LOOPING.items():
        said = ", ".join(f"{key}={value}" for key, value in options.items())
        cells = []
        for network, batch in places:
            found = find_ratio(results, network, batch, name)
            each = "" if found is None or passes == 1 else f"{found[1] / passes:.2f}"
            cells += [_median(found), each]
        count = tfcam.METHODS[name].passes if passes == 1 else str(passes)
        rows.append((f"`{name}`", said, count, *cells))
    return _table(head, rows)


def _places(results: Results) -> list[tuple[str, int]]:
    """Networks and batches that methods were measured at."""
    groups = [each for each in results.get("rounds", []) if "batch" in each]
    order = {name: number for number, name in enumerate(TITLES)}
    return sorted(
        {(g["network"], g["batch"]) for g in groups}, key=lambda at: (order[at[0]], at[1])
    )


def _median(found: Quartiles | None) -> str:
    return "" if found is None else f"{found[1]:.2f}"


def _with_spread(found: Quartiles | None) -> str:
    if found is None:
        return ""
    low, median, high = found
    return f"{median:.2f}" if low == high else f"{median:.2f} [{low:.2f}, {high:.2f}]"


def _table(head: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    head = list(head)
    lines: list[Sequence[Any]] = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)

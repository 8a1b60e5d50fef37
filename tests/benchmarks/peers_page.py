"""The guide to other packages' times, made from what was measured.

``python -m tests.benchmarks.peers_page DIR`` takes DIR/peers.json, keeps it as ``peers.json``
beside this file, and writes the guide; without DIR it writes it from what is kept.
"""

from __future__ import annotations

import json
import statistics
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.benchmarks import tables
from tests.benchmarks.peers import ON_TF, PACKAGES
from tests.benchmarks.peers_work import WORK
from tests.benchmarks.timing import ratio
from tests.project import GUIDES

PAGE = GUIDES / "peers.md"
KEPT = Path(__file__).parent / "peers.json"
NAMES = {"saliency": "PAIR saliency", "grad-cam": "pytorch-grad-cam", "keras": "keras.io's recipe"}
BATCHES = (1, 8)
# Why another package is faster, of each method or metric where one is.
_GRADIENT = (
    "others return the gradient, or the small map; tfcam also makes the heatmap and its findings. "
    "Two runs of one package differ by as much."
)
_SAMPLES = (
    "captum, too, lets all 8 samples through at once, in PyTorch's network: of its own forward "
    "passes it takes more."
)
REASONS: dict[str, str] = {
    **dict.fromkeys(
        (
            *("cam", "grad_cam", "grad_cam_pp", "saliency", "gradient_input"),
            *("guided_backprop", "deconvnet"),
        ),
        _GRADIENT,
    ),
    **dict.fromkeys(("smooth_grad", "integrated_gradients"), _SAMPLES),
    "expected_gradients": "captum, too, lets all 8 samples through at once, in PyTorch's network; "
    "tfcam also scores each baseline, to tell by how much the sum misses.",
    "lime": "not in milliseconds: both ask about as many pictures, and a forward pass of one, "
    "which the brackets count in, took less in the process of tfcam.",
    "grad_cam + average_drop + increase_in_confidence": "torchcam asks once for both numbers, "
    "tfcam's metrics each for its own; `evaluate`, too, asks for each.",
    "class_sensitivity": "others compare two maps by SSIM alone; tfcam also by the rank "
    "correlation, with and without signs, and by the histograms of gradients.",
}
TEXT = """# Beside other packages

Every method and metric that another package has too, on the same work: the same network, pictures
of noise, steps, samples, masks and channels, 32 at a time where a package lets one choose. Each
package is in a process of its own, beside the forward pass of the same network: for TensorFlow
that of `keras.applications`, compiled; for PyTorch that of torchvision in `torch.inference_mode`.
All is timed from the picture (or the map, of metrics) to arrays; what a package makes once for a
network or for pictures, such as an `Explainer` or a `Probe`, is made before. Medians of {least} to
{rounds} rounds in shuffled order, of {few} where a call takes more than a quarter of a second,
after two calls to warm up; tfcam as it comes, but for the probe of metrics, which is frozen.
Measured on {machine}.

```bash
python -m tests.benchmarks.peers DIR --tf PYTHON --torch PYTHON
python -m tests.benchmarks.peers_page DIR
```

The environments are described in `tests/benchmarks/peers_tf.py` and `peers_torch.py`; of PyTorch
nothing is compiled, as these packages hook into layers.

Milliseconds for 1 and for 8 pictures, and in brackets how many forward passes of its own network
that is. One pass: ResNet50; several passes, and metrics: MobileNetV2. Score-CAM and Ablation-CAM
ask about all 160 channels of a bottleneck. **Faster** says that a package takes less than tfcam:
one that stands on TensorFlow fewer forward passes, as they are of the same program; one that stands
on PyTorch fewer milliseconds. Packages ran one after the other: milliseconds drifted between them
by up to a third, the numbers in brackets by a twentieth.

{table}
{reasons}"""


class Cell(NamedTuple):
    """What a package takes for a method: seconds, and how many forward passes; or what it said."""

    seconds: float
    forwards: float
    error: str = ""


Results = dict[str, Any]


def page(results: Results) -> str:
    """The whole page."""
    counts = {len(row["seconds"]["peer"]) for row in _rows(results) if "seconds" in row}
    few = min(counts)
    others = sorted(counts - {few}) or [few]
    given = {
        "few": few,
        "least": others[0],
        "rounds": others[-1],
        "machine": tables.machine(results).strip(),
    }
    reasons = "\n".join(_reasons(results))
    return TEXT.format(**given, table=table(results), reasons=reasons and reasons + "\n")


def table(results: Results) -> str:
    """A row for each method and package, beside tfcam's numbers."""
    versions = {each["package"]: each.get("version", "") for each in results["packages"]}
    head = ["method", "package"]
    head += [f"{batch}: {who}" for batch in BATCHES for who in ("package", "tfcam")] + [""]
    lines = []
    for method, package, cells in _compared(results):
        name = f"{NAMES.get(package, package)} {versions[package]}".strip()
        errors = {cell.error for cell, _ in cells.values() if cell.error}
        numbers = [_said(cell) for batch in BATCHES for cell in cells.get(batch, (None, None))]
        lines.append(
            [_code(method), name, *numbers, "; ".join(sorted(errors)) or _ahead(package, cells)]
        )
    for each in results["packages"]:
        if "error" in each:
            blank = [""] * 2 * len(BATCHES)
            lines.append(["all", each["package"], *blank, _shortly(each["error"])])
    return "".join(f"| {' | '.join(each)} |\n" for each in [head, ["---"] * len(head), *lines])


def faster(results: Results) -> list[str]:
    """The methods and metrics that another package is faster at."""
    marked = (method for method, *of in _compared(results) if _ahead(*of))
    return list(dict.fromkeys(marked))


Compared = dict[int, tuple[Cell, Cell]]


def _compared(results: Results) -> Iterator[tuple[str, str, Compared]]:
    """Each method and package with its cell and tfcam's, by the batch."""
    cells = {
        (each["package"], row["method"], row["batch"]): _cell(row)
        for each in results["packages"]
        for row in each.get("rows", [])
    }
    for method in WORK:
        for package in list(PACKAGES)[1:]:
            of_batches = {
                batch: (cells[package, method, batch], cells["tfcam", method, batch])
                for batch in BATCHES
                if (package, method, batch) in cells
            }
            if of_batches:
                yield method, package, of_batches


def _rows(results: Results) -> Iterator[dict[str, Any]]:
    for package in results["packages"]:
        yield from package.get("rows", [])


def _cell(row: dict[str, Any]) -> Cell:
    if "error" in row:
        return Cell(0.0, 0.0, _shortly(row["error"]))
    own, forward = row["seconds"]["peer"], row["seconds"]["forward"]
    return Cell(statistics.median(own), ratio(own, forward)[1])


def _shortly(error: str) -> str:
    return textwrap.shorten(error.replace("|", "/"), 120, placeholder=" ...")


def _said(cell: Cell | None) -> str:
    if cell is None or cell.error:
        return ""
    return f"{_digits(1000 * cell.seconds)} ({_digits(cell.forwards)})"


def _digits(number: float) -> str:
    return f"{number:.0f}" if number >= 100 else f"{number:.{1 if number >= 10 else 2}f}"


def _ahead(package: str, cells: Compared) -> str:
    """Of how many pictures the package is faster."""
    batches = []
    for batch, (peer, own) in cells.items():
        less = peer.forwards < own.forwards if package in ON_TF else peer.seconds < own.seconds
        if less and not peer.error:
            batches.append(str(batch))
    return f"**faster**: {', '.join(batches)}" if batches else ""


def _code(method: str) -> str:
    return " + ".join(f"`{name}`" for name in method.split(" + "))


def _reasons(results: Results) -> Iterator[str]:
    if marked := faster(results):
        yield "Why another package is faster where one is:\n"
    yield from (f"- {_code(name)}: {said}" for name, said in REASONS.items() if name in marked)


def main() -> None:
    """Keep the results and write the page; print which rows still need a reason."""
    if sys.argv[1:]:
        KEPT.write_text((Path(sys.argv[1]) / "peers.json").read_text())
    results = json.loads(KEPT.read_text())
    PAGE.write_text(page(results))
    if unexplained := sorted(set(faster(results)) - set(REASONS)):
        print("No reason yet, in REASONS:", ", ".join(unexplained))


if __name__ == "__main__":
    main()

"""The peaks of memory of a process that predicts, or explains.

``python -m tests.benchmarks.memory '{"network": "resnet50", "name": "grad_cam", "batch": 32}'``
prints JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.benchmarks.contestants import contestant
from tests.benchmarks.networks import build, pictures

CALLS = 3


def peaks(network: str, name: str, batch: int) -> dict[str, int]:
    """Peaks of resident memory in KiB, of the whole process and above what it held before.

    Before: with TensorFlow loaded, the network built and called on four pictures, and the batch of
    pictures in memory. "first" is the peak of the first call, which of an ``Explainer`` is eager,
    "later" that of those after it, which are compiled.
    """
    model, images = build(network), pictures(network, batch)
    call = contestant(name, model, network, images)
    before = _status("VmRSS")
    _forget_peak()
    call()
    first = _status("VmHWM")
    _forget_peak()
    for _ in range(CALLS):
        call()
    later = _status("VmHWM")
    return {
        "first": first,
        "first_above": first - before,
        "later": later,
        "later_above": later - before,
    }


def _forget_peak() -> None:
    """The peak is what is held now."""
    Path("/proc/self/clear_refs").write_text("5")


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(key)))


if __name__ == "__main__":
    print(json.dumps(peaks(**json.loads(sys.argv[1]))))

"""The peak of memory of a process that predicts, or explains.

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


def peak(network: str, name: str, batch: int) -> dict[str, int]:
    """The peak of resident memory in KiB, of the whole process and above what it held before.

    Before: with TensorFlow loaded, the network built and called on four pictures, and the batch of
    pictures in memory. Then come the calls; TensorFlow gives nothing back between them.
    """
    model, images = build(network), pictures(network, batch)
    call = contestant(name, model, network, images)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what is held now
    before = status("VmRSS")
    for _ in range(CALLS):
        call()
    return {"peak": status("VmHWM"), "above": status("VmHWM") - before}


def status(key: str) -> int:
    """Memory of this process in KiB, as Linux calls it: VmRSS is held now, VmHWM the peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(key)))


if __name__ == "__main__":
    print(json.dumps(peak(**json.loads(sys.argv[1]))))

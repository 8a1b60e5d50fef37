"""tfcam beside every package that has the same methods and metrics, on the same work.

``python -m tests.benchmarks.peers DIR --tf PYTHON --torch PYTHON`` runs each package in a process
of its own, those of the two environments that ``peers_tf`` and ``peers_torch`` describe, and writes
DIR/peers.json; ``python -m tests.benchmarks.peers_page DIR`` then writes the guide's page. In each
process all is timed beside the forward pass of the same network, in shuffled order.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from tests.benchmarks import machine, processes, tables

# Of each package the module that asks it, and the environment that has it.
ON_TF = ("tf-keras-vis", "tf-explain", "xplique", "saliency", "shap", "lime", "keras")
ON_TORCH = ("captum", "grad-cam", "torchcam", "zennit", "quantus")
PACKAGES = {
    "tfcam": ("peers_own", "own"),
    **dict.fromkeys(ON_TF, ("peers_tf", "tf")),
    **dict.fromkeys(ON_TORCH, ("peers_torch", "torch")),
}


def measure(package: str, rounds: int, pythons: dict[str, str]) -> dict[str, Any]:
    """One package: its ``version`` and ``rows``, or the ``error`` its process ended with."""
    module, environment = PACKAGES[package]
    asked = {"package": package, "rounds": rounds}
    made = processes.run(module, asked, pythons[environment])
    return {"package": package, **made}


def main() -> None:
    """Measure what is asked for; other packages stay as they are in the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="folder of the results")
    parser.add_argument("--tf", required=True, metavar="PYTHON", help="that has peers_tf's")
    parser.add_argument("--torch", required=True, metavar="PYTHON", help="that has peers_torch's")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--packages", nargs="+", choices=PACKAGES, default=list(PACKAGES))
    parser.add_argument("--busy", action="store_true", help="measure though the machine is busy")
    asked = parser.parse_args()
    if machine.load() > machine.BUSY and not asked.busy:
        parser.error(f"the load must be at most {machine.BUSY}; it is {machine.load()}")
    pythons = {"own": sys.executable, "tf": asked.tf, "torch": asked.torch}
    asked.output.mkdir(parents=True, exist_ok=True)
    path = asked.output / "peers.json"
    results = json.loads(path.read_text()) if path.exists() else {"packages": []}
    results["machine"] = machine.describe()
    for package in asked.packages:
        start = time.time()
        made = measure(package, asked.rounds, pythons)
        others = [each for each in results["packages"] if each["package"] != package]
        results["packages"] = [*others, made]
        path.write_text(tables.as_json(results))
        said = [made, *made.get("rows", [])]
        errors = [f"{each.get('method', '')} {each['error']}" for each in said if "error" in each]
        print(f"{time.time() - start:4.0f} s  {package}", *errors, sep="\n  ", file=sys.stderr)


if __name__ == "__main__":
    main()

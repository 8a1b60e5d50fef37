"""Methods that hide parts of a picture, beside those of other packages on the same work.

In an environment with tfcam::

    pip install shap lime xplique

``python -m tests.benchmarks.peers_hiding`` prints a table for MobileNetV2 and one picture: each
package hides the same windows or parts as often, 32 pictures at a time, all in one process and
interleaved. A ratio is of a package's time to tfcam's in the same round.
"""

from __future__ import annotations

from importlib import metadata

import numpy as np

from tests.benchmarks import peers_functions, peers_xplique
from tests.benchmarks.contestants import HIDING, contestant
from tests.benchmarks.networks import subject
from tests.benchmarks.peers_work import Call, Subject
from tests.benchmarks.timing import interleaved, ratio

NETWORK, ROUNDS = "mobilenet_v2", 5
COUNTS = {name: count for name, (_, count) in HIDING.items()}


def of_xplique(asked: Subject) -> dict[str, Call]:
    """Occlusion, Rise, KernelShap and Lime."""

    def made(kind: str, **options: object) -> Call:
        return peers_xplique.attribution(kind, **options)(asked)

    def of_parts(kind: str, count: int) -> Call:
        return made(kind, **{**peers_xplique.PARTS, "nb_samples": count})

    return {
        "occlusion": made("Occlusion", patch_size=32, patch_stride=16),
        "rise": made("Rise", nb_samples=COUNTS["rise"]),
        "kernel_shap": of_parts("KernelShap", COUNTS["kernel_shap"]),
        "lime": of_parts("Lime", COUNTS["lime"]),
    }


def of_shap(asked: Subject) -> dict[str, Call]:
    """KernelExplainer of the parts."""
    return {"kernel_shap": peers_functions.kernel_shap(asked, COUNTS["kernel_shap"])}


def of_lime(asked: Subject) -> dict[str, Call]:
    """LimeImageExplainer of the parts."""
    return {"lime": peers_functions.lime(asked, COUNTS["lime"])}


PEERS = {"xplique": of_xplique, "shap": of_shap, "lime": of_lime}


def main() -> None:
    """Measure and print the table."""
    asked = subject(NETWORK, 1)
    own = {name: contestant(name, asked.model, NETWORK, asked.images) for name in HIDING}
    calls = {("tfcam", name): call for name, call in own.items()}
    for package, make in PEERS.items():
        calls |= {(package, name): call for name, call in make(asked).items()}
    names = {f"{package} {name}": call for (package, name), call in calls.items()}
    seconds = interleaved(names, ROUNDS, 1)
    print("| method | package | seconds | ratio to tfcam's [quartiles] |")
    print("| --- | --- | --- | --- |")
    for package, name in sorted(calls, key=lambda each: list(HIDING).index(each[1])):
        took = seconds[f"{package} {name}"]
        low, median, high = ratio(took, seconds[f"tfcam {name}"])
        version = "" if package == "tfcam" else f" {metadata.version(package)}"
        cells = f"{median:.2f} [{low:.2f}, {high:.2f}]"
        print(f"| `{name}` | {package}{version} | {np.median(took):.2f} | {cells} |")


if __name__ == "__main__":
    main()

"""Methods that hide parts of a picture, beside those of other packages on the same work.

In an environment with tfcam::

    pip install shap lime xplique

``python -m tests.benchmarks.peers_hiding`` prints a table for MobileNetV2 and one picture: each
package hides the same windows or parts as often, 32 pictures at a time, all in one process and
interleaved. A ratio is of a package's time to tfcam's in the same round.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from typing import Any

import numpy as np
import tensorflow as tf

from tests.benchmarks.contestants import AT_ONCE, HIDING, contestant
from tests.benchmarks.differences import parts
from tests.benchmarks.networks import build, pictures
from tests.benchmarks.timing import interleaved, ratio

NETWORK, SIDE, CELLS, TARGET, ROUNDS = "mobilenet_v2", 224, 7, 7, 5
Call = Callable[[], object]


def of_xplique(model: Any, images: np.ndarray) -> dict[str, Call]:
    """Occlusion, Rise, KernelShap and Lime."""
    from xplique import attributions

    wanted = np.eye(1000, dtype=np.float32)[[TARGET]]
    shared: dict[str, Any] = {
        "map_to_interpret_space": lambda _: tf.constant(parts(SIDE, CELLS), tf.int32),
        "ref_value": np.zeros(3, np.float32),
    }
    options: dict[str, dict[str, Any]] = {
        "Occlusion": {"patch_size": 32, "patch_stride": 16},
        "Rise": {"nb_samples": HIDING["rise"][1]},
        "KernelShap": {"nb_samples": HIDING["kernel_shap"][1], **shared},
        "Lime": {"nb_samples": HIDING["lime"][1], **shared},
    }

    def call(kind: str) -> Call:
        made = getattr(attributions, kind)(model, batch_size=AT_ONCE, **options[kind])
        return lambda: np.asarray(made.explain(images, wanted))

    names = dict(zip(HIDING, options, strict=True))
    return {own: call(kind) for own, kind in names.items()}


def of_shap(model: Any, images: np.ndarray) -> dict[str, Call]:
    """KernelExplainer of the cells, its choices hidden by 0."""
    import shap

    numbers, ask = parts(SIDE, CELLS), asked(model)

    def scores(chosen: np.ndarray) -> np.ndarray:
        return ask(chosen[:, numbers][..., np.newaxis] * images[0])[:, TARGET]

    made = shap.KernelExplainer(scores, np.zeros((1, CELLS**2)))
    whole, count = np.ones((1, CELLS**2)), HIDING["kernel_shap"][1]
    return {"kernel_shap": lambda: made.shap_values(whole, nsamples=count, silent=True)}


def of_lime(model: Any, images: np.ndarray) -> dict[str, Call]:
    """LimeImageExplainer of the cells."""
    from lime.lime_image import LimeImageExplainer

    ask = asked(model)

    def call() -> object:
        return LimeImageExplainer(random_state=0, verbose=False).explain_instance(
            images[0].astype(np.float64),
            lambda batch: ask(np.stack(batch)),
            labels=(TARGET,),
            top_labels=None,
            hide_color=0,
            num_features=CELLS**2,
            num_samples=HIDING["lime"][1],
            batch_size=AT_ONCE,
            segmentation_fn=lambda _: parts(SIDE, CELLS),
        )

    return {"lime": call}


def asked(model: Any) -> Callable[[np.ndarray], np.ndarray]:
    """The compiled model, for packages that take a function, asked for full batches."""
    compiled = tf.function(lambda x: model(x, training=False))

    def ask(batch: np.ndarray) -> np.ndarray:
        chunks = [batch[at : at + AT_ONCE] for at in range(0, len(batch), AT_ONCE)]
        return np.concatenate([compiled(tf.constant(c, tf.float32)).numpy() for c in chunks])

    return ask


PEERS = {"xplique": of_xplique, "shap": of_shap, "lime": of_lime}


def main() -> None:
    """Measure and print the table."""
    model, images = build(NETWORK), pictures(NETWORK, 1)
    calls = {("tfcam", name): contestant(name, model, NETWORK, images) for name in HIDING}
    for package, make in PEERS.items():
        calls |= {(package, name): call for name, call in make(model, images).items()}
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

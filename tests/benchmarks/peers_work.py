"""What every package is asked to do, and how it is timed; the same for all of them.

Nothing here imports tfcam, TensorFlow or PyTorch: each package brings what it is built on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any, NamedTuple

import numpy as np

from tests.benchmarks.timing import interleaved

Call = Callable[[], object]
SIDE, TARGET = 224, 7
# Variants of a picture that are computed at once, where a package lets one choose.
AT_ONCE = 32
# Copies, steps and samples of gradients; masks and samples of what hides parts; 7 x 7 parts.
SAMPLES, MASKS, CELLS, WINDOW = 8, 128, 7, 32
# Steps of a curve, sets of pixels, small changes of a picture, squares: what Quantus can take too.
STEPS, SETS, CHANGES, SQUARES = 24, 64, 8, 49
FRACTIONS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
RADIUS = 0.05


class Work(NamedTuple):
    """The network that a method or metric is asked about, and how many pictures at once."""

    network: str
    batches: tuple[int, ...]


ONE_PASS = [
    *("cam", "grad_cam", "grad_cam_pp", "x_grad_cam", "hires_cam", "layer_cam"),
    *("grad_cam_elementwise", "eigen_cam", "eigen_grad_cam", "finer_cam"),
    *("saliency", "gradient_input", "guided_backprop", "deconvnet", "guided_grad_cam"),
]
SLOW = ["full_grad", "lrp", "deep_lift"]
LOOPING = [
    *("score_cam", "ablation_cam", "smooth_grad_cam_pp", "smooth_grad", "integrated_gradients"),
    *("expected_gradients", "occlusion", "rise", "kernel_shap", "lime"),
]
# Names with "+" are measured in one call, from the picture to the numbers.
SHORT_METRICS = [
    *("average_drop", "increase_in_confidence", "confidence_change"),
    *("grad_cam + average_drop + increase_in_confidence", "class_sensitivity"),
    *("pointing_game", "energy", "relevance_rank_accuracy", "localisation_auc"),
    *("gini", "entropy"),
]
LONG_METRICS = [
    *("deletion", "insertion", "grad_cam + deletion + insertion", "road_morf", "road"),
    *("faithfulness_correlation", "mu_fidelity", "infidelity"),
    *("max_sensitivity", "local_lipschitz"),
]
WORK = {
    **{name: Work("resnet50", (1, 8)) for name in ONE_PASS},
    **{name: Work("resnet50", (1,)) for name in SLOW},
    **{name: Work("mobilenet_v2", (1,)) for name in LOOPING},
    **{name: Work("mobilenet_v2", (1, 8)) for name in SHORT_METRICS},
    **{name: Work("mobilenet_v2", (1,)) for name in LONG_METRICS},
}

# Score-CAM and Ablation-CAM ask about every channel; a bottleneck has but 160.
BOTTLENECK = {"score_cam", "ablation_cam"}


class Subject(NamedTuple):
    """A network, its pictures as it takes them, and its forward pass of these."""

    network: str
    model: Any
    images: Any
    forward: Call


Maker = Callable[[Subject], Call]


class OtherWorkError(Exception):
    """A package has the method, and can't be asked for the same work; the message says why."""


def measure(
    package: str,
    makers: Mapping[str, Maker],
    subject: Callable[[str, int], Subject],
    rounds: int,
) -> dict[str, Any]:
    """Time what a package has, each beside the forward pass of its network.

    Args:
        package: The name it is installed by.
        makers: Of each method or metric, by its name in ``WORK``, what makes the call.
        subject: Network and batch -> what is explained.
        rounds: How often each is timed.

    Returns:
        Its ``version``, and ``rows``: ``method`` and ``batch`` with ``seconds``, or with the
        ``error`` that the package stops at.
    """
    rows = []
    for method in (name for name in WORK if name in makers):
        for batch in WORK[method].batches:
            asked = subject(WORK[method].network, batch)
            try:
                made: dict[str, Any] = {"seconds": _timed(makers[method](asked), asked, rounds)}
            except Exception as error:
                made = {"error": _said(error)}
            rows.append({"method": method, "batch": batch, **made})
    return {"version": metadata.version(package), "rows": rows}


WARM_UP = 2  # tfcam compiles in its second call
# What takes longer than so many seconds is timed in fewer rounds.
LONG, FEW = 0.25, 3


def _timed(call: Call, asked: Subject, rounds: int) -> dict[str, list[float]]:
    for _ in range(WARM_UP):
        call()
    both = {"forward": asked.forward, "peer": call}
    asked.forward()
    seconds = interleaved(both, min(rounds, FEW), 0)
    if rounds > FEW and min(seconds["peer"]) < LONG:
        more = interleaved(both, rounds - FEW, 0)
        seconds = {name: seconds[name] + more[name] for name in both}
    return seconds


def _said(error: Exception) -> str:
    text = (str(error).strip() or "no message").splitlines()[0]
    return text if isinstance(error, OtherWorkError) else f"{type(error).__name__}: {text}"


def parts(side: int = SIDE, cells: int = CELLS) -> np.ndarray:
    """The number of the part that each pixel is of: (side, side), ``cells`` in each row."""
    rows = np.arange(side) * cells // side
    return rows[:, np.newaxis] * cells + rows


def heatmaps(batch: int) -> np.ndarray:
    """Smooth noise (B, 224, 224) float32 in [0, 1], as heatmaps are."""
    places, cells = np.linspace(0, CELLS - 1, SIDE), np.arange(CELLS)
    ramps = np.maximum(0, 1 - np.abs(places[:, np.newaxis] - cells))
    noise = np.random.default_rng(1).random((batch, CELLS, CELLS))
    maps = ramps @ noise @ ramps.T
    low, high = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
    return ((maps - low) / (high - low)).astype(np.float32)


def truth() -> np.ndarray:
    """The object's pixels, (224, 224) bool."""
    mask = np.zeros((SIDE, SIDE), bool)
    mask[60:160, 40:150] = True
    return mask

"""What explaining may cost, as ratios of two contestants in the same rounds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bound:
    """A contestant's time may be at most ``limit`` times that of another.

    Attributes:
        what: What is bounded, in words.
        network: On which network.
        batch: For how many images.
        name: The contestant.
        limit: The largest ratio.
        to: What it is compared with.
        slow: Whether a round takes so long that three must do.
    """

    what: str
    network: str
    batch: int
    name: str
    limit: float | None
    to: str = "forward"
    slow: bool = False


def _grad_cam(batch: int, limit: float) -> Bound:
    return Bound("`Explainer`, Grad-CAM", "resnet50", batch, "grad_cam", limit)


def _frozen(network: str, batch: int, limit: float) -> Bound:
    return Bound("`Explainer(..., freeze=True)`, Grad-CAM", network, batch, "frozen", limit)


def _of_pixels(network: str, batch: int) -> list[Bound]:
    """Methods of pixels, held against the bare gradient by the input."""
    limits = {"saliency": 1.08, "guided_backprop": 1.15, "deconvnet": 1.15, "guided_grad_cam": 1.25}
    return [
        Bound(f"`{name}`", network, batch, name, limit, "input gradient")
        for name, limit in limits.items()
    ]


def _of_metrics(network: str, batch: int) -> list[Bound]:
    """Metrics of a frozen network, held against the plain forward passes that they ask for."""
    limits = {"insertion": 0.80, "deletion": 0.80, "road": 1.50}
    single = {"average_drop": 1.10, "removal": 1.10}
    return [
        *(
            Bound(f"`{n}`", network, batch, n, most, f"forwards of {n}")
            for n, most in limits.items()
        ),
        *(Bound(f"`{n}`", network, batch, n, most) for n, most in single.items()),
    ]


def _of_hiding() -> list[Bound]:
    """Methods that hide parts of a picture, held against the forward passes that they ask for."""
    return [
        Bound(f"`{name}`", "mobilenet_v2", 1, name, 1.05, f"forwards of {name}")
        for name in ("occlusion", "rise", "kernel_shap", "lime")
    ]


def _of_relevance(batch: int) -> list[Bound]:
    """Rules that are walked back through the network, held against the bare gradient."""
    return [
        Bound(f"`{name}`", "mobilenet_v2", batch, name, limit, "input gradient")
        for name, limit in {"lrp": 2.2, "deep_lift": 3.0}.items()
    ]


_PLACES = [(network, batch) for network in ("mobilenet_v2", "resnet50") for batch in (1, 8)]

BOUNDS = (
    _grad_cam(1, 1.10),
    _grad_cam(8, 1.05),
    _grad_cam(32, 1.05),
    Bound("`explain` in a loop, from the third call on", "resnet50", 1, "explain", 1.15),
    Bound("`explain` in a loop, from the third call on", "resnet50", 8, "explain", 1.15),
    Bound("`compare` of all one-pass CAM methods", "resnet50", 1, "compare", 1.5, "grad_cam"),
    Bound("Grad-CAM at all 16 blocks in one call", "resnet50", 1, "every block", 3.5),
    Bound("Grad-CAM at all 16 blocks in one call", "resnet50", 8, "every block", 3.5),
    Bound("`saliency`", "resnet50", 1, "saliency", 3.2),
    Bound("`saliency`", "resnet50", 8, "saliency", 3.2),
    Bound("`ablation_cam` of 2048 channels", "resnet50", 1, "ablation_cam", 15.0),
    Bound(
        "`score_cam` of all 1280 channels",
        "mobilenet_v2",
        1,
        "score_cam, all channels",
        1.10,
        "forward, all channels",
        slow=True,
    ),
    Bound("`score_cam` of the top 64 channels", "mobilenet_v2", 1, "score_cam", None),
    _frozen("mobilenet_v2", 1, 0.80),
    _frozen("mobilenet_v2", 8, 0.80),
    _frozen("efficientnet_b0", 1, 0.80),
    _frozen("efficientnet_b0", 8, 0.80),
    _frozen("resnet50", 1, 0.80),
    _frozen("resnet50", 8, 1.0),
    *(bound for place in _PLACES for bound in _of_pixels(*place)),
    *(bound for place in _PLACES for bound in _of_metrics(*place)),
    *_of_hiding(),
    *(bound for batch in (1, 8) for bound in _of_relevance(batch)),
    *(
        Bound(
            "`compare` of all methods of pixels of one pass",
            network,
            1,
            "compare, pixels",
            0.7,
            "pixels, one by one",
        )
        for network in ("mobilenet_v2", "resnet50")
    ),
)
# Of one eager call of the model, the first in its process or of its model.
FIRST_CALL = 1.25
# Of the forward pass's peak, at batch 32.
MEMORY = 1.15
# What is compared: the first call of Grad-CAM is eager, and Keras then holds every layer's output.
MEMORY_PAIRS = (
    ("grad_cam, compiled at once", "forward", "peak"),
    ("grad_cam, compiled at once", "forward", "above"),
    ("grad_cam", "eager forward", "peak"),
    ("grad_cam", "forward", "peak"),
)

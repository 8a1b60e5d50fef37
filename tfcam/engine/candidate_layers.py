"""The layers that are worth a look: the default one, and those of larger maps before it."""

from __future__ import annotations

import itertools

from tfcam.engine.opened_model import OpenedModel
from tfcam.model.dependence import behind_kernels
from tfcam.model.layers import LayerList

# As many layers at most.
_LAYERS = 3


def candidate_layers(
    opened: OpenedModel, grid: tuple[int, ...] | None = None, output: str | int | None = None
) -> list[str]:
    """Choose the default layer, and the last of each of the two larger map sizes before it.

    What only scales, pads or moves pixels is none.
    """
    asked = opened.graph.asked(output, which=opened.which)
    layers, calls = opened.graph.layers(opened.which, grid, asked), opened.calls
    learnt = behind_kernels(calls)
    explained = {
        calls.call_name(call) for call in calls.explained(calls.calls) if call.output in learnt
    }
    before = list(itertools.takewhile(lambda layer: layer.path != layers.default, layers))
    paths, height = [layers.default], 0
    for layer in reversed(before if len(before) < len(layers) else []):
        padded = layer.kind.startswith(("ZeroPadding", "Cropping"))
        side = layer.shape[0]
        if side is None or padded or layer.path not in explained or len(paths) == _LAYERS:
            continue
        height = height or _height(layers)
        if side >= 1.5 * height:
            paths.append(layer.path)
            height = side
    return paths


def _height(layers: LayerList) -> int:
    """Find the height of the map that is explained by default."""
    (default,) = (layer for layer in layers if layer.path == layers.default)
    return default.shape[0] or 1

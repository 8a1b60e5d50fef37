"""``layers``: what of a model can be explained."""

from __future__ import annotations

import keras

from tfcam.model.graph import graph_of
from tfcam.model.layers import LayerList
from tfcam.utils.validation import check_grid


def layers(
    model: keras.Model,
    *,
    input: str | int | None = None,
    output: str | int | None = None,
    grid: tuple[int, ...] | None = None,
) -> LayerList:
    """List every layer that has a map, with its path, index, kind and shape.

    Args:
        model: Any built Keras model.
        input: Which input is explained of a model that has several, by name or index; by default
            the first of those with most axes.
        output: Which output is explained of a model that has several, by name or index.
        grid: Height and width of a transformer's grid of patches, of videos and volumes (frames,
            height, width) of its tubes; needed only where it can't be found.

    Returns:
        The layers in the order in which the model calls them. It prints as a table. Sizes that
        the model leaves open are those for 224 pixels, frames or steps.

    Raises:
        ValueError: If the model is not built, or none of its layers has a map.

    Example:
        >>> import keras, tfcam
        >>> model = keras.Sequential([
        ...     keras.Input((8, 8, 3)),
        ...     keras.layers.Conv2D(4, 3, name="conv"),
        ...     keras.layers.GlobalAveragePooling2D(name="pool"),
        ...     keras.layers.Dense(2, name="head"),
        ... ])
        >>> tfcam.layers(model)
        index  layer  kind    map        convolution  CAM
        0      conv   Conv2D  6 x 6 x 4  yes          yes
        Explained by default: conv (feeds pool, the last global pooling).
    """
    graph = graph_of(model)
    which = graph.find_input(input)
    return graph.layers(which, check_grid(grid), graph.asked(output, which=which))

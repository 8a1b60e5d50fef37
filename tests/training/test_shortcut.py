"""A planted shortcut: of a network that can only go by a tag, verify says that it uses the tag."""

from dataclasses import replace

import numpy as np
import pytest

import tfcam
from training.attention import SIZE, TAG, draw_scenes, learn


@pytest.mark.product
def test_verify_says_that_the_tag_is_used_and_the_shape_is_not():
    rng = np.random.default_rng(0)
    # The shapes tell nothing of the classes, the colour of the tag all.
    scenes, fresh = (
        replace(drawn, labels=rng.permutation(drawn.labels))
        for drawn in (draw_scenes(rng, 400), draw_scenes(rng, 12))
    )
    model = learn(scenes.tagged("right", rng), scenes, weight=0.0, epochs=8)
    images = fresh.tagged("right", rng)
    tag = np.zeros((SIZE, SIZE), np.float32)
    tag[1 : 1 + TAG, 1 : 1 + TAG] = 1
    probe = tfcam.metrics.Probe(model, list(images), fresh.labels.tolist())
    shapes = [(mask & (tag == 0)).astype(np.float32) for mask in fresh.masks]
    assert tfcam.metrics.supported(probe, [tag] * len(images), draws=39).mean() >= 0.75
    assert tfcam.metrics.supported(probe, shapes, draws=39).mean() <= 0.25

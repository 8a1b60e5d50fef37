"""The best and worst pictures of a method: those of the sorted values, drawn only where kept."""

import io

import numpy as np
import pytest
from PIL import Image

from tfcam.evaluation.gallery import SHOWN, Gallery, Shown, draw_thumbnail


@pytest.mark.parametrize("higher", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_the_best_and_worst_are_those_of_the_sorted_values(seed, higher):
    values = np.random.default_rng(seed).integers(0, 6, 20).astype(float)  # many are equal
    gallery, drawn = Gallery(), []

    def draw(place):
        drawn.append(place)
        return Shown(values[place], str(place), "dog", b"")

    for place, value in enumerate(values):
        gallery.add(value, higher, lambda place=place: draw(place))
    rising = np.argsort(values, kind="stable")  # of equal ones the first came first
    falling = np.argsort(-values, kind="stable")
    best, worst = (falling, rising) if higher else (rising, falling)
    assert [int(shown.image) for shown in gallery.best] == best[:SHOWN].tolist()
    assert [int(shown.image) for shown in gallery.worst] == worst[:SHOWN].tolist()
    assert len(drawn) == len(set(drawn)) < len(values)


def test_a_thumbnail_is_small_and_keeps_the_form_of_the_picture(rng):
    picture = rng.integers(0, 256, (300, 600, 3), dtype=np.uint8)
    file = draw_thumbnail(picture, np.zeros((300, 600), np.float32), np.array([[0, 0, 60, 30]]))
    image = Image.open(io.BytesIO(file))
    assert (image.format, image.size) == ("JPEG", (200, 100))

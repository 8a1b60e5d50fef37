"""The README's first picture, made by the library from a drawn scene.

``python -m tests.picture`` writes it.
"""

import io
from pathlib import Path

from PIL import Image

import tfcam

README = Path(__file__).parent.parent / "README.md"
PICTURE = README.parent / ".docs" / "two_shapes.png"
SEED = 73
METHODS = ("grad_cam", "guided_grad_cam")


def draw() -> Image.Image:
    """Two shapes of one scene, each explained by two methods; few colours make a small file."""
    scene = tfcam.scenes.draw_scene(SEED, shapes=2)
    kinds = tfcam.scenes.KINDS
    found = tfcam.compare(
        tfcam.demo_model(),
        scene.image,
        methods=METHODS,
        targets=[kinds[each] for each in scene.labels],
        labels=kinds,
    )
    stream = io.BytesIO()
    figure = found.plot()
    figure.savefig(stream, dpi=80)
    picture = Image.open(stream).convert("RGB")
    # Dithered, as bands of one colour would look like steps of the map.
    return picture.quantize(palette=picture.quantize(256), dither=Image.Dither.FLOYDSTEINBERG)


if __name__ == "__main__":
    draw().save(PICTURE, optimize=True)

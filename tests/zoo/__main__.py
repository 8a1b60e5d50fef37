"""Write the guide's page on foreign models: ``python -m tests.zoo``."""

from pathlib import Path

from tests.zoo.gallery import GALLERY
from tests.zoo.models import Foreign

GUIDE = Path(__file__).parent.parent.parent / ".docs" / "zoo.md"
TEXT = """# Models that nobody here wrote

{count} models of {packages} packages on the package index, small and with random weights.
A test names the layer that is explained by default, takes Grad-CAM there by a plain
`GradientTape`, and finds the same numbers, a second time too, and the model's outputs as they
were.

```bash
python -m pip install -e ".[dev,zoo]" && python -m pytest -n0 -m slow tests/zoo
```

{table}
"Not yet" is a test that fails today, told so that it is not forgotten.

Left out: `tfvit` and `tfswin` ask for NumPy 1, `segmentation-models-3D` for Keras 3.3.3, `gcvit`
for a web server, and `tfclip` imports what it does not install. Most models of `keras-cv` and
`keras-cv-attention-models` do not build in today's Keras, nor do `transunet_2d` and `swin_unet_2d`
of keras-unet-collection; medicai's `DeepLabV3Plus` builds, but its own `predict` fails.
"""


def table() -> str:
    """The gallery as a table."""
    rows = ["| package | model | explained by default | map |", "|---|---|---|---|"]
    return "\n".join([*rows, *(row(one) for one in GALLERY)]) + "\n"


def row(foreign: Foreign) -> str:
    """One line of it."""
    if foreign.refused:
        explained, size = "refused, with the reason", ""
    else:
        explained, size = f"`{foreign.layer}`", " x ".join(map(str, foreign.map))
    if foreign.wrong:
        explained = f"not yet: {foreign.wrong}"
    return f"| {foreign.package} | {foreign.name} | {explained} | {size} |"


def page() -> str:
    """The whole page."""
    packages = len({one.package for one in GALLERY})
    return TEXT.format(count=len(GALLERY), packages=packages, table=table())


if __name__ == "__main__":
    GUIDE.write_text(page())

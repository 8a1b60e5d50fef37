"""The API reference: a site of static pages about every public name, made by pdoc.

``python -m tests.reference DIR`` writes it; a warning of pdoc stops it. It is built, not kept.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pdoc

import tfcam
from tfcam.metrics import faithfulness

TEMPLATES = Path(__file__).parent.parent / ".docs"
MODULES = (
    "tfcam",
    r"!tfcam\..*",
    "tfcam.images",
    "tfcam.maps",
    "tfcam.scenes",
    "tfcam.callbacks",
    "tfcam.losses",
    "tfcam.objectives",
    "tfcam.recipes",
    "tfcam.methods",
    "tfcam.sampling",
    "tfcam.attribution",
    "tfcam.metrics",
)


def write(output: Path) -> None:
    """Write the site.

    Raises:
        Warning: If pdoc warns of something, such as a type or a module that it can't find.
    """
    # pdoc sees what a module holds, and tfcam's names come when they are asked for.
    vars(tfcam).update({name: getattr(tfcam, name) for name in tfcam.__all__})
    # The constructor of a NamedTuple says that its types are of no module.
    for record in (faithfulness.Adcc, faithfulness.Win):
        record.__new__.__module__ = record.__module__
    pdoc.render.configure(
        docformat="google",
        show_source=False,
        template_directory=TEMPLATES,
        footer_text=f"tfcam {tfcam.__version__}",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pdoc.pdoc(*MODULES, output_directory=output)


if __name__ == "__main__":
    write(Path(sys.argv[1]))

"""The API reference: a site of static pages about every public name, made by pdoc.

``python -m tests.reference DIR`` writes it; a warning of pdoc stops it. It is built, not kept.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from unittest.mock import patch

import pdoc

import tfcam
from tfcam import metrics

TEMPLATES = Path(__file__).parent.parent / ".docs"
MODULES = (
    "tfcam",
    r"!tfcam\..*",
    "tfcam.images",
    "tfcam.maps",
    "tfcam.scenes",
    "tfcam.callbacks",
    "tfcam.losses",
    "tfcam.feature_visualization.objectives",
    "tfcam.feature_visualization.parametrisations",
    "tfcam.feature_visualization.recipes",
    "tfcam.feature_visualization.transforms",
    "tfcam.metrics",
    "tfcam.targets",
    "tfcam.methods",
    *sorted({method.function.__module__ for method in tfcam.METHODS.values()}),
)
# What most people look for.
FIRST = ["explain", "Explainer", "Explanation", "Explanations", "compare", "Comparison", "diagnose"]


def write(output: Path) -> None:
    """Write the site.

    Raises:
        Warning: If pdoc warns of something, such as a type or a module that it can't find.
    """
    # pdoc sees what a module holds, and these names come when they are asked for.
    for module in (tfcam, metrics):
        vars(module).update({name: getattr(module, name) for name in module.__all__})
    # The constructor of a NamedTuple says that its types are of no module.
    for record in (metrics.Adcc, metrics.Win):
        record.__new__.__module__ = record.__module__
    pdoc.render.configure(
        docformat="google",
        show_source=False,
        template_directory=TEMPLATES,
        footer_text=f"tfcam {tfcam.__version__}",
    )
    names = [*FIRST, *(name for name in tfcam.__all__ if name not in FIRST)]
    with patch.object(tfcam, "__all__", names), warnings.catch_warnings():
        warnings.simplefilter("error")
        pdoc.pdoc(*MODULES, output_directory=output)


if __name__ == "__main__":
    write(Path(sys.argv[1]))

"""The command that writes all that can be said of one picture as a page: ``tfcam report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tfcam.cli.arguments import (
    Imports,
    Model,
    Overwrite,
    Unsafe,
    load_network,
    name_options,
    name_picture,
    read_image,
)
from tfcam.cli.checks import check_new
from tfcam.cli.explain import Image
from tfcam.cli.flags import RESULTS, flags
from tfcam.cli.terminal import say
from tfcam.engine.doors import DOORS
from tfcam.engine.picture_options import WINDOW
from tfcam.utils.files import check_target


@flags(*DOORS["report"], WINDOW)
def report(
    image: Image,
    model: Model,
    file: Annotated[
        Path | None,
        typer.Option(
            "--output",
            help="A .html; by default IMAGE_report.html, with what is asked for.",
            metavar="FILE",
            rich_help_panel=RESULTS,
        ),
    ] = None,
    overwrite: Overwrite = False,
    unsafe: Unsafe = False,
    imports: Imports = None,
    **options: Any,
) -> None:
    """Write a page: what was predicted, several maps, and how far they can be trusted."""
    name = name_options(options, [*DOORS["report"], WINDOW])
    parts = [name_picture(image), "report", *([name] if name else [])]
    path = check_target(file or Path(f"{'_'.join(parts)}.html"), "A report", (".html",))
    check_new([path], overwrite, [image, model, options["labels"]])
    network, options["labels"] = load_network(model, options["labels"], unsafe, imports)
    from tfcam.front.report import report as write

    result = write(network, read_image(image, options.pop("window")), **options)
    result.save(path)
    say(result)
    say(f"wrote {path}")

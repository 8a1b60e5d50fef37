"""The command that writes all that can be said of a picture or text as a page: ``tfcam report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tfcam.cli.arguments import (
    Image,
    Imports,
    Model,
    Overwrite,
    Text,
    Unsafe,
    name_options,
    read_subject,
)
from tfcam.cli.checks import check_new
from tfcam.cli.flags import RESULTS, flags
from tfcam.cli.loading import load_asked
from tfcam.cli.reading import read_window
from tfcam.cli.terminal import say, say_line
from tfcam.engine.doors import DOORS
from tfcam.engine.picture_options import WINDOW
from tfcam.utils.files import check_target


@flags(*DOORS["report"], WINDOW)
def report(
    model: Model,
    image: Image = None,
    text: Text = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--output",
            help="A .html; by default IMAGE_report.html, or the first words of a text, with what "
            "is asked for.",
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
    subject = read_subject(image, text)
    asked = name_options(options, [*DOORS["report"], WINDOW])
    parts = [subject.stem, "report", *([asked] if asked else [])]
    path = check_target(file or Path(f"{'_'.join(parts)}.html"), "A report", (".html",))
    check_new([path], overwrite, [image, model, options["labels"], *(imports or [])])
    network = load_asked(model, options, unsafe, imports, subject.is_text)
    from tfcam.front.report import report as write

    result = write(network, subject.read(read_window(options)), **options)
    result.save(path)
    say(result.explanation)
    say_line(f"wrote {path}")

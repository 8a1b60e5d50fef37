"""The command that shows the embedded model at work: ``tfcam demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tfcam.cli.arguments import Overwrite
from tfcam.cli.checks import check_new
from tfcam.cli.flags import flags
from tfcam.cli.terminal import load_tensorflow, say, say_line
from tfcam.utils.files import write_whole
from tfcam.utils.validation import check_count


@flags()
def demo(
    output: Annotated[Path, typer.Option(help="Where to write the figure.")] = Path("demo.png"),
    seed: Annotated[int, typer.Option(help="Which scenes are drawn.")] = 2026,
    overwrite: Overwrite = False,
) -> None:
    """Explain fresh scenes with the embedded model; measure the maps against the known shapes."""
    check_count("--seed", seed, least=0)
    check_new([output], overwrite)
    load_tensorflow()
    from tfcam.cli.demo_figure import run_demo
    from tfcam.figures.rendering import render

    figure, rows = run_demo(seed)
    write_whole(output, render(figure, "png", 110))
    table = Table("method", title="Maps against the shapes in 30 fresh scenes")
    table.add_column("IoU of the box", justify="right")
    table.add_column("pointing game", justify="right")
    for row in rows:
        table.add_row(row.method, f"{row.iou:.2f}", f"{row.pointing:.2f}")
    Console().print(table)
    say("Guided maps are thin lines: a box around their largest part says little.")
    say_line(f"Wrote {output}: look how the map moves when another shape is asked for.")

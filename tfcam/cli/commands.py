"""The command line: ``tfcam demo | explain | compare | evaluate | dream | ...``."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from tfcam.cli.arguments import Imports, Model, Unsafe, load_network
from tfcam.cli.demo import demo
from tfcam.cli.diagnose import diagnose
from tfcam.cli.dream import dream
from tfcam.cli.evaluate import evaluate, recommend
from tfcam.cli.explain import compare, explain
from tfcam.cli.flags import flags
from tfcam.cli.names import method_summaries, metric_facts
from tfcam.cli.pages import app as open_app
from tfcam.cli.pages import rate, ratings
from tfcam.cli.report import report
from tfcam.cli.stream import explain_dataset
from tfcam.cli.terminal import Commands, say
from tfcam.cli.verify import verify
from tfcam.engine.doors import DOORS

app = typer.Typer(
    cls=Commands,
    help="Shows which parts of an image made a Keras model decide as it did.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
@flags(*DOORS["layers"])
def layers(model: Model, unsafe: Unsafe = False, imports: Imports = None, **options: Any) -> None:
    """List every layer that has a map, and the one explained by default."""
    network, _ = load_network(model, None, unsafe, imports)
    from tfcam.model.listing import layers as list_layers

    say(list_layers(network, **options))


@app.command()
@flags()
def methods() -> None:
    """List the methods."""
    table = Table("method", "what it shows")
    for name, summary in method_summaries().items():
        table.add_row(name, summary)
    Console().print(table)


@app.command()
@flags()
def metrics() -> None:
    """List the metrics."""
    table = Table("metric", "what it says", "better")
    for name, (meaning, better) in metric_facts().items():
        table.add_row(name, meaning, better)
    Console().print(table)


for command in (
    *(demo, explain, compare, diagnose, verify, report),
    *(evaluate, recommend, dream, explain_dataset),
):
    app.command()(command)
app.command("app")(open_app)
app.command()(rate)
app.command()(ratings)


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a label may hold what an ASCII terminal can't
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    app()

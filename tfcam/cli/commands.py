"""The command line: ``tfcam demo | explain | compare | evaluate | dream | ...``."""

from __future__ import annotations

import os

import typer
from rich.console import Console
from rich.table import Table

from tfcam.cli.arguments import Model, Unsafe, load_network
from tfcam.cli.demo import demo
from tfcam.cli.dream import dream
from tfcam.cli.evaluate import evaluate, recommend
from tfcam.cli.explain import compare, diagnose, explain
from tfcam.cli.stream import explain_dataset
from tfcam.cli.terminal import errors, say

app = typer.Typer(
    help="Shows which parts of an image made a Keras model decide as it did.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def layers(model: Model, unsafe: Unsafe = False) -> None:
    """List every layer that has a map, and the one explained by default."""
    with errors():
        from tfcam.model.graph import layers as list_layers

        say(list_layers(load_network(model, unsafe=unsafe)[0]))


@app.command()
def methods() -> None:
    """List the methods."""
    with errors():
        from tfcam.methods.registry import METHODS
    table = Table("method", "what it shows")
    for each in METHODS.values():
        table.add_row(each.name, each.summary)
    Console().print(table)


app.command()(demo)
app.command()(explain)
app.command()(compare)
app.command()(diagnose)
app.command()(evaluate)


app.command()(recommend)


app.command()(dream)


app.command()(explain_dataset)


def main() -> None:
    """Run the command line."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    app()

"""The command that explains a whole data set: ``tfcam explain-dataset``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from tfcam.cli.arguments import Labels, Preprocess, Unsafe, load_network, numbered, read_options
from tfcam.cli.evaluate import BatchSize, Data, DataDir, Model, Split, Target
from tfcam.cli.terminal import complain, errors, say


def explain_dataset(
    model: Model,
    data: Data,
    to: Annotated[Path, typer.Option(help="The folder of the store.")],
    layer: Annotated[str | None, typer.Option(help="Path, name or index of a layer.")] = None,
    method: Annotated[str, typer.Option(help="See tfcam methods.")] = "grad_cam",
    option: Annotated[
        list[str] | None,
        typer.Option(help="An option of the method, such as samples=16; may be repeated."),
    ] = None,
    target: Target = None,
    split: Split = "test",
    data_dir: DataDir = None,
    preprocess: Preprocess = "auto",
    labels: Labels = None,
    batch_size: BatchSize = 32,
    shard_size: Annotated[int, typer.Option(help="How many pictures a file is of.")] = 1024,
    unsafe: Unsafe = False,
) -> None:
    """Explain a whole data set into a folder of Parquet files; goes on after a stop."""
    with errors():
        from tfcam.streaming.shards import Shards
        from tfcam.streaming.stream import stream

        network, known = load_network(model, labels, unsafe)
        before = Shards(to, shard_size)
        had = before.count("maps") if to.is_dir() else 0
        complete = to.is_dir() and before.finished is not None
        started = time.monotonic()
        try:
            store = stream(
                network,
                data,
                to=to,
                layer=numbered(layer),
                method=method,
                target=numbered(target),
                preprocess=preprocess,
                labels=known,
                split=split,
                data_dir=data_dir,
                batch_size=batch_size,
                shard_size=shard_size,
                **read_options(option or []),
            )
        except KeyboardInterrupt:
            complain(f"stopped; what is done is kept in {to}. Type the same again to go on.")
            raise typer.Exit(130) from None
    if complete:
        say("Nothing was left to do.")
    else:
        seconds = time.monotonic() - started
        added = len(store) - had
        say(f"Explained {added} pictures in {seconds:.0f} s, {added / seconds:.1f} a second.")
    say(store)
    for row in store.skipped.itertuples():
        say(f"left out {row.key}: {row.reason}")

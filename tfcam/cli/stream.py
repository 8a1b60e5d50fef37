"""The command that explains a whole data set: ``tfcam explain-dataset``."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from tfcam.cli.arguments import Changes, Imports, Unsafe
from tfcam.cli.checks import check_method_options
from tfcam.cli.evaluate import Model
from tfcam.cli.flags import flags, read_method_options
from tfcam.cli.loading import load_asked
from tfcam.cli.reading import read_data, with_window
from tfcam.cli.terminal import complain, say, say_line
from tfcam.data.example import kind_of_unit
from tfcam.engine.doors import DOORS
from tfcam.engine.options import usual_method
from tfcam.engine.picture_options import WINDOW


@flags(*DOORS["stream"], WINDOW)
def explain_dataset(
    model: Model,
    data: Annotated[
        str,
        typer.Argument(
            help="A folder of pictures, the name of a data set of tensorflow_datasets, a .npy or "
            ".npz file of arrays (N, ...), such as videos, or, of a model of texts, a .txt file "
            "with a text on each line."
        ),
    ],
    option: Changes = None,
    unsafe: Unsafe = False,
    imports: Imports = None,
    **options: Any,
) -> None:
    """Explain a whole data set into a folder of Parquet files; goes on after a stop."""
    changes = read_method_options(option, DOORS["stream"])
    if options["method"] is not None or not data.endswith(".txt"):
        # Of texts, the model tells which method is usual.
        method = options["method"] or usual_method(False, options["layer"])
        check_method_options(method, changes, options)
    network = load_asked(model, options, unsafe, imports)
    from tfcam.streaming.shard_files import metadata_of
    from tfcam.streaming.shards import Shards
    from tfcam.streaming.stream import stream

    to = options["to"]
    shards = Shards(to, options["shard_size"])
    before = {file: file.stat().st_mtime_ns for file in shards.files("maps")}
    started = time.monotonic()
    try:
        store = stream(network, read_data(data), **with_window(options), **changes)
    except KeyboardInterrupt:
        complain(f"stopped; what is done is kept in {to}. Type the same again to go on.")
        raise typer.Exit(130) from None
    new = [file for file in shards.files("maps") if before.get(file) != file.stat().st_mtime_ns]
    if not new:
        say("Nothing was left to do.")
    else:
        seconds = time.monotonic() - started
        added = sum(metadata_of(file).num_rows for file in new)
        kind = f"{kind_of_unit(store.settings.get('unit'))}s"
        say_line(f"Explained {added} {kind} in {seconds:.0f} s, {added / seconds:.1f} a second.")
    say(store)
    for picture in store.skipped.itertuples():
        say_line(f"left out {picture.key}: {picture.reason}")

"""The commands that measure: ``tfcam evaluate`` and ``tfcam recommend``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tfcam.cli.arguments import Labels, Preprocess, Unsafe, load_network, numbered
from tfcam.cli.terminal import errors, say

Model = Annotated[
    str, typer.Argument(help="A network of keras.applications, a .keras file, or shapes.")
]


Data = Annotated[
    str, typer.Argument(help="A folder of pictures, or the name of a data set of TFDS.")
]


Methods = Annotated[
    list[str] | None, typer.Option("--method", help="See tfcam methods; may be repeated.")
]


Target = Annotated[
    str | None,
    typer.Option(help="Class index or label; label for each picture's own; else the predicted."),
]


Split = Annotated[str, typer.Option(help="Which part of a data set of TFDS, such as test[:100].")]


DataDir = Annotated[
    str | None, typer.Option(help="Where TFDS keeps it, if not in its usual place.")
]


Annotations = Annotated[
    Path | None, typer.Option(help="A folder of XML files or a JSON file, if not at their place.")
]


BatchSize = Annotated[int, typer.Option(help="How many pictures are computed at once.")]


To = Annotated[
    Path | None, typer.Option(help="A folder that keeps what is done, to go on after a stop.")
]


Html = Annotated[Path | None, typer.Option(help="Where to write a report to look at.")]


Seed = Annotated[int, typer.Option(help="Of random maps and of the intervals.")]


def evaluate(
    model: Model,
    data: Data,
    method: Methods = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="Such as box_iou; another word lists all; may be repeated."),
    ] = None,
    layer: Annotated[
        list[str] | None, typer.Option(help="Path, name or index; each of several by itself.")
    ] = None,
    target: Target = None,
    split: Split = "test",
    data_dir: DataDir = None,
    annotations: Annotations = None,
    preprocess: Preprocess = "auto",
    labels: Labels = None,
    batch_size: BatchSize = 32,
    to: To = None,
    html: Html = None,
    parquet: Annotated[Path | None, typer.Option(help="Where to write all numbers.")] = None,
    seed: Seed = 0,
    unsafe: Unsafe = False,
) -> None:
    """Measure how far the maps of several methods can be trusted, on many pictures."""
    with errors():
        from tfcam.evaluation.evaluate import evaluate as measure

        for file in (html, parquet):
            _check_folder(file)
        network, known = load_network(model, labels, unsafe)
        result = measure(
            network,
            data,
            methods=method or None,
            metrics=metric or None,
            layer=_layers(layer),
            target=numbered(target),
            split=split,
            data_dir=data_dir,
            annotations=annotations,
            preprocess=preprocess,
            labels=known,
            batch_size=batch_size,
            to=to,
            seed=seed,
        )
        say(result)
        for row in result.skipped.itertuples():
            say(f"left out {row.image}: {row.reason}")
        if html is not None:
            say(f"wrote {result.to_html(html)}")
        if parquet is not None:
            say(f"wrote {result.to_parquet(parquet)}")


def recommend(
    model: Model,
    data: Data,
    method: Methods = None,
    layer: Annotated[
        list[str] | None, typer.Option(help="Path, name or index; may be repeated.")
    ] = None,
    target: Target = None,
    split: Split = "test",
    data_dir: DataDir = None,
    preprocess: Preprocess = "auto",
    labels: Labels = None,
    batch_size: BatchSize = 32,
    to: To = None,
    html: Html = None,
    seed: Seed = 0,
    unsafe: Unsafe = False,
) -> None:
    """Find the layer and the method that explain a model best, on your pictures."""
    with errors():
        from tfcam.evaluation.recommend import recommend as choose

        _check_folder(html)
        network, known = load_network(model, labels, unsafe)
        result = choose(
            network,
            data,
            methods=method or None,
            layers=_layers(layer),
            target=numbered(target),
            split=split,
            data_dir=data_dir,
            preprocess=preprocess,
            labels=known,
            batch_size=batch_size,
            to=to,
            seed=seed,
        )
        say(result)
        if html is not None:
            say(f"wrote {result.evaluation.to_html(html)}")


def _layers(names: list[str] | None) -> Any:
    return [numbered(each) for each in names] if names else None


def _check_folder(file: Path | None) -> None:
    """Refuse before the work what could not be written after it."""
    if file is not None and not file.absolute().parent.is_dir():
        raise FileNotFoundError(f"The folder of {str(file)!r} does not exist; make it first.")

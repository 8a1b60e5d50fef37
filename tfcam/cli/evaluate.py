"""The commands that measure: ``tfcam evaluate`` and ``tfcam recommend``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tfcam.cli.arguments import Imports, Overwrite, Unsafe
from tfcam.cli.checks import check_new
from tfcam.cli.flags import HOW, PICTURES, RESULTS, flags
from tfcam.cli.loading import load_asked
from tfcam.cli.reading import read_data, with_window
from tfcam.cli.terminal import say, say_line
from tfcam.engine.doors import DOORS
from tfcam.engine.picture_options import WINDOW
from tfcam.utils.run_folder import SETTINGS, STATE
from tfcam.utils.validation import check_choice

Model = Annotated[
    str, typer.Argument(help="A network of keras.applications, a .keras file, or shapes.")
]


Data = Annotated[
    str,
    typer.Argument(
        help="A folder of pictures, the name of a data set of tensorflow_datasets, a .npy file of "
        "an array (N, ...), a .npz file of arrays named video or volume, and label and mask where "
        "there are some, or, for a model of texts, a .txt file with a text on each line."
    ),
]


Html = Annotated[
    Path | None,
    typer.Option(
        help="Where to write a report to look at.", metavar="FILE", rich_help_panel=RESULTS
    ),
]


@flags(*DOORS["evaluate"], WINDOW)
def evaluate(
    model: Model,
    data: Data,
    baselines: Annotated[
        list[str] | None,
        typer.Option(
            "--baseline",
            help="Baselines, maps that ask no model, by name; by default all. May be repeated.",
            metavar="NAME",
            rich_help_panel=HOW,
        ),
    ] = None,
    skip_broken: Annotated[
        bool,
        typer.Option(
            help="Leave out a picture that can't be used, and list it; else it is an error.",
            rich_help_panel=PICTURES,
        ),
    ] = True,
    html: Html = None,
    parquet: Annotated[
        Path | None,
        typer.Option(help="Where to write all numbers.", metavar="FILE", rich_help_panel=RESULTS),
    ] = None,
    overwrite: Overwrite = False,
    unsafe: Unsafe = False,
    imports: Imports = None,
    **options: Any,
) -> None:
    """Measure how far the maps of several methods can be trusted, on many pictures."""
    for name in baselines or ():
        check_choice("baselines", name, _baselines(data))
    read = [data, model, options["labels"], options["annotations"], *(imports or [])]
    _check_files([html, parquet], overwrite, [*read, *_kept(options["to"])])
    network = load_asked(model, options, unsafe, imports)
    from tfcam.evaluation.evaluate import evaluate as measure

    evaluation = measure(
        network,
        read_data(data),
        baselines=baselines or None,
        skip_broken=skip_broken,
        **with_window(options),
    )
    say(evaluation)
    for picture in evaluation.skipped.itertuples():
        say_line(f"left out {picture.image}: {picture.reason}")
    if html is not None:
        say_line(f"wrote {evaluation.to_html(html)}")
    if parquet is not None:
        say_line(f"wrote {evaluation.to_parquet(parquet)}")


@flags(*DOORS["recommend"], WINDOW)
def recommend(
    model: Model,
    data: Data,
    html: Html = None,
    overwrite: Overwrite = False,
    unsafe: Unsafe = False,
    imports: Imports = None,
    **options: Any,
) -> None:
    """Find the layer and the method that explain a model best, on your pictures."""
    read = [data, model, options["labels"], options["annotations"], *(imports or [])]
    _check_files([html], overwrite, [*read, *_kept(options["to"])])
    network = load_asked(model, options, unsafe, imports)
    from tfcam.evaluation.recommend import recommend as choose

    recommendation = choose(network, read_data(data), **with_window(options))
    say(recommendation)
    if html is not None:
        say_line(f"wrote {recommendation.evaluation.to_html(html)}")


def _baselines(data: str) -> Sequence[str]:
    """List the maps that ask no model, of pictures or of texts."""
    if data.endswith(".txt"):
        from tfcam.evaluation.texts import TEXT_BASELINES

        return TEXT_BASELINES
    from tfcam.metrics.baselines import BASELINES

    return [*BASELINES]


def _kept(folder: Path | None) -> list[Path]:
    """List what a run that was stopped goes on from."""
    names = ("rows-*.parquet", STATE, SETTINGS)
    return [] if folder is None else [file for name in names for file in folder.rglob(name)]


def _check_files(
    files: Sequence[Path | None], overwrite: bool, read: Sequence[str | Path | None]
) -> None:
    """Refuse before the work what could not be written after it, or is there."""
    for file in files:
        if file is not None and not file.absolute().parent.is_dir():
            raise FileNotFoundError(f"The folder of {str(file)!r} does not exist; make it first.")
    check_new(files, overwrite, read)

"""The commands of pages in the browser: ``tfcam app``, ``rate`` and ``ratings``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tfcam.cli.arguments import Imports, Model, Overwrite, Unsafe, expand, load_network
from tfcam.cli.checks import check_new
from tfcam.cli.evaluate import Html
from tfcam.cli.flags import HOW, RESULTS, RUNNING, flags
from tfcam.cli.reading import read_image, with_window
from tfcam.cli.terminal import complain, load_tensorflow, say, say_line
from tfcam.engine.doors import DOORS
from tfcam.engine.options import LABELS, LAYER, METHODS, OUTPUT, PREPROCESS, SEED, TARGET
from tfcam.engine.picture_options import WINDOW
from tfcam.engine.store_options import KEY
from tfcam.images.window import Limits
from tfcam.utils.extras import import_gradio
from tfcam.utils.files import check_target, utf8, write_whole
from tfcam.utils.foreign_models import is_sealed, sealed_reader

if TYPE_CHECKING:
    from tfcam.pages.networks import Network

Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        help="As in tfcam explain; by default shapes, the embedded network. May be repeated.",
    ),
]
Host = Annotated[
    str,
    typer.Option(
        "--host",
        help="The address that it listens at; by default only this machine reaches it.",
        rich_help_panel=RUNNING,
    ),
]
Port = Annotated[
    int | None,
    typer.Option(
        "--port",
        help="The port; by default a free one from 7860 on.",
        metavar="N",
        rich_help_panel=RUNNING,
    ),
]
Browser = Annotated[
    bool,
    typer.Option(
        "--browser/--no-browser", help="Open the page in a browser.", rich_help_panel=RUNNING
    ),
]


@flags(*DOORS["app"], WINDOW)
def app(
    model: Models = None,
    host: Host = "127.0.0.1",
    port: Port = None,
    browser: Browser = True,
    unsafe: Unsafe = False,
    imports: Imports = None,
    **options: Any,
) -> None:
    """Open a page in the browser: drop a picture on it, and see where networks look."""
    import_gradio("tfcam app")
    names, options = model or ["shapes"], with_window(options)
    read = (options["labels"], options["preprocess"], options["output"])
    networks = [open_network(name, *read, unsafe, imports) for name in names]
    from tfcam.pages.app import app as open_page

    open_page(networks, host=host, port=port, browser=browser, wait=True)


METHODS_RATED = dataclasses.replace(
    METHODS, words="The methods, by their names in ``tfcam.METHODS``, at least two.", code=""
)
_RATED = (LAYER, TARGET, OUTPUT, METHODS_RATED, PREPROCESS, WINDOW, LABELS, SEED, KEY)


@flags(*_RATED)
def rate(
    images: Annotated[list[str], typer.Argument(help="Files, folders or globs.")],
    model: Model,
    to: Annotated[
        Path,
        typer.Option(
            "--to",
            help="The folder for the answers; after a stop the same command goes on.",
            metavar="FOLDER",
            rich_help_panel=RESULTS,
        ),
    ],
    most: Annotated[
        int | None,
        typer.Option(
            "--most",
            help="Number of pairs that a rater is asked about, repeated ones aside; by default "
            "every two methods on every picture.",
            metavar="N",
            rich_help_panel=HOW,
        ),
    ] = None,
    repeats: Annotated[
        float,
        typer.Option(
            "--repeats",
            help="Share of the pairs that is asked twice, to measure a rater's consistency.",
            metavar="SHARE",
            rich_help_panel=HOW,
        ),
    ] = 0.1,
    host: Host = "127.0.0.1",
    port: Port = None,
    browser: Browser = True,
    unsafe: Unsafe = False,
    imports: Imports = None,
    **options: Any,
) -> None:
    """Open a page on which people say, blindly, which of two maps is better."""
    gradio = import_gradio("tfcam rate")
    load_tensorflow()  # in quiet
    paths = [path for path in expand(images) if _is_picture(path, options["window"])]
    chosen = {name: options[name] for name in ("layer", "target", "seed", "key")}
    options = with_window(options)
    read = (options["labels"], options["preprocess"], options["output"])
    network = open_network(model, *read, unsafe, imports)
    from tfcam.pages.rate import build
    from tfcam.pages.rating import Rating
    from tfcam.pages.serving import serve

    pictures, methods = tuple(map(Path, paths)), tuple(options["methods"] or ())
    rating = Rating(network, pictures, methods, to, most=most, repeats=repeats, **chosen)
    say_line(f"Answers are kept in {to}; tfcam ratings {to} says what they tell.")
    serve(build(gradio, rating), gradio, host=host, port=port, browser=browser, wait=True)


@flags()
def ratings(
    folder: Annotated[Path, typer.Argument(help="A folder of tfcam rate, or a Parquet file.")],
    html: Html = None,
    overwrite: Overwrite = False,
) -> None:
    """Say what people's ratings tell: strengths with intervals, agreement, consistency."""
    if not folder.exists():
        raise ValueError(f"There must be a folder of tfcam rate at '{folder}'; there is none.")
    if html is not None:
        check_target(html, "A page of ratings", (".html",))
    check_new([html], overwrite, [*folder.glob("*.parquet")] if folder.is_dir() else [folder])
    load_tensorflow()  # in quiet
    from tfcam.evaluation.ratings import read_ratings, strengths
    from tfcam.evaluation.ratings_page import ratings_page, sentences

    table = read_ratings(folder)
    for sentence in sentences(table):
        say(sentence)
    if html is not None:
        write_whole(html, utf8(ratings_page(table)))
        say_line(f"wrote {html}")
    say(strengths(table).to_string(index=False, float_format="{:.2f}".format))


def _is_picture(path: str, window: Limits) -> bool:
    """Whether a file is a picture that can be shown; it is said where it is none."""
    try:
        read_image(path, window)
    except (ValueError, OSError) as error:
        complain(f"left out: {path}: {error}")
        return False
    return True


def open_network(
    name: str,
    labels: Path | None,
    preprocess: Any,
    output: str | int | None,
    unsafe: bool,
    imports: list[Path] | None,
) -> Network:
    """Load a network for a page, with the Python line that makes it."""
    network, known = load_network(name, labels, unsafe, imports)
    from tfcam.model.applications import builder_class
    from tfcam.pages.networks import Network, embedded

    own = embedded() if name == "shapes" else None
    if own is not None:
        lines = own.lines
    elif is_sealed(name):
        lines = f"model = tfcam.BlackBox.{sealed_reader(name)}({name!r})"
    elif name.endswith((".keras", ".h5", ".hdf5")):
        lines = f"model = keras.models.load_model({name!r}, compile=False)"
    else:
        lines = f"model = keras.applications.{builder_class(name)}()"
    code = "" if labels is None else repr(str(labels))
    code = own.labels_code if own and not code else code
    return Network(name, network, known, lines, code, preprocess, output)

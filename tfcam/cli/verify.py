"""The command that asks how far one map can be trusted: ``tfcam verify``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tfcam.cli.arguments import Changes, Image, Imports, Model, Overwrite, Unsafe
from tfcam.cli.checks import check_image, check_method_options, check_new
from tfcam.cli.evaluate import Html
from tfcam.cli.flags import HOW, SUBJECT, flags, read_method_options
from tfcam.cli.loading import load_asked
from tfcam.cli.reading import read_image, read_window
from tfcam.cli.terminal import say, say_line
from tfcam.engine.doors import DOORS
from tfcam.engine.options import SEED, TARGET, usual_method
from tfcam.engine.picture_options import WINDOW
from tfcam.utils.files import check_target

# A method may have an option "window", too: occlusion has.
_OWN = (TARGET, *DOORS["Explainer"], SEED)
_VERIFIED = (*_OWN, WINDOW)
# What both the Explainer and the verification are told.
_SHARED = ("preprocess", "labels", "input", "output", "batch_size", "progress")


@flags(*_VERIFIED)
def verify(
    model: Model,
    image: Image = None,
    text: Annotated[
        str | None,
        typer.Option("--text", help="A text, for a model of texts.", rich_help_panel=SUBJECT),
    ] = None,
    draws: Annotated[
        int, typer.Option(help="Number of moved maps.", metavar="N", rich_help_panel=HOW)
    ] = 99,
    fraction: Annotated[
        float,
        typer.Option(
            help="Which part of the picture the map marks.", metavar="SHARE", rich_help_panel=HOW
        ),
    ] = 0.25,
    fills: Annotated[
        list[str] | None,
        typer.Option(
            "--fill",
            help="What replaces what is hidden: blur, mean or zero. May be repeated.",
            metavar="NAME",
            rich_help_panel=HOW,
        ),
    ] = None,
    option: Changes = None,
    html: Html = None,
    overwrite: Overwrite = False,
    unsafe: Unsafe = False,
    imports: Imports = None,
    **options: Any,
) -> None:
    """Ask how far the map of one image, or text, can be trusted, by five questions."""
    changes = read_method_options(option, _OWN)
    if (image is None) == (text is None):
        raise ValueError("Give what is verified: a picture, or --text for a model of texts.")
    usual = usual_method(text is not None, options["layer"])
    method = usual if options["method"] is None else options["method"]
    if options["method"] is not None or text is None:  # of texts, the model tells which is usual
        check_method_options(method, changes, options)
    window = read_window(options)
    if image is not None:
        check_image(image, window)
    if html is not None:
        check_target(html, "A verification", (".html", ".npz", ".png"))
    check_new(
        [html],
        overwrite,
        [*([] if image is None else [image]), model, options["labels"], *(imports or [])],
    )
    network = load_asked(model, options, unsafe, imports, text is not None)
    from tfcam.explainer.explainer import Explainer
    from tfcam.verification.verify import verify as ask

    target, seed = options.pop("target"), options.pop("seed")
    given: Any = text if image is None else read_image(image, window)
    explanation = Explainer(network, **options, **changes)(given, target)
    shared = {name: options[name] for name in _SHARED}
    chosen: Any = {"draws": draws, "fraction": fraction, "fills": fills or None}
    verification = ask(network, explanation, target=target, seed=seed, **shared, **chosen)
    say(verification)
    if html is not None:
        say_line(f"wrote {verification.save(html)}")

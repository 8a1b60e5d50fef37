"""The command that asks how far one map can be trusted: ``tfcam verify``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tfcam.cli.arguments import (
    Changes,
    Imports,
    Model,
    Overwrite,
    Unsafe,
    load_network,
    read_image,
)
from tfcam.cli.checks import check_image, check_method_options, check_new
from tfcam.cli.evaluate import Html
from tfcam.cli.explain import Image
from tfcam.cli.flags import HOW, flags, read_method_options
from tfcam.cli.terminal import say
from tfcam.engine.doors import DOORS
from tfcam.engine.options import SEED, TARGET, usual_method
from tfcam.engine.picture_options import WINDOW
from tfcam.utils.files import check_target

_VERIFIED = (TARGET, *DOORS["Explainer"], WINDOW, SEED)
# What both the Explainer and the verification are told.
_SHARED = ("preprocess", "labels", "input", "output", "batch_size", "progress")


@flags(*_VERIFIED)
def verify(
    image: Image,
    model: Model,
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
    """Ask how far the map of one image can be trusted, by five questions."""
    changes = read_method_options(option, _VERIFIED)
    usual = usual_method(False, options["layer"])
    method = usual if options["method"] is None else options["method"]
    check_method_options(method, changes, options)
    window = options.pop("window")
    check_image(image, window)
    if html is not None:
        check_target(html, "A verification", (".html", ".npz", ".png"))
    check_new([html], overwrite, [image, model, options["labels"]])
    network, options["labels"] = load_network(model, options["labels"], unsafe, imports)
    from tfcam.explainer.explainer import Explainer
    from tfcam.verification.verify import verify as ask

    target, seed = options.pop("target"), options.pop("seed")
    explanation = Explainer(network, **options, **changes)(read_image(image, window), target)
    shared = {name: options[name] for name in _SHARED}
    chosen: Any = {"draws": draws, "fraction": fraction, "fills": fills or None}
    verification = ask(network, explanation, target=target, seed=seed, **shared, **chosen)
    say(verification)
    if html is not None:
        say(f"wrote {verification.save(html)}")

"""The command that makes pictures: ``tfcam dream``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tfcam.cli.arguments import Imports, Model, Overwrite, Unsafe, name_options
from tfcam.cli.checks import check_new, check_recipe
from tfcam.cli.flags import HOW, RESULTS, SUBJECT, flags, read_method_options, read_name, read_sides
from tfcam.cli.loading import load_asked
from tfcam.cli.names import settle_layer
from tfcam.cli.reading import read_image
from tfcam.cli.terminal import say, say_line
from tfcam.engine.doors import DOORS

if TYPE_CHECKING:
    from tfcam.feature_visualization.objectives import Objective


@flags(*DOORS["dream"])
def dream(
    model: Model,
    target: Annotated[
        str | None,
        typer.Option(
            help="Class index or label that the picture shall raise.",
            metavar="NAME",
            rich_help_panel=SUBJECT,
        ),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(
            help="Path, name or index of a layer to raise, see tfcam layers.",
            metavar="NAME",
            rich_help_panel=SUBJECT,
        ),
    ] = None,
    channel: Annotated[
        int | None,
        typer.Option(
            help="One channel of the layer, instead of all of it.",
            metavar="N",
            rich_help_panel=SUBJECT,
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="How it is made: fourier, plain, yosinski or deep_dream; by default fourier, with "
            "--image deep_dream.",
            metavar="NAME",
            rich_help_panel=HOW,
        ),
    ] = None,
    image: Annotated[
        str | None,
        typer.Option(
            help="A picture to start from: a file or an http(s) URL; by default it starts from "
            "faint noise.",
            metavar="FILE",
            rich_help_panel=HOW,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            help="Number of steps; by default the preset's.", metavar="N", rich_help_panel=HOW
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            help="What is changed in the preset, such as blur=2. May be repeated.",
            metavar="NAME=VALUE",
            rich_help_panel=HOW,
        ),
    ] = None,
    count: Annotated[
        int,
        typer.Option(
            help="Number of pictures that are made, each from other noise.",
            metavar="N",
            rich_help_panel=HOW,
        ),
    ] = 1,
    size: Annotated[
        str | None,
        typer.Option(
            help="Height and width of the picture in pixels, where the model leaves them open; by "
            "default those of --image, or else the usual ones of the network's family.",
            metavar="HEIGHT,WIDTH",
            rich_help_panel=HOW,
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--output",
            help="A .png or .npz; by default dream_NAME.png.",
            metavar="FILE",
            rich_help_panel=RESULTS,
        ),
    ] = None,
    overwrite: Overwrite = False,
    unsafe: Unsafe = False,
    imports: Imports = None,
    **options: Any,
) -> None:
    """Make a picture that a class, a layer or a channel responds to most."""
    from tfcam.feature_visualization.result import check_path

    _check_objective(target, layer, channel)
    changes = read_method_options(option, DOORS["dream"])
    if steps is not None:
        changes["steps"] = steps
    recipe = preset or ("fourier" if image is None else "deep_dream")
    check_recipe(recipe, changes, options)
    raised = {"target": target, "layer": layer, "channel": channel, "preset": preset, "size": size}
    named = {name: value for name, value in raised.items() if value is not None}
    name = name_options({**named, **options, **changes}, DOORS["dream"])
    path = check_path(file or Path(f"dream_{name}.png"))
    check_new([path], overwrite, [image, model, options["labels"], *(imports or [])])
    network = load_asked(model, options, unsafe, imports)
    from tfcam.feature_visualization.dream import dream as make

    result = make(
        network,
        _objective(network, target, layer, channel),
        preset=recipe,
        image=None if image is None else read_image(image),
        count=count,
        size=read_sides(size),
        **options,
        **changes,
    )
    result.save(path)
    say(result)
    say_line(f"  wrote          {path}")


def _check_objective(target: str | None, layer: str | None, channel: int | None) -> None:
    """Refuse what names no class, no layer and no channel of one."""
    if (target is None) == (layer is None):
        raise ValueError("Give --target, a class, or --layer, perhaps with --channel.")
    if target is not None and channel is not None:
        raise ValueError("--channel is one of a layer: name that with --layer, without --target.")


def _objective(
    network: Any, target: str | None, layer: str | None, channel: int | None
) -> Objective | int | str:
    """Read what is raised: a class, a layer or one of its channels."""
    from tfcam.feature_visualization import objectives

    if layer is None:
        return read_name(target)
    place = settle_layer(network, read_name(layer))
    return objectives.layer(place) if channel is None else objectives.channel(place, channel)

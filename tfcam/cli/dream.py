"""The command that makes pictures: ``tfcam dream``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from tfcam.cli.arguments import (
    Labels,
    Model,
    Preprocess,
    Unsafe,
    load_network,
    numbered,
    read_image,
    read_options,
)
from tfcam.cli.terminal import errors, say


def dream(
    model: Model,
    target: Annotated[
        str | None, typer.Option(help="Class index or label that the picture shall raise.")
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(help="Path, name or index of a layer to raise, see tfcam layers."),
    ] = None,
    channel: Annotated[
        int | None, typer.Option(help="One channel of the layer, instead of all of it.")
    ] = None,
    image: Annotated[
        str | None, typer.Option(help="A picture to start from; a file or an http(s) URL.")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="fourier, plain, yosinski or deep_dream; the last with --image."),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="How many; the preset's if not given.")] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(help="What is changed in the preset, such as blur=2; may be repeated."),
    ] = None,
    count: Annotated[int, typer.Option(help="How many pictures, each from other noise.")] = 1,
    seed: Annotated[int, typer.Option(help="Of the noise and the transforms.")] = 0,
    preprocess: Preprocess = "auto",
    labels: Labels = None,
    output: Annotated[
        Path | None, typer.Option(help="A .png or .npz; dream_NAME.png if not given.")
    ] = None,
    unsafe: Unsafe = False,
) -> None:
    """Make a picture that a class, a layer or a channel responds to most."""
    with errors():
        from tfcam.feature_visualization.dream import dream as make
        from tfcam.feature_visualization.result import check_path

        asked = _objective(target, layer, channel)
        file = output or Path(f"dream_{_file_name(target, layer, channel)}.png")
        check_path(file)
        network, known = load_network(model, labels, unsafe)
        changes: dict[str, Any] = read_options(option or [])
        if steps is not None:
            changes["steps"] = steps
        result = make(
            network,
            asked,
            preset=preset or ("fourier" if image is None else "deep_dream"),
            image=None if image is None else read_image(image),
            count=count,
            preprocess=preprocess,
            labels=known,
            seed=seed,
            **changes,
        )
        result.save(file)
    say(result)
    say(f"  wrote          {file}")


def _objective(target: str | None, layer: str | None, channel: int | None) -> Any:
    from tfcam.feature_visualization import objectives

    if (target is None) == (layer is None):
        raise ValueError("Give --target, a class, or --layer, perhaps with --channel.")
    if target is not None and channel is not None:
        raise ValueError("--channel is one of a layer: name that with --layer, without --target.")
    if layer is None:
        return numbered(target)
    place = numbered(layer)
    return objectives.layer(place) if channel is None else objectives.channel(place, channel)


def _file_name(target: str | None, layer: str | None, channel: int | None) -> str:
    parts = [str(each) for each in (target, layer, channel) if each is not None]
    return re.sub(r"[^\w.-]", "_", "_".join(parts))

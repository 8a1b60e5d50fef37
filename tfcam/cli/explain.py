"""The commands for single pictures: ``tfcam explain``, ``compare`` and ``diagnose``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any

import typer

from tfcam.cli.arguments import (
    Labels,
    Model,
    Preprocess,
    Target,
    Unsafe,
    ask_layer,
    expand,
    layers_asked,
    load_network,
    numbered,
    outputs,
    picture_name,
    read_image,
    read_options,
)
from tfcam.cli.terminal import complain, errors, say


def explain(
    images: Annotated[list[str], typer.Argument(help="Files, folders, globs or http(s) URLs.")],
    model: Model,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            help="Path, name or index of a layer, see tfcam layers; repeated, or all_convolutions, "
            "for several that are fused."
        ),
    ] = None,
    choose_layer: Annotated[
        bool, typer.Option("--choose-layer", help="Show the layers, and ask which one.")
    ] = False,
    fuse: Annotated[str, typer.Option(help="max, mean, product or tanh_max.")] = "max",
    target: Target = None,
    method: Annotated[str, typer.Option(help="See tfcam methods.")] = "grad_cam",
    option: Annotated[
        list[str] | None,
        typer.Option(help="An option of the method, such as samples=16; may be repeated."),
    ] = None,
    preprocess: Preprocess = "auto",
    labels: Labels = None,
    output: Annotated[
        Path | None,
        typer.Option(help="A .png or .npz for one image, a folder for several; . if not given."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON; write pictures only with --output.")
    ] = False,
    unsafe: Unsafe = False,
) -> None:
    """Explain images, and write the overlay of each."""
    with errors():
        from tfcam.explainer.explainer import Explainer
        from tfcam.utils.progress import progress_bar

        paths = expand(images)
        network, known = load_network(model, labels, unsafe)
        explainer = Explainer(
            network,
            ask_layer(network) if choose_layer else layers_asked(layer),
            method=method,
            preprocess=preprocess,
            labels=known,
            fuse=fuse,  # type: ignore[arg-type]
            **read_options(option or []),
        )
        files = outputs(paths, method, output) if output or not as_json else [None] * len(paths)
    chosen = numbered(target)
    records, failed = [], False
    total, unit = (len(paths), "pictures") if len(paths) > 1 else (None, "")
    with progress_bar(total, "explaining", None, unit) as advance:
        for path, file in zip(paths, files, strict=True):
            try:
                result = explainer(read_image(path), chosen)
                if file is not None:
                    if file != output:
                        file.parent.mkdir(parents=True, exist_ok=True)
                    result.save(file)
            except (ValueError, TypeError, OSError) as error:
                failed = True
                complain(f"{path}: {error}" if len(paths) > 1 else error)
                continue
            finally:
                advance()
            records.append(_record(path, result, file))
            if not as_json:
                say(result)
                say(f"  wrote          {file}")
    if as_json:
        print(json.dumps(records, indent=2))
    if failed:
        raise typer.Exit(2)


def compare(
    image: Annotated[str, typer.Argument(help="A file or an http(s) URL.")],
    model: Annotated[list[str], typer.Option(help="As in tfcam explain; may be repeated.")],
    method: Annotated[
        list[str] | None, typer.Option(help="See tfcam methods; may be repeated.")
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(help="Path, name or index of a layer, see tfcam layers; may be repeated."),
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option(help="Class index or label; may be repeated.")
    ] = None,
    preprocess: Preprocess = "auto",
    labels: Labels = None,
    output: Annotated[
        Path | None, typer.Option(help="A .png, .pdf or .svg; IMAGE_compare.png if not given.")
    ] = None,
    shared_scale: Annotated[
        bool, typer.Option("--shared-scale", help="Draw the maps of a row on one scale.")
    ] = False,
    unsafe: Unsafe = False,
) -> None:
    """Draw the maps of several methods, layers, classes or models of one image side by side."""
    with errors():
        from tfcam.explainer.compare import compare as compare_maps
        from tfcam.results.comparison import check_path

        file = check_path(output or Path(f"{picture_name(image)}_compare.png"))
        loaded = (load_network(each, labels, unsafe) for each in model)
        networks, known = zip(*loaded, strict=True)
        same = known[0] if all(each == known[0] for each in known) else None
        result = compare_maps(
            list(networks) if len(networks) > 1 else networks[0],
            read_image(image),
            layers=[numbered(each) for each in layer] if layer else None,
            methods=method or None,
            targets=[numbered(each) for each in target] if target else None,
            preprocess=preprocess,
            labels=same,
        )
        result.save(file, shared_scale=shared_scale)
    say(result)
    say(f"wrote {file}")


def diagnose(
    image: Annotated[str, typer.Argument(help="A file or an http(s) URL.")],
    model: Model,
    layer: Annotated[str | None, typer.Option(help="Path, name or index of a layer.")] = None,
    target: Target = None,
    preprocess: Preprocess = "auto",
    labels: Labels = None,
    unsafe: Unsafe = False,
) -> None:
    """Check a model and an image: what applies, what to mind, and what to do about it."""
    with errors():
        from tfcam.explainer.diagnose import diagnose as check

        network, known = load_network(model, labels, unsafe)
        place, chosen = numbered(layer), numbered(target)
        options: dict[str, Any] = {"preprocess": preprocess, "labels": known}
        say(check(network, read_image(image), place, target=chosen, **options))


def _finite(number: float | None) -> float | None:
    """A number as JSON can hold it, which has no NaN."""
    return number if number is not None and math.isfinite(number) else None


def _record(image: str, result: Any, file: Path | None) -> dict[str, Any]:
    """A result as JSON."""
    codes = [each.code for each in result.findings]
    return {
        "image": image,
        "target": result.target,
        "label": result.label,
        "score": _finite(result.score),
        "score_kind": result.score_kind,
        "probability": _finite(result.probability),
        "layer": result.layer,
        "method": result.method,
        "boxes": [] if "not_finite" in codes else result.boxes().tolist(),
        "findings": codes,
        "file": None if file is None else str(file),
    }

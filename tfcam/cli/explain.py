"""The commands for single pictures: ``tfcam explain``, ``compare`` and ``diagnose``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any

import typer

from tfcam.cli.arguments import (
    Changes,
    Model,
    Unsafe,
    ask_layer,
    choose_files,
    expand,
    load_network,
    name_picture,
    read_image,
)
from tfcam.cli.flags import RESULTS, SUBJECT, flags, read_method_options
from tfcam.cli.terminal import complain, say
from tfcam.engine.doors import DOORS
from tfcam.engine.options import TARGET

_EXPLAINED = (TARGET, *DOORS["Explainer"])


Signed = Annotated[
    bool,
    typer.Option(
        "--signed",
        help="Draw what speaks against the class too: red for it, blue against it.",
        rich_help_panel=RESULTS,
    ),
]
Image = Annotated[str, typer.Argument(help="A file or an http(s) URL.")]


@flags(*_EXPLAINED)
def explain(
    images: Annotated[list[str], typer.Argument(help="Files, folders, globs or http(s) URLs.")],
    model: Model,
    choose_layer: Annotated[
        bool,
        typer.Option(
            "--choose-layer",
            help="Show the layers, and ask which one.",
            rich_help_panel=SUBJECT,
        ),
    ] = False,
    option: Changes = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--output",
            help="A .png or .npz for one image, a folder for several; by default the folder here.",
            metavar="PATH",
            rich_help_panel=RESULTS,
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print JSON; write pictures only with --output.",
            rich_help_panel=RESULTS,
        ),
    ] = False,
    signed: Signed = False,
    unsafe: Unsafe = False,
    **options: Any,
) -> None:
    """Explain images, and write the overlay of each."""
    from tfcam.explainer.explainer import Explainer
    from tfcam.utils.progress import progress_bar

    paths, target = expand(images), options.pop("target")
    network, options["labels"] = load_network(model, options["labels"], unsafe)
    if choose_layer:
        options["layer"] = ask_layer(network, options["input"], options["grid"])
    explainer = Explainer(network, **options, **read_method_options(option, _EXPLAINED))
    wanted = file is not None or not as_json
    files = choose_files(paths, options["method"], file) if wanted else [None] * len(paths)
    records, failed = [], False
    total, unit = (len(paths), "pictures") if len(paths) > 1 else (None, "")
    with progress_bar(total, "explaining", options["progress"], unit) as advance:
        for path, target_file in zip(paths, files, strict=True):
            try:
                explanation = explainer(read_image(path), target)
                if target_file is not None:
                    if target_file != file:
                        target_file.parent.mkdir(parents=True, exist_ok=True)
                    explanation.save(target_file, signed=signed)
            except (ValueError, TypeError, OSError) as error:
                failed = True
                complain(f"{path}: {error}" if len(paths) > 1 else error)
                continue
            finally:
                advance()
            records.append(_record(path, explanation, target_file))
            if not as_json:
                say(explanation)
                say(f"  wrote          {target_file}")
    if as_json:
        print(json.dumps(records, indent=2))
    if failed:
        raise typer.Exit(2)


@flags(*DOORS["compare"])
def compare(
    image: Image,
    model: Annotated[list[str], typer.Option(help="As in tfcam explain. May be repeated.")],
    file: Annotated[
        Path | None,
        typer.Option(
            "--output",
            help="A .png, .pdf or .svg; by default IMAGE_compare.png.",
            metavar="FILE",
            rich_help_panel=RESULTS,
        ),
    ] = None,
    shared_scale: Annotated[
        bool,
        typer.Option(
            "--shared-scale",
            help="Draw the maps of a row on one scale.",
            rich_help_panel=RESULTS,
        ),
    ] = False,
    signed: Signed = False,
    unsafe: Unsafe = False,
    **options: Any,
) -> None:
    """Draw the maps of several methods, layers, classes or models of one image side by side."""
    from tfcam.explainer.compare import compare as compare_maps
    from tfcam.results.comparison import check_path

    path = check_path(file or Path(f"{name_picture(image)}_compare.png"))
    networks, labels = zip(
        *(load_network(name, options["labels"], unsafe) for name in model), strict=True
    )
    options["labels"] = labels[0] if all(known == labels[0] for known in labels) else None
    models = list(networks) if len(networks) > 1 else networks[0]
    comparison = compare_maps(models, read_image(image), **options)
    comparison.save(path, shared_scale=shared_scale, signed=signed)
    say(comparison)
    say(f"wrote {path}")


@flags(*DOORS["diagnose"])
def diagnose(image: Image, model: Model, unsafe: Unsafe = False, **options: Any) -> None:
    """Check a model and an image: what applies, what to mind, and what to do about it."""
    from tfcam.explainer.diagnose import diagnose as check

    network, options["labels"] = load_network(model, options["labels"], unsafe)
    say(check(network, read_image(image), options.pop("layer"), **options))


def _finite(number: float | None) -> float | None:
    """Give a number as JSON can hold it, which has no NaN."""
    return number if number is not None and math.isfinite(number) else None


def _record(image: str, result: Any, file: Path | None) -> dict[str, Any]:
    """Give a result as JSON can hold it."""
    codes = [finding.code for finding in result.findings]
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

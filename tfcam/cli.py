"""The command line: ``tfcam demo | explain | compare | evaluate | dream | ...``."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tfcam.arguments import (
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
from tfcam.dream_commands import dream
from tfcam.evaluation_commands import evaluate, recommend
from tfcam.streaming_commands import explain_dataset
from tfcam.terminal import complain, errors

app = typer.Typer(
    help="Shows which parts of an image made a Keras model decide as it did.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Where to write the figure.")] = Path("demo.png"),
    seed: Annotated[int, typer.Option(help="Which scenes are drawn.")] = 2026,
) -> None:
    """Explain fresh scenes with the embedded model; measure the maps against the known shapes."""
    with errors():
        from tfcam.contact_sheet import rendered
        from tfcam.demands import check_count
        from tfcam.demo import run_demo
        from tfcam.writing import write_whole

        check_count("--seed", seed, least=0)
        figure, rows = run_demo(seed)
        write_whole(output, rendered(figure, "png", 110))
    table = Table("method", title="Maps against the shapes in 30 fresh scenes")
    table.add_column("IoU of the box", justify="right")
    table.add_column("pointing game", justify="right")
    for row in rows:
        table.add_row(row.method, f"{row.iou:.2f}", f"{row.pointing:.2f}")
    console = Console()
    console.print(table)
    console.print("Guided maps are thin lines: a box around their largest part says little.")
    console.print(f"Wrote {output}: look how the map moves when another shape is asked for.")


@app.command()
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
        from tfcam.explainer import Explainer

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
    console, records, failed = Console(stderr=True), [], False
    for path, file in track(
        list(zip(paths, files, strict=True)),
        description="explaining",
        console=console,
        disable=len(paths) == 1 or not console.is_terminal,
        transient=True,
    ):
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
        records.append(_record(path, result, file))
        if not as_json:
            print(result)
            print(f"  wrote          {file}")
    if as_json:
        print(json.dumps(records, indent=2))
    if failed:
        raise typer.Exit(2)


@app.command()
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
        from tfcam.comparing import compare as compare_maps
        from tfcam.comparison import check_path

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
    print(result)
    print(f"wrote {file}")


@app.command()
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
        from tfcam.diagnosing import diagnose as check

        network, known = load_network(model, labels, unsafe)
        place, chosen = numbered(layer), numbered(target)
        options: dict[str, Any] = {"preprocess": preprocess, "labels": known}
        print(check(network, read_image(image), place, target=chosen, **options))


@app.command()
def layers(model: Model, unsafe: Unsafe = False) -> None:
    """List every layer that has a map, and the one explained by default."""
    with errors():
        from tfcam.inspection import layers as list_layers

        print(list_layers(load_network(model, unsafe=unsafe)[0]))


@app.command()
def methods() -> None:
    """List the methods."""
    with errors():
        from tfcam.asking import METHODS
    table = Table("method", "what it shows")
    for each in METHODS.values():
        table.add_row(each.name, each.summary)
    Console().print(table)


app.command()(evaluate)
app.command()(recommend)
app.command()(dream)
app.command()(explain_dataset)


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


def main() -> None:
    """Run the command line."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    app()

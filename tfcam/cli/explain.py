"""The commands that draw maps: ``tfcam explain`` and ``compare``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from tfcam.cli.arguments import (
    Changes,
    Image,
    Imports,
    Model,
    Overwrite,
    Text,
    Unsafe,
    ask_layer,
    check_terminal,
    choose_files,
    expand,
    load_network,
    name_options,
    name_text,
    read_subject,
    read_texts,
)
from tfcam.cli.checks import beside, check_image, check_method_options, check_new
from tfcam.cli.flags import RESULTS, SUBJECT, flags, read_method_options
from tfcam.cli.loading import check_takes_text, load_asked
from tfcam.cli.names import settle_layer
from tfcam.cli.reading import read_image, read_window
from tfcam.cli.records import record
from tfcam.cli.terminal import complain, print_words, say, say_line
from tfcam.engine.doors import DOORS
from tfcam.engine.options import TARGET, usual_method
from tfcam.engine.picture_options import WINDOW
from tfcam.engine.trust_options import VERIFY
from tfcam.utils.files import check_target

# A method may have an option "window", too: occlusion has.
_OWN = (TARGET, VERIFY, *DOORS["Explainer"])
_EXPLAINED = (*_OWN, WINDOW)


Signed = Annotated[
    bool,
    typer.Option(
        "--signed",
        help="Draw what speaks against the class too: red for it, blue against it.",
        rich_help_panel=RESULTS,
    ),
]
Contours = Annotated[
    bool,
    typer.Option(
        "--contours",
        help="Draw the maps as lines, so that the picture is seen as it is.",
        rich_help_panel=RESULTS,
    ),
]


@flags(*_EXPLAINED)
def explain(
    model: Model,
    images: Annotated[
        list[str] | None,
        typer.Argument(
            help="Files, folders, globs or http(s) URLs; of texts, .txt files; of videos, volumes "
            "and series, .npy files."
        ),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(
            "--text",
            help='A text, for a model of texts; "-" for each line of the input. May be repeated.',
            rich_help_panel=SUBJECT,
        ),
    ] = None,
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
    overwrite: Overwrite = False,
    unsafe: Unsafe = False,
    imports: Imports = None,
    **options: Any,
) -> None:
    """Explain images, or texts, and write the picture of each."""
    from tfcam.utils.progress import progress_bar

    texts, changes = read_texts(images or [], text or []), read_method_options(option, _OWN)
    usual = usual_method(bool(texts), options["layer"])
    method = usual if options["method"] is None else options["method"]
    if options["method"] is not None or not texts:  # of texts, the model tells which is usual
        check_method_options(method, changes, options)
    if choose_layer:
        check_terminal()
    if not (texts or images):
        raise ValueError("Give what is explained: a picture, or --text for a model of texts.")
    paths = [name_text(each) for each in texts] or expand(images or [])
    usable = paths if texts else _usable(paths, options["window"])
    wanted = file is not None or not as_json
    inputs = [*(images or []), *([] if texts else paths), model, options["labels"]]
    inputs += imports or []
    asked = dict(options)

    def choose() -> list[Path | None]:
        named = {**asked, "method": method, **changes, **_chosen(signed=signed)}
        name = name_options(named, _EXPLAINED)
        files = choose_files(paths, name, file) if wanted else []
        check_new(files, overwrite, inputs)
        return [*files] or [None] * len(paths)

    files = choose()
    if file is not None and file in files:
        check_target(file, "An explanation", (".png", ".npz"))
    network = load_asked(model, options, unsafe, imports, bool(texts))
    from tfcam.explainer.explainer import Explainer

    if choose_layer:
        options["layer"] = asked["layer"] = ask_layer(network, options["input"], options["grid"])
    target, verify = options.pop("target"), options.pop("verify")
    window = read_window(options)
    explainer: Any = Explainer(network, **options, **changes)
    if choose_layer or asked["method"] is None:
        method = explainer.pipeline.engine.requests[0].method.name
        files = choose()
    shared = {name: options[name] for name in ("batch_size", "progress")}
    records, failed = [], len(usable) < len(paths)
    total, unit = (len(usable), "pictures") if len(usable) > 1 else (None, "")
    with progress_bar(total, "explaining", options["progress"], unit) as advance:
        for path, target_file, own in zip(paths, files, texts or [""] * len(paths), strict=True):
            if path not in usable:
                continue
            try:
                image = own or read_image(path, window)
                explanation = explainer(image, target)
                if verify:
                    from tfcam.verification.attach import verified

                    explanation = verified(explanation, explainer, image, target, **shared)
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
            records.append(record(own or path, explanation, target_file))
            if not as_json:
                if own:
                    print_words(explanation.colored(signed=signed))
                say(explanation)
                say_line(f"  wrote          {target_file}")
    if as_json:
        print(json.dumps(records, indent=2))
    if failed:
        raise typer.Exit(2)


@flags(*DOORS["compare"], WINDOW)
def compare(
    model: Annotated[list[str], typer.Option(help="As in tfcam explain. May be repeated.")],
    image: Image = None,
    text: Text = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--output",
            help="A .png, .pdf or .svg; a .gif or .html shows the columns, such as layers, one "
            "after another. By default IMAGE_compare.png, with what is compared.",
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
    contours: Contours = False,
    overwrite: Overwrite = False,
    unsafe: Unsafe = False,
    imports: Imports = None,
    **options: Any,
) -> None:
    """Draw the maps of several methods, layers, classes or models of one image or text together."""
    from tfcam.results.comparison import check_path

    looks = _chosen(shared_scale=shared_scale, signed=signed, contours=contours)
    subject = read_subject(image, text)
    name = name_options({**options, **looks}, [*DOORS["compare"], WINDOW])
    parts = [subject.stem, "compare", *([name] if name else [])]
    path = check_path(file or Path(f"{'_'.join(parts)}.png"))
    check_new([path], overwrite, [image, *model, options["labels"], *(imports or [])])
    networks, labels = zip(
        *(load_network(name, options["labels"], unsafe, imports) for name in model), strict=True
    )
    if subject.is_text:
        for network, name in zip(networks, model, strict=True):
            check_takes_text(network, name, options["input"])
    from tfcam.explainer.compare import compare as compare_maps

    options["labels"] = labels[0] if all(known == labels[0] for known in labels) else None
    options["layers"] = settle_layer(networks[0], options["layers"])
    models = list(networks) if len(networks) > 1 else networks[0]
    comparison = compare_maps(models, subject.read(read_window(options)), **options)
    comparison.save(path, **looks)
    say(comparison)
    say_line(f"wrote {path}")


def _chosen(**looks: bool) -> dict[str, Any]:
    """Keep the ways to draw that were asked for."""
    return {name: True for name, asked in looks.items() if asked}


def _usable(paths: list[str], window: tuple[float, float] | None) -> list[str]:
    """Find the images that are there, and complain of the others; a single one must be whole.

    Raises:
        ValueError: If there is only one, and it is no picture.
        FileNotFoundError: If there is only one, and no such file.
    """
    if len(paths) == 1:
        check_image(paths[0], window)
        return paths
    from tfcam.images.loading import is_url

    missing = [path for path in paths if not is_url(path) and not Path(path).exists()]
    for path in missing:
        complain(f"{path}: there is no such file.{beside(path)}")
    if len(missing) == len(paths):
        raise typer.Exit(2)
    return [path for path in paths if path not in missing]

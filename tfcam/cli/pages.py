"""The commands that open a page in the browser: ``tfcam app``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tfcam.cli.arguments import Imports, Unsafe, load_network
from tfcam.cli.flags import RUNNING, flags
from tfcam.engine.doors import DOORS
from tfcam.utils.foreign_models import is_sealed

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
    typer.Option("--browser/--no-browser", help="Open a browser.", rich_help_panel=RUNNING),
]


@flags(*DOORS["app"])
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
    from tfcam.pages.serving import import_gradio

    import_gradio("tfcam app")
    names, read = model or ["shapes"], (options["labels"], options["preprocess"])
    networks = [open_network(name, *read, unsafe, imports) for name in names]
    from tfcam.pages.app import app as open_page

    open_page(networks, host=host, port=port, browser=browser, wait=True)


def open_network(
    name: str,
    labels: Path | None,
    preprocess: str,
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
        reader = {".tflite": "from_tflite", ".lite": "from_tflite", ".onnx": "from_onnx"}
        how = reader.get(Path(name).suffix.lower(), "from_saved_model")
        lines = f"model = tfcam.BlackBox.{how}({name!r})"
    elif name.endswith((".keras", ".h5", ".hdf5")):
        lines = f"model = keras.models.load_model({name!r}, compile=False)"
    else:
        lines = f"model = keras.applications.{builder_class(name)}()"
    code = "" if labels is None else repr(str(labels))
    code = own.labels_code if own and not code else code
    return Network(name, network, known, lines, code, preprocess)

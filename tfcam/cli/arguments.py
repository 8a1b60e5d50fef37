"""What the command line's words mean: pictures, models and layers, and where results go."""

from __future__ import annotations

import glob
import re
import runpy
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from tfcam.cli.flags import HOW, RESULTS, SUBJECT, read_name
from tfcam.cli.names import settle_layer
from tfcam.cli.reading import read_image
from tfcam.cli.terminal import load_tensorflow, say
from tfcam.utils.files import read_lines, text_lines
from tfcam.utils.foreign_models import is_sealed
from tfcam.utils.label_names import listed_names
from tfcam.utils.terminal_text import make_printable

if TYPE_CHECKING:
    from tfcam.engine.option import Option

# Not .npz: results are saved so.
_PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".npy")


# Options that name no file: the first that is named anyway, and what changes no map.
_UNNAMED = ("method", "labels", "batch_size", "freeze", "verify", "progress")


# Options whose values name a file by themselves.
_SUBJECTS = ("layer", "layers", "target", "targets", "methods", "channel", "preset")


Model = Annotated[
    str,
    typer.Option(
        help="A network of keras.applications (mobilenet_v2), a .keras file, a .tflite or .onnx "
        "file or the folder of a SavedModel (asked for scores alone), or shapes, the embedded one."
    ),
]


Image = Annotated[
    str | None,
    typer.Argument(help="A file or an http(s) URL; a video, volume or series as a .npy file."),
]


Text = Annotated[
    str | None,
    typer.Option(
        "--text",
        help='A text, for a model of texts; "-" for the line of the input.',
        rich_help_panel=SUBJECT,
    ),
]


Unsafe = Annotated[
    bool,
    typer.Option(
        "--unsafe",
        help="Load a model file that holds Python code, such as a Lambda layer. That code runs and "
        "may do anything on this machine: only for files from people you trust.",
    ),
]


Imports = Annotated[
    list[Path] | None,
    typer.Option(
        "--import",
        help="A Python file that is run first: it defines the layers of its own that a model file "
        "holds. May be repeated.",
        metavar="FILE.py",
    ),
]


Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        help="An option of the method, such as samples=16. May be repeated.",
        metavar="NAME=VALUE",
        rich_help_panel=HOW,
    ),
]


Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Write over files that are there; else they are kept, and nothing is done.",
        rich_help_panel=RESULTS,
    ),
]


def expand(sources: list[str]) -> list[str]:
    """Expand sources: files and URLs as they are, the pictures of folders, the matches of globs."""
    paths: list[str] = []
    for source in sources:
        if not source:
            raise ValueError("An image must be a file, a folder, a glob or a URL; got ''.")
        if Path(source).is_dir():
            inside = sorted(Path(source).iterdir())
            matches = [str(file) for file in inside if file.suffix.lower() in _PICTURES]
            if not matches:
                raise ValueError(f"The folder {source!r} must hold pictures; it holds none.")
        elif not Path(source).exists() and glob.has_magic(source) and "://" not in source:
            matches = sorted(glob.glob(source, recursive=True))  # noqa: PTH207 - absolute globs too
            if not matches:
                raise ValueError(f"No file matches {source!r}.")
        else:
            matches = [source]
        paths += matches
    return paths


def read_texts(sources: Sequence[str], typed: Sequence[str]) -> list[str]:
    """Read texts: as they are typed, "-" for the lines of standard input, and lines of .txt files.

    Args:
        sources: Files.
        typed: Texts, or "-".

    Raises:
        ValueError: If pictures are among them, or a file or the input holds no text.
        FileNotFoundError: If there is no such file.
    """
    files = [source for source in sources if source.lower().endswith(".txt")]
    if not (files or typed):
        return []
    if len(files) < len(sources):
        other = next(source for source in sources if source not in files)
        raise ValueError(f"Texts and pictures are explained apart; got texts and {other!r}.")
    texts: list[str] = []
    found_in = [(text, text_lines(sys.stdin.read() if text == "-" else text)) for text in typed]
    found_in += [(file, read_lines(Path(file))) for file in files]
    for place, found in found_in:
        if not found:
            raise ValueError(f"A text must have words; {place!r} has none.")
        texts += found
    return texts


class Subject(NamedTuple):
    """What one explanation is of.

    Attributes:
        given: A text, or the file or URL of a picture.
        is_text: Which of them.
    """

    given: str
    is_text: bool

    @property
    def stem(self) -> str:
        """What files about it are named after."""
        return name_text(self.given) if self.is_text else name_picture(self.given)

    def read(self, window: tuple[float, float] | None) -> Any:
        """Read the picture, or give the text."""
        return self.given if self.is_text else read_image(self.given, window)


def read_subject(image: str | None, text: str | None) -> Subject:
    """Find what one explanation is of.

    Args:
        image: A file or URL.
        text: A text, or "-" for the line of standard input.

    Raises:
        ValueError: If there is neither, or both, or several texts.
    """
    if (image is None) == (text is None):
        given = "got neither" if image is None else f"got {image!r} and a text"
        raise ValueError(
            f"Give what is explained: a picture, or --text for a model of texts; {given}."
        )
    if text is None:
        return Subject(str(image), is_text=False)
    found = read_texts([], [text])
    if len(found) > 1:
        raise ValueError(f"--text takes one text here; got {len(found)} lines.")
    return Subject(found[0], is_text=True)


def name_text(text: str) -> str:
    """Name a text by its first words, fit to name a file."""
    return re.sub(r"\W+", "_", text)[:40].strip("_") or "text"


def choose_files(paths: list[str], what: str, output: Path | None) -> list[Path]:
    """Choose the file for each image's picture; images of the same name get numbers.

    Args:
        paths: The images.
        what: What their names end with.
        output: The file of one image, or the folder of all.
    """
    if output is not None and output.suffix and not output.is_dir():
        if len(paths) > 1:
            raise ValueError(f"--output must be a folder for {len(paths)} images; got {output}.")
        return [output]
    folder = output or Path()
    files: list[Path] = []
    for path in paths:
        stem = name_picture(path)
        file, number = folder / f"{stem}_{what}.png", 2
        while file in files:
            file, number = folder / f"{stem}_{number}_{what}.png", number + 1
        files.append(file)
    return files


def name_options(options: Mapping[str, Any], known: Iterable[Option]) -> str:
    """Name what is asked for, fit to name a file: the method, then what is not as by default.

    Args:
        options: The options by name, with those of the method.
        known: Those that have a flag.
    """
    usual = {option.name: option.default for option in known}
    parts = [options["method"]] if "method" in options else []
    for name, value in options.items():
        if name in _UNNAMED or value == usual.get(name, ...):
            continue
        values = value if isinstance(value, list | tuple) else [value]
        parts += [] if name in _SUBJECTS else [name]
        parts += [str(item) for item in values if item is not True]
    return re.sub(r"[^\w.-]", "_", "_".join(parts))[:150]


def name_picture(path: str) -> str:
    """Name a picture by its file or URL, without folder and ending, fit to name another file."""
    return re.sub(r"[^\w.-]", "_", Path(path.split("?")[0]).stem) or "image"


def read_labels(path: Path) -> list[str]:
    """Read the label of each class: one on each line, or JSON."""
    try:
        return listed_names(path) or []
    except (TypeError, ValueError) as error:
        why = re.sub(r"^labels must be a list .*?; ", "", str(error))
        raise ValueError(
            f"--labels must be a text file with one label on each line, or JSON; {why}"
        ) from None


def load_network(
    name: str,
    labels: Path | None = None,
    unsafe: bool = False,
    imports: Iterable[Path] | None = None,
) -> tuple[Any, list[str] | None]:
    """Load a model by name or file, and its labels: those of a file, else where they are known.

    Args:
        name: A network of keras.applications, a file, or "shapes".
        labels: A file with the label of each class on a line.
        unsafe: Whether a model file may bring code of its own, which then runs.
        imports: Python files with the layers of its own that a model file holds.

    Raises:
        ValueError: If there is no such network, or the file can't be loaded.
    """
    known = None if labels is None else read_labels(labels)
    load_tensorflow()
    import keras

    from tfcam.demo import demo_model
    from tfcam.model.applications import build
    from tfcam.model.black_box import open_sealed
    from tfcam.scenes import KINDS

    if name == "shapes":
        return demo_model(), list(KINDS) if known is None else known
    if is_sealed(name):
        return open_sealed(name), known
    if not name.endswith((".keras", ".h5", ".hdf5")):
        return build(name), known
    if not Path(name).is_file():
        raise FileNotFoundError(f"No model file {name!r}.")
    own = {key: value for path in imports or () for key, value in run_file(path).items()}
    try:
        loaded = keras.models.load_model(
            name, custom_objects=own, compile=False, safe_mode=not unsafe
        )
        return loaded, known
    except Exception as error:
        if not unsafe and "safe_mode" in str(error):
            raise ValueError(
                f"{name!r} holds Python code of its own, such as a Lambda layer, that could do "
                "anything on this machine; it was not run. If you trust whoever made the file, "
                "say so with --unsafe."
            ) from None
        lacking = re.search(r"Could not locate \w+ '([^']+)'|Unknown \w+: '?(\w+)", str(error))
        if lacking:
            raise ValueError(
                f"{name!r} holds {lacking[1] or lacking[2]!r}, which is not of Keras: name the "
                "Python file that defines it, --import my_layers.py."
            ) from None
        first = str(error).strip().split("\n")[0]
        raise ValueError(f"{name!r} could not be loaded as a Keras model: {first}") from None


def run_file(path: Path) -> dict[str, Any]:
    """Run a Python file, and list the classes and functions that it defines.

    Raises:
        ValueError: If it can't be run.
    """
    try:
        defined = runpy.run_path(str(path), run_name=path.stem)
    except Exception as error:
        raise ValueError(
            f"--import must name a Python file that can be run; {str(path)!r}: "
            f"{type(error).__name__}: {error}"
        ) from None
    return {name: value for name, value in defined.items() if callable(value)}


def is_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty()


def check_terminal() -> None:
    """Check that somebody can be asked for a layer.

    Raises:
        ValueError: If not.
    """
    if not is_terminal():
        raise ValueError(
            "--choose-layer asks in a terminal; here there is none: name the layer with --layer."
        )


def ask_layer(model: Any, input: str | int | None, grid: tuple[int, ...] | None) -> str:
    """Show a model's layers and ask which one, until the answer names one.

    Args:
        model: A Keras model.
        input: Which input is explained.
        grid: (height, width) of a transformer's patches.
    """
    from tfcam.model.graph import graph_of

    graph = graph_of(model)
    which = graph.find_input(input)
    table = graph.layers(which, grid)
    say(table, error_stream=True)
    while True:
        usual = make_printable(table.default)  # a model file may name its layers as it likes
        typed = typer.prompt("Index or name", default=usual, err=True).strip()
        answer = settle_layer(model, read_name(table.default if typed == usual else typed))
        try:
            return graph.open_layer(answer, which, grid).tap.name
        except ValueError as error:
            say(error, error_stream=True)

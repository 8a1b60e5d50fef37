"""Flags made from the options of the library: the same words, the same defaults."""

from __future__ import annotations

import ast
import functools
import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from tfcam.cli.checks import check_typed
from tfcam.cli.terminal import report_errors
from tfcam.engine.option import Option
from tfcam.images.window import check_window

# The headings under which --help shows them.
_PANELS = {
    "What is explained": "layer layers target targets score input output grid",
    "How": "method methods metrics fuse augment eigen tile verify",
    "Pictures and labels": "preprocess window labels split data_dir annotations",
    "Running": "batch_size shard_size seed freeze to key progress",
}
SUBJECT, HOW, PICTURES, RUNNING = _PANELS
RESULTS = "Results"
_ORDER = (None, *_PANELS, RESULTS)


def read_name(text: str | None) -> Any:
    """Read an index where it is one, else the name."""
    # Python reads no number of thousands of digits.
    return int(text) if text is not None and re.fullmatch(r"-?\d{1,99}", text) else text


def read_several(texts: list[str] | None) -> list[Any] | None:
    """Read names and indices; None where there are none."""
    return [read_name(text) for text in texts] if texts else None


def read_one_or_several(texts: list[str] | None) -> Any:
    """Read one name or index as it is, several as a list."""
    names = read_several(texts) or [None]
    return names if len(names) > 1 else names[0]


def read_sides(text: str | None) -> tuple[int, int] | None:
    """Read height and width, such as 14,7.

    Raises:
        ValueError: If it is something else.

    Example:
        >>> read_sides("14,7")
        (14, 7)
    """
    if text is None:
        return None
    numbers = re.fullmatch(r"(\d{1,9})\s*[,x]\s*(\d{1,9})", text)
    if not numbers:
        raise ValueError(f"HEIGHT,WIDTH must be two whole numbers, such as 14,7; got {text!r}.")
    return int(numbers[1]), int(numbers[2])


def read_grid(text: str | None) -> tuple[int, ...] | None:
    """Read height and width, or frames, height and width, such as 8,14,7.

    Raises:
        ValueError: If it is something else.

    Example:
        >>> read_grid("8,14,7"), read_grid("14x7")
        ((8, 14, 7), (14, 7))
    """
    if text is None:
        return None
    if not re.fullmatch(r"\d{1,9}(\s*[,x]\s*\d{1,9}){1,2}", text):
        raise ValueError(
            "HEIGHT,WIDTH must be two whole numbers, such as 14,7, of videos three with the frames "
            f"before, such as 8,14,7; got {text!r}."
        )
    return tuple(map(int, re.findall(r"\d+", text)))


def read_limits(text: str | None) -> tuple[float, float] | None:
    """Read two numbers, the lower first, such as -160,240.

    Raises:
        ValueError: If it is something else.

    Example:
        >>> read_limits("-160,240")
        (-160.0, 240.0)
    """
    if text is None:
        return None
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        raise ValueError(f"LOW,HIGH must be two numbers, such as -160,240; got {text!r}.") from None
    check_window((low, high))
    return low, high


@dataclass(frozen=True)
class Kind:
    """How an option of some type is typed.

    Attributes:
        type: What typer takes.
        read: From that to what the library takes.
        metavar: What ``--help`` calls it.
        hint: What ``--help`` says of typing it.
    """

    type: Any
    read: Callable[[Any], Any] = lambda value: value
    metavar: str | None = None
    hint: str = ""


_MANY = Kind(list[str] | None, read_several, "NAME", "May be repeated.")
_NAME, _TEXT = Kind(str | None, read_name, "NAME"), Kind(str, metavar="NAME")
_KINDS = {
    "bool": Kind(bool),
    "bool | None": Kind(bool | None),
    "int": Kind(int, metavar="N"),
    "tuple[int, int] | None": Kind(str | None, read_sides, "HEIGHT,WIDTH"),
    "tuple[int, ...] | None": Kind(str | None, read_grid, "HEIGHT,WIDTH"),
    "tuple[float, float] | None": Kind(str | None, read_limits, "LOW,HIGH"),
    **dict.fromkeys(
        ("str", "Score", "maps.Fusion", "Preprocess", "str | Callable[[Reading], tf.Tensor]"),
        _TEXT,
    ),
    **dict.fromkeys(
        ("Layer", "Target", "Target | Targets | np.ndarray", "str | int | None"), _NAME
    ),
    "str | Callable[[Reading], tf.Tensor] | None": Kind(str | None, metavar="NAME"),
    "Layers": Kind(list[str] | None, read_one_or_several, "NAME", "May be repeated."),
    **dict.fromkeys(
        (
            "Sequence[Layer] | None",
            "Sequence[Target] | Top | None",
            "Sequence[MethodChoice] | None",
            "Sequence[MetricChoice] | None",
        ),
        _MANY,
    ),
    "Labels | None": Kind(Path | None, metavar="FILE"),
    "str | None": Kind(str | None, metavar="NAME"),
    "str | os.PathLike[str] | None": Kind(Path | None, metavar="PATH"),
    "str | os.PathLike[str]": Kind(Path, metavar="PATH"),
}


def spell_flag(option: Option) -> str:
    """Spell the flag of an option, such as --batch-size.

    What may be repeated is called as one of it is. A model's input and output are called so, as
    --output is where results go.
    """
    name = f"model_{option.name}" if option.name in ("input", "output") else option.name
    plural = option.type.startswith("Sequence")
    return "--" + (name.removesuffix("s") if plural else name).replace("_", "-")


def help_words(option: Option) -> str:
    """Say in ``--help`` what docstrings say of an option, without what is Python's."""
    command = re.compile(r"``tfcam\.(?:metrics\.)?(\w+)``")
    text = command.sub(lambda name: f"tfcam {name[1].lower()}", option.words)
    return f"{text} {_KINDS[option.type].hint}".strip()


def read_method_options(texts: list[str] | None, options: Iterable[Option]) -> dict[str, Any]:
    """Read NAME=VALUE as options: numbers, True, False and None as such, all else as text.

    Args:
        texts: As they are typed.
        options: Those that have a flag of their own.

    Raises:
        ValueError: If it is no NAME=VALUE, or one that has a flag.
    """
    own = {"model": "--model"} | {option.name: spell_flag(option) for option in options}
    values: dict[str, Any] = {}
    for text in texts or []:
        name, equals, value = text.partition("=")
        if not (name.isidentifier() and equals):
            raise ValueError(f"--option must be NAME=VALUE, such as samples=16; got {text!r}.")
        if name in own:
            raise ValueError(
                f"--option is for what has none of its own: give {own[name]} {value!r}."
            )
        try:
            values[name] = ast.literal_eval(value)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            values[name] = value
    return values


def flags(*options: Option) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command a flag for each option, in place of its ``**options``.

    The command gets the options as the library takes them; what goes wrong in it is one line.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True).parameters.values()
        parameters = [
            parameter.replace(kind=parameter.KEYWORD_ONLY)
            for parameter in own
            if parameter.kind is not parameter.VAR_KEYWORD
        ]
        parameters += [_parameter(option) for option in options]
        parameters.sort(key=_place)

        @functools.wraps(command)
        def run(**typed: Any) -> None:
            with report_errors():
                for option in options:
                    typed[option.name] = _KINDS[option.type].read(typed[option.name])
                check_typed(typed, options)
                command(**typed)

        run.__annotations__ = {one.name: one.annotation for one in parameters}
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return run

    return decorate


def _place(parameter: inspect.Parameter) -> tuple[int, bool]:
    """Where ``--help`` shows a parameter: by its heading, --option after what it belongs to."""
    (info,) = parameter.annotation.__metadata__
    panel = info.rich_help_panel
    return _ORDER.index(panel if isinstance(panel, str) else None), parameter.name == "option"


def _parameter(option: Option) -> inspect.Parameter:
    """Make an option as typer takes it."""
    kind, name = _KINDS[option.type], spell_flag(option)
    if option.type.startswith("bool") and option.default is not False:
        name = f"{name}/--no-{name.removeprefix('--')}"
    (panel,) = (panel for panel, names in _PANELS.items() if option.name in names.split())
    info = typer.Option(name, help=help_words(option), metavar=kind.metavar, rich_help_panel=panel)
    return inspect.Parameter(
        option.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if option.default is ... else option.default,
        annotation=Annotated[kind.type, info],
    )

"""How the command line fails: one line, and an exit code."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

from tfcam.utils.terminal_text import make_printable, printable_lines

# What a mistyped flag or argument ends with.
_USAGE_ERROR: Any = typer.BadParameter.__bases__[0]


@contextlib.contextmanager
def report_errors() -> Iterator[None]:
    """Report bad input, and what is not installed, on one line; a bug keeps its traceback."""
    try:
        yield
    except BrokenPipeError:  # who reads has gone, as in "tfcam methods | head"
        raise
    except (ValueError, TypeError, OSError, ImportError) as error:
        complain(error)
        raise typer.Exit(2) from None


class Commands(TyperGroup):
    """Commands that say of mistyped flags and arguments what a terminal may show."""

    def make_context(self, *args: Any, **extra: Any) -> Any:
        """Read what is typed before the command."""
        with _printable_errors():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Read what is typed behind the command, and run it."""
        with _printable_errors():
            return super().invoke(ctx)


@contextlib.contextmanager
def _printable_errors() -> Iterator[None]:
    try:
        yield
    except _USAGE_ERROR as error:
        error.message = printable_lines([error.message])
        raise


def load_tensorflow() -> None:
    """Load TensorFlow, in quiet: it greets on the error stream, whatever its settings."""
    with silence():
        import keras  # noqa: F401
        import tensorflow  # noqa: F401


def say(text: object, error_stream: bool = False) -> None:
    """Print text that may hold names of others, such as of files, labels and layers."""
    print(make_printable(text), file=sys.stderr if error_stream else sys.stdout)


def say_line(text: str) -> None:
    """Print one line, whatever the names in it hold."""
    print(printable_lines([text]))


def print_words(words: Text) -> None:
    """Print coloured words, without colours where there is no terminal."""
    Console(highlight=False).print(words)


def complain(error: object) -> None:
    """Say what went wrong, on one line of the error stream."""
    print("tfcam:", make_printable(" ".join(str(error).split())), file=sys.stderr)


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Drop what is written to the error stream of this whole process: for the command line only."""
    sys.stderr.flush()
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)

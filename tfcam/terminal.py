"""How the command line fails: one line, and an exit code."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

import typer


@contextlib.contextmanager
def errors() -> Iterator[None]:
    """Bad input is one line and exit code 2; a bug keeps its traceback."""
    _import_quietly()
    try:
        yield
    except (ValueError, TypeError, OSError) as error:
        complain(error)
        raise typer.Exit(2) from None


def _import_quietly() -> None:
    """TensorFlow greets on the error stream as it loads, past Python and its own settings."""
    sys.stderr.flush()
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        import keras  # noqa: F401
        import tensorflow  # noqa: F401
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


def complain(error: object) -> None:
    """Say what went wrong, on one line of the error stream."""
    print("tfcam:", " ".join(str(error).split()), file=sys.stderr)

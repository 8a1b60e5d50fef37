"""The command line: ``tfcam demo | explain | compare | evaluate | dream | ...``.

A command is a function in the file of its family, registered in ``commands.py``; its flags are
made from the options of the library, with the same words.
"""

import os
import sys

# A process of its own: what Keras is set to for one's own scripts is no matter.
os.environ["KERAS_BACKEND"] = "tensorflow"

from tfcam.cli.terminal import complain

__all__ = ["main"]


def main() -> None:
    """Run the command line; what is not installed, or can't be loaded, is told on one line."""
    try:
        from tfcam.cli.commands import main as run
    except ImportError as error:
        complain(error)
        sys.exit(2)
    run()

"""The command line: ``tfcam demo | explain | compare | evaluate | dream | ...``.

A command is a function in the file of its family, registered in ``commands.py``; its flags are
made from the options of the library, with the same words.
"""

import os

# A process of its own: what Keras is set to for one's own scripts is no matter.
os.environ["KERAS_BACKEND"] = "tensorflow"

from tfcam.cli.commands import app, main

__all__ = ["app", "main"]

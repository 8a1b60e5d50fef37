"""The command line: ``tfcam demo | explain | compare | evaluate | dream | ...``.

A command is a function in the file of its family, registered in ``commands.py``; its flags are
made from the options of the library, with the same words.
"""

from tfcam.cli.commands import app, main

__all__ = ["app", "main"]

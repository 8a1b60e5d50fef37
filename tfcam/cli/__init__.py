"""The command line: ``tfcam demo | explain | compare | evaluate | dream | ...``."""

from tfcam.cli.commands import app, main

__all__ = ["app", "main"]

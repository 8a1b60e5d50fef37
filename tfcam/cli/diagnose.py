"""The command that checks a model and what is explained of it: ``tfcam diagnose``."""

from __future__ import annotations

from typing import Any

from tfcam.cli.arguments import Image, Imports, Model, Text, Unsafe, read_subject
from tfcam.cli.flags import flags
from tfcam.cli.loading import load_asked
from tfcam.cli.reading import read_window
from tfcam.cli.terminal import say
from tfcam.engine.doors import DOORS
from tfcam.engine.picture_options import WINDOW


@flags(*DOORS["diagnose"], WINDOW)
def diagnose(
    model: Model,
    image: Image = None,
    text: Text = None,
    unsafe: Unsafe = False,
    imports: Imports = None,
    **options: Any,
) -> None:
    """Check a model and an image, or text: what applies, what may be wrong, what to do about it."""
    subject = read_subject(image, text)
    network = load_asked(model, options, unsafe, imports, subject.is_text)
    from tfcam.explainer.diagnose import diagnose as check

    given = subject.read(read_window(options))
    say(check(network, given, options.pop("layer"), **options))

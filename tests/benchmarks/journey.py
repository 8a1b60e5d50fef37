"""How far one ``explain`` travels: files entered, calls between them, walks of the model.

``python -m tests.benchmarks.journey`` prints the counts for the embedded network.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import keras

import tfcam

PACKAGE = str(Path(tfcam.__file__).parent)


class Journey(NamedTuple):
    """What one call went through.

    Attributes:
        files: The files of tfcam that were entered.
        calls: How often one file of tfcam called a function of another.
        walks: How often a model's tree of layers was walked from its root.
    """

    files: set[str]
    calls: Counter[tuple[str, str]]
    walks: int


def journey(function: Callable[[], Any]) -> Journey:
    """Follow a call through the files of tfcam."""
    files, calls, walks = set[str](), Counter[tuple[str, str]](), 0

    def follow(frame: FrameType, event: str, _: Any) -> None:
        nonlocal walks
        name = frame.f_code.co_filename
        if event != "call" or not name.startswith(PACKAGE):
            return
        files.add(name)
        # A generator is entered again and again: it counts once, when it begins.
        if frame.f_lasti > 0 and frame.f_code.co_flags & 0x20:
            resumed = frame.f_lineno != frame.f_code.co_firstlineno
            if resumed:
                return
        caller = frame.f_back
        while caller is not None and not caller.f_code.co_filename.startswith(PACKAGE):
            caller = caller.f_back
        if caller is not None and caller.f_code.co_filename != name:
            calls[caller.f_code.co_filename, name] += 1
        own = caller is not None and caller.f_code is frame.f_code
        if frame.f_code.co_name == "walk" and not own:
            walks += 1

    sys.setprofile(follow)
    try:
        function()
    finally:
        sys.setprofile(None)
    return Journey(files, calls, walks)


def main() -> None:
    """Print the counts of a first and a second ``explain``."""
    model, image = tfcam.demo_model(), tfcam.scenes.draw_scene(1).image
    # What is imported when first used is no part of the journey.
    tfcam.explain(keras.models.clone_model(model), image, preprocess="unit")
    for call in ("first", "second"):
        taken = journey(lambda: tfcam.explain(model, image))
        print(
            f"{call} explain: {len(taken.files)} files, {taken.calls.total()} calls between "
            f"files, {taken.walks} walks of the model"
        )


if __name__ == "__main__":
    main()

"""Pictures one after another: as an animated GIF, and as a page with a slider."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence

import numpy as np
from PIL import Image

from tfcam.figures.page import page
from tfcam.utils.files import utf8

# Nothing moves by itself: only who presses Play sees it move, and the slider is one of the browser.
_SLIDER = """<p><label for="place">Shown:</label> <output id="name" for="place"></output></p>
<p><input id="place" type="range" min="0" max="{last}" value="0" step="1" style="width:100%">
<button id="play" type="button" aria-pressed="false">Play</button></p>
<div class="wide"><img id="shown" alt="" src="{first}"></div>
<noscript>The slider needs JavaScript; without it the first picture is shown.</noscript>
<script>
const pictures = {pictures}, names = {names}, words = {words};
const place = document.getElementById("place"), play = document.getElementById("play");
function show() {{
  const number = Number(place.value);
  const shown = document.getElementById("shown");
  shown.src = pictures[number];
  shown.alt = words[number];
  const said = `${{number + 1}} of ${{names.length}}: ${{names[number]}}`;
  document.getElementById("name").textContent = said;
  place.setAttribute("aria-valuetext", names[number]);
}}
let timer = 0;
play.addEventListener("click", () => {{
  const stopped = !timer;
  clearInterval(timer);
  timer = stopped ? setInterval(() => {{
    place.value = (Number(place.value) + 1) % names.length;
    show();
  }}, {milliseconds}) : 0;
  play.textContent = stopped ? "Stop" : "Play";
  play.setAttribute("aria-pressed", String(stopped));
}});
place.addEventListener("input", show);
show();
</script>"""


def check_seconds(seconds: float) -> None:
    """Check how long each picture is shown.

    Raises:
        ValueError: If it is no time that a GIF can hold.
    """
    if not 0.02 <= seconds <= 600:
        raise ValueError(f"seconds must be in [0.02, 600]; got {seconds}.")


def aligned(frames: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Pad pictures (H, W, 3) uint8 with white, on the right and below, to one size.

    Example:
        >>> one, two = np.zeros((2, 3, 3), np.uint8), np.zeros((3, 2, 3), np.uint8)
        >>> [frame.shape for frame in aligned([one, two])]
        [(3, 3, 3), (3, 3, 3)]
    """
    height, width = (max(frame.shape[axis] for frame in frames) for axis in (0, 1))
    return [
        np.pad(
            frame,
            ((0, height - frame.shape[0]), (0, width - frame.shape[1]), (0, 0)),
            constant_values=255,
        )
        for frame in frames
    ]


def write_gif(frames: Sequence[np.ndarray], seconds: float) -> bytes:
    """Write pictures as an animated GIF that begins anew after the last.

    Args:
        frames: (H, W, 3) uint8 each.
        seconds: How long each is shown.
    """
    stream = io.BytesIO()
    # The default of Pillow loses colours that few pixels have, such as those of a small map.
    first, *others = [
        Image.fromarray(frame).quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        for frame in frames
    ]
    first.save(
        stream,
        "gif",
        save_all=True,
        append_images=others,
        duration=round(1000 * seconds),
        loop=0,
        disposal=2,
    )
    return stream.getvalue()


def write_slider(
    title: str,
    frames: Sequence[np.ndarray],
    names: Sequence[str],
    words: Sequence[str],
    seconds: float,
) -> bytes:
    """Write pictures as a page with a slider, which needs no other file and asks no host.

    Args:
        title: The page's title.
        frames: (H, W, 3) uint8 each.
        names: The name of each.
        words: What each shows, for who can't see it.
        seconds: How long each is shown where it is played.
    """
    pictures = []
    for frame in aligned(frames):
        stream = io.BytesIO()
        Image.fromarray(frame).save(stream, "webp", quality=90)
        held = base64.b64encode(stream.getvalue()).decode()
        pictures.append(f"data:image/webp;base64,{held}")
    body = _SLIDER.format(
        last=len(frames) - 1,
        first=pictures[0],
        milliseconds=round(1000 * seconds),
        **{
            name: _script(values)
            for name, values in (("pictures", pictures), ("names", names), ("words", words))
        },
    )
    return utf8(page(title, body))


def _script(values: Sequence[str]) -> str:
    """Write texts as JavaScript that no text can end."""
    return json.dumps(list(values)).replace("<", "\\u003c")

"""What a page shows of maps: pictures with words for who can't see them, findings, Python lines."""

from __future__ import annotations

import base64
import html
import io
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from tfcam.figures.overlays import embed_png
from tfcam.figures.palette import ALPHA, COLORMAP, Palette
from tfcam.findings import Finding
from tfcam.pages.looking import NO_MAP, Answer, Look, Subject, full_report, requests
from tfcam.results.explanation import Explanation, draw_map
from tfcam.results.sheets import shrink
from tfcam.utils.files import utf8

# How a map lies over its picture, and what Comparison.save is told for it.
FORMS: dict[str, dict[str, Any]] = {
    "colours": {},
    "contours": {"contours": True},
    "for and against": {"signed": True},
}
_SMALLEST = 384  # pixels of the longer side on a page: of less, contours would be steps


class Style(NamedTuple):
    """How maps are drawn.

    Attributes:
        form: One of ``FORMS``.
        alpha: The largest weight of the colours, in [0, 1].
    """

    form: str = "colours"
    alpha: float = ALPHA

    @property
    def palette(self) -> Palette:
        """The colours."""
        return Palette(COLORMAP, **FORMS[self.form])


def show_answers(answers: Iterable[Answer], subject: Subject) -> str:
    """Show what is asked about, and what the network says of it."""
    listed = "".join(f"<li>{html.escape(answer.words)}</li>" for answer in answers)
    what = "a text" if isinstance(subject.content, str) else subject.name or "the picture"
    if isinstance(subject.content, str):
        shown = f'<p class="text">{html.escape(subject.content)}</p>'
    else:
        shown = embed_pixels(subject.content, f"The picture as given, {subject.name}")
    return (
        f"<figure>{shown}<figcaption>What the network says of {html.escape(what)}:"
        f"<ol>{listed}</ol></figcaption></figure>"
    )


def show_maps(look: Look, style: Style) -> str:
    """Show the maps side by side, each with its title."""
    if look.comparison is None:
        return ""
    figures = []
    for explanation in look.comparison:
        lines = [html.escape(line) for line in explanation.title.split("\n")]
        caption = f"<figcaption><b>{lines[0]}</b><br>{'<br>'.join(lines[1:])}</figcaption>"
        if isinstance(look.subject.content, str):
            shown = explanation.html
        else:
            shown = embed_pixels(drawn(explanation, style), f"Map of {explanation.title}")
        figures.append(f"<figure>{shown}{caption}</figure>")
    return f'<div class="maps">{"".join(figures)}</div>'


def show_words(look: Look) -> str:
    """Say how the maps were made, and what to mind about them."""
    problems = [f"<li>{html.escape(problem)}</li>" for problem in look.problems]
    said = f'<div role="alert"><ul class="problems">{"".join(problems)}</ul></div>'
    said = said if problems else ""
    if look.comparison is None:
        return said
    cells = list(look.comparison)
    notes = [
        f"<li><b>{html.escape(finding.code)}</b>, {html.escape(names)}: "
        f"{html.escape(finding.message)} {html.escape(finding.cause)} "
        f"{html.escape(finding.remedy)}</li>"
        for finding, names in _by_finding(cells).values()
    ]
    found = f"<ul>{''.join(notes)}</ul>" if notes else "<p>The checks found no problem.</p>"
    return f"{said}<p>Preprocessing: {html.escape(cells[0].preprocessing)}.</p>{found}"


def show_verification(explanation: Explanation) -> str:
    """Show how far a map can be trusted."""
    assert explanation.verification is not None
    title = html.escape(explanation.title.replace("\n", ", "))
    return f"<h2>How far this map can be trusted: {title}</h2>{explanation.verification.html}"


def show_lines(look: Look, style: Style) -> str:
    """Show the Python lines that make the same maps."""
    if look.comparison is None:
        return ""
    code = html.escape(python_lines(look, style))
    return (
        "<h2>The same in Python</h2>"
        f'<pre class="lines" tabindex="0" role="region" aria-label="Python lines">{code}</pre>'
    )


def python_lines(look: Look, style: Style) -> str:
    """Write the Python lines that make the same maps."""
    network, content = look.network, look.subject.content
    text = isinstance(content, str)
    what, given = ("text", content) if text else ("image", look.subject.name or "picture.png")
    lines = ["import keras"] if network.lines.startswith("model = keras.") else []
    lines += ["import tfcam", "", network.lines, f"{what} = {given!r}"]
    drawn = {} if style.alpha == ALPHA or style.palette.contours else {"alpha": style.alpha}
    told = "".join(f", {name}={value!r}" for name, value in {**FORMS[style.form], **drawn}.items())
    asked = requests(network, look.choice._replace(methods=look.made))
    for number, options in enumerate(asked):
        name = "maps" if len(asked) == 1 else ("maps_of_layer", "maps_of_pixels")[number]
        words = [f"{key}={value!r}" for key, value in options.items()]
        inside = "".join(f"    {each},\n" for each in ["model", what, *words, *network.told_code])
        lines += ["", f"{name} = tfcam.compare(\n{inside})", f'{name}.save("{name}.png"{told})']
    return "\n".join(lines)


class Download(NamedTuple):
    """A file that is made when it is asked for."""

    name: str
    kind: str
    content: bytes

    @property
    def url(self) -> str:
        """All of it, as a data URL."""
        return f"data:{self.kind};base64,{base64.b64encode(self.content).decode()}"


def make_download(what: str, look: Look, style: Style) -> Download:
    """Make a file of the maps: "PNG", "SVG", "NPZ" or "HTML", the report.

    Raises:
        ValueError: If there is no map, or it can't be made so.
    """
    if look.comparison is None:
        raise ValueError(NO_MAP)
    stem = Path(look.subject.name).stem or "maps"
    return _DOWNLOADS[what](f"{stem}_tfcam", look, style)


def _sheet(ending: str, kind: str) -> Callable[[str, Look, Style], Download]:
    def make(stem: str, look: Look, style: Style) -> Download:
        assert look.comparison is not None
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"maps.{ending}")
            look.comparison.save(path, alpha=style.alpha, **FORMS[style.form])
            return Download(f"{stem}.{ending}", kind, path.read_bytes())

    return make


def _archive(stem: str, look: Look, style: Style) -> Download:
    """One map as it is, of several a zip of them."""
    assert look.comparison is not None
    files = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, explanation in enumerate(look.comparison, start=1):
            path = explanation.save(Path(folder, f"map_{number}_{explanation.method}.npz"))
            files[path.name] = path.read_bytes()
    if len(files) == 1:
        return Download(f"{stem}.npz", "application/octet-stream", *files.values())
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as together:
        for name, content in files.items():
            together.writestr(name, content)
    return Download(f"{stem}.zip", "application/zip", stream.getvalue())


def _report(stem: str, look: Look, style: Style) -> Download:
    page = full_report(look).to_html()
    return Download(f"{stem}_report.html", "text/html", utf8(page))


_DOWNLOADS: dict[str, Callable[[str, Look, Style], Download]] = {
    "PNG": _sheet("png", "image/png"),
    "SVG": _sheet("svg", "image/svg+xml"),
    "NPZ": _archive,
    "HTML": _report,
}
DOWNLOADS = tuple(_DOWNLOADS)


def drawn(explanation: Explanation, style: Style) -> np.ndarray:
    """Draw a map as large as a page shows it: (H, W, 3) uint8."""
    palette = style.palette
    signed = palette.signed
    values = explanation.signed_heatmap if signed else explanation.heatmap
    small = shrink(explanation, values)
    longest = max(small.heatmap.shape)
    if longest < _SMALLEST:
        scale = -(-_SMALLEST // longest)
        size = tuple(side * scale for side in small.heatmap.shape[::-1])
        image, heatmap = Image.fromarray(small.image), Image.fromarray(small.heatmap)
        small = replace(
            small,
            image=np.asarray(image.resize(size, Image.Resampling.NEAREST)),
            heatmap=np.asarray(heatmap.resize(size, Image.Resampling.BILINEAR)),
        )
    return draw_map(small, small.heatmap, style.alpha, palette)


def embed_pixels(pixels: np.ndarray, words: str) -> str:
    """Write pixels (H, W, 3) uint8 as HTML, with words for who can't see them."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png", compress_level=2)
    return embed_png(stream.getvalue(), words)


def _by_finding(cells: Iterable[Explanation]) -> dict[str, tuple[Finding, str]]:
    """Each finding once, with the methods that it is of."""
    found: dict[str, tuple[Finding, str]] = {}
    for cell in cells:
        for one in cell.findings:
            key = f"{one.code} {one.message}"
            before = found[key][1].split(", ") if key in found else []
            found[key] = one, ", ".join(dict.fromkeys([*before, cell.method]))
    return found

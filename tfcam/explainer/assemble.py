"""From what was computed to the result that says what it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from tfcam import maps
from tfcam.engine.engine import Engine
from tfcam.engine.settings import Computed, Explained
from tfcam.explainer import checks, numeric_checks
from tfcam.findings import Finding, finding
from tfcam.maps.scaling import shown_values
from tfcam.methods.registry import Method
from tfcam.methods.selection import numbered
from tfcam.preprocessing.prepare import Prepared
from tfcam.preprocessing.texts import ReadText
from tfcam.results.explanation import Explanation
from tfcam.targets.callables import ClassScore, Each, label
from tfcam.targets.classes import PREDICTED
from tfcam.targets.resolve import ResolvedTarget
from tfcam.utils.versions import versions


@dataclass(frozen=True)
class Run:
    """What was computed of some images, and what is said of all its results.

    Attributes:
        engine: The engine that computed it.
        prepared: The images.
        targets: The target of each answer.
        answers: The maps of each target.
        labels: The label of each class.
        findings: Findings that all results share.
        fuse: How several layers become one map.
        options: Further options that the results tell.
    """

    engine: Engine
    prepared: Prepared
    targets: Sequence[ResolvedTarget | None]
    answers: Sequence[Computed]
    labels: Sequence[str] | None = None
    findings: Sequence[Finding] = ()
    fuse: maps.Fusion = "max"
    options: dict[str, Any] = field(default_factory=dict)


class Cell(NamedTuple):
    """Which of what was computed an explanation is of.

    Attributes:
        run: The run.
        target: The index of the target.
        image: The index of the image.
        request: The index of the method, among the engine's.
        place: The index of the layer, among the engine's; None for all that the method explains.
        words: Of a text given as numbers, the word of each position.
    """

    run: Run
    target: int
    image: int
    request: int = 0
    place: int | None = None
    words: tuple[str, ...] = ()

    @property
    def answer(self) -> Computed:
        """The maps of the target."""
        return self.run.answers[self.target]

    @property
    def method(self) -> Method:
        """The method."""
        return self.run.engine.requests[self.request].method

    @property
    def measured(self) -> dict[str, float]:
        """What the method measured of itself, at the first layer that is explained."""
        place = (self.place or 0) if self.method.layered else 0
        values = self.answer.measured[self.request][place]
        return {name: float(each[self.image]) for name, each in values.items()}

    @property
    def text(self) -> ReadText | None:
        """Of a string, the text as it was read."""
        texts = self.run.prepared.texts
        return texts[self.image] if texts else None

    @property
    def picture(self) -> np.ndarray:
        """The image as it is shown."""
        return self.run.prepared.images[self.image]


class _Chosen(NamedTuple):
    """What was explained of an image: its class, what that is called, and its score."""

    target: int | None
    label: str | None
    score: float
    kind: str
    probability: float | None

    @property
    def name(self) -> str:
        return self.label or f"class {self.target}"


class _Layers(NamedTuple):
    """The raw map of each layer, which it is, and its path; no paths where none is explained."""

    places: Sequence[int]
    paths: list[str]
    raws: list[np.ndarray]


def explanation(cell: Cell) -> Explanation:
    """Assemble the result for one image, target and method, at one layer or all layers fused."""
    run, method = cell.run, cell.method
    chosen, layers = _chosen(cell), _layers(cell)
    broken = sum(int(np.count_nonzero(~np.isfinite(raw))) for raw in layers.raws)
    broken += not np.isfinite(chosen.score)
    size = cell.picture.shape[: run.prepared.axes]
    heatmap = np.zeros(size, np.float32) if broken else _heatmap(cell, layers.raws, size)
    several = len(layers.paths) > 1
    options = run.engine.options(run.engine.requests[cell.request]) | run.options
    return Explanation(
        heatmap=heatmap,
        raw=heatmap if several else layers.raws[0],
        image=cell.picture,
        target=chosen.target,
        label=chosen.label,
        score=chosen.score,
        score_kind="contrast" if method.contrast else chosen.kind,
        probability=chosen.probability,
        layer=joined(layers.paths),
        layer_reason=_reason(cell, layers),
        method=method.name,
        options=options | ({"fuse": run.fuse} if several else {}),
        preprocessing=run.prepared.description,
        findings=tuple(_findings(cell, chosen, layers, heatmap, broken)),
        versions=versions(),
        measured=cell.measured,
        parts=dict(zip(numbered(layers.paths), layers.raws, strict=True)) if several else {},
        **_told_of(cell),
    )


def _told_of(cell: Cell) -> dict[str, Any]:
    """The words of a text; of a string, where they are in it."""
    text = cell.text
    if text is None:
        return {"words": cell.words}
    if cell.words:
        raise ValueError("A string has words of its own; leave words out.")
    return {"words": text.words, "text": text.text, "spans": text.spans}


def _chosen(cell: Cell) -> _Chosen:
    answer, image, target = cell.answer, cell.image, cell.run.targets[cell.target]
    pair = answer.pairs[image]
    if isinstance(target, Each):
        target = target.targets[image]
    if isinstance(target, ClassScore) and answer.values is not None:
        best = int(answer.values[image].argmax())
        pair, target = np.array([best if c == PREDICTED else c for c in target.pair]), None
    number = int(pair[0]) if pair[0] >= 0 else None
    return _Chosen(
        number,
        label(target, pair, cell.run.labels),
        float(answer.scores[image]),
        "callable" if callable(target) else answer.kind,
        answer.probability(image, number),
    )


def _layers(cell: Cell) -> _Layers:
    method, names = cell.method, cell.run.engine.layers
    raws = [raw[cell.image] for raw in cell.answer.raws[cell.request]]
    if method.pixels and cell.run.prepared.bgr:
        raws = [np.ascontiguousarray(r[..., ::-1]) if r.ndim == 3 else r for r in raws]
    if cell.text is not None:
        raws = [_by_word(raw, cell.text) for raw in raws]
    place = cell.place if method.layered else None
    places = range(len(raws)) if place is None else [place]
    paths = [names[place] for place in places] if method.placed else []
    return _Layers(places, paths, [raws[place] for place in places])


def _by_word(raw: np.ndarray, text: ReadText) -> np.ndarray:
    """Sum a map (l,) over the numbers of each word: (W,)."""
    over = maps.resize(raw, text.owners.shape)
    shared = text.owners >= 0
    return np.bincount(text.owners[shared], over[shared], len(text.words)).astype(raw.dtype)


def _heatmap(cell: Cell, raws: Sequence[np.ndarray], size: tuple[int, ...]) -> np.ndarray:
    how = cell.run.engine.requests[cell.request].shown
    heatmaps = [maps.heatmap(shown_values(raw, how), size) for raw in raws]
    return heatmaps[0] if len(raws) == 1 else maps.fuse(heatmaps, cell.run.fuse)


def _findings(
    cell: Cell, chosen: _Chosen, layers: _Layers, heatmap: np.ndarray, broken: int
) -> list[Finding]:
    run, answer = cell.run, cell.answer
    engine, prepared = run.engine, run.prepared
    findings = list(run.findings)
    if cell.text is not None and cell.text.cut:
        findings.append(finding("text_cut", count=cell.text.cut, seen=len(cell.text.words)))
    if cell.text is not None and not cell.text.spans:
        findings.append(finding("words_unknown"))
    if broken:
        start = numeric_checks.start_of_nan(engine.submodel, prepared, cell.image)
        holder = "The map and its score"
        findings.append(finding("not_finite", holder=holder, count=broken, start=start))
    elif not heatmap.any():
        findings.append(finding("no_positive_evidence", target=chosen.name))
    for path, raw in zip(layers.paths, layers.raws, strict=False):
        if raw.size == 1:
            findings.append(finding("one_position", layer=path))
    of_map = cell.measured, cell.method.name, layers.raws[0]
    findings += checks.of_measured(*of_map, chosen.score)
    graph = engine.submodel.graph
    if not (graph.is_black_box and engine.submodel.ending == "probability"):  # so it was said
        findings += checks.of_probability(chosen.kind, engine.settings.score, chosen.probability)
    target = run.targets[cell.target]
    about = target, answer.pairs, cell.image, chosen.name, run.labels, bool(answer.blind)
    explained = Explained(*about)
    places, raws = layers.places, layers.raws
    return findings + checks.of_result(engine, prepared, explained, cell.method, places, raws)


def joined(paths: Sequence[str]) -> str | None:
    """Name several layers in a few words; None for none."""
    if len(paths) > 3:
        return f"{paths[0]} ... {paths[-1]} ({len(paths)} layers)"
    return " + ".join(paths) or None


def _reason(cell: Cell, layers: _Layers) -> str:
    engine, first = cell.run.engine, layers.places[0]
    if not cell.method.layered:
        return "the method explains the input"
    if not cell.method.placed:
        of_text = cell.run.prepared.axes == 1
        return "every self-attention" + (
            "" if of_text else f", on the grid of {engine.layers[first]}"
        )
    if len(layers.paths) > 1:
        return f"{len(layers.paths)} layers as given, fused by {cell.run.fuse}"
    if cell.method.at_words:
        return "the embeddings of its words"
    return engine.reasons[first]

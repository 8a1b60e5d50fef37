"""From what was computed to the result that says what it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfcam import maps
from tfcam.engine import settings
from tfcam.engine.engine import Engine
from tfcam.engine.settings import Computed
from tfcam.explainer import checks, numeric_checks
from tfcam.findings import Finding, finding
from tfcam.methods.registry import Method
from tfcam.passes.reading import Need
from tfcam.preprocessing.prepare import Prepared
from tfcam.results.explanation import Explanation
from tfcam.targets.callables import ClassScore, Each, label
from tfcam.targets.classes import PREDICTED
from tfcam.utils.versions import versions


def explanation(
    engine: Engine,
    prepared: Prepared,
    computed: Computed,
    target: Any,
    labels: Sequence[str] | None,
    *,
    image: int,
    request: int = 0,
    place: int | None = None,
    fuse: maps.Fusion = "max",
    found: Sequence[Finding] = (),
    options: dict[str, Any] | None = None,
    words: tuple[str, ...] = (),
) -> Explanation:
    """The result for one image, method and layer, or for all layers fused.

    Args:
        engine: What computed it.
        prepared: The pictures.
        computed: What was computed.
        target: The callable that was explained; anything else where it was a class.
        labels: The label of each class.
        image: Which of the pictures.
        request: Which of the engine's methods.
        place: Which of the engine's layers; None for all that the method explains.
        fuse: How several layers become one map.
        found: What was found before.
        options: What else the result should say of how it was made.
        words: Of a text, the word of each position.
    """
    asked = engine.requests[request]
    raws = [raw[image] for raw in computed.raws[request]]
    if asked.method.pixels and prepared.bgr:
        raws = [np.ascontiguousarray(r[..., ::-1]) if r.ndim == 3 else r for r in raws]
    places = range(len(raws)) if place is None or not asked.method.layered else [place]
    raws, paths = [raws[each] for each in places], [*engine.layers]
    paths = [paths[each] for each in places] if asked.method.layered else []
    picture, score = prepared.images[image], float(computed.scores[image])
    size = picture.shape[: prepared.axes]
    pair = computed.pairs[image]
    given = target
    if isinstance(target, Each):
        target = target.targets[image]
    if isinstance(target, ClassScore) and computed.values is not None:
        best = int(computed.values[image].argmax())
        pair, target = np.array([best if c == PREDICTED else c for c in target.pair]), None
    name = label(target, pair, labels)
    chosen = int(pair[0]) if pair[0] >= 0 else None
    if not asked.method.placed:
        paths = []
    findings = list(found)
    if broken := sum(np.count_nonzero(~np.isfinite(r)) for r in raws) + (not np.isfinite(score)):
        start = numeric_checks.start_of_nan(engine.submodel, prepared, image)
        holder = "The map and its score"
        findings.append(finding("not_finite", holder=holder, count=broken, start=start))
        heatmap = np.zeros(size, np.float32)
    else:
        # Of an input without channels, whose own map of pixels is signed, the absolute value.
        shown = [np.abs(each) if asked.method.pixels else each for each in raws]
        heatmaps = [maps.heatmap(each, size) for each in shown]
        heatmap = heatmaps[0] if len(raws) == 1 else maps.fuse(heatmaps, fuse)
        if not heatmap.any():
            findings.append(finding("no_positive_evidence", target=name or f"class {chosen}"))
    for path, raw in zip(paths, raws, strict=False):
        if raw.size == 1:
            findings.append(finding("one_position", layer=path))
    probability = computed.probability(image, chosen)
    kind = "callable" if callable(target) else computed.kind
    findings += checks.of_probability(kind, engine.settings.score, probability)
    explained = settings.Explained(given, computed.pairs, image, name or f"class {chosen}")
    findings += checks.of_result(engine, prepared, explained, asked.method, places, raws)
    measured = computed.measured[request][places[0]]
    several = len(paths) > 1
    return Explanation(
        heatmap=heatmap,
        raw=heatmap if several else raws[0],
        image=picture,
        target=chosen,
        label=name,
        score=score,
        score_kind="contrast" if asked.method.contrast else kind,
        probability=probability,
        layer=joined(paths),
        layer_reason=_reason(engine, asked.method, places, paths, fuse),
        method=asked.method.name,
        options=engine.options(asked) | ({"fuse": fuse} if several else {}) | (options or {}),
        preprocessing=prepared.description,
        findings=tuple(findings),
        versions=versions(),
        measured={key: float(values[image]) for key, values in measured.items()},
        parts=dict(zip(paths, raws, strict=True)) if several else {},
        words=words,
    )


def joined(paths: Sequence[str]) -> str | None:
    """Several layers in a few words; None for none."""
    if len(paths) > 3:
        return f"{paths[0]} ... {paths[-1]} ({len(paths)} layers)"
    return " + ".join(paths) or None


def _reason(
    engine: Engine, method: Method, places: Sequence[int], paths: Sequence[str], fuse: str
) -> str:
    if Need.ATTENTIONS in method.needs:
        return f"every self-attention, on the grid of {engine.layers[places[0]]}"
    if not paths:
        return "the method explains the input"
    if len(paths) > 1:
        return f"{len(paths)} layers as given, fused by {fuse}"
    return engine.reasons[places[0]]

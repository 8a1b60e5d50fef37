"""What ``tfcam explain --json`` prints of an explanation."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any


def _finite(number: float | None) -> float | None:
    """Give a number as JSON can hold it, which has no NaN."""
    return number if number is not None and math.isfinite(number) else None


def _places(result: Any, finite: bool) -> dict[str, Any]:
    """Say where a map is bright: boxes of a picture, the largest value of each frame."""
    heatmap = result.heatmap
    if heatmap.ndim == 2:
        return {"boxes": result.boxes().tolist() if finite else []}
    values = heatmap.reshape(len(heatmap), -1).max(axis=1).tolist() if finite else []
    return {"frames" if heatmap.ndim == 3 else "positions": values}


def record(image: str, result: Any, file: Path | None) -> dict[str, Any]:
    """Give a result as JSON can hold it."""
    codes = [finding.code for finding in result.findings]
    where: dict[str, Any] = {"words": result.words, "raw": result.raw.tolist()}
    if not result.text:
        where = _places(result, finite="not_finite" not in codes)
    verification = result.verification
    return {
        "text" if result.text else "image": image,
        "target": result.target,
        "label": result.label,
        "score": _finite(result.score),
        "score_kind": result.score_kind,
        "probability": _finite(result.probability),
        "layer": result.layer,
        "method": result.method,
        **where,
        "findings": codes,
        "verdict": None if verification is None else verification.verdict,
        "p_value": None if verification is None else verification.p_value,
        "file": None if file is None else str(file),
    }

"""What a method can't explain of a model, and what does."""

from __future__ import annotations

from collections.abc import Sequence

from tfcam.methods.registry import METHODS, Request
from tfcam.model.graph import ModelGraph
from tfcam.model.taps import Tap

# The methods for texts that need no embeddings.
WORD_HIDING = ("occlusion", "kernel_shap", "lime")


def check_embedded(embedding: str | None, method: str, model: str) -> None:
    """Refuse a method that explains words at their embeddings where they have none.

    Raises:
        ValueError: If there are none.
    """
    if embedding is None:
        raise ValueError(
            f"{method!r} explains a text at the embeddings of its words, and {model!r} has none "
            f"for them. These methods hide words instead: {', '.join(WORD_HIDING)}."
        )


def check_black_box(graph: ModelGraph, requests: Sequence[Request], freeze: bool) -> None:
    """Refuse what needs more of a black box than scores.

    Raises:
        ValueError: If a method needs layers or gradients, or weights are to be built in.
    """
    for request in requests:
        if not request.method.asks_scores_alone:
            apply = (method.name for method in METHODS.values() if method.asks_scores_alone)
            raise ValueError(
                f"{request.method.name!r} needs layers or gradients, and the black box "
                f"{graph.name!r} only gives scores. These methods apply: {', '.join(apply)}."
            )
    if freeze:
        raise ValueError("freeze=True builds weights in, and a black box has none; leave it out.")


def check_tokens(taps: Sequence[Tap], of_text: bool) -> None:
    """Refuse layers that no map of attention can be laid on.

    Raises:
        ValueError: If there are several, or one of no tokens.
    """
    if len(taps) > 1:
        raise ValueError(
            "A map of attention goes through all attentions and takes no list of layers; "
            f"got {len(taps)}."
        )
    strange = [tap.name for tap in taps if tap.grid is None]
    if strange and not of_text:
        raise ValueError(
            "A map of attention needs a layer of tokens, whose grid its map takes; "
            f"{strange[0]!r} gives a map. Name a layer inside the transformer."
        )

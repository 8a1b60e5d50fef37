"""What a method can't explain of a model, and what does."""

from __future__ import annotations

from collections.abc import Sequence

from tfcam.methods.registry import METHODS, Request
from tfcam.model.graph import ModelGraph
from tfcam.model.inputs import Input
from tfcam.model.taps import Tap
from tfcam.passes.reading import Need

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


# Gradients at the pixels.
_OF_PIXELS = Need.IMAGE_GRADIENTS | Need.GUIDED_GRADIENTS | Need.DECONVNET_GRADIENTS
_OF_PIXELS |= Need.BIAS_ATTRIBUTIONS


def check_rounded(taken: Input, requests: Sequence[Request], model: str) -> None:
    """Refuse gradients at pixels that the model takes as whole numbers, which have none.

    Raises:
        ValueError: If a method needs them.
    """
    for request in requests if taken.is_rounded else ():
        method = request.method
        if method.needs & _OF_PIXELS or (method.pixels and Need.NETWORK in method.needs):
            raise ValueError(
                f"{method.name!r} needs the gradient at the pixels, and {model!r} takes whole "
                f"numbers, {taken.dtype}, which have none. Explain a layer, as by grad_cam, or ask "
                "for scores alone, as occlusion, rise, lime and kernel_shap do."
            )


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

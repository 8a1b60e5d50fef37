"""Numbers of words that a model has no vector of, which TensorFlow's own words would tell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import keras
import numpy as np

from tfcam.model.graph import ModelGraph
from tfcam.utils.validation import shown


def check_vocabulary(
    graph: ModelGraph, which: int, numbers: Iterable[np.ndarray], texts: Sequence[str] = ()
) -> None:
    """Refuse numbers beyond a model's table of embeddings.

    Args:
        graph: What is known of the model.
        which: Which of its inputs they are for.
        numbers: (L,) of each text; what are no whole numbers is let pass.
        texts: The texts, where these were strings.

    Raises:
        ValueError: If one is none of the table's.
    """
    call = graph.calls(which).embedding if graph.inputs[which].is_text else None
    table = None if call is None else call.operation
    # One with code of its own may take others.
    if not isinstance(table, keras.layers.Embedding) or not _is_plain(table):
        return
    for place, row in enumerate(numbers):
        beyond = row[(row < 0) | (row >= table.input_dim)] if row.dtype.kind in "iu" else row[:0]
        if beyond.size:
            of = f"{texts[place]!r:.80} gives" if texts else f"{shown(row.tolist())} holds"
            raise ValueError(
                f"The numbers of a text must be in 0..{table.input_dim - 1}, those of the "
                f"embeddings of {table.name!r}; {of} {beyond[0]}."
            )


def _is_plain(table: keras.layers.Embedding) -> bool:
    own = type(table)
    return own.call is keras.layers.Embedding.call or own.__module__.startswith("keras_hub.")

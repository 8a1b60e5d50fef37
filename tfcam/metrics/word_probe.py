"""Asking a model for the probabilities of texts with words hidden."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcam.engine.opened_model import OpenedModel, open_model
from tfcam.engine.settings import Settings
from tfcam.preprocessing.modes import Preprocess
from tfcam.preprocessing.others import prepare_others
from tfcam.preprocessing.prepare import Prepared, prepare
from tfcam.preprocessing.sizes import unpadded
from tfcam.preprocessing.texts import ReadText


@dataclass(frozen=True, eq=False)
class WordProbe:
    """Asks a model for the probabilities of one text with words behind the mask, or the padding.

    Attributes:
        opened: The model.
        settings: How it is asked.
        prepared: The text, prepared.
        read: The text as the model takes it.
    """

    opened: OpenedModel
    settings: Settings
    prepared: Prepared
    read: ReadText

    def probabilities(self, hidden: np.ndarray) -> np.ndarray:
        """Ask for the probabilities (n, C) with words hidden.

        Args:
            hidden: (n, W) bool.
        """
        prepared, size = self.prepared, self.settings.at_once
        owners, numbers = self.read.owners, prepared.inputs[0]
        behind = hidden[:, owners] & (owners >= 0)
        blank = self.opened.input.blank if self.read.blank is None else self.read.blank
        variants = np.where(behind, blank, numbers).astype(numbers.dtype)
        others = [np.repeat(values, size, 0) for values in prepared.others]
        parts = []
        for start in range(0, len(variants), size):
            part = variants[start : start + size]
            padded = np.concatenate([part, np.repeat(part[-1:], size - len(part), 0)])
            tensors = [tf.constant(padded), *map(tf.constant, others)]
            lengths = self.opened.lengths(self.settings.output)
            asked = lengths.run(partial(self._ask, tensors), tensors, len(tensors))
            parts.append(asked.numpy()[: len(part)])
        return np.concatenate(parts)

    def _ask(
        self, tensors: Sequence[tf.Tensor], specs: Sequence[Any]
    ) -> tuple[tf.Tensor, Sequence[tf.Tensor]]:
        """Ask compiled for tensors like these: for probabilities, and all that the model returns.

        The latter only where a length is left open.
        """
        submodel = self.opened.bare(self.settings.output)

        def ask(numbers: tf.Tensor, *others: tf.Tensor) -> Any:
            outputs = submodel.beside(others).forward(numbers).outputs
            asked = tf.cast(outputs.with_probabilities.class_scores, tf.float32)
            return asked, tf.nest.flatten(outputs.values) if None in numbers.shape else []

        return submodel.traced("words", tf.function(ask, autograph=False), specs)(*tensors)


def word_probes(
    model: keras.Model,
    texts: Any,
    preprocess: Preprocess,
    input: str | int | None,
    settings: Settings,
) -> list[WordProbe]:
    """Read texts, to ask a model about them.

    Args:
        model: A model of texts; it is left as it is.
        texts: One string or a list, as ``tfcam.explain`` takes them.
        preprocess: A function of a list of strings, where the model does not bring one.
        input: Which input is explained of a model that has several.
        settings: How the model is asked.

    Raises:
        ValueError: If what is given are no strings.
    """
    opened = open_model(model, input)
    explained, others = opened.split(texts, preprocess)
    read = explained if isinstance(explained, list) else [explained]
    if not read or not all(isinstance(text, ReadText) for text in read):
        raise ValueError(
            f"Words are hidden in strings; {model.name!r} was given something else. "
            "Give a list of strings, and preprocess= where the model takes numbers."
        )
    beside = prepare_others(opened.graph, others, opened.which, len(read), preprocess)
    probes = []
    for number, text in enumerate(read):
        prepared = prepare(opened.graph, [text], preprocess, opened.which)
        own = [values[number : number + 1] for values in beside]
        own = unpadded(opened.graph, opened.which, own)
        probes.append(WordProbe(opened, settings, replace(prepared, others=tuple(own)), text))
    return probes

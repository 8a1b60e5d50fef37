"""Words hidden in the order of a map: deletion, insertion, comprehensiveness, sufficiency."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tfcam.engine.settings import Settings
from tfcam.metrics.checks import check_fractions, raw_map_of
from tfcam.metrics.curves import RATIONALES
from tfcam.metrics.word_probe import WordProbe, word_probes
from tfcam.preprocessing.modes import Preprocess
from tfcam.preprocessing.texts import ReadText


@dataclass(frozen=True, eq=False)
class WordErasure:
    """What becomes of the probabilities of texts when words are hidden, the strongest first.

    Attributes:
        targets: (N,) int32, the class of each text.
        probabilities: (N,) float32, of the unchanged texts.
        deletion: (N,) float32, the area under the probability as words are hidden one by one; low
            is good.
        insertion: (N,) float32, the area as they are shown one by one; high is good.
        comprehensiveness: (N,) float32 in [-1, 1], the mean over some fractions of how far the
            probability falls without the strongest words; high is good.
        sufficiency: (N,) float32 in [-1, 1], the same of the strongest words alone; low is good.
    """

    targets: np.ndarray
    probabilities: np.ndarray
    deletion: np.ndarray
    insertion: np.ndarray
    comprehensiveness: np.ndarray
    sufficiency: np.ndarray


def erase_words(
    model: keras.Model,
    texts: Any,
    maps: Iterable[Any],
    target: int | Sequence[int] | None = None,
    *,
    fractions: Sequence[float] = RATIONALES,
    preprocess: Preprocess = "auto",
    input: str | int | None = None,
    output: str | int | None = None,
    batch_size: int = 32,
) -> WordErasure:
    """Hide the words of texts in the order of maps, behind the mask or else the padding.

    Of equal values the first word comes first. Of a fraction of the words at least one is taken.
    What a map is worth shows beside one of random values, or of falling ones, which hides words as
    they come.

    Args:
        model: A model of texts; it is left as it is.
        texts: A list of strings, as ``tfcam.explain`` takes it.
        maps: Of each text (W,) values of its words, signed, or an ``Explanation``.
        target: The class of each text, or of all; by default the one that the model predicts.
        fractions: Of the words, rising, for comprehensiveness and sufficiency.
        preprocess: A function of a list of strings that gives the model's inputs, where the model
            does not bring one.
        input: Which input is explained of a model that has several, by name or index; by default
            the first of those with most axes.
        output: Which output is explained of a model that has several, by name or index.
        batch_size: Number of images that are computed at once; fewer take less memory.

    Raises:
        ValueError: If the model takes no strings, or maps do not fit the words.

    Source: DeYoung et al. 2020, "ERASER: a benchmark to evaluate rationalized NLP models"; Petsiuk
    et al. 2018, "RISE", section 4.1.

    Departs from the first: the sum over fractions is divided by their number, not by one more.

    Example:
        >>> import keras, tfcam
        >>> read = keras.layers.TextVectorization(vocabulary=["not", "good"])
        >>> strings = keras.Input((1,), dtype="string")
        >>> x = keras.layers.Embedding(4, 2)(read(strings))
        >>> x = keras.layers.GlobalAveragePooling1D()(x)
        >>> model = keras.Model(strings, keras.layers.Dense(2, activation="softmax")(x))
        >>> erased = tfcam.metrics.erase_words(model, ["not good"], [[0.0, 1.0]])
        >>> erased.deletion.shape
        (1,)
    """
    settings = Settings(output=output, at_once=batch_size)  # checks them
    check_fractions(fractions)
    probes = word_probes(model, texts, preprocess, input, settings)
    values = _checked([raw_map_of(each) for each in maps], [probe.read for probe in probes])
    targets = np.broadcast_to(np.asarray(-1 if target is None else target, np.int32), len(probes))
    rows = [
        _erased(probe, own, int(aim), fractions)
        for probe, own, aim in zip(probes, values, targets, strict=True)
    ]
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    return WordErasure(columns[0].astype(np.int32), *(c.astype(np.float32) for c in columns[1:]))


def _checked(maps: Sequence[np.ndarray], texts: Sequence[ReadText]) -> Sequence[np.ndarray]:
    if len(maps) != len(texts):
        raise ValueError(f"There must be a map for each of {len(texts)} texts; got {len(maps)}.")
    for values, text in zip(maps, texts, strict=True):
        if values.shape != (len(text.words),) or not np.isfinite(values).all():
            raise ValueError(
                f"A map must have a finite value for each of the {len(text.words)} words that the "
                f"model sees of {text.text!r:.60}; got shape {values.shape}."
            )
    return maps


def _erased(
    asked: WordProbe, values: np.ndarray, target: int, fractions: Sequence[float]
) -> tuple[float, ...]:
    """The class, its probability, both areas, comprehensiveness and sufficiency of one text."""
    count = len(values)
    places = np.argsort(np.argsort(-values, kind="stable"))
    hidden = places < np.arange(count + 1)[:, np.newaxis]  # none, the strongest, ..., all
    found = asked.probabilities(np.concatenate([hidden, ~hidden]))
    target = int(found[0].argmax()) if target < 0 else target
    if target >= found.shape[1]:
        raise ValueError(f"target must be in 0..{found.shape[1] - 1}; got {target}.")
    without, alone = np.split(found[:, target].astype(np.float64), 2)
    taken = [max(1, round(fraction * count)) for fraction in fractions]
    areas = [(curve[1:] + curve[:-1]).mean() / 2 for curve in (without, alone)]
    falls = [without[0] - curve[taken].mean() for curve in (without, alone)]
    return target, without[0], *areas, *falls

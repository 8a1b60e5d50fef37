"""The tag of a word, of networks that tag each word of a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import tensorflow as tf

from tfcam.targets.by_value import ByValue, single_tensor
from tfcam.targets.classes import class_index
from tfcam.targets.two_classes import names_of_two, two_sides


@dataclass(frozen=True, eq=False)
class Tag(ByValue):
    """Why a word of a text has a tag: the tag's score at that word. Outputs (B, L, tags).

    L is as many positions as the model takes. Of a word of several pieces it is the first piece
    that is tagged. One tag alone tells two apart, as in ``tfcam.Segmentation``.

    Args:
        word: The word: its index among the text's words, from 0, or from -1 at the end; or the
            word itself, where it is there once.
        target: The tag: an index, or a label where the model's labels are known. None: the one that
            the model predicts at that word.
        label: What the tag is called in results; found by itself where labels are known.
        place: At which of the positions the word is, of how many; found by what explains.

    Raises:
        ValueError: If the word is not in the text, or the tag is none of the model's.

    Example:
        >>> outputs = tf.constant([[[1.0, 0.0], [2.0, 3.0]]])
        >>> Tag(1, 0, place=(1, 2))(outputs).numpy()
        array([2.], dtype=float32)
        >>> Tag("Paris", 1).name
        "class 1 of 'Paris'"
    """

    word: int | str
    target: int | str | None = None
    label: str | None = field(default=None, kw_only=True)
    place: tuple[int, int] | None = field(default=None, kw_only=True)
    _array = ("place", 1)

    def __post_init__(self) -> None:
        if isinstance(self.word, bool) or not isinstance(self.word, int | str):
            raise TypeError(
                f"The word of a Tag must be its index or the word itself; got {self.word!r}."
            )
        if self.target is not None and not isinstance(self.target, str):
            object.__setattr__(self, "target", class_index(self.target, None, None))

    @property
    def name(self) -> str:
        """What it is called in results."""
        tag = self.target if isinstance(self.target, str) else f"class {self.target}"
        word = repr(self.word) if isinstance(self.word, str) else f"word {self.word}"
        return f"{self.label or ('the tag' if self.target is None else tag)} of {word}"

    def with_labels(self, labels: Sequence[str]) -> Tag:
        """The same target with its label turned into an index, or its index named.

        Raises:
            ValueError: If a label is unknown or ambiguous, or the tag out of range.
        """
        if self.target is None:
            return self
        names = names_of_two(labels)
        index = class_index(self.target, len(names), names)
        return replace(self, target=index, label=names[index])

    def at(self, words: Sequence[str], owners: Sequence[int]) -> Tag:
        """Find the word in a text.

        Args:
            words: The text's words.
            owners: (L,), the word that each of the model's positions is of; -1 where of none.

        Raises:
            ValueError: If there is no such word, or it is there several times.
        """
        index = _index(self.word, words)
        place = list(owners).index(index), len(owners)
        return replace(self, word=words[index], place=place)

    def scores(self, outputs: Any) -> tf.Tensor:
        """The scores (B, tags) of all tags at the word.

        Raises:
            ValueError: If the outputs are of another form, or the word was not found yet.
        """
        outputs = single_tensor(outputs, "Tag", "(B, L, tags)", (3,))
        if self.place is None:
            raise ValueError(
                f"{self.name} is asked of one text, in which the word is found first, as "
                "tfcam.explain, compare and diagnose do."
            )
        place, count = self.place
        if outputs.shape[1] != count:
            raise ValueError(
                f"A Tag needs an output for each of the {count} positions that the model takes; it "
                f"returns {tuple(outputs.shape)}. Pass a callable outputs -> (B,) instead, such as "
                "lambda outputs: outputs[:, position, tag]."
            )
        here = tf.cast(outputs[:, place], tf.float32)
        if outputs.shape[2] > 1:
            return here
        return two_sides(here, tf.reduce_all((outputs >= 0) & (outputs <= 1)))

    def __call__(self, outputs: Any) -> tf.Tensor:
        """The scores (B,) float32."""
        scores = self.scores(outputs)
        if self.target is None:
            return tf.reduce_max(scores, axis=-1)
        return scores[:, class_index(self.target, scores.shape[1], None)]


def _index(word: int | str, words: Sequence[str]) -> int:
    """The index of a word in a text."""
    listed = f"{', '.join(map(repr, words)):.200}"
    if not isinstance(word, str):
        if not -len(words) <= word < len(words):
            raise ValueError(
                f"The word of a Tag must be in 0..{len(words) - 1}, of {listed}; got {word}."
            )
        return word % len(words)
    found = [place for place, one in enumerate(words) if one == word]
    found = found or [place for place, one in enumerate(words) if one.lower() == word.lower()]
    if len(found) != 1:
        places = ", ".join(map(str, found))
        several = f", and it is there at {places}: give one of these" if found else ""
        raise ValueError(f"The word of a Tag must be one of {listed}; got {word!r}{several}.")
    return found[0]

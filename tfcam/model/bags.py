"""Bags of words: layers that count a text's words, by the numbers of these words.

A twin of such a layer lists the numbers of a text's words; from these, and 0 for a word that is
left out, the bag is counted anew.
"""

from __future__ import annotations

import weakref
from typing import Any

import keras
import numpy as np
import tensorflow as tf

_BAGS = ("count", "multi_hot", "tf_idf")
_TWINS: weakref.WeakKeyDictionary[Any, tuple[list[Any], Any]] = weakref.WeakKeyDictionary()


def is_bag(layer: Any) -> bool:
    """Whether a layer counts the words of a text."""
    if not isinstance(layer, keras.layers.TextVectorization):
        return False
    return layer.get_config()["output_mode"] in _BAGS


def as_bag(layer: Any, numbers: tf.Tensor) -> tf.Tensor:
    """What a layer gives for a text of these words.

    Args:
        layer: It counts words.
        numbers: (B, L) of its twin: 0 for no word, 1 for an unknown one.

    Returns:
        (B, V) float32.
    """
    config, lookup = layer.get_config(), layer._lookup_layer
    with tf.init_scope():  # its table is asked, not traced
        width = int(layer.vocabulary_size())
    if config["pad_to_max_tokens"]:
        width = lookup.max_tokens
    places = tf.cast(numbers, tf.int32) - 1
    # What is -1 has no place: a word that is left out.
    counts = tf.reduce_sum(tf.one_hot(places, width, dtype=tf.float32), axis=1)
    if config["output_mode"] == "multi_hot":
        return tf.minimum(counts, 1.0)
    if config["output_mode"] == "tf_idf":
        return counts * tf.cast(lookup.idf_weights_const, tf.float32)
    return counts


def reads_alike(layer: Any, strings: Any) -> np.ndarray:
    """The numbers (B, L) of the words that a layer counts in strings.

    Raises:
        ValueError: If the layer counts in another way than its twin.
    """
    numbers = np.asarray(_twin(layer)(strings))
    counted = np.asarray(layer(strings))
    if not np.allclose(as_bag(layer, tf.constant(numbers)), counted, atol=1e-5):
        raise ValueError(
            f"What the layer {layer.name!r} counts can't be told word by word. Explain the network "
            "behind it by what it is given: tfcam.explain(network, bag, method='gradient_input')."
        )
    return numbers


def _twin(layer: Any) -> Any:
    """A layer that lists the numbers of words as another counts them."""
    words = layer.get_vocabulary(include_special_tokens=False)
    known = _TWINS.get(layer)
    if known is None or known[0] != words:
        config = layer.get_config()
        same = {name: config[name] for name in ("standardize", "split", "ngrams", "encoding")}
        twin = keras.layers.TextVectorization(vocabulary=words, output_mode="int", **same)
        known = _TWINS[layer] = (words, twin)
    return known[1]

"""What a model returns: one of several outputs, and how many classes it tells apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfcam.utils.suggestions import did_you_mean


def symbolic_outputs(model: Any) -> Any:
    """The symbolic outputs of a model that has a graph, in their structure."""
    return model.outputs[0] if isinstance(model, keras.Sequential) else model.output


def classes_of_shape(shape: Any) -> int | None:
    """How many classes outputs of a shape (B, ..., classes) tell apart; None of another form."""
    return shape[-1] if isinstance(shape, tuple) and len(shape) > 1 else None


def pick_output(outputs: Any, output: str | int | None, names: Sequence[str] = ()) -> Any:
    """One of several outputs of a model.

    Args:
        outputs: A tensor, or a list, tuple or dict of these.
        output: A key of the dict, a name of ``names``, or an index; None for all as they are.
        names: The names of the outputs, flattened: ``model.output_names`` where it has them.

    Returns:
        The chosen output.

    Raises:
        ValueError: If there is no such output, or the name is that of several.

    Example:
        >>> pick_output([tf.zeros(2), tf.ones(2)], "boxes", ["classes", "boxes"]).numpy()
        array([1., 1.], dtype=float32)
    """
    if output is None:
        return outputs
    whole = isinstance(outputs, Mapping | list | tuple)
    keys = list(outputs) if isinstance(outputs, Mapping) else range(len(outputs) if whole else 1)
    if isinstance(output, str | int) and not isinstance(output, bool) and output in keys:
        return outputs[output] if whole else outputs
    leaves = tf.nest.flatten(outputs)
    known: list[Any] = list(names) if len(names) == len(leaves) else []
    if known.count(output) == 1:
        return leaves[known.index(output)]
    if output in known:
        places = [index for index, name in enumerate(known) if name == output]
        raise ValueError(f"The name {output!r} is that of outputs {places}; give one's index.")
    words = [word for word in dict.fromkeys([*keys, *known]) if isinstance(word, str)]
    choice = [*map(repr, keys), *(repr(word) for word in dict.fromkeys(known) if word not in keys)]
    raise ValueError(
        f"output must be one of {', '.join(choice)}; got {output!r}.{did_you_mean(output, words)}"
    )


def read_by(target: Callable[[Any], Any], returned: Any, shapes: Mapping[str, Any]) -> list[str]:
    """Which of several outputs a callable target reads; all of them where it can't be told.

    Args:
        target: Outputs -> (B,).
        returned: The names of the outputs, in the structure in which the target takes them.
        shapes: The shape of each.
    """
    names = tf.nest.flatten(returned)
    with tf.Graph().as_default():
        given = {n: tf.compat.v1.placeholder(tf.float32, shapes[n]) for n in names}
        try:
            score = target(tf.nest.map_structure(given.__getitem__, returned))
            waiting, seen = [score.op], set[str]()
        except Exception:  # whatever a user's code raises, it says so itself once it is computed
            return list(names)
        while waiting:
            operation = waiting.pop()
            if operation.name not in seen and operation.type not in ("Shape", "ArgMax"):
                seen.add(operation.name)
                waiting += [tensor.op for tensor in operation.inputs]
    return [name for name in names if given[name].op.name in seen] or list(names)

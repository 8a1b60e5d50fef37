"""What a model returns: one of several outputs, how wide it is, and what it was trained for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfcam.model.call_graph import Ending
from tfcam.model.endings import BOUNDED
from tfcam.targets.two_classes import Classes
from tfcam.utils.suggestions import did_you_mean


class ModelOutput(NamedTuple):
    """What is known of one output of a model.

    Attributes:
        place: Its place in the flat order of the outputs; None where several are meant.
        width: The length of its last side; None where that is not known.
        ending: How it comes about; None where that can't be told, or is in another way.
    """

    place: int | None = None
    width: int | None = None
    ending: Ending | None = None

    def classes(self, model: Any, labels: Sequence[str] | None, compiled: Any = None) -> Classes:
        """Tell what it tells apart.

        A single unit is of two classes where it ends in a sigmoid, or there are labels of both
        classes, or the model was compiled with a loss of two classes, such as binary crossentropy.
        It is a number where the model was compiled with a loss of numbers, such as the mean squared
        error, or there is one label. Of any other it is open: it is a number unless a class is
        asked for.

        Args:
            model: The model.
            labels: What the user says, or None.
            compiled: The model that was compiled with the loss, where it is another that trains
                this one.
        """
        if self.width != 1:
            return Classes(self.width)
        two = True if self.ending in BOUNDED or len(labels or ()) == 2 else None
        if two is None and self.place is not None:
            two = _is_of_two(_loss_of(model, self.place, compiled or model))
        if two is None and labels is not None:
            two = False
        return Classes(1 if two is False else 2, number=not two)


def symbolic_outputs(model: Any) -> Any:
    """The symbolic outputs of a model that has a graph, in their structure."""
    return model.outputs[0] if isinstance(model, keras.Sequential) else model.output


def classes_of_shape(shape: Any) -> int | None:
    """How many classes outputs of a shape (B, ..., classes) tell apart; None of another form."""
    if not isinstance(shape, tuple) or not shape:
        return None
    return shape[-1] if len(shape) > 1 else 1


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
    if isinstance(output, str) and output in getattr(outputs, "_fields", ()):
        return getattr(outputs, output)
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
    own = getattr(outputs, "_fields", keys)
    choice = [*map(repr, own), *(repr(word) for word in dict.fromkeys(known) if word not in keys)]
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


_OF_TWO = {"binarycrossentropy", "binaryfocalcrossentropy", "hinge", "squaredhinge"}
_OF_NUMBERS = {"meansquarederror", "meanabsoluteerror", "meanabsolutepercentageerror"}
_OF_NUMBERS |= {"meansquaredlogarithmicerror", "huber", "logcosh", "poisson"}


def _loss_of(model: Any, place: int, compiled: Any) -> Any:
    """Find the loss that an output was compiled with."""
    loss = getattr(compiled, "loss", None)
    if isinstance(loss, dict):
        outputs, names = getattr(model, "output", None), getattr(model, "output_names", None) or ()
        keys = sorted(outputs) if isinstance(outputs, Mapping) else names
        known = [loss[each[place]] for each in (keys, names) if each and each[place] in loss]
        return known[0] if known else None
    if isinstance(loss, list | tuple):
        return loss[place] if place < len(loss) else None
    return loss


def _is_of_two(loss: Any) -> bool | None:
    """Tell whether a loss is of two classes, or of numbers; None where it does not tell."""
    if isinstance(loss, str):
        try:
            loss = keras.losses.get(loss)
        except ValueError:
            return None
    kinds = type(loss).__mro__ if isinstance(loss, keras.losses.Loss) else ()
    names = [getattr(loss, "__name__", ""), *(kind.__name__ for kind in kinds)]
    plain = {name.replace("_", "").lower() for name in names}
    if plain & _OF_TWO:
        return True
    return False if plain & _OF_NUMBERS else None

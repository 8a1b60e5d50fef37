"""How strings become a model's inputs: by its own layer, its preprocessor, or a user's function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf

from tfcam.model.graph import ModelGraph
from tfcam.model.string_layers import Vectorization, arriving
from tfcam.model.strings import tokenizer_of
from tfcam.preprocessing.modes import Preprocess, function_name

# Two segments are a premise and a hypothesis, a question and its context.
Text: TypeAlias = str | tuple[str, ...]


class TextReader(NamedTuple):
    """How strings become a model's inputs.

    Attributes:
        encode: Texts, all of as many segments -> the inputs (B, ...) that come from them, in their
            flat order: all of the model's, or the explained one alone.
        which: Which of these holds the numbers of words.
        name: What a number is called where the words can't be told.
        whole: Whether all of the model's inputs come from the text.
        blanks: Numbers that are of no word in any text.
        one_word: Whether each text is one word, as the value of a category is.
        of_several: Whether numbers are of several words, as of pairs of them.
        own_length: Whether each text is as long as it is by itself: beside longer ones it would be
            filled up, and what fills it up may count.
        shows_padding: Whether what fills an empty text up is the number that stands for nothing,
            where nobody else tells it.
    """

    encode: Callable[[Sequence[Text]], list[np.ndarray]]
    which: int
    name: Callable[[int], str]
    whole: bool
    blanks: frozenset[int] = frozenset()
    one_word: bool = False
    of_several: bool = False
    own_length: bool = False
    shows_padding: bool = False


def find_reader(
    graph: ModelGraph, which: int, preprocess: Preprocess, text: Text
) -> TextReader | None:
    """Find how strings become a model's inputs; None where it takes none.

    Args:
        graph: What is known of the model.
        which: Which of its inputs is explained.
        preprocess: A callable on a list of strings is taken; else what the model has inside, or
            brings along.
        text: One of the texts.
    """
    taken = graph.inputs[which]
    if not taken.is_text:
        return None
    if callable(preprocess):
        return _by_callable(graph, which, preprocess, text)
    if taken.behind is not None:
        return _by_layer(graph, taken.behind)
    tokenizer = tokenizer_of(graph.model)
    if tokenizer is None:
        return None
    special = (getattr(tokenizer, f"{name}_token_id", None) for name in ("pad", "start", "end"))
    return TextReader(
        lambda texts: _values(graph, _preprocessed(graph, _segments(texts)), which)[0],
        which,
        lambda number: str(tokenizer.id_to_token(number)),
        whole=True,
        blanks=frozenset(int(number) for number in special if number is not None),
    )


def _by_layer(graph: ModelGraph, behind: Vectorization) -> TextReader:
    """What the model's own layer makes of strings."""

    def encode(texts: Sequence[Text]) -> list[np.ndarray]:
        strings = tf.constant(list(texts))
        if not behind.direct:
            strings = arriving(graph, graph.structure, behind, strings)
        return [behind.numbers(strings)]

    def name(number: int) -> str:
        vocabulary = getattr(behind.layer(), "get_vocabulary", None)
        if vocabulary is None:
            return str(number)
        return str(vocabulary()[number - 1 if behind.is_bag else number])

    blanks = frozenset() if behind.is_whole else frozenset([0])
    several = bool(behind.layer().get_config().get("ngrams"))
    about: dict[str, bool] = {"one_word": behind.is_whole, "of_several": several}
    about["own_length"] = behind.length is None and not behind.is_bag
    return TextReader(encode, 0, name, whole=False, blanks=blanks, **about)


def _by_callable(
    graph: ModelGraph, which: int, function: Callable[..., Any], text: Text
) -> TextReader:
    """What a user's function makes of strings: the explained input, or all inputs."""
    _, whole = _values(graph, _called(function, [beside_nothing("", text)]), which)
    return TextReader(
        lambda texts: _values(graph, _called(function, texts), which)[0],
        which if whole else 0,
        str,
        whole,
        own_length=len(graph.inputs) == 1 and graph.inputs[0].shape == (None,),
        shows_padding=tokenizer_of(graph.model) is None,
    )


def _called(function: Callable[..., Any], texts: Sequence[Text]) -> Any:
    """Call a user's function of a list of texts; what goes wrong in it names the text.

    Raises:
        ValueError: If it raises anything.
    """
    try:
        return function(list(texts))
    except Exception as error:
        by_itself = [text for text in texts if _fails(function, text)]
        of = f" of {by_itself[0]!r:.80}" if 0 < len(by_itself) < len(texts) else ""
        raise ValueError(
            "preprocess must take a list of texts, and give the numbers (B, L) of all of them; "
            f"{function_name(function)}{of} ended with {type(error).__name__}: {error}"
        ) from error


def _fails(function: Callable[..., Any], text: Text) -> bool:
    try:
        function([text])
    except Exception:
        return True
    return False


def beside_nothing(segment: str, text: Text) -> Text:
    """A segment as the first of a text of as many as another has; the others are empty."""
    return segment if isinstance(text, str) else (segment, *("",) * (len(text) - 1))


def _preprocessed(graph: ModelGraph, segments: Any) -> Any:
    """What the model's own preprocessor makes of texts.

    Raises:
        ValueError: If it takes none, or not so many segments.
    """
    try:
        return graph.model.preprocessor(x=segments)
    except Exception as error:
        names = ", ".join(repr(taken.name) for taken in graph.inputs)
        given = "strings" if isinstance(segments, tf.Tensor) else f"{len(segments)} segments"
        raise ValueError(
            f"The preprocessor of {graph.name!r} does not take {given}. Pass preprocess=, a "
            f"function of a list of texts that gives all of the model's inputs, {names}, as that "
            "of a network that writes, which takes the words so far as well."
        ) from error


def _segments(texts: Sequence[Text]) -> Any:
    """Texts as KerasHub takes them: strings, or a tuple of the first, second, ... segments."""
    if isinstance(texts[0], str):
        return tf.constant(list(texts))
    return tuple(map(tf.constant, zip(*texts, strict=True)))


def _values(graph: ModelGraph, given: Any, which: int) -> tuple[list[np.ndarray], bool]:
    """The arrays that a text was made into, and whether these are all of the model's inputs."""
    if isinstance(given, tuple) and given and isinstance(given[0], Mapping):
        given = given[0]  # beside labels that there are none of
    structure = graph.structure
    if isinstance(structure, dict) and isinstance(given, Mapping):
        if missing := set(structure) - set(given):
            raise ValueError(
                f"preprocess must give all inputs of {graph.name!r}; it gave "
                f"{', '.join(map(repr, given))}, and {', '.join(map(repr, missing))} is missing."
            )
        given = [given[name] for name in sorted(structure)]
    several = len(graph.inputs) > 1 and isinstance(given, list | tuple)
    if several and len(given) == len(graph.inputs):
        return list(map(_array, given)), True
    return [_array(given)], len(graph.inputs) == 1


def _array(rows: Any) -> np.ndarray:
    try:
        return np.asarray(rows)
    except ValueError:  # of rows of several lengths
        raise ValueError(
            "What turns strings into numbers must give rows of one length, (B, L): fill the "
            "shorter ones up, such as with 0."
        ) from None


def strings_in(given: Any, pairs: bool) -> Text | list[Text] | None:
    """The text, or the batch of texts, that a user gives; None of anything else.

    Args:
        given: A string, a list of strings, an array or tensor of them; with labels beside it, which
            are left out.
        pairs: Whether a tuple of strings is one text of several segments.

    Example:
        >>> strings_in(["a film", "a book"], False), strings_in(("why?", "so"), True)
        (['a film', 'a book'], ('why?', 'so'))
        >>> strings_in((["a film", "a book"], [0, 1]), False), strings_in([1, 2], False)
        (['a film', 'a book'], None)
    """
    if isinstance(given, str | bytes):
        return _plain(given)
    if isinstance(given, tf.Tensor) and given.dtype == tf.string:
        given = given.numpy()
    if isinstance(given, bytes | np.str_):
        return _plain(given)
    if isinstance(given, np.ndarray) and given.dtype.kind in "USO":
        flat: list[Text] = [_plain(each) for each in given.reshape(-1)]
        return (flat or None) if given.ndim else flat[0]
    if not isinstance(given, list | tuple) or not given:
        return None
    if all(isinstance(each, str | bytes) for each in given):
        plain = tuple(map(_plain, given))
        return plain if pairs and isinstance(given, tuple) else list(plain)
    inner = [strings_in(each, pairs) for each in given]
    if isinstance(given, tuple) and isinstance(inner[0], list) and None in inner[1:]:
        return inner[0]  # beside their labels
    if None in inner:
        return None
    if isinstance(given, tuple) and all(isinstance(each, list) for each in inner):
        return [tuple(each) for each in zip(*inner, strict=True)]  # segments, each a batch
    texts: list[Text] = []
    for each in inner:
        one = each[0] if isinstance(each, list) and len(each) == 1 else each
        if isinstance(one, list) or one is None:
            return None
        texts.append(one)
    return texts


def split_label(item: Any, pairs: bool) -> tuple[Any, Any]:
    """Split a text from its label, None where it has none.

    Args:
        item: A text, or (text, label).
        pairs: Whether a tuple of strings is one text of several segments.

    Example:
        >>> split_label(("a film", 1), True), split_label(("why?", "so"), True)
        (('a film', 1), (('why?', 'so'), None))
        >>> split_label(("a film", "good"), False)
        ('a film', 'good')
    """
    if not isinstance(item, tuple) or len(item) < 2:
        return item, None
    segments = pairs and isinstance(strings_in(item, pairs), tuple)
    return (item, None) if segments else item[:2]


def _plain(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)

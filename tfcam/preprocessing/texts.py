"""From strings to the numbers that a model takes, and which word each of them is of."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf

from tfcam.model.graph import ModelGraph
from tfcam.model.strings import tokenizer_of
from tfcam.preprocessing.modes import Preprocess
from tfcam.utils.validation import shown

# Two segments are a premise and a hypothesis, a question and its context.
Text: TypeAlias = str | tuple[str, ...]

# A word, with what follows an apostrophe; signs that stand together; where words are not set
# apart, as in Chinese and Japanese, each letter.
_WORD = re.compile(r"[぀-ヿ㐀-鿿豈-﫿]|[^\W぀-ヿ㐀-鿿豈-﫿]+(?:['’][^\W\d_]+)*|[^\w\s]+")


@dataclass(frozen=True)
class ReadText:
    """A text as a model takes it.

    Attributes:
        text: The text; its segments are set on lines of their own.
        numbers: (L,), what the model takes.
        words: The words that the model sees, as they are written.
        spans: Where each is in the text: (start, end); none where that can't be told.
        owners: (L,) int32, the word that each number is of; -1 where it is of none.
        cut: The number of its words that the model does not see.
    """

    text: str
    numbers: np.ndarray
    words: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]
    owners: np.ndarray
    cut: int = 0


class TextReader(NamedTuple):
    """How strings become a model's inputs.

    Attributes:
        encode: Texts, all of as many segments -> the inputs (B, ...) that come from them, in their
            flat order: all of the model's, or the explained one alone.
        which: Which of these holds the numbers of words.
        name: What a number is called where the words can't be told.
        whole: Whether all of the model's inputs come from the text.
        blanks: Numbers that are of no word in any text.
    """

    encode: Callable[[Sequence[Text]], list[np.ndarray]]
    which: int
    name: Callable[[int], str]
    whole: bool
    blanks: frozenset[int] = frozenset()


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
        layer = taken.behind.layer()
        vocabulary = layer.get_vocabulary
        return TextReader(
            lambda texts: [np.asarray(layer(tf.constant(list(texts))))],
            0,
            lambda number: str(vocabulary()[number]),
            whole=False,
            blanks=frozenset([0]),
        )
    tokenizer = tokenizer_of(graph.model)
    if tokenizer is None:
        return None
    special = (getattr(tokenizer, f"{name}_token_id", None) for name in ("pad", "start", "end"))
    return TextReader(
        lambda texts: _values(graph, graph.model.preprocessor(x=_segments(texts)), which)[0],
        which,
        lambda number: str(tokenizer.id_to_token(number)),
        whole=True,
        blanks=frozenset(int(number) for number in special if number is not None),
    )


def _by_callable(
    graph: ModelGraph, which: int, function: Callable[..., Any], text: Text
) -> TextReader:
    """What a user's function makes of strings: the explained input, or all inputs."""
    _, whole = _values(graph, function([_beside_nothing("", text)]), which)
    return TextReader(
        lambda texts: _values(graph, function(list(texts)), which)[0],
        which if whole else 0,
        str,
        whole,
    )


def _beside_nothing(segment: str, text: Text) -> Text:
    """A segment as the first of a text of as many as another has; the others are empty."""
    return segment if isinstance(text, str) else (segment, *("",) * (len(text) - 1))


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
    return [each for each in inner if each is not None and not isinstance(each, list)]


def _plain(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def read_texts(
    reader: TextReader, texts: Sequence[Text]
) -> tuple[list[ReadText], list[np.ndarray]]:
    """Read texts: the numbers of each with its words, and the model's other inputs (B, ...).

    The words of a text are found by reading its beginnings, which end after each word in turn: what
    a word adds is its own. Pieces that change with what follows are of one word.

    Args:
        reader: How strings become the model's inputs.
        texts: One or more, all of as many segments.

    Raises:
        ValueError: If a text has no word, or they are not of as many segments.
    """
    segmented = [(text,) if isinstance(text, str) else text for text in texts]
    if len(set(map(len, segmented))) > 1 or not all(
        isinstance(part, str) for parts in segmented for part in parts
    ):
        raise ValueError(
            "The texts of a batch must all be strings, or all tuples of as many strings; got "
            f"{shown(list(texts))}."
        )
    inputs = reader.encode(texts)
    numbers = inputs.pop(reader.which)
    _check_numbers(numbers, len(texts))
    contents = _Contents(reader, texts[0])
    return [
        _read(reader, contents, parts, row) for parts, row in zip(segmented, numbers, strict=True)
    ], inputs


def _check_numbers(numbers: np.ndarray, count: int) -> None:
    if numbers.ndim != 2 or len(numbers) != count or numbers.dtype.kind not in "iu":
        raise ValueError(
            f"What turns strings into numbers must give whole numbers (B, L) for {count} texts; "
            f"got {numbers.dtype} {numbers.shape}."
        )


class _Contents:
    """The numbers of texts without those that are of no word, each text read once.

    Args:
        reader: How strings become numbers.
        text: One of the texts.
    """

    def __init__(self, reader: TextReader, text: Text) -> None:
        self._reader, self._text = reader, text
        # Beside another, an empty text shows how it is filled up.
        known = reader.encode([_beside_nothing("", text), text])[reader.which][0]
        self.blanks = reader.blanks | set(known.tolist())
        self._known: dict[str, list[int]] = {}

    def of(self, strings: Sequence[str]) -> list[list[int]]:
        """The numbers of each string by itself."""
        new = [each for each in dict.fromkeys(strings) if each not in self._known]
        if new:
            texts = [_beside_nothing(each, self._text) for each in new]
            rows = self._reader.encode(texts)[self._reader.which]
            self._known |= {
                each: [number for number in row.tolist() if number not in self.blanks]
                for each, row in zip(new, rows, strict=True)
            }
        return [self._known[each] for each in strings]


def _read(
    reader: TextReader, contents: _Contents, segments: Sequence[str], numbers: np.ndarray
) -> ReadText:
    owners = np.full(len(numbers), -1, np.int32)
    words: list[str] = []
    spans: list[tuple[int, int]] = []
    start = cut = 0
    for segment, places in zip(segments, _places(numbers, contents, segments), strict=True):
        content = numbers[places].tolist()
        found = _words_of(content, segment, contents)
        if found is None:
            names = [reader.name(number) for number in content]
            owners[places] = len(words) + np.arange(len(places))
            words += names
        else:
            for word in found.words:
                owners[places[word.first : word.last]] = len(words)
                words.append(segment[word.start : word.end])
                spans.append((start + word.start, start + word.end))
            cut += found.cut if len(places) else 0  # another input may have the segment
        start += len(segment) + 1
    text = "\n".join(segments)
    if not words:
        raise ValueError(
            f"A text must have at least one word that the model sees; got {text!r:.80}."
        )
    told = tuple(spans) if len(spans) == len(words) else ()
    return ReadText(text, numbers, tuple(words), told, owners, cut)


def _places(numbers: np.ndarray, contents: _Contents, segments: Sequence[str]) -> list[np.ndarray]:
    """The positions of each segment: the runs of what is of a word."""
    places = np.flatnonzero(~np.isin(numbers, list(contents.blanks)))
    if len(segments) == 1:
        return [places]
    runs = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)
    if len(runs) == len(segments):
        return runs
    ends = np.cumsum([len(content) for content in contents.of(segments)])
    return np.split(places, ends[:-1])


class _Word(NamedTuple):
    """A word: where it is in the segment, and which of the segment's numbers are its own."""

    start: int
    end: int
    first: int
    last: int


class _Words(NamedTuple):
    words: list[_Word]
    cut: int


def _words_of(content: list[int], segment: str, contents: _Contents) -> _Words | None:
    """Find the words of a segment; None where what they are made into can't be told apart."""
    tokens = [match.span() for match in _WORD.finditer(segment)]
    return _by_beginnings(content, segment, tokens, contents) or _by_ends(
        content, segment, tokens, contents
    )


def _by_beginnings(
    content: list[int], segment: str, tokens: Sequence[tuple[int, int]], contents: _Contents
) -> _Words | None:
    """Find what each word adds to the segment's beginning before it.

    None where what comes before a space changes with what follows it.
    """
    beginnings = contents.of([segment[:end] for _, end in tokens])
    words: list[_Word] = []
    first, begun = 0, None
    for number, (start, end) in enumerate(tokens):
        begun = start if begun is None else begun
        seen = beginnings[number][: len(content)]
        last = len(seen) if seen == content[: len(seen)] else None
        if number == len(tokens) - 1:
            last = len(content)
        if last is None and segment[end : end + 1].isspace():
            return None
        if last is not None and last > first:
            words.append(_Word(begun, end, first, last))
            first, begun = last, None
        elif last is not None and first < len(content):
            if words and words[-1].end == begun:  # a sign that the model does not see
                words[-1], begun = words[-1]._replace(end=end), None
            elif tokens[number + 1][0] > end:
                begun = None
    left = [segment[start:end] for start, end in tokens if not words or start >= words[-1].end]
    return _Words(words, sum(map(bool, contents.of(left))))


def _by_ends(
    content: list[int], segment: str, tokens: Sequence[tuple[int, int]], contents: _Contents
) -> _Words | None:
    """Find the words of a segment of which the model sees the end alone."""
    own = contents.of([segment[start:end] for start, end in tokens])
    if list(itertools.chain(*own))[-len(content) :] != content:
        return None
    last, words = len(content), list[_Word]()
    cut = 0
    for (start, end), numbers in reversed(list(zip(tokens, own, strict=True))):
        first = max(last - len(numbers), 0)
        if last > first:
            words.append(_Word(start, end, first, last))
        else:
            cut += bool(numbers)
        last = first
    return _Words(words[::-1], cut)

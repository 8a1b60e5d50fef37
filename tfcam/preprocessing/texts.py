"""From strings to the numbers that a model takes, and which word each of them is of."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tfcam.preprocessing.text_readers import Text, TextReader, beside_nothing
from tfcam.utils.validation import shown

# Where words are not set apart, each letter is one: Thai, Lao, Tibetan, Burmese, Khmer, Chinese,
# Japanese.
_APART = "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_APART += "\U00020000-\U000323af"
# Accents and vowel signs that are characters of their own, and what joins letters or parts them at
# the end of a line: of the letter before.
_MARKS = "".join(sign for sign in map(chr, range(0x1E900)) if unicodedata.category(sign)[0] == "M")
_MARKS = f"(?:[{_MARKS}\u00ad\u200c\u200d\U000e0100-\U000e01ef])"
# A word, with what follows an apostrophe; or signs that stand together.
_WORD = re.compile(
    rf"[{_APART}]{_MARKS}*|(?:[^\W{_APART}]{_MARKS}*)+(?:['’](?:[^\W\d_]{_MARKS}*)+)*|[^\w\s]+"
)

# So many texts are read, none and words by themselves, to tell what is of no word.
_ALONE = 9


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
        blank: The number that stands for nothing; None where the model's input tells it.
    """

    text: str
    numbers: np.ndarray
    words: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]
    owners: np.ndarray
    cut: int = 0
    blank: int | None = None


def read_texts(
    reader: TextReader, texts: Sequence[Text]
) -> tuple[list[ReadText], list[np.ndarray]]:
    """Read texts: the numbers of each with its words, and the model's other inputs (B, ...).

    Where a model leaves the length open, each has the length that it has by itself.

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
    parts = [[text] for text in texts] if reader.own_length else [texts]
    numbers, inputs = list[np.ndarray](), list[np.ndarray]()
    for part in parts:  # one, or of one input
        inputs = reader.encode(part)
        rows = inputs.pop(reader.which)
        _check_numbers(rows, len(part))
        numbers += list(rows)
    if reader.one_word:
        return [_whole(str(text), row) for text, row in zip(texts, numbers, strict=True)], inputs
    contents = _Contents(reader, texts[0])
    return [
        _read(reader, contents, parts, row) for parts, row in zip(segmented, numbers, strict=True)
    ], inputs


def _whole(text: str, numbers: np.ndarray) -> ReadText:
    """A text that is one word."""
    return ReadText(text, numbers, (text,), ((0, len(text)),), np.zeros(len(numbers), np.int32))


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
        first = text if isinstance(text, str) else text[0]
        alone = [beside_nothing(word, text) for word in ("", *dict.fromkeys(first.split()))]
        empty, *rows = reader.encode([*alone[:_ALONE], text])[reader.which][:-1]
        self.blank = _padding(empty) if reader.shows_padding else None
        self.blanks = reader.blanks | (set(empty.tolist()) - _replaced(empty, rows))
        self._known: dict[str, list[int]] = {}

    def of(self, strings: Sequence[str]) -> list[list[int]]:
        """The numbers of each string by itself."""
        new = [each for each in dict.fromkeys(strings) if each not in self._known]
        if new:
            texts = [beside_nothing(each, self._text) for each in new]
            rows = self._reader.encode(texts)[self._reader.which]
            self._known |= {
                each: [number for number in row.tolist() if number not in self.blanks]
                for each, row in zip(new, rows, strict=True)
            }
        return [self._known[each] for each in strings]


def _padding(empty: np.ndarray) -> int | None:
    """What fills an empty text (L,) up; None where that can't be told.

    Example:
        >>> _padding(np.array([0, 2, 1, 1, 1])), _padding(np.array([1, 0]))
        (1, None)
    """
    numbers, counts = np.unique(empty, return_counts=True)
    told = len(empty) > 1 and (counts == counts.max()).sum() == 1
    return int(numbers[counts.argmax()]) if told else None


def _replaced(empty: np.ndarray, rows: Sequence[np.ndarray]) -> set[int]:
    """What a function of strings takes for a word where there is none, as a word takes its place.

    Args:
        empty: (L,) what an empty text is made into.
        rows: Each (L,) of one word.
    """
    changed = [(row, np.flatnonzero(row != empty)) for row in rows]
    return {int(empty[at[0]]) for row, at in changed if len(at) == 1 and empty[at[0]] not in row}


def _read(
    reader: TextReader, contents: _Contents, segments: Sequence[str], numbers: np.ndarray
) -> ReadText:
    owners = np.full(len(numbers), -1, np.int32)
    words: list[str] = []
    spans: list[tuple[int, int]] = []
    start = cut = 0
    for segment, places in zip(segments, _places(numbers, contents, segments), strict=True):
        content = numbers[places].tolist()
        found = None if reader.of_several else _words_of(content, segment, contents)
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
    return ReadText(text, numbers, tuple(words), told, owners, cut, contents.blank)


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
    between_spaces = [match.span() for match in re.finditer(r"\S+", segment)]
    return (
        _by_beginnings(content, segment, tokens, contents)
        or _by_ends(content, segment, tokens, contents)
        or _by_ends(content, segment, between_spaces, contents)
    )


def _by_beginnings(
    content: list[int], segment: str, tokens: Sequence[tuple[int, int]], contents: _Contents
) -> _Words | None:
    """Find what each word adds to the segment's beginning before it.

    None where what comes before a space changes with what follows it, but for what becomes one
    number or none, such as "New York" or "<br />".
    """
    beginnings = [seen[: len(content)] for seen in contents.of([segment[:at] for _, at in tokens])]
    told = [seen == content[: len(seen)] for seen in beginnings]  # how much of it is seen so far
    beginnings[-1:], told[-1:] = [content], [True]
    words: list[_Word] = []
    first, begun, changed, crossed = 0, None, False, False
    for number, (start, end) in enumerate(tokens):
        begun = start if begun is None else begun
        if not told[number]:
            changed, crossed = True, crossed or segment[end : end + 1].isspace()
            continue
        last, run = len(beginnings[number]), segment[begun:end]
        if last > first:
            if crossed and contents.of([run]) != [content[first : first + 1]]:
                return None
            words.append(_Word(begun, end, first, last))
            first, begun, changed, crossed = last, None, False, False
        elif first < len(content):
            if changed and re.search(r"[\w\s]", run):  # the model sees nothing of it
                begun, changed, crossed = None, False, False
            elif told[number + 1] or tokens[number + 1][0] > end:
                if words and words[-1].end == begun:
                    words[-1], begun = words[-1]._replace(end=end), None
                elif tokens[number + 1][0] > end:
                    begun = None
    if words:
        words[-1] = _whole_word(words[-1], content, segment, contents)
    seen = words[-1].end if words else 0
    left = [segment[start:end] for start, end in tokens if start >= seen]
    is_cut = any(contents.of([segment[seen:]]))
    return _Words(words, is_cut * sum(map(bool, contents.of(left))))


def _whole_word(word: _Word, content: list[int], segment: str, contents: _Contents) -> _Word:
    """The last word that is seen, to its end: "out-of-date" may be as unknown as "out"."""
    rest = re.match(r"\S*\w", segment[word.end :])
    longer = word if rest is None else word._replace(end=word.end + rest.end())
    same = contents.of([segment[longer.start : longer.end]]) == [content[word.first : word.last]]
    return longer if same else word


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

"""What a visitor looks at: what was asked, the maps of it, and what did not apply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tfcam.explainer.compare import compare
from tfcam.explainer.explainer import Explainer
from tfcam.front.report import report
from tfcam.methods.registry import METHODS
from tfcam.pages.networks import Network
from tfcam.results.comparison import Comparison
from tfcam.results.explanation import Explanation
from tfcam.results.report import Report
from tfcam.targets.classes import Top
from tfcam.verification.attach import verified

# The most likely classes that can be chosen.
CLASSES = 5
# The largest file that is taken.
MAX_BYTES = 50 * 2**20
_MAX_LETTERS = 20_000
# What is said where a map is asked about, and there is none.
NO_MAP = "There is no map yet: explain first."


class Subject(NamedTuple):
    """What a network is asked about.

    Attributes:
        content: A picture (H, W, 3) uint8, or a text.
        name: What a picture's file is called, "" of a text.
    """

    content: np.ndarray | str
    name: str = ""


class Answer(NamedTuple):
    """A class that the network finds likely.

    Attributes:
        target: Its index; None where the network tells no classes apart.
        words: Its name, and how likely it is.
    """

    target: int | None
    words: str


class Choice(NamedTuple):
    """What is asked.

    Attributes:
        targets: The classes.
        place: Which of the network's places.
        methods: The methods.
    """

    targets: tuple[int | None, ...]
    place: int
    methods: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Look:
    """Maps of one subject.

    Attributes:
        network: What was asked.
        subject: What about.
        choice: What exactly.
        comparison: The maps, methods x classes; None where none could be made.
        problems: What did not apply, in words.
    """

    network: Network
    subject: Subject
    choice: Choice
    comparison: Comparison | None
    problems: tuple[str, ...] = ()

    @property
    def made(self) -> tuple[str, ...]:
        """The methods of which there are maps."""
        return () if self.comparison is None else self.comparison.rows


def read_picture(network: Network, content: bytes, name: str) -> Subject:
    """Read an uploaded file as a network takes it, within limits.

    Raises:
        ValueError: If it is no picture, damaged, or too large; the message says so.
    """
    if len(content) > MAX_BYTES:
        raise ValueError(
            f"{name} has {len(content) / 2**20:.0f} MB; a picture must have at most "
            f"{MAX_BYTES // 2**20} MB."
        )
    try:
        return Subject(network.read(content), name)
    except ValueError as error:
        raise ValueError(f"{name}: {str(error).removeprefix('the bytes given: ')}") from None


def read_text(text: str) -> Subject:
    """Take a text, within limits.

    Raises:
        ValueError: If it has no words, or too many.
    """
    if not text.strip():
        raise ValueError("Write a text first: it has no words yet.")
    if len(text) > _MAX_LETTERS:
        raise ValueError(f"A text must have at most {_MAX_LETTERS:,} letters; got {len(text):,}.")
    return Subject(text.strip())


def answers(network: Network, subject: Subject) -> tuple[Answer, ...]:
    """Ask a network for its most likely classes.

    Raises:
        ValueError: If the subject does not fit the network.
    """
    explainer: Any = Explainer(
        network.model, method=network.methods[0], progress=False, **network.told
    )
    count = network.classes
    if count is None:
        return (_answer(explainer(subject.content), False),)
    found = explainer(subject.content, Top(min(count, CLASSES)))
    return tuple(_answer(one, True) for one in found)


def _answer(explanation: Explanation, of_class: bool) -> Answer:
    probability = explanation.probability
    number = f"score {explanation.score:.3g}" if probability is None else f"{probability:.1%}"
    return Answer(explanation.target if of_class else None, f"{explanation.name}, {number}")


def look(network: Network, subject: Subject, choice: Choice) -> Look:
    """Make the maps that are asked for; a method that does not apply is said, and left out.

    Raises:
        ValueError: If nothing is chosen.
    """
    for what, chosen in (("class", choice.targets), ("method", choice.methods)):
        if not chosen:
            raise ValueError(f"Choose a {what} first.")
    rows: dict[str, Any] = {}
    problems: list[str] = []
    for asked in requests(network, choice):
        _compare(network, subject, asked, rows, problems)
    if not rows:
        return Look(network, subject, choice, None, tuple(problems))
    made = {name: rows[name] for name in choice.methods if name in rows}
    columns = next(iter(made.values())).columns
    cells = tuple(one.cells[0] for one in made.values())
    return Look(network, subject, choice, Comparison((*made,), columns, cells), tuple(problems))


def requests(network: Network, choice: Choice) -> list[dict[str, Any]]:
    """What ``tfcam.compare`` is asked, besides the model, the subject and the labels.

    Methods of pixels and those of a layer are asked for apart: with a layer given, many of pixels
    would explain that layer instead.
    """
    path = network.places[choice.place].path if network.places else None
    shared = {} if choice.targets == (None,) else {"targets": list(choice.targets)}
    at_layer = [name for name in choice.methods if path is not None and _has_layer(network, name)]
    others = [name for name in choice.methods if name not in at_layer]
    asked = [{"methods": at_layer, "layers": [path], **shared}] if at_layer else []
    return [*asked, {"methods": others, **shared}] if others else asked


def _has_layer(network: Network, method: str) -> bool:
    return METHODS[method].placed or network.is_text


def _compare(
    network: Network,
    subject: Subject,
    asked: dict[str, Any],
    rows: dict[str, Any],
    problems: list[str],
) -> None:
    """Add the maps of each method, or why there are none."""
    methods = asked["methods"]
    try:
        found = compare(network.model, subject.content, progress=False, **network.told, **asked)
    except (ValueError, TypeError) as error:
        if len(methods) == 1:
            problems.append(f"{methods[0]}: {error}")
            return
        for one in methods:
            _compare(network, subject, {**asked, "methods": [one]}, rows, problems)
        return
    for name, row in zip(methods, found.cells, strict=True):
        rows[name] = Comparison((name,), found.columns, (row,))


def verify_map(found: Look, row: int, column: int) -> Explanation:
    """Ask how far one of the maps can be trusted.

    Args:
        found: The maps.
        row: Which method.
        column: Which class.

    Raises:
        ValueError: If such a map can't be verified, as of a text.
    """
    explanation = _cells(found)[row][column]
    explainer = Explainer(
        found.network.model,
        _layer(found, explanation.method),
        method=explanation.method,
        **found.network.told,
    )
    target = found.choice.targets[column]
    result = verified(explanation, explainer, found.subject.content, target)
    assert isinstance(result, Explanation)
    return result


def full_report(found: Look) -> Report:
    """Write the report on the first class, with the methods and the layer that are chosen."""
    methods = [row[0].method for row in _cells(found)]
    layers = [_layer(found, name) for name in methods]
    return report(
        found.network.model,
        found.subject.content,
        layers=[layer for layer in layers if layer is not None][:1] or None,
        methods=methods,
        target=found.choice.targets[0],
        **found.network.told,
    )


def _layer(found: Look, method: str) -> str | None:
    """The layer that a method explained by choice."""
    for one in requests(found.network, found.choice):
        if method in one["methods"]:
            return one.get("layers", [None])[0]
    return None


def _cells(found: Look) -> Sequence[Sequence[Explanation]]:
    if found.comparison is None:
        raise ValueError(NO_MAP)
    return found.comparison.cells

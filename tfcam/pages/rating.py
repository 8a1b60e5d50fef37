"""A blind comparison as it is kept: whose turn it is, the maps of a pair, and every answer."""

from __future__ import annotations

import functools
import html
import os
import re
import threading
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tfcam.evaluation.names import candidate_name
from tfcam.evaluation.ratings import ANSWERS, COLUMNS, read_ratings, write_ratings
from tfcam.explainer.explainer import Explainer
from tfcam.methods.registry import METHODS
from tfcam.model.taps import Layer
from tfcam.pages.networks import Network
from tfcam.pages.pairs import REPEATS, Pair, plan
from tfcam.pages.showing import Style, drawn, embed_pixels
from tfcam.results.explanation import Explanation
from tfcam.targets.classes import Target
from tfcam.utils.digest import digest_arrays, digest_file, digest_names
from tfcam.utils.digest_parts import digest_parts
from tfcam.utils.files import as_text, storable
from tfcam.utils.recent import Recent
from tfcam.utils.run_folder import keep_settings
from tfcam.utils.validation import check_choice, check_count

_LONGEST = 60  # letters of a rater's name


@dataclass(frozen=True)
class Rating:
    """A blind comparison of methods on pictures, whose answers are kept in a folder.

    Attributes:
        network: The network that is explained.
        pictures: Their files.
        methods: The methods, at least two.
        folder: Where the answers are kept, a Parquet file for each rater.
        layer: The layer; None for the usual one.
        target: The class that is explained; None for the one that the network predicts.
        seed: The seed of sides and orders.
        most: The largest number of answers of a rater, repeated ones aside.
        repeats: The share of pairs that is asked twice.
        key: What functions of one's own are told apart by; None for their code.

    Raises:
        ValueError: If there is nothing to compare, or the folder holds another comparison.
    """

    network: Network
    pictures: tuple[Path, ...]
    methods: tuple[str, ...]
    folder: Path
    layer: Layer = None
    target: Target = None
    seed: int = 0
    most: int | None = None
    repeats: float = REPEATS
    key: str | None = None
    _made: Recent[tuple[Explanation, ...]] = field(default_factory=Recent, init=False)
    _lock: Any = field(default_factory=threading.RLock, init=False)

    def __post_init__(self) -> None:
        if self.most is not None:
            check_count("most", self.most)
        if not self.pictures:
            raise ValueError("A blind comparison needs at least one picture; got none.")
        if twice := {name for name in self.methods if self.methods.count(name) > 1}:
            raise ValueError(f"Different methods are compared; {twice.pop()!r} is named twice.")
        self.pairs("")
        self.folder.mkdir(parents=True, exist_ok=True)
        keep_settings(self.folder, self.settings, "the ratings of a blind comparison")

    @property
    def settings(self) -> dict[str, Any]:
        """What the answers are of: another comparison needs another folder."""
        network, model = self.network, self.network.model
        labels, _ = network.opened.graph.labels(network.labels, network.output)
        return {
            "model": network.name,
            "key": self.key,
            "methods": list(self.methods),
            "layer": self.layer,
            "target": self.target,
            "pictures": list(self.names),
            "pictures_digest": digest_names([digest_file(path) for path in self.pictures]),
            "weights_digest": digest_arrays(*map(np.asarray, model.variables)),
            **digest_parts(
                self.key,
                model=model,
                preprocess=network.preprocess,
                methods=[METHODS[name].function for name in self.methods],
            ),
            "output": network.output,
            "labels_digest": None if labels is None else digest_names(labels),
            "seed": self.seed,
            "most": self.most,
            "repeats": self.repeats,
        }

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """The pictures' names: their paths in the folder that holds them all."""
        home = os.path.commonpath([path.absolute().parent for path in self.pictures])
        return tuple(
            as_text(path.absolute().relative_to(home).as_posix()) for path in self.pictures
        )

    @functools.cached_property
    def explainers(self) -> tuple[Explainer, ...]:
        """What makes the maps of each method."""
        return tuple(
            Explainer(
                self.network.model,
                self.layer if METHODS[name].placed else None,
                method=name,
                progress=False,
                **self.network.told,
            )
            for name in self.methods
        )

    def pairs(self, rater: str) -> tuple[Pair, ...]:
        """All that a rater is asked."""
        counts = len(self.pictures), len(self.methods)
        return plan(rater, *counts, self.seed, most=self.most, repeats=self.repeats)

    def maps(self, picture: int) -> tuple[Explanation, ...]:
        """The maps of a picture by each method."""
        with self._lock:
            return self._made.get(
                picture, lambda: self._explain(self.network.read(self.pictures[picture]))
            )

    def _explain(self, image: np.ndarray) -> tuple[Explanation, ...]:
        first: Any = self.explainers[0](image, self.target)
        # A class that the network predicts is that of all maps.
        target = first.target if self.target is None else self.target
        others: list[Any] = [explainer(image, target) for explainer in self.explainers[1:]]
        return (first, *others)

    def file(self, rater: str) -> Path:
        """Where a rater's answers are kept."""
        plain = re.sub(r"[^a-z0-9]+", "_", rater.lower()).strip("_")
        return self.folder / f"ratings_{plain}_{zlib.crc32(rater.encode()):08x}.parquet"

    def answered(self, rater: str) -> int:
        """How much a rater has answered."""
        file = self.file(rater)
        return len(read_ratings(file)) if file.exists() else 0

    def question(self, rater: str) -> Question | None:
        """What a rater is asked next; None at the end.

        Raises:
            ValueError: If a picture can't be read or explained.
        """
        pairs, number = self.pairs(rater), self.answered(rater)
        if number >= len(pairs):
            return None
        pair = pairs[number]
        return Question(number, len(pairs), *_sides(pair, self.maps(pair.picture)))

    def answer(self, rater: str, number: int, answer: str) -> None:
        """Keep an answer; one that is there already, as of a key pressed twice, is left as it is.

        Args:
            rater: The rater's name.
            number: Which question, from 0.
            answer: One of ``ratings.ANSWERS``.

        Raises:
            ValueError: If there is no such answer.
        """
        check_choice("answer", answer, ANSWERS)
        with self._lock:
            if number != self.answered(rater) or number >= len(self.pairs(rater)):
                return
            pair, file = self.pairs(rater)[number], self.file(rater)
            found = self.maps(pair.picture)
            left, right = (candidate_name(m.method, m.layer or "") for m in _sides(pair, found))
            row = (rater, self.names[pair.picture], left, right, answer, pair.repeated)
            new = pd.DataFrame([row], columns=[*COLUMNS])
            before = [read_ratings(file)] if file.exists() else []
            write_ratings(pd.concat([*before, new], ignore_index=True), file)


class Question(NamedTuple):
    """Two maps, of which a rater says which is better.

    Attributes:
        number: Which question, from 0.
        total: The number of questions.
        left: The map on the left.
        right: The map on the right.
    """

    number: int
    total: int
    left: Explanation
    right: Explanation

    @property
    def html(self) -> str:
        """The question as it is shown: nothing in it tells the methods."""
        name = html.escape(self.left.name)
        picture = embed_pixels(self.left.image, "The picture as given")
        sides = "".join(
            f"<figure>{embed_pixels(drawn(side, Style()), words)}<figcaption>{words}</figcaption>"
            "</figure>"
            for side, words in ((self.left, "Left map"), (self.right, "Right map"))
        )
        return (
            f"<h2>{self.number + 1} of {self.total}: which map shows better what speaks for "
            f'{name}?</h2><div class="pair">{sides}</div>'
            f'<figure class="given">{picture}<figcaption>The picture as given</figcaption></figure>'
        )


def check_name(rater: str) -> str:
    """Check a rater's name, and give it back without spaces around it.

    Raises:
        ValueError: If it is empty or too long.

    Example:
        >>> check_name(" Ada ")
        'Ada'
    """
    rater = storable(" ".join(rater.split()))
    if not 0 < len(rater) <= _LONGEST:
        raise ValueError(f"Write a name of 1 to {_LONGEST} letters; got {len(rater)}.")
    return rater


def _sides(pair: Pair, found: Sequence[Explanation]) -> tuple[Explanation, Explanation]:
    return found[pair.left], found[pair.right]

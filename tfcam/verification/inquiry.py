"""The five questions, asked of one map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tfcam import maps
from tfcam.explainer.explainer import Explainer
from tfcam.metrics.checks import Heatmap, heatmap_of
from tfcam.metrics.hiding import Hiding
from tfcam.metrics.imputation import Fill
from tfcam.metrics.probing import Probe
from tfcam.metrics.removal_test import Marks, chosen_fills, moved_values
from tfcam.metrics.similarity import spearman
from tfcam.results.explanation import Explanation
from tfcam.results.verification import Verification
from tfcam.targets.classes import NOTHING, Difference, Target, pair_name
from tfcam.utils.progress import progress_bar
from tfcam.utils.versions import versions
from tfcam.verification.again import (
    SAME,
    STAGES,
    Again,
    changes,
    of_stability,
    of_training,
    random_maps,
)
from tfcam.verification.questions import hill_marked, of_class, of_place, of_use

# The explained number is the same as when the map was made, but for rounding.
_CLOSE = 0.01


class Subject(NamedTuple):
    """A map that is asked about.

    Attributes:
        probe: The model and its images.
        place: Which of the images it is of.
        explanation: The map.
        target: What it explains, as it was given.
    """

    probe: Probe
    place: int
    explanation: Explanation | Heatmap
    target: Target

    @property
    def plain(self) -> bool:
        """Whether it explains a class, and nothing else."""
        is_class = bool(self.probe.targets[self.place] >= 0)
        return is_class and not isinstance(self.target, Difference)

    @property
    def explained(self) -> Any:
        """The class that it explains, or what else."""
        return int(self.probe.targets[self.place]) if self.plain else self.target


@dataclass(frozen=True)
class Inquiry:
    """How maps are asked about; see ``tfcam.verify``.

    Attributes:
        labels: The label of each class, where they are known.
        draws: The number of moved maps.
        fraction: Which part of the picture a map marks.
        fills: What replaces what is hidden; None for the usual.
        seed: The seed of the moves, the noise and the weights.
        progress: Whether a bar is shown.
    """

    labels: Sequence[str] | None
    draws: int = 99
    fraction: float = 0.25
    fills: Sequence[Fill] | None = None
    seed: int = 0
    progress: bool | None = None

    def __call__(
        self, subject: Subject, explainer: Explainer | None, is_given: bool = False
    ) -> Verification:
        """Ask about a map.

        Args:
            subject: The map.
            explainer: What makes it again.
            is_given: Whether the user gave that: then it must make this map.

        Raises:
            ValueError: If the map is not of this model and picture.
        """
        probe, place, explanation, _ = subject
        _check(subject)
        heatmap = heatmap_of(explanation)
        sides = probe.inputs.shape[1:-1]
        _check_heatmap(heatmap, len(sides))
        fills, seed = chosen_fills(self.fills, len(sides)), self.seed
        hiding = Hiding.of(probe, fills, subject.plain, place)
        marks = Marks.of(hiding, moved_values(explanation), self.fraction, self.draws, seed)
        name, rival = _names(subject, hiding.rival, self.labels)
        moved, kept = len(marks.marked), 1 + (len(marks.marked) - 1) // 2
        total = (moved + 1 + STAGES) * len(fills) + kept + changes(hiding) + STAGES
        with progress_bar(total, "verifying", self.progress) as advance:
            falls = marks.falls(marks.marked, advance)
            alone = [~places for places in marks.marked[:kept]]
            again = _again(explainer, is_given, subject, hiding)
            alike = None if again is None else again.likeness(hiding.rival)
            random = random_maps(again, probe.model, seed, advance)
            others = [] if isinstance(random, str) else random
            marked = [hiding.marked(each, marks.count) for each in others]
            least = marks.falls([hill_marked(marks), *marked], advance).number
            checks = (
                of_use(marks, name, falls.number, hiding.ask(alone, advance, 1)[:, 0, 0]),
                of_class(falls.contrast, name, rival, alike, SAME),
                of_stability(again, hiding, seed, advance),
                of_training(again, random, falls.number[0], least[1:]),
                of_place(marks, falls.number, least[0]),
            )
        image = probe.images[place]
        return Verification(
            name,
            hiding.number,
            checks,
            falls.number,
            image,
            maps.scale(maps.resize(np.maximum(heatmap, 0), image.shape[: len(sides)])),
            self.fraction,
            fills,
            seed,
            (moved + 1 + len(others)) * len(fills) + kept,
            0 if again is None else again.count,
            versions(),
        )


def _check(subject: Subject) -> None:
    """Refuse a model, picture or preprocessing that is another.

    Raises:
        ValueError: If the model gives another number than the explanation says.
    """
    probe, place, explanation, _ = subject
    if not isinstance(explanation, Explanation):
        return
    plain = subject.plain
    said = explanation.probability if plain else explanation.score
    same = probe.targets[place] == explanation.target if plain else explanation.target is None
    if said is None or not same:
        return
    check_number(explanation, said, float(probe.probabilities[place]))


def check_whole(explanation: Any) -> None:
    """Refuse a map of tiles: the model is asked about the picture as it takes it at once.

    Raises:
        ValueError: If it is one.
    """
    if isinstance(explanation, Explanation) and "tile" in explanation.options:
        raise ValueError(
            "verify hides parts of the picture as a whole, and this map is laid of tiles, each "
            "with a number of its own. Explain a part of the picture without tile=, and verify "
            "that."
        )


def check_number(explanation: Explanation, said: float | None, now: float) -> None:
    """Refuse a model that gives another number than an explanation says.

    Args:
        explanation: The explanation.
        said: Its number; None where it says none.
        now: That of the model.

    Raises:
        ValueError: If they differ.
    """
    if said is not None and abs(said - now) > _CLOSE * max(1, abs(said)):
        raise ValueError(
            f"The explanation says {said:.3g} for {explanation.name!r}, and the model gives "
            f"{now:.3g}: its weights, the image or the preprocessing are not those of the map. "
            "Give verify the same image=, target= and preprocess=."
        )


def _check_heatmap(heatmap: np.ndarray, axes: int) -> None:
    """Refuse a heatmap that does not fit the model's input.

    Raises:
        ValueError: If it does not.
    """
    if heatmap.ndim != axes or not heatmap.size or not np.isfinite(heatmap).all():
        raise ValueError(
            f"The heatmap must be finite and have {axes} axes, as the model's input has sides; got "
            f"an array of shape {heatmap.shape}."
        )


def _names(subject: Subject, rival: int | None, labels: Sequence[str] | None) -> tuple[str, str]:
    """What the explained target and its rival are called."""
    explanation, target = subject.explanation, subject.explained
    name, other = (
        pair_name((index, NOTHING), labels) if isinstance(index, int) else "the target"
        for index in (target, rival)
    )
    if isinstance(explanation, Explanation):
        same = not isinstance(target, int) or target == explanation.target
        name = explanation.name if same else name
    return name, other


def _again(
    explainer: Explainer | None, is_given: bool, subject: Subject, hiding: Hiding
) -> Again | None:
    """What makes the map again; None where there is nothing, or it makes another map.

    Raises:
        ValueError: If an explainer that was given makes another map.
    """
    if explainer is None:
        return None
    again = Again(explainer, hiding, subject.explained)
    before = maps.resize(heatmap_of(subject.explanation).astype(np.float32), hiding.sides)
    similarity = spearman(again.own, before)
    if similarity >= SAME:
        return again
    if is_given:
        raise ValueError(
            f"explainer must make the map that is verified; its own has a rank correlation of "
            f"{similarity:.2f} with it."
        )
    return None

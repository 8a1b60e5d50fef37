"""All metrics by name: what each needs, which way is better, and what it means in a line."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tfcam.metrics import complexity, curves, evidence, faithfulness, wsol
from tfcam.metrics.localisation_measures import LOCALISATION
from tfcam.metrics.measure import SIGNED, UNIT, Measure
from tfcam.utils.suggestions import did_you_mean

MetricChoice = str | tuple[str, dict[str, Any]]


_ALL = (
    *LOCALISATION,
    Measure(
        "insertion",
        curves.insertion,
        "probe",
        "higher",
        "",
        "The mean probability as pixels are put into a blurred picture, the map's strongest first.",
        within=UNIT,
    ),
    Measure(
        "deletion",
        curves.deletion,
        "probe",
        "lower",
        "",
        "The mean probability as pixels are taken away, the map's strongest first.",
        within=UNIT,
    ),
    Measure(
        "aopc",
        curves.deletion,
        "probe",
        "higher",
        "",
        "The mean fall of the probability as pixels are taken away, the map's strongest first.",
        usual=False,
        of_curve="aopc",
        within=SIGNED,
    ),
    Measure(
        "comprehensiveness",
        curves.comprehensiveness,
        "probe",
        "higher",
        "",
        "How far the probability falls without the map's strongest pixels; the mean over several "
        "shares of the pixels.",
        usual=False,
        within=SIGNED,
    ),
    Measure(
        "sufficiency",
        curves.sufficiency,
        "probe",
        "lower",
        "",
        "How far the probability falls with the map's strongest pixels alone; the mean over "
        "several shares of the pixels.",
        usual=False,
        within=SIGNED,
    ),
    Measure(
        "road",
        curves.road,
        "probe",
        "higher",
        "",
        "Half the difference between the probability without the map's weakest pixels and without "
        "its strongest, filled in from their neighbours; the mean over several shares of the "
        "pixels.",
        within=(-0.5, 0.5),
    ),
    Measure(
        "road_morf",
        curves.road_morf,
        "probe",
        "lower",
        "",
        "The probability without the map's strongest pixels, filled in from their neighbours.",
        usual=False,
        of_curve="mean",
        within=UNIT,
    ),
    Measure(
        "road_lerf",
        curves.road_lerf,
        "probe",
        "higher",
        "",
        "The probability without the map's weakest pixels, filled in from their neighbours.",
        usual=False,
        of_curve="mean",
        within=UNIT,
    ),
    Measure(
        "average_drop",
        faithfulness.average_drop,
        "probe",
        "lower",
        "",
        "The share of the probability that is lost when the map masks the picture. A map of ones "
        "is best of all: compare with full_image.",
        within=UNIT,
    ),
    Measure(
        "increase_in_confidence",
        faithfulness.increase_in_confidence,
        "probe",
        "higher",
        "",
        "The share of pictures whose probability rises when the map masks them.",
        within=UNIT,
    ),
    Measure(
        "removal",
        faithfulness.removal,
        "probe",
        "lower",
        "",
        "How the probability changes without the quarter of the pixels that the map ranks highest.",
        usual=False,
        within=SIGNED,
    ),
    Measure(
        "supported",
        faithfulness.supported,
        "layer",
        "higher",
        "",
        "The share of pictures on which hiding what the map marks lowers the probability more than "
        "hiding what it marks when it is moved, with p at most 0.05. Maps that know nothing get "
        "about 0.05.",
        usual=False,
        within=UNIT,
    ),
    Measure(
        "faithfulness_correlation",
        faithfulness.faithfulness_correlation,
        "signed",
        "higher",
        "",
        "Whether the probability falls without random sets of pixels by as much as the signed map "
        "says.",
        usual=False,
        within=SIGNED,
    ),
    Measure(
        "sensitivity_n",
        evidence.sensitivity_n,
        "signed",
        "higher",
        "",
        "Whether the probability falls without random sets of pixels by as much as the signed map "
        "says; the mean over sets of several sizes.",
        usual=False,
        within=SIGNED,
    ),
    Measure(
        "mu_fidelity",
        evidence.mu_fidelity,
        "signed",
        "higher",
        "",
        "Whether the signed map ranks random sets of cells as the fall of the probability does.",
        usual=False,
        within=SIGNED,
    ),
    Measure(
        "infidelity",
        evidence.infidelity,
        "signed",
        "lower",
        "",
        "The squared difference between what the signed map says of random squares and the fall of "
        "the probability without them; the map scaled as fits best.",
        usual=False,
        within=(0.0, math.inf),
    ),
    Measure(
        "gini",
        complexity.gini,
        "map",
        "higher",
        "",
        "How unequal the map's values are: near 1 where a few pixels have it all.",
        usual=False,
        within=UNIT,
    ),
    Measure(
        "entropy",
        complexity.entropy,
        "map",
        "lower",
        "",
        "How widely the map is spread over the pixels, as a logarithm.",
        usual=False,
        within=(0.0, math.inf),
    ),
    Measure(
        "mean_value",
        complexity.mean_value,
        "map",
        "lower",
        "",
        "How much of the picture the map lets through.",
        within=UNIT,
    ),
)


METRICS: dict[str, Measure] = {measure.name: measure for measure in _ALL}


def check_listed(metrics: Any) -> None:
    """Check that metrics are a list, not empty, or None for the usual ones."""
    if isinstance(metrics, str) or (metrics is not None and not list(metrics)):
        raise ValueError(f"metrics must be a list of at least one metric; got {metrics!r}.")


def fitting(metrics: Sequence[MetricChoice], sides: int) -> list[MetricChoice]:
    """Choose the metrics that can measure maps of so many sides: 2, or 3 of videos and volumes.

    Example:
        >>> fitting(["insertion", "road", ("road", {"fill": "mean"}), "box_iou"], 3)
        ['insertion', ('road', {'fill': 'mean'})]
    """
    return [choice for choice in metrics if not find_metrics([choice])[0].refusal(sides)]


def find_metrics(metrics: Sequence[MetricChoice] | None, sides: int = 2) -> list[Measure]:
    """Find metrics by their names and set their options.

    Args:
        metrics: Names of ``METRICS``, or (name, options); None for the usual ones that fit.
        sides: The number of sides of the maps that they measure: 2, or 3 of videos and volumes.

    Raises:
        ValueError: If there is no such metric, it is there twice, or there is none, or one does
            not measure maps of so many sides.
        TypeError: If it has no such option.

    Example:
        >>> measures = find_metrics(["energy", ("box_iou", {"threshold": 0.5})])
        >>> [measure.name for measure in measures]
        ['energy', 'box_iou(threshold=0.5)']
    """
    check_listed(metrics)
    if metrics is None:
        return [measure for measure in _ALL if measure.usual and not measure.refusal(sides)]
    measures = []
    for choice in metrics:
        name, options = choice if isinstance(choice, tuple) else (choice, {})
        if name not in METRICS:
            raise ValueError(
                f"metrics must be of {', '.join(METRICS)}; got {name!r}."
                f"{did_you_mean(name, METRICS)}"
            )
        measure = METRICS[name]
        possible = _options(measure)
        if unknown := [option for option in options if option not in possible]:
            raise TypeError(
                f"The metric {name!r} has no option {unknown[0]!r}; it has "
                f"{', '.join(possible) or 'none'}.{did_you_mean(unknown[0], possible)}"
            )
        measure = replace(measure, options=dict(options))
        if refusal := measure.refusal(sides):
            raise ValueError(f"The metric {name!r} can't measure videos or volumes: {refusal}.")
        measures.append(replace(measure, name=measure.described))
    names = [measure.name for measure in measures]
    if twice := [name for place, name in enumerate(names) if name in names[:place]]:
        raise ValueError(f"Each metric can be asked for once; {twice[0]!r} is there twice.")
    return measures


def _options(measure: Measure) -> list[str]:
    """List the options of a metric: its arguments besides maps and truth."""
    function = wsol.MaxBoxAccuracy if measure.name == "max_box_acc" else measure.function
    names = list(inspect.signature(function).parameters)
    skipped = {"probe": 2, "layer": 2, "signed": 2, "map": 1, "truth": 2, "set": 0}[measure.kind]
    return [name for name in names[skipped:] if name not in ("name", "version")]

"""All metrics by name: what each needs, which way is better, and what it means in a line."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import keras

from tfcam.metrics import complexity, curves, faithfulness, localisation, wsol
from tfcam.utils.suggestions import did_you_mean

MetricChoice = str | tuple[str, dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Measure:
    """A metric with its options.

    Attributes:
        name: The name that ``metrics=`` takes; with options, these in brackets.
        function: Of the kind "probe": (probe, heatmaps (B, H, W)) -> (B,) or a ``Curve``; of
            "layer": the same, of maps as small as the layer has them; of "map": heatmaps
            (B, H, W) -> (B,); of "truth": (heatmap (H, W), truth) -> a number; of "set": a
            ``keras.metrics.Metric`` of heatmaps and truths, whose variables are sums over pictures.
        kind: "probe", "layer", "map", "truth" or "set".
        better: Whether a "higher" or a "lower" value is better.
        needs: The truth that a picture must have: "" for none, "boxes", or "region" for boxes or
            a mask.
        meaning: What it measures, in a sentence.
        usual: Whether it is measured by default.
        of_curve: The number of a ``Curve`` that counts: "area" or "mean".
        options: The options of the function.
    """

    name: str
    function: Callable[..., Any]
    kind: Literal["probe", "layer", "map", "truth", "set"]
    better: Literal["higher", "lower"]
    needs: Literal["", "boxes", "region"]
    meaning: str
    usual: bool = True
    of_curve: Literal["area", "mean"] = "area"
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def described(self) -> str:
        """The name and the options."""
        options = ", ".join(f"{name}={value}" for name, value in self.options.items())
        return f"{self.name.split('(')[0]}({options})" if options else self.name

    def make(self) -> keras.metrics.Metric:
        """Make a set-level metric that has seen nothing yet."""
        return self.function(**self.options)


_ALL = (
    Measure(
        "box_iou",
        localisation.box_iou,
        "truth",
        "higher",
        "boxes",
        "How well the box around the map's largest part above a fifth of its maximum overlaps the "
        "nearest true box.",
    ),
    Measure(
        "pointing_game",
        localisation.pointing_game,
        "truth",
        "higher",
        "region",
        "Whether the map's maximum lies on the object, or less than 15 pixels from it.",
    ),
    Measure(
        "energy",
        localisation.energy,
        "truth",
        "higher",
        "region",
        "The share of the map that lies on the object.",
    ),
    Measure(
        "relevance_rank_accuracy",
        localisation.relevance_rank_accuracy,
        "truth",
        "higher",
        "region",
        "Of as many of the map's strongest pixels as the object has, the share that lies on it.",
        usual=False,
    ),
    Measure(
        "top_quarter_iou",
        localisation.top_quarter_iou,
        "truth",
        "higher",
        "boxes",
        "How well the box around the strongest quarter of the pixels overlaps the nearest true "
        "box.",
        usual=False,
    ),
    Measure(
        "max_box_acc",
        lambda **options: wsol.MaxBoxAccuracy(version=1, **options),
        "set",
        "higher",
        "boxes",
        "The share of pictures whose map's box overlaps a true one by half, at the one best "
        "threshold of the set.",
        usual=False,
    ),
    Measure(
        "max_box_acc_v2",
        wsol.MaxBoxAccuracy,
        "set",
        "higher",
        "boxes",
        "The share of pictures of which a box around any part of the map overlaps a true one by "
        "0.3, 0.5 and 0.7, the mean of the three, each at the one best threshold of the set. A map "
        "of many small parts has many boxes to choose from.",
    ),
    Measure(
        "pxap",
        wsol.PixelAveragePrecision,
        "set",
        "higher",
        "region",
        "The area under the precision-recall curve of all pixels of the set.",
        usual=False,
    ),
    Measure(
        "insertion",
        curves.insertion,
        "probe",
        "higher",
        "",
        "The mean probability as pixels are put into a blurred picture, the map's strongest first.",
    ),
    Measure(
        "deletion",
        curves.deletion,
        "probe",
        "lower",
        "",
        "The mean probability as pixels are taken away, the map's strongest first.",
    ),
    Measure(
        "road",
        curves.road,
        "probe",
        "higher",
        "",
        "Half of what is left of the probability without the map's weakest pixels over without its "
        "strongest, filled in from their neighbours; the mean over several shares of the pixels.",
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
    ),
    Measure(
        "average_drop",
        faithfulness.average_drop,
        "probe",
        "lower",
        "",
        "By which share of itself the probability falls under the map as a mask. A map of ones is "
        "best of all: see what the full image gets.",
    ),
    Measure(
        "increase_in_confidence",
        faithfulness.increase_in_confidence,
        "probe",
        "higher",
        "",
        "The share of pictures whose probability rises under the map as a mask.",
    ),
    Measure(
        "removal",
        faithfulness.removal,
        "probe",
        "lower",
        "",
        "How the probability changes without the quarter of the pixels that the map ranks highest.",
        usual=False,
    ),
    Measure(
        "supported",
        faithfulness.supported,
        "layer",
        "higher",
        "",
        "The share of pictures on which hiding what the map marks lowers the probability more than "
        "hiding what it marks elsewhere, with p at most 0.05: of maps that know nothing some 0.05.",
        usual=False,
    ),
    Measure(
        "faithfulness_correlation",
        faithfulness.faithfulness_correlation,
        "probe",
        "higher",
        "",
        "Whether the probability falls without random sets of pixels by as much as the map says.",
        usual=False,
    ),
    Measure(
        "gini",
        complexity.gini,
        "map",
        "higher",
        "",
        "How unequal the map's values are: near 1 where a few pixels have it all.",
        usual=False,
    ),
    Measure(
        "entropy",
        complexity.entropy,
        "map",
        "lower",
        "",
        "Over how many pixels the map is spread, as a logarithm.",
        usual=False,
    ),
    Measure(
        "mean_value",
        complexity.mean_value,
        "map",
        "lower",
        "",
        "How much of the picture the map lets through.",
    ),
)


METRICS: dict[str, Measure] = {measure.name: measure for measure in _ALL}


def find_metrics(metrics: Sequence[MetricChoice] | None) -> list[Measure]:
    """Find metrics by their names and set their options.

    Args:
        metrics: Names of ``METRICS``, or (name, options); None for the usual ones.

    Raises:
        ValueError: If there is no such metric, it is there twice, or there is none.
        TypeError: If it has no such option.

    Example:
        >>> measures = find_metrics(["energy", ("box_iou", {"threshold": 0.5})])
        >>> [measure.name for measure in measures]
        ['energy', 'box_iou(threshold=0.5)']
    """
    if isinstance(metrics, str) or (metrics is not None and not list(metrics)):
        raise ValueError(f"metrics must be a list of at least one metric; got {metrics!r}.")
    if metrics is None:
        return [measure for measure in _ALL if measure.usual]
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
        measures.append(replace(measure, name=measure.described))
    names = [measure.name for measure in measures]
    if twice := [name for place, name in enumerate(names) if name in names[:place]]:
        raise ValueError(f"Each metric can be asked for once; {twice[0]!r} is there twice.")
    return measures


def _options(measure: Measure) -> list[str]:
    """List the options of a metric: its arguments besides maps and truth."""
    function = wsol.MaxBoxAccuracy if measure.name == "max_box_acc" else measure.function
    names = list(inspect.signature(function).parameters)
    skipped = {"probe": 2, "layer": 2, "map": 1, "truth": 2, "set": 0}[measure.kind]
    return [name for name in names[skipped:] if name not in ("name", "version")]

"""The metrics that compare maps with where the object is, as the registry holds them."""

from __future__ import annotations

from tfcam.metrics import localisation, wsol
from tfcam.metrics.measure import UNIT, Measure

LOCALISATION = (
    Measure(
        "box_iou",
        localisation.box_iou,
        "truth",
        "higher",
        "boxes",
        "How well the box around the map's largest part above a fifth of its maximum overlaps the "
        "nearest true box.",
        within=UNIT,
    ),
    Measure(
        "pointing_game",
        localisation.pointing_game,
        "truth",
        "higher",
        "region",
        "Whether the map's maximum lies on the object, or less than 15 pixels from it.",
        within=UNIT,
    ),
    Measure(
        "energy",
        localisation.energy,
        "truth",
        "higher",
        "region",
        "The share of the map that lies on the object.",
        within=UNIT,
    ),
    Measure(
        "relevance_rank_accuracy",
        localisation.relevance_rank_accuracy,
        "truth",
        "higher",
        "region",
        "The share of the map's strongest pixels, as many as the object has, that lies on it.",
        usual=False,
        within=UNIT,
    ),
    Measure(
        "localisation_auc",
        localisation.localisation_auc,
        "truth",
        "higher",
        "region",
        "The chance that a pixel of the object has a larger value than one beside it.",
        usual=False,
        within=UNIT,
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
        within=UNIT,
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
        within=UNIT,
    ),
    Measure(
        "max_box_acc_v2",
        wsol.MaxBoxAccuracy,
        "set",
        "higher",
        "boxes",
        "The share of pictures for which a box around any part of the map overlaps a true one by "
        "0.3, 0.5 and 0.7, the mean of the three, each at the one best threshold of the set. A map "
        "of many small parts has many boxes to choose from.",
        within=UNIT,
    ),
    Measure(
        "pxap",
        wsol.PixelAveragePrecision,
        "set",
        "higher",
        "region",
        "The area under the precision-recall curve of all pixels of the set.",
        usual=False,
        within=UNIT,
    ),
)

"""How far a map can be trusted: faithfulness, localisation, sanity, complexity.

Every metric is a name of this package, loaded when it is first used.

Example:
    >>> import numpy as np
    >>> import tfcam
    >>> tfcam.metrics.gini([np.array([[0.1, 0.2], [0.3, 0.4]])])
    array([0.25], dtype=float32)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import tfcam.utils.backend  # noqa: F401  # says so where Keras is not TensorFlow's

if TYPE_CHECKING:
    from tfcam.metrics.baselines import (
        BASELINES,
        centre_gaussian,
        centred_box,
        full_image,
        random_map,
        sobel_edges,
    )
    from tfcam.metrics.complexity import entropy, gini, mean_value
    from tfcam.metrics.confidence import (
        AverageDrop,
        IncreaseInConfidence,
        confidence_increased,
        relative_drop,
    )
    from tfcam.metrics.curves import (
        Curve,
        comprehensiveness,
        deletion,
        insertion,
        road,
        road_lerf,
        road_morf,
        sufficiency,
    )
    from tfcam.metrics.evidence import infidelity, mu_fidelity, sensitivity_n
    from tfcam.metrics.faithfulness import (
        Adcc,
        Win,
        adcc,
        average_drop,
        completeness_residual,
        confidence_change,
        faithfulness_correlation,
        harmonic_adcc,
        increase_in_confidence,
        masked_images,
        removal,
        supported,
        win,
    )
    from tfcam.metrics.imputation import (
        impute,
        impute_blur,
        impute_mean,
        impute_noisy_linear,
        impute_zero,
    )
    from tfcam.metrics.localisation import (
        area_fraction,
        best_iou,
        box_iou,
        energy,
        gt_known_localisation,
        half_open,
        iou_curve,
        localisation_auc,
        mean_over_classes,
        pointing_game,
        relevance_rank_accuracy,
        top1_localisation,
        top_quarter_iou,
        truth_mask,
    )
    from tfcam.metrics.measure import Measure
    from tfcam.metrics.probing import Probe, Replaced
    from tfcam.metrics.registry import METRICS
    from tfcam.metrics.sanity import (
        class_sensitivity,
        input_sensitivity,
        local_lipschitz,
        max_sensitivity,
        randomisation,
    )
    from tfcam.metrics.sanity_result import Randomisation, Verdict
    from tfcam.metrics.similarity import hog_spearman, spearman, ssim
    from tfcam.metrics.words import WordErasure, erase_words
    from tfcam.metrics.wsol import BoxIoU, MaxBoxAccuracy, PixelAveragePrecision, PointingGame

__all__ = [
    "BASELINES",
    "METRICS",
    "Adcc",
    "AverageDrop",
    "BoxIoU",
    "Curve",
    "IncreaseInConfidence",
    "MaxBoxAccuracy",
    "Measure",
    "PixelAveragePrecision",
    "PointingGame",
    "Probe",
    "Randomisation",
    "Replaced",
    "Verdict",
    "Win",
    "WordErasure",
    "adcc",
    "area_fraction",
    "average_drop",
    "best_iou",
    "box_iou",
    "centre_gaussian",
    "centred_box",
    "class_sensitivity",
    "completeness_residual",
    "comprehensiveness",
    "confidence_change",
    "confidence_increased",
    "deletion",
    "energy",
    "entropy",
    "erase_words",
    "faithfulness_correlation",
    "full_image",
    "gini",
    "gt_known_localisation",
    "half_open",
    "harmonic_adcc",
    "hog_spearman",
    "impute",
    "impute_blur",
    "impute_mean",
    "impute_noisy_linear",
    "impute_zero",
    "increase_in_confidence",
    "infidelity",
    "input_sensitivity",
    "insertion",
    "iou_curve",
    "local_lipschitz",
    "localisation_auc",
    "masked_images",
    "max_sensitivity",
    "mean_over_classes",
    "mean_value",
    "mu_fidelity",
    "pointing_game",
    "random_map",
    "randomisation",
    "relative_drop",
    "relevance_rank_accuracy",
    "removal",
    "road",
    "road_lerf",
    "road_morf",
    "sensitivity_n",
    "sobel_edges",
    "spearman",
    "ssim",
    "sufficiency",
    "supported",
    "top1_localisation",
    "top_quarter_iou",
    "truth_mask",
    "win",
]
# Searched in this order for a name.
_MODULES = (
    "complexity",
    "imputation",
    "localisation",
    "similarity",
    "baselines",
    "confidence",
    "probing",
    "curves",
    "evidence",
    "faithfulness",
    "wsol",
    "registry",
    "sanity_result",
    "sanity",
    "words",
)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name in __all__:
        modules = (import_module(f"{__name__}.{module}") for module in _MODULES)
        return next(getattr(module, name) for module in modules if hasattr(module, name))
    from tfcam.utils.suggestions import did_you_mean

    raise AttributeError(
        f"module {__name__!r} has no attribute {name!r}.{did_you_mean(name, __all__)}"
    )


def __dir__() -> list[str]:
    return sorted({*__all__, *_MODULES, "__doc__", "__name__", "__file__", "__path__"})

"""From a raw map to a heatmap, a mask, boxes.

ReLU, resized, scaled, in NumPy (``scaling.py``) and in TensorFlow (``tensors.py``); what lies on
an object (``regions.py``). One comes here to change how a raw map becomes a heatmap.
"""

import tfcam.utils.backend  # noqa: F401  # says so where Keras is not TensorFlow's
from tfcam.maps.regions import (
    By,
    Components,
    boxes,
    check_finite,
    iou,
    ious,
    mask,
    mask_boxes,
    ranking,
)
from tfcam.maps.scaling import Fusion, check_fusion, evidence, fuse, heatmap, resize, scale, signed

__all__ = [
    "By",
    "Components",
    "Fusion",
    "boxes",
    "check_finite",
    "check_fusion",
    "evidence",
    "fuse",
    "heatmap",
    "iou",
    "ious",
    "mask",
    "mask_boxes",
    "ranking",
    "resize",
    "scale",
    "signed",
]

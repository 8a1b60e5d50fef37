"""The names of ways to prepare pictures, known before TensorFlow is loaded."""

from __future__ import annotations

from typing import Any, TypeVar

from tfcam.images.window import AppliedWindow, Limits, Window
from tfcam.model.applications import FAMILIES
from tfcam.utils.suggestions import did_you_mean
from tfcam.utils.validation import shown

Given = TypeVar("Given")

# Each mode, in words.
MODES = {
    "raw": "0..255 as it is",
    "unit": "scaled to 0..1",
    "tf": "scaled to -1..1",
    "torch": "scaled to 0..1, ImageNet mean and deviation",
    "caffe": "BGR, ImageNet mean taken off",
}


# The mode of each name: of itself, or of a family of keras.applications.
MODE_OF = {mode: mode for mode in MODES} | {family.name: family.mode for family in FAMILIES}


def check_preprocess(preprocess: Given) -> Given:
    """Check a way to prepare pictures, and give it back.

    Raises:
        ValueError: If it is none.

    Example:
        >>> check_preprocess("resnet_v3")
        Traceback (most recent call last):
        ValueError: preprocess must be 'auto', None, a callable, a tfcam.images.Window or one of
        raw, unit, tf, torch, caffe, vgg16, ...; got 'resnet_v3'. Did you mean 'resnet_v2', ...?
    """
    if isinstance(preprocess, Window):
        check_preprocess(preprocess.preprocess)
        return preprocess
    if preprocess is None or callable(preprocess):
        return preprocess
    known = ["auto", *MODE_OF]
    if not isinstance(preprocess, str) or preprocess not in known:
        raise ValueError(
            "preprocess must be 'auto', None, a callable, a tfcam.images.Window or one of "
            f"{', '.join(MODE_OF)}; "
            f"got {shown(preprocess)}.{did_you_mean(preprocess, known)}"
        )
    return preprocess


def split_window(preprocess: Any) -> tuple[Limits, Any]:
    """Tell the values that the pictures of a data set are read with from what is done to them then.

    Example:
        >>> split_window(Window(-160, 240, "torch"))
        ((-160, 240), AppliedWindow(low=-160, high=240, preprocess='torch'))
        >>> split_window("torch")
        (None, 'torch')
    """
    if isinstance(preprocess, Window):
        return preprocess.limits, AppliedWindow(*preprocess.limits, preprocess.preprocess)
    return None, preprocess

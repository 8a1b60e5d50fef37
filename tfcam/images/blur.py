"""The blur that hides parts of a picture."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def _gaussian() -> np.ndarray:
    point = np.zeros((11, 11))
    point[5, 5] = 1
    return ndimage.gaussian_filter(point, 5)


# RISE's: sigma 5 on 11 x 11 pixels, what lies outside folded back in, with a sum of 1.
RISE_BLUR = _gaussian()

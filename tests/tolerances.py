"""How far a result may be off: the tests' tolerances, derived instead of found on one machine.

Processors add in different orders, and each order rounds otherwise. What a float holds of a sum is
relative to the largest terms in it, of which a difference may leave little.
"""

import ml_dtypes
import numpy as np

SPARE = 10.0


def rounding(*terms: object, count: int = 20, dtype: str = "float32") -> float:
    """Bound the error of what is computed of terms, with ``SPARE`` to spare.

    Args:
        terms: What is added and subtracted, before anything cancels: arrays of any shape.
        count: How many roundings of the largest term may add up.
        dtype: What is computed in.

    Returns:
        The bound of the absolute error, in the unit of the terms.
    """
    size = max(float(np.abs(term).max()) for term in terms)
    return SPARE * count * float(ml_dtypes.finfo(dtype).eps) * size


# The bound of a relative error where no terms cancel.
ROUNDED = rounding(1.0)


def ablation_rounding(scores: object, activations: object) -> float:
    """Bound the error of sum_k (y - y_k) A_k: a weight is known no better than the score y.

    Args:
        scores: The scores y.
        activations: The activations A (..., K).
    """
    return rounding(scores, count=8) * float(np.abs(activations).sum(-1).max())


def relative(found: object, wanted: object) -> float:
    """Return the largest difference of two arrays of one shape, relative to the largest value."""
    found, wanted = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
    assert found.shape == wanted.shape
    return np.abs(found - wanted).max() / max(np.abs(wanted).max(), 1e-30)
